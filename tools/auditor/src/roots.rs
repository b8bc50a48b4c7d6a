//! The manufacturers' certificates an auditor trusts, read from files and folders.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use evidence::ek_certificate::{MalformedTrustFile, TrustStore};

/// Why the roots are not used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// Files were read, but no certificate in them is its own issuer.
    #[error("{path} holds no root certificate (one that is signed by itself)", path = path.display())]
    Empty {
        /// What was given last.
        path: PathBuf,
    },
    /// A file or folder could not be read.
    #[error("cannot read {path}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path} holds no certificates", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: MalformedTrustFile,
    },
}

/// Reads the files given, and of each folder its files ending in `.pem`, `.crt`, `.cer` or `.der`.
///
/// # Errors
/// [`RootsError`] for the first that cannot be used, or if there is no root among them.
pub fn load(paths: &[PathBuf]) -> Result<TrustStore, RootsError> {
    let mut store = TrustStore::new();
    for path in paths {
        for file in files_of(path)? {
            let bytes = fs::read(&file).map_err(|source| RootsError::Io { path: file.clone(), source })?;
            store
                .add(&file.display().to_string(), &bytes)
                .map_err(|source| RootsError::Malformed { path: file.clone(), source })?;
        }
    }
    match paths.last() {
        Some(path) if store.roots().is_empty() => Err(RootsError::Empty { path: path.clone() }),
        _ => Ok(store),
    }
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, RootsError> {
    let error = |source| RootsError::Io { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(error)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let certificate = |file: &PathBuf| {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        ["pem", "crt", "cer", "der"].contains(&extension.to_ascii_lowercase().as_str())
    };
    let entries = fs::read_dir(path).map_err(error)?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|e| e.path()).map_err(error)).collect::<Result<_, _>>()?;
    files.retain(certificate);
    // The same store whatever order the file system has.
    files.sort();
    Ok(files)
}
