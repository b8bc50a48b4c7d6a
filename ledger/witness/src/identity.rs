//! The witness's name and key, in the folder that also holds what it has cosigned.
//!
//! The two stay together: a key whose records are lost could be made to cosign a second history.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ledger_keys::{KeyFileError, KeyFiles, KeyType, public_line};
use ledger_tlog::key::{KeyName, MalformedKey, NoteVerifier};
use ledger_tlog::signer::{Cosigner, MalformedSigner};

use crate::store;

/// Makes a witness named `name` with a key of type `kind`, Ed25519 or ML-DSA-44, in the folder `data`,
/// which must hold none; returns the verifier key to hand to logs and auditors.
///
/// # Errors
/// [`IdentityError`].
pub fn create(data: &Path, name: &str, kind: KeyType) -> Result<NoteVerifier, IdentityError> {
    let name = KeyName::new(name).map_err(|source| IdentityError::Name { name: name.to_owned(), source })?;
    if kind == KeyType::P256 {
        return Err(IdentityError::Kind { kind });
    }
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| IdentityError::Io { path, source }
    };
    fs::create_dir_all(data).map_err(io(data))?;
    let records = data.join(store::RECORDS_FOLDER);
    let files = KeyFiles::new(data, STEM);
    if data.join(files.private_name()).exists() || records.exists() {
        return Err(IdentityError::Exists { folder: data.to_owned() });
    }
    let key = kind.generate().map_err(IdentityError::Key)?;
    files.write_private(&key).map_err(IdentityError::Key)?;
    let cosigner = Cosigner::new(name, key).map_err(IdentityError::Unusable)?;
    let verifier = cosigner.verifier().clone();
    let public = files.public_name();
    store::replace(data, &public, public_line(&verifier).as_bytes()).map_err(io(&data.join(&public)))?;
    // Last: a folder with records is a whole witness.
    fs::create_dir(&records).map_err(io(&records))?;
    store::sync(data).map_err(io(data))?;
    Ok(verifier)
}

/// Reads the witness in the folder `data`.
///
/// # Errors
/// [`IdentityError::Key`], as when others can read the key.
pub fn load(data: &Path) -> Result<Cosigner, IdentityError> {
    KeyFiles::new(data, STEM).cosigner().map_err(IdentityError::Key)
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
    /// A file or folder could not be read or written.
    #[error("cannot read or write {path}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The key's files are not usable.
    #[error("the witness's key is not usable")]
    Key(#[source] KeyFileError),
    /// A key that makes no cosignatures.
    #[error("a witness's key is ed25519 or mldsa44, not {kind}")]
    Kind {
        /// The type asked for.
        kind: KeyType,
    },
    /// The name cannot stand in a signature line.
    #[error("{name:?} cannot name a key")]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        source: MalformedKey,
    },
    /// The key that was made cannot cosign.
    #[error("the key that was made cannot be used")]
    Unusable(#[source] MalformedSigner),
}

/// What the names of the key's files begin with.
const STEM: &str = "witness";
