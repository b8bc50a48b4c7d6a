//! A registration's form: which keys and certificates it brings, not yet whether they belong together.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::ek_certificate::{Certificate, EkCertificate, MalformedCertificate};
use evidence::public::{MalformedPublic, Public};
use messages::keylime::Register;

use crate::contact::{Contact, ContactRejected};

/// A well-formed registration. Nothing in it is proven: see [`Claim::verify`](crate::Claim::verify).
#[derive(Clone, Debug)]
pub struct Claim {
    /// The key said to be the EK.
    pub(crate) ek: Public,
    /// The key said to be an AK of the same TPM.
    pub(crate) ak: Public,
    /// The certificate said to be the EK's.
    pub(crate) certificate: Option<EkCertificate>,
    /// Certificates said to lead from it to a root, as they came.
    pub(crate) chain: Vec<Certificate>,
    /// Where the agent says it can be reached.
    pub contact: Contact,
    /// The IAK and IDevID members that came. They are well-formed base64 at most: this version does not judge them, so
    /// they add nothing to an identity and cannot stand in for the EK certificate.
    pub unjudged: Vec<ClaimField>,
}

/// A member of a registration, by its name on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClaimField {
    /// `aik_tpm`.
    AikTpm,
    /// `ek_tpm`.
    EkTpm,
    /// `iak_attest`.
    IakAttest,
    /// `iak_cert`.
    IakCert,
    /// `iak_sign`.
    IakSign,
    /// `iak_tpm`.
    IakTpm,
    /// `idevid_cert`.
    IdevidCert,
    /// `idevid_tpm`.
    IdevidTpm,
}

impl fmt::Display for ClaimField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AikTpm => "aik_tpm",
            Self::EkTpm => "ek_tpm",
            Self::IakAttest => "iak_attest",
            Self::IakCert => "iak_cert",
            Self::IakSign => "iak_sign",
            Self::IakTpm => "iak_tpm",
            Self::IdevidCert => "idevid_cert",
            Self::IdevidTpm => "idevid_tpm",
        })
    }
}

/// Why a registration's body is not one.
#[derive(Debug, thiserror::Error)]
pub enum MalformedClaim {
    /// A member is not base64.
    #[error("{field} is not base64 (standard alphabet, with padding)")]
    Base64 {
        /// The member.
        field: ClaimField,
        /// What the decoder says.
        source: base64::DecodeError,
    },
    /// `ekcert` is neither PEM nor base64 of anything.
    #[error("ekcert is neither PEM nor base64 of DER")]
    CertificateBase64(#[source] base64::DecodeError),
    /// `ekcert` holds something that is no certificate.
    #[error("ekcert is not a certificate, or a certificate that follows the EK's is none")]
    Certificate(#[source] MalformedCertificate),
    /// The contact data are not usable.
    #[error(transparent)]
    Contact(#[from] ContactRejected),
    /// A member that must be there is absent or empty.
    #[error("{field} is missing; expected base64 of a TPM2B_PUBLIC")]
    Missing {
        /// The member.
        field: ClaimField,
    },
    /// A member is base64 of something else than a key's public area.
    #[error("{field} is not the TPM2B_PUBLIC of an RSA or ECC key")]
    Public {
        /// The member.
        field: ClaimField,
        /// What is wrong with it.
        source: MalformedPublic,
    },
}

impl Claim {
    /// Reads a registration's members.
    ///
    /// An EK is always needed, whatever else identifies the TPM: the credential is made for it.
    ///
    /// # Errors
    /// [`MalformedClaim`] naming the first member that is wrong.
    pub fn parse(body: &Register) -> Result<Self, MalformedClaim> {
        let ek = public(ClaimField::EkTpm, body.ek_tpm.as_deref())?;
        let ak = public(ClaimField::AikTpm, Some(&body.aik_tpm))?;
        let (certificate, chain) = match certificates(body.ekcert.as_deref().unwrap_or_default())? {
            Some((certificate, chain)) => (Some(certificate), chain),
            None => (None, Vec::new()),
        };
        Ok(Self {
            ek,
            ak,
            certificate,
            chain,
            contact: Contact::parse(body.ip.as_deref(), body.port, body.mtls_cert.as_deref())?,
            unjudged: unjudged(body)?,
        })
    }
}

fn public(field: ClaimField, text: Option<&str>) -> Result<Public, MalformedClaim> {
    let text = text.filter(|text| !text.is_empty()).ok_or(MalformedClaim::Missing { field })?;
    let bytes = STANDARD.decode(text).map_err(|source| MalformedClaim::Base64 { field, source })?;
    Public::from_tpm2b(&bytes).map_err(|source| MalformedClaim::Public { field, source })
}

/// The EK's certificate and those after it; empty text holds none.
fn certificates(text: &str) -> Result<Option<(EkCertificate, Vec<Certificate>)>, MalformedClaim> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let bytes = match text.starts_with(PEM_START) {
        true => text.as_bytes().to_vec(),
        false => STANDARD.decode(text).map_err(MalformedClaim::CertificateBase64)?,
    };
    EkCertificate::parse_with_chain(&bytes).map(Some).map_err(MalformedClaim::Certificate)
}

fn unjudged(body: &Register) -> Result<Vec<ClaimField>, MalformedClaim> {
    let members = [
        (ClaimField::IakAttest, &body.iak_attest),
        (ClaimField::IakCert, &body.iak_cert),
        (ClaimField::IakSign, &body.iak_sign),
        (ClaimField::IakTpm, &body.iak_tpm),
        (ClaimField::IdevidCert, &body.idevid_cert),
        (ClaimField::IdevidTpm, &body.idevid_tpm),
    ];
    let mut found = Vec::new();
    for (field, text) in members {
        let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else {
            continue;
        };
        // Certificates may come as PEM; nothing reads them, so their form is left alone.
        if !text.starts_with(PEM_START) {
            STANDARD.decode(text).map_err(|source| MalformedClaim::Base64 { field, source })?;
        }
        found.push(field);
    }
    Ok(found)
}

/// What PEM starts with and base64 cannot.
const PEM_START: &str = "-----BEGIN ";
