//! The folder of vendors' certificates, read again when it changes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use evidence::ek_certificate::TrustStore;

#[cfg(test)]
mod tests;

/// A folder whose `.pem`, `.crt`, `.cer` and `.der` files are trusted for EK certificates. Not its subfolders.
#[derive(Debug)]
pub(crate) struct TrustDirectory {
    path: PathBuf,
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Debug)]
struct Loaded {
    looked: Instant,
    stamps: Result<Vec<Stamp>, io::ErrorKind>,
    store: Arc<TrustStore>,
}

/// What tells a changed file without reading it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Stamp {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl TrustDirectory {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, loaded: Mutex::default() }
    }

    /// The certificates in the folder, at most [`LOOK_INTERVAL`] old. A file that cannot be used is logged and left
    /// out; a folder that cannot be read trusts nobody. Blocks.
    pub(crate) fn current(&self, now: Instant) -> Arc<TrustStore> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = loaded.as_ref()
            && now.saturating_duration_since(loaded.looked) < LOOK_INTERVAL
        {
            return Arc::clone(&loaded.store);
        }
        let stamps = stamps(&self.path).map_err(|error| error.kind());
        let unchanged = loaded.as_ref().filter(|loaded| loaded.stamps == stamps);
        let store = match unchanged {
            Some(loaded) => Arc::clone(&loaded.store),
            None => Arc::new(self.load(&stamps)),
        };
        *loaded = Some(Loaded { looked: now, stamps, store: Arc::clone(&store) });
        store
    }

    fn load(&self, stamps: &Result<Vec<Stamp>, io::ErrorKind>) -> TrustStore {
        let mut store = TrustStore::new();
        let path = self.path.display();
        let stamps = match stamps {
            Ok(stamps) => stamps,
            Err(error) => {
                tracing::error!(%path, %error, "the trust folder cannot be read; no EK certificate is trusted");
                return store;
            }
        };
        for stamp in stamps {
            add(&mut store, stamp);
        }
        let (roots, intermediates) = (store.roots().len(), store.intermediates().len());
        if roots == 0 {
            tracing::warn!(%path, intermediates, "the trust folder holds no root; no EK certificate is trusted");
        } else {
            tracing::info!(%path, roots, intermediates, "read the trust folder");
        }
        store
    }
}

fn add(store: &mut TrustStore, stamp: &Stamp) {
    let file = stamp.path.display().to_string();
    if stamp.bytes > FILE_BYTES_MAX {
        tracing::error!(file, bytes = stamp.bytes, max = FILE_BYTES_MAX, "a trust file is too long; it is left out");
        return;
    }
    match fs::read(&stamp.path) {
        Ok(bytes) => {
            if let Err(error) = store.add(&file, &bytes) {
                tracing::error!(file, error = %error.source, "a trust file is no file of certificates; it is left out");
            }
        }
        Err(error) => tracing::error!(file, %error, "a trust file cannot be read; it is left out"),
    }
}

fn stamps(folder: &Path) -> io::Result<Vec<Stamp>> {
    let mut stamps = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            continue;
        }
        // A file that is removed meanwhile is gone.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        if metadata.is_file() {
            stamps.push(Stamp { path, bytes: metadata.len(), modified: metadata.modified().ok() });
        }
    }
    stamps.sort();
    Ok(stamps)
}

/// What a trust file is called.
const EXTENSIONS: [&str; 4] = ["pem", "crt", "cer", "der"];
/// Longer than any vendor's bundle: the largest known has 350 KB.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// How long a change may go unnoticed: a person who added a root waits no longer than this for it to count, and a
/// flood of registrations makes one look per second.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
