//! Policies as requests bring them.

use base64::{Engine, engine::general_purpose::STANDARD};
use messages::keylime::RuntimeLayer;
use verifier_protocol::policy::{RuntimePolicyError, SignedPolicyError, opened, read_keyring};

/// What an add or update says of one role's policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) name: Option<String>,
    pub(crate) document: Option<Document>,
    /// Stored policies below it, the lowest first; runtime policies only.
    pub(crate) layers: Vec<RuntimeLayer>,
    /// A keyring in Keylime's text, in place of the policies' own keys; runtime policies only.
    pub(crate) keys: Option<Vec<u8>>,
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
    #[error("ima_sign_verification_keys")]
    Keyring(#[source] Box<RuntimePolicyError>),
    #[error(
        "runtime_layers has a layer {0:?}; expected 1 to {LAYER_BYTES_MAX} lower-case letters, digits and hyphens, none twice, and neither of {RESERVED:?}"
    )]
    Layer(String),
    #[error("runtime_layers has {found} layers; expected at most {LAYERS_MAX}")]
    Layers { found: usize },
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
        Ok(Self { name: given(name).map(checked_name).transpose()?, document, ..Self::default() })
    }

    /// Puts stored policies below it, and takes other keys for file signatures.
    pub(crate) fn layered(self, layers: Vec<RuntimeLayer>, keys: Option<&str>) -> Result<Self, DocumentError> {
        if layers.len() > LAYERS_MAX {
            return Err(DocumentError::Layers { found: layers.len() });
        }
        let mut names: Vec<&str> = layers.iter().map(|layer| layer.layer.as_str()).collect();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = |name: &&str| (1..=LAYER_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain);
        if let Some(name) = names.iter().find(|name| !fits(name) || RESERVED.contains(*name)) {
            return Err(DocumentError::Layer(name.chars().take(64).collect()));
        }
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find_map(|pair| (pair.first() == pair.last()).then(|| pair.first())) {
            return Err(DocumentError::Layer(twice.copied().unwrap_or_default().to_owned()));
        }
        let keys = given(keys).map(|keys| match keys.len() > KEYRING_BYTES_MAX {
            true => {
                let (member, found) = ("ima_sign_verification_keys", keys.len());
                Err(DocumentError::TooLong { member, found, max: KEYRING_BYTES_MAX })
            }
            false => {
                read_keyring(keys.as_bytes()).map_err(|error| DocumentError::Keyring(Box::new(error)))?;
                Ok(keys.as_bytes().to_vec())
            }
        });
        Ok(Self { layers, keys: keys.transpose()?, ..self })
    }

    /// Of a measured-boot policy and its name. `{}` and `null` are how tenants spell that there is none.
    pub(crate) fn measured_boot(name: Option<&str>, policy: Option<&str>) -> Result<Self, DocumentError> {
        let policy = given(policy).filter(|policy| !matches!(policy.trim(), "{}" | "null"));
        let document = policy.map(|policy| Document { bytes: policy.as_bytes().to_vec(), key_pem: None });
        Ok(Self { name: given(name).map(checked_name).transpose()?, document, ..Self::default() })
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

/// What findings call an agent's own policy.
const RESERVED: [&str; 2] = ["node", "runtime"];
/// A stack has 16 at most, and the agent's own is one of them.
const LAYERS_MAX: usize = 15;
/// Names fill findings.
const LAYER_BYTES_MAX: usize = 32;
/// A thousand keys of RSA-4096 in base64.
const KEYRING_BYTES_MAX: usize = 1 << 20;
/// A file's name on most systems.
const NAME_BYTES_MAX: usize = 255;
/// A certificate with a long list of names has 4 KiB.
const KEY_BYTES_MAX: usize = 16 << 10;
