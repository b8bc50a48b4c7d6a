//! Public keys of signed notes: who may sign and cosign, and what each kind signs.
//!
//! Source: C2SP signed-note §Signatures and §Verifier keys, tlog-cosignature.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::sign;

use crate::hash::Hash;
use crate::ml_dsa;

/// Signature type of plain Ed25519 over the note's text.
const TYPE_ED25519: u8 = 0x01;
/// Signature type of ECDSA with SHA-256 over the note's text.
const TYPE_ECDSA: u8 = 0x02;
/// Signature type of a timestamped Ed25519 cosignature.
const TYPE_COSIGNATURE_V1: u8 = 0x04;
/// Signature type of a timestamped ML-DSA-44 cosignature.
const TYPE_COSIGNATURE_ML_DSA: u8 = 0x06;

/// Bytes of the time in front of a cosignature.
const TIME_BYTES: usize = 8;

/// Name of a key in a signed note, such as `ledger.example/log1`.
///
/// Not empty, without Unicode spaces, control characters or `+`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`MalformedKey::Name`].
    pub fn new(name: &str) -> Result<Self, MalformedKey> {
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if name.is_empty() || name.contains(forbidden) {
            return Err(MalformedKey::Name { found: name.to_owned() });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// First four bytes of a hash over a key's name, type and bytes; a hint which key to try, never
/// an identity on its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// Takes the four bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The four bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    fn first_of(digest: Hash) -> Self {
        let [a, b, c, d, ..] = *digest.as_bytes();
        Self([a, b, c, d])
    }

    /// SHA-256(name ‖ 0x0A ‖ type ‖ public key), cut to four bytes.
    fn derive(name: &KeyName, key_type: u8, public: &[u8]) -> Self {
        let name = name.as_str().as_bytes();
        Self::first_of(Hash::digest(&[name, b"\n", &[key_type], public].concat()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Seconds since 1970-01-01 UTC, as cosignatures carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PosixSeconds(pub u64);

/// A public key with its name, able to tell whether a signature on a note is its own.
///
/// Reads and shows as a verifier key, `name+hexid+base64`. Kinds that are not known here are carried
/// and shown again, and their signatures are passed over as those of a stranger. Those of ML-DSA-44
/// keys (0x06) are verified if the openssl that is linked can ([`NoteVerifier::is_verifiable`]);
/// if not, they are told apart and never count.
#[derive(Clone)]
pub struct NoteVerifier {
    name: KeyName,
    id: KeyId,
    /// Type byte and public key, as in the verifier key.
    encoded: Vec<u8>,
    kind: VerifierKind,
}

#[derive(Clone)]
enum VerifierKind {
    /// Without a key where openssl is older than ML-DSA.
    CosignatureMlDsa44(Option<PKey<Public>>),
    CosignatureV1(PKey<Public>),
    EcdsaP256(PKey<Public>),
    Ed25519(PKey<Public>),
    Unknown,
}

/// What a verifier makes of one signature of its own name and ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureCheck {
    /// It is genuine; a cosignature says when it was made.
    Genuine(Option<PosixSeconds>),
    /// It is not.
    Forged,
    /// The key's kind is not known here.
    Unknown,
    /// The key's kind is known, but the openssl that is linked cannot verify it.
    Unverifiable,
}

impl NoteVerifier {
    /// An Ed25519 key that signs notes' texts (type 0x01), from its 32 bytes.
    ///
    /// # Errors
    /// [`MalformedKey::Public`] if openssl refuses the bytes.
    pub fn ed25519(name: KeyName, public: &[u8]) -> Result<Self, MalformedKey> {
        let key = ed25519_public(public)?;
        Ok(Self::derived(name, TYPE_ED25519, public, VerifierKind::Ed25519(key)))
    }

    /// An Ed25519 key of a witness that makes timestamped cosignatures (type 0x04), from its 32
    /// bytes.
    ///
    /// # Errors
    /// [`MalformedKey::Public`] if openssl refuses the bytes.
    pub fn cosignature_v1(name: KeyName, public: &[u8]) -> Result<Self, MalformedKey> {
        let key = ed25519_public(public)?;
        Ok(Self::derived(name, TYPE_COSIGNATURE_V1, public, VerifierKind::CosignatureV1(key)))
    }

    /// An ML-DSA-44 key that makes timestamped cosignatures of checkpoints (type 0x06), a log's or a
    /// witness's, from its 1,312 bytes.
    ///
    /// # Errors
    /// [`MalformedKey::MlDsaLength`].
    pub fn cosignature_ml_dsa_44(name: KeyName, public: &[u8]) -> Result<Self, MalformedKey> {
        let bytes = public.try_into().map_err(|_| MalformedKey::MlDsaLength { found: public.len() })?;
        let kind = VerifierKind::CosignatureMlDsa44(ml_dsa::public(bytes));
        Ok(Self::derived(name, TYPE_COSIGNATURE_ML_DSA, public, kind))
    }

    /// An ECDSA P-256 key (type 0x02), from its DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`MalformedKey::Public`] if the bytes are no key, [`MalformedKey::Curve`] if it is not on
    /// P-256.
    pub fn ecdsa_p256(name: KeyName, spki_der: &[u8]) -> Result<Self, MalformedKey> {
        let key = PKey::public_key_from_der(spki_der).map_err(|source| MalformedKey::Public { source })?;
        let curve = key.ec_key().ok().and_then(|key| key.group().curve_name());
        if curve != Some(Nid::X9_62_PRIME256V1) {
            return Err(MalformedKey::Curve);
        }
        let encoded = [&[TYPE_ECDSA], spki_der].concat();
        let id = KeyId::first_of(Hash::digest(spki_der));
        Ok(Self { name, id, encoded, kind: VerifierKind::EcdsaP256(key) })
    }

    /// The key's name, which for a log equals its origin.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The ID that its signature lines carry.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The type of its signatures, the byte before the key in a verifier key.
    #[must_use]
    pub const fn signature_type(&self) -> u8 {
        match self.encoded.as_slice() {
            [key_type, ..] => *key_type,
            // A verifier key has a type byte; 0 is none.
            [] => 0,
        }
    }

    /// True if the key is of a kind that witnesses use (types 0x04 and 0x06).
    #[must_use]
    pub fn may_witness(&self) -> bool {
        matches!(self.signature_type(), TYPE_COSIGNATURE_V1 | TYPE_COSIGNATURE_ML_DSA)
    }

    /// True if the key is of a kind that logs use: any but type 0x04.
    #[must_use]
    pub fn may_be_log(&self) -> bool {
        self.signature_type() != TYPE_COSIGNATURE_V1
    }

    /// Whether signatures of this key can be verified by this program with the openssl it is linked
    /// with. Not so for kinds that are unknown, and for ML-DSA-44 before openssl 3.5.
    #[must_use]
    pub const fn is_verifiable(&self) -> bool {
        !matches!(self.kind, VerifierKind::Unknown | VerifierKind::CosignatureMlDsa44(None))
    }

    /// The public key as the verifier key holds it, without its type.
    #[must_use]
    pub fn public_bytes(&self) -> &[u8] {
        self.encoded.split_first().map_or(&[], |(_, public)| public)
    }

    pub(crate) fn check(&self, text: &str, signature: &[u8]) -> SignatureCheck {
        let (genuine, time) = match &self.kind {
            VerifierKind::CosignatureMlDsa44(key) => {
                let Some((time, signature)) = ml_dsa::split(signature) else {
                    return SignatureCheck::Forged;
                };
                let Some(key) = key else { return SignatureCheck::Unverifiable };
                let message = ml_dsa::message(&self.name, time, text);
                let genuine = message.is_some_and(|message| ml_dsa::verify(key, &message, signature));
                // Time 0 says nothing about when, nor that this was the newest checkpoint.
                (genuine, Some(time).filter(|time| time.0 > 0))
            }
            VerifierKind::CosignatureV1(key) => {
                let Some((time, signature)) = signature.split_first_chunk::<TIME_BYTES>() else {
                    return SignatureCheck::Forged;
                };
                let time = PosixSeconds(u64::from_be_bytes(*time));
                let message = cosigned_message(time, text);
                (verify_ed25519(key, message.as_bytes(), signature), Some(time))
            }
            VerifierKind::EcdsaP256(key) => (verify_ecdsa(key, text.as_bytes(), signature), None),
            VerifierKind::Ed25519(key) => (verify_ed25519(key, text.as_bytes(), signature), None),
            VerifierKind::Unknown => return SignatureCheck::Unknown,
        };
        if genuine { SignatureCheck::Genuine(time) } else { SignatureCheck::Forged }
    }

    fn derived(name: KeyName, key_type: u8, public: &[u8], kind: VerifierKind) -> Self {
        let id = KeyId::derive(&name, key_type, public);
        Self { name, id, encoded: [&[key_type], public].concat(), kind }
    }
}

impl FromStr for NoteVerifier {
    type Err = MalformedKey;

    fn from_str(vkey: &str) -> Result<Self, MalformedKey> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(MalformedKey::Parts);
        };
        let name = KeyName::new(name)?;
        let mut id_bytes = [0; 4];
        hex::decode_to_slice(id, &mut id_bytes).map_err(|source| MalformedKey::Id { source })?;
        let id = KeyId(id_bytes);
        let encoded = STANDARD.decode(encoded).map_err(|source| MalformedKey::Base64 { source })?;
        let verifier = match encoded.split_first() {
            None => return Err(MalformedKey::Empty),
            Some((&TYPE_ED25519, public)) => Self::ed25519(name, public)?,
            Some((&TYPE_ECDSA, spki_der)) => Self::ecdsa_p256(name, spki_der)?,
            Some((&TYPE_COSIGNATURE_V1, public)) => Self::cosignature_v1(name, public)?,
            Some((&TYPE_COSIGNATURE_ML_DSA, public)) => Self::cosignature_ml_dsa_44(name, public)?,
            Some(_) => Self { name, id, encoded, kind: VerifierKind::Unknown },
        };
        if verifier.id == id {
            Ok(verifier)
        } else {
            Err(MalformedKey::IdMismatch { stated: id, derived: verifier.id })
        }
    }
}

impl fmt::Display for NoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(&self.encoded))
    }
}

