//! The witness's name and key, in the folder that also holds what it has cosigned.
//!
//! The two stay together: a key whose records are lost could be made to cosign a second history.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ledger_tlog::key::{KeyName, MalformedKey, NoteVerifier};
use ledger_tlog::signer::{Cosigner, MalformedSigner};
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use transport::secret_file;
use zeroize::Zeroizing;

use crate::store;

/// Makes a witness named `name` in the folder `data`, which must hold none; returns the verifier
/// key to hand to logs and auditors.
///
/// # Errors
/// [`IdentityError`].
pub fn create(data: &Path, name: &str) -> Result<NoteVerifier, IdentityError> {
    let name = KeyName::new(name).map_err(|source| IdentityError::Name { name: name.to_owned(), source })?;
    let key_path = data.join(KEY_FILE);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| IdentityError::Io { path, source }
    };
    fs::create_dir_all(data).map_err(io(data))?;
    let records = data.join(store::RECORDS_FOLDER);
    if key_path.exists() || records.exists() {
        return Err(IdentityError::Exists { folder: data.to_owned() });
    }
    let key = PKey::generate_ed25519().map_err(IdentityError::Generate)?;
    let pem = key.private_key_to_pem_pkcs8().map(Zeroizing::new).map_err(IdentityError::Generate)?;
    let cosigner =
        Cosigner::new(name, key).map_err(|source| IdentityError::MalformedKey { path: key_path.clone(), source })?;
    secret_file::write(&key_path, &pem).map_err(IdentityError::KeyWrite)?;
    let verifier = cosigner.verifier().clone();
    store::replace(data, VKEY_FILE, format!("{verifier}\n").as_bytes()).map_err(io(&data.join(VKEY_FILE)))?;
    // Last: a folder with records is a whole witness.
    fs::create_dir(&records).map_err(io(&records))?;
    store::sync(data).map_err(io(data))?;
    Ok(verifier)
}

/// Reads the witness in the folder `data`.
///
/// # Errors
/// [`IdentityError`], as when others can read the key.
pub fn load(data: &Path) -> Result<Cosigner, IdentityError> {
    let path = data.join(VKEY_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(IdentityError::Io { path, source }),
    };
    let verifier: Result<NoteVerifier, _> = text.trim_end().parse();
    let verifier = verifier.map_err(|source| IdentityError::MalformedVkey { path, source })?;
    let path = data.join(KEY_FILE);
    let pem = secret_file::read(&path).map_err(IdentityError::KeyRead)?;
    let key = match PKey::private_key_from_pem(&pem) {
        Ok(key) => key,
        Err(source) => return Err(IdentityError::MalformedKey { path, source: MalformedSigner::Pem { source } }),
    };
    let cosigner = Cosigner::new(verifier.name().clone(), key);
    let cosigner = cosigner.map_err(|source| IdentityError::MalformedKey { path, source })?;
    if cosigner.verifier().to_string() == verifier.to_string() { Ok(cosigner) } else { Err(IdentityError::Mismatch) }
}

/// Why a witness has no usable key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is a witness already.
    #[error("{folder} holds a witness already; a new key needs a new folder", folder = folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// openssl made no key.
    #[error("cannot make a key")]
    Generate(#[source] ErrorStack),
    /// A file or folder could not be read or written.
    #[error("cannot read or write {path}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The private key's file is missing, open to others or unreadable.
    #[error("the witness's private key is not usable")]
    KeyRead(#[source] secret_file::ReadError),
    /// The private key was not written.
    #[error("the witness's private key was not written")]
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
    /// Private and public key do not belong together.
    #[error("{KEY_FILE} and {VKEY_FILE} are of different keys; restore the one that was replaced")]
    Mismatch,
    /// The name cannot stand in a signature line.
    #[error("{name:?} cannot name a key")]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        source: MalformedKey,
    },
}

/// The private key, PKCS#8 in PEM.
const KEY_FILE: &str = "witness.key";

/// The verifier key, one line.
const VKEY_FILE: &str = "witness.vkey";
