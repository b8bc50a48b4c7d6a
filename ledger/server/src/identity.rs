//! The log's name and signing key.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ledger_tlog::key::{KeyName, MalformedKey, NoteVerifier};
use ledger_tlog::signer::{MalformedSigner, NoteSigner};
use messages::Digest;
use openssl::error::ErrorStack;
use transport::secret_file;

use crate::folder::Folder;
use crate::{disk, entropy};

/// Who the log is: its origin, its key and what verifies it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) signer: NoteSigner,
}

/// Why a log has no usable key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// openssl made no key.
    #[error("cannot make a signing key")]
    Generate(#[source] ErrorStack),
    /// The verifier key's file could not be read or written.
    #[error("cannot read or write {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The private key's file is missing, open to others or unreadable.
    #[error("the log's private key is not usable")]
    KeyFile(#[source] secret_file::ReadError),
    /// The private key was not written.
    #[error("the log's private key was not written")]
    KeyWrite(#[source] secret_file::WriteError),
    /// The private key's file holds no Ed25519 key.
    #[error("{path} holds no Ed25519 private key in PEM", path = path.display())]
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
    /// The name asked for is no key name.
    #[error("the origin {origin:?} cannot name a key")]
    Origin {
        /// The name.
        origin: String,
        /// What is wrong.
        source: MalformedKey,
    },
    /// The log has another name than the one asked for.
    #[error("the log in this folder is {found:?}, not {expected:?}; name another folder or the log's own origin")]
    OtherOrigin {
        /// The name asked for.
        expected: String,
        /// The log's name.
        found: String,
    },
    /// Private and public key do not belong together.
    #[error("{KEY_FILE} and {VKEY_FILE} are of different keys; restore the one that was replaced")]
    Mismatch,
}

impl Identity {
    /// The log's name.
    pub(crate) fn origin(&self) -> &str {
        self.signer.verifier().name().as_str()
    }

    /// What a segment's header carries of the name.
    pub(crate) fn origin_digest(&self) -> Digest {
        origin_digest(self.origin())
    }

    /// The verifier key as text.
    pub(crate) fn vkey(&self) -> String {
        self.signer.verifier().to_string()
    }

    /// Reads the key of the log in `folder`.
    pub(crate) fn load(folder: &Path) -> Result<Self, IdentityError> {
        let verifier = load_verifier(folder)?;
        let key_path = folder.join(KEY_FILE);
        let pem = secret_file::read(&key_path).map_err(IdentityError::KeyFile)?;
        let signer = NoteSigner::from_pem(verifier.name().clone(), &pem)
            .map_err(|source| IdentityError::MalformedKey { path: key_path, source })?;
        if signer.verifier().to_string() != verifier.to_string() {
            return Err(IdentityError::Mismatch);
        }
        Ok(Self { signer })
    }

    /// Makes a key for a new log; `origin` is made up from chance if none is given. A key that an
    /// interrupted start has left without its verifier key is replaced: nothing was signed with it.
    pub(crate) fn create(folder: &Folder, origin: Option<&str>) -> Result<Self, IdentityError> {
        let origin = match origin {
            Some(origin) => origin.to_owned(),
            None => format!("attestry.local/{}", entropy::tag().map_err(IdentityError::Generate)?),
        };
        let name = KeyName::new(&origin).map_err(|source| IdentityError::Origin { origin, source })?;
        let key = entropy::ed25519_key().map_err(IdentityError::Generate)?;
        let pem = key.private_key_to_pem_pkcs8().map(zeroize::Zeroizing::new).map_err(IdentityError::Generate)?;
        disk::write_secret(&folder.file(KEY_FILE), &pem).map_err(IdentityError::KeyWrite)?;
        let path = folder.file(KEY_FILE);
        let signer = NoteSigner::new(name, key).map_err(|source| IdentityError::MalformedKey { path, source })?;
        let path = folder.file(VKEY_FILE);
        folder
            .replace(VKEY_FILE, format!("{}\n", signer.verifier()).as_bytes())
            .map_err(|source| IdentityError::Io { path, source })?;
        Ok(Self { signer })
    }

    /// Refuses another name than the one asked for.
    pub(crate) fn expect_origin(&self, expected: Option<&str>) -> Result<(), IdentityError> {
        match expected {
            Some(expected) if expected != self.origin() => {
                let (expected, found) = (expected.to_owned(), self.origin().to_owned());
                Err(IdentityError::OtherOrigin { expected, found })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Reads the verifier key of the log in `folder`.
pub(crate) fn load_verifier(folder: &Path) -> Result<NoteVerifier, IdentityError> {
    let path = folder.join(VKEY_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(IdentityError::Io { path, source }),
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    NoteVerifier::from_str(text).map_err(|source| IdentityError::MalformedVkey { path, source })
}

/// What a segment's header carries of the log's name.
pub(crate) fn origin_digest(origin: &str) -> Digest {
    Digest(openssl::sha::sha256(origin.as_bytes()))
}

/// The private key, PKCS#8 in PEM.
pub(crate) const KEY_FILE: &str = "log.key";

/// The verifier key, one line.
pub(crate) const VKEY_FILE: &str = "log.vkey";
