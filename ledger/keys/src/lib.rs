//! The key files of those who sign notes, logs and witnesses alike: made, kept private, read back and checked.
//!
//! Not in here: what is signed (`ledger-tlog`), and in which order the files of a new log or witness become durable.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ledger_tlog::key::{KeyName, MalformedKey, NoteVerifier};
use ledger_tlog::signer::{
    Cosigner, ML_DSA_SEED_BYTES, MalformedSigner, NoteSigner, ml_dsa_from_seed, ml_dsa_is_available,
};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::rand::rand_priv_bytes;
use transport::secret_file;
use zeroize::{Zeroize, Zeroizing};

/// What kind of key to make. Reads and shows as `ed25519`, `p256` and `mldsa44`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum KeyType {
    /// Ed25519, a log's (note signatures of type 0x01) or a witness's (0x04).
    Ed25519,
    /// ECDSA on P-256 with SHA-256, a log's (0x02).
    P256,
    /// ML-DSA-44, a log's or a witness's (0x06). Needs openssl 3.5 or later.
    MlDsa44,
}

impl KeyType {
    /// The name on the command line and in file names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "p256",
            Self::MlDsa44 => "mldsa44",
        }
    }

    /// The kind of a verifier key; none if it is not made here.
    #[must_use]
    pub const fn of(verifier: &NoteVerifier) -> Option<Self> {
        match verifier.signature_type() {
            0x01 | 0x04 => Some(Self::Ed25519),
            0x02 => Some(Self::P256),
            0x06 => Some(Self::MlDsa44),
            _ => None,
        }
    }

    /// A new key of this kind, from the system's randomness.
    ///
    /// # Errors
    /// [`KeyFileError::Unsupported`] for ML-DSA-44 with an older openssl, [`KeyFileError::Generate`].
    pub fn generate(self) -> Result<PKey<Private>, KeyFileError> {
        let made = match self {
            Self::Ed25519 => PKey::generate_ed25519(),
            Self::P256 => PKey::ec_gen("prime256v1"),
            Self::MlDsa44 if !ml_dsa_is_available() => {
                return Err(KeyFileError::Unsupported { openssl: openssl::version::version() });
            }
            Self::MlDsa44 => generate_ml_dsa(),
        };
        made.map_err(KeyFileError::Generate)
    }
}

fn generate_ml_dsa() -> Result<PKey<Private>, ErrorStack> {
    let mut seed = [0; ML_DSA_SEED_BYTES];
    let made = rand_priv_bytes(&mut seed).and_then(|()| ml_dsa_from_seed(&seed));
    seed.zeroize();
    made
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyType {
    type Err = UnknownKeyType;

    fn from_str(text: &str) -> Result<Self, UnknownKeyType> {
        let known = [Self::Ed25519, Self::P256, Self::MlDsa44];
        known.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKeyType { found: text.to_owned() })
    }
}

/// Text names no kind of key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{found:?} is no type of key; expected ed25519, p256 or mldsa44")]
pub struct UnknownKeyType {
    /// The text.
    pub found: String,
}

/// The two files of a key: `<stem>.key`, PKCS#8 in PEM and its owner's alone, and `<stem>.vkey`, the
/// verifier key in one line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyFiles {
    folder: PathBuf,
    stem: String,
}

impl KeyFiles {
    /// The files of that stem in `folder`, there or not.
    #[must_use]
    pub fn new(folder: &Path, stem: &str) -> Self {
        Self { folder: folder.to_owned(), stem: stem.to_owned() }
    }

    /// Name of the private key's file.
    #[must_use]
    pub fn private_name(&self) -> String {
        format!("{}.key", self.stem)
    }

    /// Name of the verifier key's file, which is written last: where it is, there is a key.
    #[must_use]
    pub fn public_name(&self) -> String {
        format!("{}.vkey", self.stem)
    }

