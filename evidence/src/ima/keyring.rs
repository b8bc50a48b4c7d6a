//! Keys that sign files: given by policy, or learned from the measurements of keys the kernel loaded.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::bn::BigNumContext;
use openssl::ec::PointConversionForm;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Public};
use openssl::x509::X509;

use super::modsig::{ModuleSignature, Signer};
use super::register::hash;
use super::signature::{SignedAttribute, verify_digest};
use crate::algorithm::{Digest, HashAlgorithm};
use crate::crypto::CryptoUnavailable;

/// The short name by which a signature's header finds its key; not unique and no proof of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A key files may be signed with: RSA or on an elliptic curve.
#[derive(Clone)]
pub struct FileKey {
    id: KeyId,
    key: PKey<Public>,
    /// What it was read from, as the kernel measured it or the policy has it.
    der: Vec<u8>,
    /// Of a certificate: its issuer's name in DER, and its serial number without leading zeros.
    issued: Option<(Vec<u8>, Vec<u8>)>,
}

impl FileKey {
    /// Reads a DER certificate or `SubjectPublicKeyInfo`.
    ///
    /// A certificate's key goes by the last four bytes of its subject key identifier; without one, and for a bare key,
    /// of the SHA-1 of the RSA key or curve point, as `evmctl` and the kernel have it. Nothing about a certificate is
    /// checked: what makes its key trusted is the policy that lists it.
    ///
    /// # Errors
    /// [`UnusableKey`] if it is neither, or a key that cannot sign files.
    pub fn from_der(der: &[u8]) -> Result<Self, UnusableKey> {
        let (key, identifier, issued) = match X509::from_der(der) {
            Ok(certificate) => {
                let malformed = |source| UnusableKey::Der { source };
                let key = certificate.public_key().map_err(malformed)?;
                let issuer = certificate.issuer_name().to_der().map_err(malformed)?;
                let serial = certificate.serial_number().to_bn().map_err(malformed)?.to_vec();
                (key, certificate.subject_key_id().map(|id| id.as_slice().to_vec()), Some((issuer, serial)))
            }
            Err(_) => (PKey::public_key_from_der(der).map_err(|source| UnusableKey::Der { source })?, None, None),
        };
        if !matches!(key.id(), Id::RSA | Id::EC) {
            return Err(UnusableKey::Kind);
        }
        let id = match identifier.as_deref().and_then(<[u8]>::last_chunk::<4>) {
            Some(last) => KeyId(u32::from_be_bytes(*last)),
            None => computed_id(&key)?,
        };
        Ok(Self { id, key, der: der.to_vec(), issued })
    }

    /// The same key under an identifier somebody states for it.
    #[must_use]
    pub fn with_id(self, id: KeyId) -> Self {
        Self { id, ..self }
    }

    /// The identifier signatures find it by.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The bytes it was read from.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileKey({})", self.id)
    }
}

/// Why bytes are no key that signs files.
#[derive(Debug, thiserror::Error)]
pub enum UnusableKey {
    /// Neither a certificate nor a public key in DER.
    #[error("it is neither a DER certificate nor a DER public key")]
    Der {
        /// What openssl says of it as a key.
        source: ErrorStack,
    },
    /// A key of an algorithm the kernel signs no files with.
    #[error("it is neither an RSA key nor one on an elliptic curve")]
    Kind,
    /// The identifier could not be computed.
    #[error("its identifier could not be computed")]
    Identifier {
        /// The library's word on it.
        source: ErrorStack,
    },
    /// The library could not hash.
    #[error(transparent)]
    Unavailable(#[from] CryptoUnavailable),
}

/// The last four bytes of the SHA-1 of the PKCS #1 key or the uncompressed point.
fn computed_id(key: &PKey<Public>) -> Result<KeyId, UnusableKey> {
    let bytes = || {
        if key.id() == Id::RSA {
            return key.rsa()?.public_key_to_der_pkcs1();
        }
        let key = key.ec_key()?;
        let mut context = BigNumContext::new()?;
        key.public_key().to_bytes(key.group(), PointConversionForm::UNCOMPRESSED, &mut context)
    };
    let digest = hash(HashAlgorithm::Sha1, &bytes().map_err(|source| UnusableKey::Identifier { source })?)?;
    Ok(KeyId(digest.as_bytes().last_chunk::<4>().map_or(0, |last| u32::from_be_bytes(*last))))
}

/// Keys in the order they were given or learned.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    keys: Vec<FileKey>,
}

