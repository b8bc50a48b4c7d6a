//! One process at a time on a data directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Held while a process works on a data directory; the system lets go of it with the process.
#[derive(Debug)]
pub(crate) struct Ownership(File);

/// Why a data directory was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OwnershipError {
    /// The file that carries the lock was not opened or written.
    #[error("cannot lock {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process works there.
    #[error("{folder} is in use by process {pid}; stop it first", folder = folder.display())]
    Taken {
        /// The data directory.
        folder: PathBuf,
        /// That process, as it wrote itself down.
        pid: String,
    },
}

impl Ownership {
    pub(crate) fn take(folder: &Path) -> Result<Self, OwnershipError> {
        let path = folder.join(FILE);
        let failed = |source| OwnershipError::Io { path: path.clone(), source };
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                file.take(PID_BYTES_MAX).read_to_string(&mut pid).map_err(failed)?;
                return Err(OwnershipError::Taken { folder: folder.to_owned(), pid: pid.trim().to_owned() });
            }
            Err(error) => return Err(failed(error.into())),
        }
        let pid = std::process::id();
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{pid}")).map_err(failed)?;
        Ok(Self(file))
    }
}

impl Drop for Ownership {
    /// Closing the file would do, were there no child of this process that has been forked and has
    /// not yet closed its copy: the lock belongs to them all.
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Carries the lock and the process's id.
pub(crate) const FILE: &str = "pid";

/// A process id has at most ten digits.
const PID_BYTES_MAX: u64 = 32;
