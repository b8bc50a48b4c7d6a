//! Policies as requests bring them.

use base64::{Engine, engine::general_purpose::STANDARD};
use verifier_protocol::policy::{SignedPolicyError, opened};

/// What an add or update says of one role's policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) name: Option<String>,
    pub(crate) document: Option<Document>,
}

/// A policy's bytes, and the key it must be signed with, if one came along.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    bytes: Vec<u8>,
    key_pem: Option<Vec<u8>>,
}

/// Why bytes are not taken for a policy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("{member} is not base64")]
    Base64 { member: &'static str },
    #[error("the policy is not signed as it should be")]
    Signature(#[source] SignedPolicyError),
    #[error("{member} has {found} bytes; expected at most {max}")]
    TooLong { member: &'static str, found: usize, max: usize },
    #[error("a policy's name has 1 to {NAME_BYTES_MAX} bytes and no slash or control character")]
    Name,
    #[error("{0} is empty")]
    Empty(&'static str),
}

/// A policy whose signature, if it needs one, is good.
pub(crate) struct Opened {
    /// The JSON.
    pub(crate) content: Vec<u8>,
    /// Envelope and key.
    pub(crate) signed: Option<(Vec<u8>, Vec<u8>)>,
}

impl Wish {
    /// Of a runtime policy, its key and its name; empty texts are as good as none.
    pub(crate) fn runtime(name: Option<&str>, policy: Option<&str>, key: Option<&str>) -> Result<Self, DocumentError> {
        let document = given(policy).map(|policy| Document::runtime(policy, key)).transpose()?;
        Ok(Self { name: given(name).map(checked_name).transpose()?, document })
    }

    /// Of a measured-boot policy and its name. `{}` and `null` are how tenants spell that there is none.
    pub(crate) fn measured_boot(name: Option<&str>, policy: Option<&str>) -> Result<Self, DocumentError> {
        let policy = given(policy).filter(|policy| !matches!(policy.trim(), "{}" | "null"));
        let document = policy.map(|policy| Document { bytes: policy.as_bytes().to_vec(), key_pem: None });
        Ok(Self { name: given(name).map(checked_name).transpose()?, document })
    }
}

impl Document {
    /// A runtime policy and its key, both base64; an empty key is none.
    pub(crate) fn runtime(policy: &str, key: Option<&str>) -> Result<Self, DocumentError> {
        let bytes = decoded("runtime_policy", policy)?;
        if bytes.is_empty() {
            return Err(DocumentError::Empty("runtime_policy"));
        }
        let key_pem = given(key).map(|key| decoded("runtime_policy_key", key)).transpose()?;
        match &key_pem {
            Some(key) if key.len() > KEY_BYTES_MAX => {
                let (member, found) = ("runtime_policy_key", key.len());
                Err(DocumentError::TooLong { member, found, max: KEY_BYTES_MAX })
            }
            Some(_) | None => Ok(Self { bytes, key_pem }),
        }
    }

    /// A measured-boot policy's text.
    pub(crate) fn measured_boot(policy: String) -> Result<Self, DocumentError> {
        match policy.trim() {
            "" => Err(DocumentError::Empty("mb_policy")),
            _ => Ok(Self { bytes: policy.into_bytes(), key_pem: None }),
        }
    }

    /// Checks the signature, if a key came along, at time `now` in seconds since 1970.
    pub(super) fn open(self, now: i64) -> Result<Opened, DocumentError> {
        let content = opened(&self.bytes, self.key_pem.as_deref(), now).map_err(DocumentError::Signature)?;
        let signed = self.key_pem.map(|key| (self.bytes, key));
        Ok(Opened { content, signed })
    }
}

/// A name as entries and addresses can carry it.
pub(crate) fn checked_name(name: &str) -> Result<String, DocumentError> {
    let plain = !name.chars().any(|c| c.is_control() || c == '/');
    if plain && (1..=NAME_BYTES_MAX).contains(&name.len()) { Ok(name.to_owned()) } else { Err(DocumentError::Name) }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

fn decoded(member: &'static str, text: &str) -> Result<Vec<u8>, DocumentError> {
    STANDARD.decode(text).map_err(|_| DocumentError::Base64 { member })
}

/// A file's name on most systems.
const NAME_BYTES_MAX: usize = 255;
/// A certificate with a long list of names has 4 KiB.
const KEY_BYTES_MAX: usize = 16 << 10;
