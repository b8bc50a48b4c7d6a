//! The credential a registrar sends in answer to a registration.

use std::fmt;

#[cfg(test)]
mod tests;

/// A made credential: what `TPM2_ActivateCredential` takes.
#[derive(Clone, Eq, PartialEq)]
pub struct CredentialBlob {
    /// `TPM2B_ID_OBJECT` without its size: integrity HMAC and encrypted credential.
    pub id_object: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET` without its size: the seed under the EK.
    pub encrypted_secret: Vec<u8>,
}

impl CredentialBlob {
    /// Reads `BADCC0DE ‖ 00000001 ‖ TPM2B_ID_OBJECT ‖ TPM2B_ENCRYPTED_SECRET`, big endian, to the last byte.
    ///
    /// Source: tpm2-tools' credential file, which Keylime sends.
    ///
    /// # Errors
    /// [`MalformedCredentialBlob`] naming the first field that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedCredentialBlob> {
        let (magic, rest) = read_u32(bytes, "magic")?;
        if magic != MAGIC {
            return Err(MalformedCredentialBlob::Constant { field: "magic", expected: MAGIC, found: magic });
        }
        let (version, rest) = read_u32(rest, "version")?;
        if version != VERSION {
            return Err(MalformedCredentialBlob::Constant { field: "version", expected: VERSION, found: version });
        }
        let (id_object, rest) = read_sized(rest, "TPM2B_ID_OBJECT")?;
        let (encrypted_secret, rest) = read_sized(rest, "TPM2B_ENCRYPTED_SECRET")?;
        if !rest.is_empty() {
            return Err(MalformedCredentialBlob::Trailing { found: rest.len() });
        }
        Ok(Self { id_object: id_object.to_vec(), encrypted_secret: encrypted_secret.to_vec() })
    }
}

impl fmt::Debug for CredentialBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialBlob").finish_non_exhaustive()
    }
}

/// Why bytes are no credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MalformedCredentialBlob {
    /// A field that has one value has another.
    #[error("{field} of the credential is {found:#010x}, expected {expected:#010x}")]
    Constant {
        /// The field.
        field: &'static str,
        /// Its only value.
        expected: u32,
        /// The value found.
        found: u32,
    },
    /// A part is empty or longer than the TPM takes.
    #[error("{field} of the credential has {found} bytes, expected 1 to {PART_BYTES_MAX}")]
    Size {
        /// The part.
        field: &'static str,
        /// The size it states.
        found: usize,
    },
    /// Bytes follow the last part.
    #[error("{found} bytes follow the credential")]
    Trailing {
        /// How many.
        found: usize,
    },
    /// The bytes end within a field.
    #[error("the credential ends within {field}")]
    Truncated {
        /// The field.
        field: &'static str,
    },
}

fn read_u32<'a>(bytes: &'a [u8], field: &'static str) -> Result<(u32, &'a [u8]), MalformedCredentialBlob> {
    let (value, rest) = bytes.split_first_chunk().ok_or(MalformedCredentialBlob::Truncated { field })?;
    Ok((u32::from_be_bytes(*value), rest))
}

fn read_sized<'a>(bytes: &'a [u8], field: &'static str) -> Result<(&'a [u8], &'a [u8]), MalformedCredentialBlob> {
    let truncated = MalformedCredentialBlob::Truncated { field };
    let (size, rest) = bytes.split_first_chunk().ok_or(truncated)?;
    let size = usize::from(u16::from_be_bytes(*size));
    if size == 0 || size > PART_BYTES_MAX {
        return Err(MalformedCredentialBlob::Size { field, found: size });
    }
    rest.split_at_checked(size).ok_or(truncated)
}

const MAGIC: u32 = 0xbadc_c0de;
const VERSION: u32 = 1;
/// The secret for an RSA-4096 EK is 512 bytes; nothing a TPM takes here is longer.
const PART_BYTES_MAX: usize = 512;
