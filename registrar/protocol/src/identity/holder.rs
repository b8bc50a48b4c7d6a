//! Who holds an id, and who else may not.

use std::fmt;

use super::Identity;

/// The identity an id is bound to, as recorded: `TPM2B_PUBLIC` of both keys, DER of the certificate.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The EK.
    pub ek: &'a [u8],
    /// The AK.
    pub ak: &'a [u8],
    /// The EK certificate, if it has one.
    pub certificate: Option<&'a [u8]>,
}

/// A part of an identity that never changes under one id, by its name on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdentityPart {
    /// `aik_tpm`.
    Ak,
    /// `ekcert`.
    Certificate,
    /// `ek_tpm`.
    Ek,
}

/// The id belongs to another identity.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the id belongs to an identity with another {}", list(.differs))]
pub struct IdentityTaken {
    /// What differs, at least one part.
    pub differs: Vec<IdentityPart>,
}

impl Holder<'_> {
    /// Whether `offered` is the holder.
    ///
    /// | EK, certificate and AK | answer |
    /// | --- | --- |
    /// | all as recorded | it may register again; contact data change when the new credential is activated |
    /// | any other, or a certificate where none was, or none where one was | it may not; an operator deletes the id first |
    ///
    /// The chain above the certificate is no part of it.
    ///
    /// # Errors
    /// [`IdentityTaken`] naming every part that differs.
    pub fn admits(&self, offered: &Identity) -> Result<(), IdentityTaken> {
        let parts = [
            (IdentityPart::Ek, self.ek == offered.ek().public().to_tpm2b()),
            (IdentityPart::Certificate, self.certificate == offered.certificate()),
            (IdentityPart::Ak, self.ak == offered.ak().public().to_tpm2b()),
        ];
        let differs: Vec<_> = parts.into_iter().filter(|(_, same)| !same).map(|(part, _)| part).collect();
        if differs.is_empty() { Ok(()) } else { Err(IdentityTaken { differs }) }
    }
}

impl fmt::Display for IdentityPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ak => "aik_tpm",
            Self::Certificate => "ekcert",
            Self::Ek => "ek_tpm",
        })
    }
}

fn list(parts: &[IdentityPart]) -> String {
    let names: Vec<String> = parts.iter().map(IdentityPart::to_string).collect();
    names.join(", ")
}
