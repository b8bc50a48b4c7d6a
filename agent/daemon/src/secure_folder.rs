//! The folder for keys and payloads: in memory, the owner's alone, and always the one that was checked.

use std::ffi::CString;
use std::fs::DirBuilder;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::mount::MountFlags;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// A folder that is reached through one descriptor, opened and checked once: what its path means later is of no
/// matter. Symbolic links are followed nowhere below it.
#[derive(Debug)]
pub(crate) struct SecureFolder {
    descriptor: OwnedFd,
    path: PathBuf,
}

/// Why payloads cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecureFolderError {
    /// The system refuses.
    #[error("cannot {operation} {path}", path = path.display())]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It belongs to somebody else, who could look into it.
    #[error("{path} must belong to the user the agent runs as", path = path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// It is on a disk.
    #[error(
        "{path} is not in memory (tmpfs or ramfs), so payloads are refused; mount a tmpfs there, point secure_dir to one, or run the agent as root so that it can; danger_payload_on_disk does without", path = path.display()
    )]
    OnDisk {
        /// The folder.
        path: PathBuf,
    },
}

impl SecureFolder {
    /// Opens the folder, makes it if it is not there, and mounts a tmpfs of `bytes` on it if it is on a disk and
    /// the process may. `danger_on_disk` accepts a disk. The folder is closed to others (mode 0700).
    pub(crate) fn open(path: &Path, bytes: u64, danger_on_disk: bool) -> Result<Self, SecureFolderError> {
        let failed = |operation| move |source| SecureFolderError::Io { operation, path: path.to_owned(), source };
        // What the agent makes itself is closed from the start; what is there already must be.
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make"))?;
        let mut folder = Self::open_as_is(path)?;
        if !danger_on_disk && !folder.is_in_memory()? {
            let mounted = mount(path, bytes);
            if let Err(error) = &mounted {
                tracing::debug!(%error, path = %path.display(), "no tmpfs could be mounted");
            }
            // The mount covers what the first descriptor shows.
            folder = Self::open_as_is(path)?;
            if !folder.is_in_memory()? {
                return Err(SecureFolderError::OnDisk { path: path.to_owned() });
            }
        }
        folder.close_to_others()?;
        Ok(folder)
    }

    /// The path it was opened under, for messages and for the payload's own script.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Empties the folder `name` in it, or makes it.
    pub(crate) fn recreate(&self, name: &str) -> Result<Self, SecureFolderError> {
        let path = self.path.join(name);
        let failed = |operation, source: rustix::io::Errno| SecureFolderError::Io {
            operation,
            path: path.clone(),
            source: source.into(),
        };
        remove_all(self.descriptor.as_fd(), name).map_err(|error| failed("empty", error))?;
        self.make_folder(name)?;
        let descriptor =
            rustix::fs::openat(&self.descriptor, name, FOLDER, Mode::empty()).map_err(|error| failed("open", error))?;
        Ok(Self { descriptor, path })
    }

    /// Makes a folder in it, unless there is one.
    pub(crate) fn make_folder(&self, relative: &str) -> Result<(), SecureFolderError> {
        match rustix::fs::mkdirat(&self.descriptor, relative, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(source) => Err(self.io("make", relative, source.into())),
        }
    }

    /// Writes a file of mode 0600 under a temporary name and renames it, so that it is whole or not there.
    pub(crate) fn write(&self, relative: &str, content: &[u8]) -> Result<(), SecureFolderError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let write = || -> io::Result<()> {
            let file = rustix::fs::openat(&self.descriptor, TEMPORARY, flags, Mode::RUSR | Mode::WUSR)?;
            let mut file = std::fs::File::from(file);
            file.write_all(content)?;
            file.sync_all()?;
            rustix::fs::renameat(&self.descriptor, TEMPORARY, &self.descriptor, relative)?;
            Ok(())
        };
        write().map_err(|source| self.io("write", relative, source))
    }

    /// Reads a file of at most `bytes_max`; `None` if there is none.
    pub(crate) fn read(&self, relative: &str, bytes_max: u64) -> Result<Option<Zeroizing<Vec<u8>>>, SecureFolderError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.descriptor, relative, flags, Mode::empty()) {
            Ok(file) => std::fs::File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(source) => return Err(self.io("read", relative, source.into())),
        };
        let mut content = Zeroizing::new(Vec::new());
        file.take(bytes_max).read_to_end(&mut content).map_err(|source| self.io("read", relative, source))?;
        Ok(Some(content))
    }

    fn open_as_is(path: &Path) -> Result<Self, SecureFolderError> {
        let descriptor = rustix::fs::open(path, FOLDER, Mode::empty()).map_err(|source| SecureFolderError::Io {
            operation: "open",
            path: path.to_owned(),
            source: source.into(),
        })?;
        Ok(Self { descriptor, path: path.to_owned() })
    }

    /// Asks the kernel about the open folder itself: mount tables are text that can be made to lie.
    fn is_in_memory(&self) -> Result<bool, SecureFolderError> {
        let about = rustix::fs::fstatfs(&self.descriptor).map_err(|error| self.io("examine", "", error.into()))?;
        // The type's width and sign differ between platforms; the magic numbers are 32 bits.
        let magic = about.f_type as u64 & 0xffff_ffff;
        Ok(magic == TMPFS_MAGIC || magic == RAMFS_MAGIC)
    }

    fn close_to_others(&self) -> Result<(), SecureFolderError> {
        let about = rustix::fs::fstat(&self.descriptor).map_err(|error| self.io("examine", "", error.into()))?;
        if about.st_uid != rustix::process::geteuid().as_raw() {
            return Err(SecureFolderError::NotOurs { path: self.path.clone() });
        }
        rustix::fs::fchmod(&self.descriptor, Mode::RWXU).map_err(|error| self.io("close", "", error.into()))
    }

    fn io(&self, operation: &'static str, relative: &str, source: io::Error) -> SecureFolderError {
        SecureFolderError::Io { operation, path: self.path.join(relative), source }
    }
}

fn mount(path: &Path, bytes: u64) -> io::Result<()> {
    let options = CString::new(format!("size={bytes},mode=0700"))?;
    let flags = MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOSUID;
    Ok(rustix::mount::mount("tmpfs", path, "tmpfs", flags, options.as_c_str())?)
}

/// Removes what has this name, links as links; nothing there is fine.
fn remove_all(parent: std::os::fd::BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    let folder = match rustix::fs::openat(parent, name, FOLDER, Mode::empty()) {
        Ok(folder) => folder,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
            return rustix::fs::unlinkat(parent, name, AtFlags::empty());
        }
        Err(error) => return Err(error),
    };
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let Ok(inner) = entry.file_name().to_str() else { return Err(rustix::io::Errno::ILSEQ) };
        match (inner, entry.file_type()) {
            ("." | "..", _) => {}
            (inner, FileType::Directory) => remove_all(folder.as_fd(), inner)?,
            (inner, _) => rustix::fs::unlinkat(&folder, inner, AtFlags::empty())?,
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// The name under which a file is written before it takes its own.
pub(crate) const TEMPORARY: &str = ".attestry-new";
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Source: Linux, `include/uapi/linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;