impl fmt::Debug for NoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why text or bytes are not a verifier key.
#[derive(Debug, thiserror::Error)]
pub enum MalformedKey {
    /// The key part is not base64.
    #[error("the key of a verifier key is not standard base64 with padding")]
    Base64 {
        /// What the decoder saw.
        source: base64::DecodeError,
    },
    /// An ECDSA key on another curve than P-256, or a key of another kind.
    #[error("the public key of type 0x02 is not an ECDSA key on P-256")]
    Curve,
    /// No type byte.
    #[error("the key of a verifier key is empty")]
    Empty,
    /// The ID part is not eight hexadecimal digits.
    #[error("the ID of a verifier key is not 8 hexadecimal digits")]
    Id {
        /// What the decoder saw.
        source: hex::FromHexError,
    },
    /// Name and key have another ID: one of the three was altered.
    #[error("the verifier key states the ID {stated}, but name and key give {derived}")]
    IdMismatch {
        /// The ID in the text.
        stated: KeyId,
        /// The ID of name and key.
        derived: KeyId,
    },
    /// A key of type 0x06 of another length.
    #[error("the ML-DSA-44 public key has {found} bytes, expected {}", ml_dsa::PUBLIC_BYTES)]
    MlDsaLength {
        /// Bytes given.
        found: usize,
    },
    /// The name cannot stand in a note.
    #[error("the key name {found:?} is empty or has a space, a control character or +")]
    Name {
        /// The name given.
        found: String,
    },
    /// Fewer than three parts.
    #[error("a verifier key has the form name+id+key")]
    Parts,
    /// openssl does not take the public key.
    #[error("the public key cannot be read")]
    Public {
        /// openssl's reasons.
        source: ErrorStack,
    },
}