    /// Whether there is a key.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.folder.join(self.public_name()).exists()
    }

    /// Writes the private side, durably and with mode 0600. The caller then writes
    /// [`public_line`] under [`KeyFiles::public_name`] in the way its folder's files are made durable.
    ///
    /// # Errors
    /// [`KeyFileError::Write`], [`KeyFileError::Generate`] if openssl does not encode the key.
    pub fn write_private(&self, key: &PKey<Private>) -> Result<(), KeyFileError> {
        let pem = key.private_key_to_pem_pkcs8().map(Zeroizing::new).map_err(KeyFileError::Generate)?;
        secret_file::write(&self.folder.join(self.private_name()), &pem).map_err(KeyFileError::Write)
    }

    /// Reads the verifier key alone.
    ///
    /// # Errors
    /// [`KeyFileError::Io`] or [`KeyFileError::MalformedVkey`].
    pub fn verifier(&self) -> Result<NoteVerifier, KeyFileError> {
        let path = self.folder.join(self.public_name());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(KeyFileError::Io { path, source }),
        };
        let text = text.strip_suffix('\n').unwrap_or(&text);
        text.parse().map_err(|source| KeyFileError::MalformedVkey { path, source })
    }

    /// Reads a log's key and compares its two sides.
    ///
    /// # Errors
    /// [`KeyFileError`], as when others can read the private side.
    pub fn signer(&self) -> Result<NoteSigner, KeyFileError> {
        let (signer, published) = self.load(NoteSigner::from_pem)?;
        self.expect_pair(signer.verifier(), &published)?;
        Ok(signer)
    }

    /// Reads a key that cosigns and compares its two sides.
    ///
    /// # Errors
    /// As for [`KeyFiles::signer`].
    pub fn cosigner(&self) -> Result<Cosigner, KeyFileError> {
        let (cosigner, published) = self.load(Cosigner::from_pem)?;
        self.expect_pair(cosigner.verifier(), &published)?;
        Ok(cosigner)
    }

    fn load<T>(
        &self,
        read: impl Fn(KeyName, &[u8]) -> Result<T, MalformedSigner>,
    ) -> Result<(T, NoteVerifier), KeyFileError> {
        let published = self.verifier()?;
        let path = self.folder.join(self.private_name());
        let pem = secret_file::read(&path).map_err(KeyFileError::Read)?;
        let loaded = read(published.name().clone(), &pem);
        Ok((loaded.map_err(|source| KeyFileError::MalformedKey { path, source })?, published))
    }

    fn expect_pair(&self, own: &NoteVerifier, published: &NoteVerifier) -> Result<(), KeyFileError> {
        if own.to_string() == published.to_string() {
            return Ok(());
        }
        Err(KeyFileError::Mismatch { folder: self.folder.clone(), stem: self.stem.clone() })
    }
}

/// What the verifier key's file holds.
#[must_use]
pub fn public_line(verifier: &NoteVerifier) -> String {
    format!("{verifier}\n")
}

/// Why there is no usable key. Never shows a private key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// openssl made no key.
    #[error("cannot make a key")]
    Generate(#[source] ErrorStack),
    /// The verifier key's file could not be read.
    #[error("cannot read {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The private key's file holds no key of a kind that serves here.
    #[error("{path} holds no private key for this", path = path.display())]
    MalformedKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: MalformedSigner,
    },
    /// The verifier key's file holds none.
    #[error("{path} holds no verifier key", path = path.display())]
    MalformedVkey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: MalformedKey,
    },
    /// Private and public side do not belong together.
    #[error("{stem}.key and {stem}.vkey in {folder} are of different keys; restore the one that was replaced",
        folder = folder.display())]
    Mismatch {
        /// Where.
        folder: PathBuf,
        /// What both names begin with.
        stem: String,
    },
    /// The private key's file is missing, open to others or unreadable.
    #[error("the private key is not usable")]
    Read(#[source] secret_file::ReadError),
    /// ML-DSA-44 is newer than the openssl that is linked.
    #[error("an ML-DSA-44 key needs OpenSSL 3.5 or later; this is {openssl}")]
    Unsupported {
        /// The library's version.
        openssl: &'static str,
    },
    /// The private key was not written.
    #[error("the private key was not written")]
    Write(#[source] secret_file::WriteError),
}

#[cfg(test)]
mod tests;