impl Keyring {
    /// Reads Keylime's keyring text: `{"meta": …, "keyids": [int], "pubkeys": [base64 DER]}`, or nothing for `""`.
    ///
    /// # Errors
    /// [`MalformedKeyring`] with the key's place.
    pub fn from_keylime(text: &str) -> Result<Self, MalformedKeyring> {
        #[derive(serde::Deserialize)]
        struct KeyringText {
            #[serde(default)]
            keyids: Vec<u32>,
            pubkeys: Vec<String>,
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let text: KeyringText = serde_json::from_str(text).map_err(|source| MalformedKeyring::Json { source })?;
        if text.pubkeys.len() > KEYS_MAX {
            return Err(MalformedKeyring::TooMany { found: text.pubkeys.len(), max: KEYS_MAX });
        }
        let mut keys = Vec::with_capacity(text.pubkeys.len());
        for (index, pubkey) in text.pubkeys.iter().enumerate() {
            let der = STANDARD.decode(pubkey).map_err(|source| MalformedKeyring::Base64 { index, source })?;
            let key = FileKey::from_der(&der).map_err(|source| MalformedKeyring::Key { index, source })?;
            keys.push(match text.keyids.get(index) {
                Some(id) => key.with_id(KeyId(*id)),
                None => key,
            });
        }
        Ok(Self { keys })
    }

    /// Adds a key; one that is there already, or one beyond the 1024th, is left out. Whether it was added.
    pub fn add(&mut self, key: FileKey) -> bool {
        let fits = self.keys.len() < KEYS_MAX && !self.keys.iter().any(|known| known.der == key.der);
        if fits {
            self.keys.push(key);
        }
        fits
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[FileKey] {
        &self.keys
    }

    /// Whether there is no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a key of this ring with the signature's identifier made it over `digest`. Nothing if there is no such key.
    pub(super) fn check(
        &self,
        signature: &SignedAttribute<'_>,
        digest: &[u8],
    ) -> Result<Option<bool>, CryptoUnavailable> {
        let mut known = None;
        for key in self.keys.iter().filter(|key| key.id == signature.key_id) {
            if signature.is_valid(&key.key, digest)? {
                return Ok(Some(true));
            }
            known = Some(false);
        }
        Ok(known)
    }

    /// Whether a key of this ring made the signature of a module over `digest`. Nothing if none fits its signer's name.
    ///
    /// A bare key fits every signer who is named by a certificate's issuer and serial number.
    pub(super) fn check_module(
        &self,
        signature: &ModuleSignature<'_>,
        digest: &Digest,
    ) -> Result<Option<bool>, CryptoUnavailable> {
        let mut known = None;
        for key in &self.keys {
            let fits = match (&signature.signer, &key.issued) {
                (Signer::KeyId(id), _) => key.id == *id,
                (Signer::Issued { issuer, serial }, Some(issued)) => {
                    (*issuer, *serial) == (issued.0.as_slice(), issued.1.as_slice())
                }
                (Signer::Issued { .. }, None) => true,
            };
            if fits && verify_digest(&key.key, digest.algorithm(), digest.as_bytes(), signature.bytes)? {
                return Ok(Some(true));
            }
            known = known.or(fits.then_some(false));
        }
        Ok(known)
    }

    /// Forgets all keys but the first `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        self.keys.truncate(count);
    }
}

/// Why a text is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum MalformedKeyring {
    /// A key's base64 is none.
    #[error("pubkeys[{index}] is not base64")]
    Base64 {
        /// Which key, from 0.
        index: usize,
        /// Where it goes wrong.
        source: base64::DecodeError,
    },
    /// The text is not the JSON it should be.
    #[error("the keyring is not Keylime's JSON (meta, keyids, pubkeys)")]
    Json {
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// A key cannot be used.
    #[error("pubkeys[{index}] cannot be used")]
    Key {
        /// Which key, from 0.
        index: usize,
        /// Why.
        source: UnusableKey,
    },
    /// There are more keys than any machine has.
    #[error("{found} keys, at most {max} are taken")]
    TooMany {
        /// Keys found.
        found: usize,
        /// The named limit.
        max: usize,
    },
}

/// Far more than a distribution's, a site's and a machine's owners' keys together.
pub(super) const KEYS_MAX: usize = 1024;