/// The message of a timestamped cosignature.
///
/// ```text
/// cosignature/v1
/// time 1700000000
/// <the whole text of the note>
/// ```
///
/// Source: C2SP tlog-cosignature §Ed25519.
pub(crate) fn cosigned_message(time: PosixSeconds, text: &str) -> String {
    format!("cosignature/v1\ntime {}\n{text}", time.0)
}

fn ed25519_public(bytes: &[u8]) -> Result<PKey<Public>, MalformedKey> {
    PKey::public_key_from_raw_bytes(bytes, Id::ED25519).map_err(|source| MalformedKey::Public { source })
}

/// openssl's own failures count as "not genuine".
fn verify_ed25519(key: &PKey<Public>, message: &[u8], signature: &[u8]) -> bool {
    sign::Verifier::new_without_digest(key)
        .and_then(|mut verifier| verifier.verify_oneshot(signature, message))
        .unwrap_or(false)
}

/// openssl's own failures, such as a signature that is not DER, count as "not genuine".
fn verify_ecdsa(key: &PKey<Public>, message: &[u8], signature: &[u8]) -> bool {
    sign::Verifier::new(MessageDigest::sha256(), key)
        .and_then(|mut verifier| verifier.verify_oneshot(signature, message))
        .unwrap_or(false)
}

#[cfg(test)]
mod tests;
