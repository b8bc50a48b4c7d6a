//! Files that hold secrets: written whole or not at all, readable by their owner alone, refused
//! when others can read them. All calls block on the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Why a secret file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Others than the owner may read, write or run it.
    #[error("{path} holds a secret and is open to others (mode {mode:04o}); run: chmod 600 {path}", path = path.display())]
    Exposed {
        /// Its permission bits.
        mode: u32,
        /// The file.
        path: PathBuf,
    },
    /// The system did not open or read it.
    #[error("cannot read {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is a folder, a pipe or a device.
    #[error("{path} is not a regular file", path = path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// It is longer than [`SECRET_BYTES_MAX`].
    #[error("{path} is longer than the {SECRET_BYTES_MAX} bytes a secret file may have", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

impl ReadError {
    /// Whether there is simply no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Why a secret file was not written; the file of that name, if any, is as it was before.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}", path = path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Reads the whole of a secret file; the memory is wiped when the answer is dropped.
///
/// Checked on the open file, so nothing can be swapped in between: a regular file, no permission
/// for group or others, at most [`SECRET_BYTES_MAX`] bytes.
///
/// # Errors
/// [`ReadError`], naming the file and, when its mode is at fault, the command that mends it.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(ReadError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(ReadError::Exposed { mode, path: path.to_owned() });
    }
    // Room for the largest one from the start: a buffer that grows leaves copies behind.
    let mut secret = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    let limit = SECRET_BYTES_MAX as u64 + 1;
    file.take(limit).read_to_end(&mut secret).map_err(failed)?;
    if secret.len() > SECRET_BYTES_MAX {
        return Err(ReadError::TooLong { path: path.to_owned() });
    }
    Ok(secret)
}

/// Writes a secret file of mode 0600, replacing one of that name at once and durably.
///
/// # Errors
/// [`WriteError`] with the step's cause; a half-written file never takes the name.
pub fn write(path: &Path, secret: &[u8]) -> Result<(), WriteError> {
    replace(path, secret, 0o600).map_err(|source| WriteError { path: path.to_owned(), source })
}

/// Writes a file anyone may read (mode 0644, less the umask), as durably as [`write()`] does.
pub(crate) fn write_public(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    replace(path, content, 0o644).map_err(|source| WriteError { path: path.to_owned(), source })
}

fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let unnamed = || io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name");
    let name = path.file_name().ok_or_else(unnamed)?;
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut tag = [0; 8];
    openssl::rand::rand_bytes(&mut tag).map_err(io::Error::other)?;
    let tag = u64::from_ne_bytes(tag);
    let temporary = folder.join(format!(".{}.{tag:016x}.tmp", name.to_string_lossy()));
    let written = write_new(&temporary, content, mode)
        .and_then(|()| std::fs::rename(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // Best effort: the name is random and the mode is right, so what stays harms nobody.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// The longest secret file read, in bytes. A PEM key is below 16 KiB even for RSA-16384; the
/// room above is for payload keys and tokens kept several to a file.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
