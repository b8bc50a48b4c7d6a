//! Files that appear whole and stay: temporary file, fsync, rename, fsync of the folder.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::{disk, entropy};

/// A folder held open.
///
/// It is opened before anything is done in it: an inode that the kernel drops in between would
/// take a write-back error with it, and the fsync that should report it would say all is well.
#[derive(Debug)]
pub(crate) struct Folder {
    handle: File,
    path: PathBuf,
}

impl Folder {
    pub(crate) fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        Ok(Self { handle: File::open(&path)?, path })
    }

    /// Opens the folder `name` inside this one, made if it is not there. Its name is durable then,
    /// and the names in it are: one that is there may be younger than the last sync, of a process
    /// that was killed or of another thread.
    pub(crate) fn make(&self, name: &str) -> io::Result<Self> {
        let path = self.path.join(name);
        make_name(&path, FOLDER_MODE)?;
        let made = Self::open(path)?;
        made.sync()?;
        self.sync()?;
        Ok(made)
    }

    /// Opens the folder `path`, durable as [`Folder::make`] makes it. Where it is missing, it is made
    /// so that its owner alone may enter it, and those above it as they come; one that is there stays
    /// as it is.
    pub(crate) fn make_private(path: &Path) -> io::Result<Self> {
        let made = Self::make_all(path, PRIVATE_MODE)?;
        made.sync()?;
        Ok(made)
    }

    fn make_all(path: &Path, mode: u32) -> io::Result<Self> {
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) => Path::new("."),
            None => return Self::open(path),
        };
        if path.exists() {
            // It may be younger than its last sync; or old, and above it what is not ours to open.
            match Self::open(parent).and_then(|parent| parent.sync()) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        } else {
            let parent = Self::make_all(parent, FOLDER_MODE)?;
            make_name(path, mode)?;
            parent.sync()?;
        }
        Self::open(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes names durable: after a file was created, renamed or removed.
    pub(crate) fn sync(&self) -> io::Result<()> {
        disk::sync_folder(&self.handle, &self.path)
    }

    /// The content of a file, `None` if there is none of that name.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.file(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a file this content, at once and durably, whatever it held.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let tag = entropy::tag().map_err(io::Error::other)?;
        let temporary = self.file(&format!("{TEMPORARY_PREFIX}{tag}"));
        let written = write_new(&temporary, content).and_then(|()| disk::rename(&temporary, &self.file(name)));
        if written.is_err() {
            // Best effort: what stays is removed at the next start.
            let _ = disk::remove(&temporary);
        }
        written.and_then(|()| self.sync())
    }

    /// Creates a file that never changes. One that exists with the same content is fine.
    pub(crate) fn keep(&self, name: &str, content: &[u8]) -> io::Result<()> {
        match self.read(name)? {
            // Its name may be newer than the last sync of the folder.
            Some(existing) if existing == content => self.sync(),
            Some(_) => {
                let text = format!("{} exists with other content and must not change", self.file(name).display());
                Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
            }
            None => self.replace(name, content),
        }
    }

    /// The names in the folder, sorted; temporary files are left out.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !name.starts_with(TEMPORARY_PREFIX) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes what an interrupted [`Folder::replace`] has left.
    pub(crate) fn remove_temporary(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                disk::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Makes a folder unless it is there.
fn make_name(path: &Path, mode: u32) -> io::Result<()> {
    match disk::create_folder(path, mode) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The permission bits of a folder in which others than its owner may make and remove files.
pub(crate) fn writable_by_others(path: &Path) -> io::Result<Option<u32>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    Ok((mode & 0o022 != 0).then_some(mode))
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let file = disk::create(path)?;
    disk::write_at(&file, path, content, 0)?;
    disk::sync(&file, path)
}

/// How the names of files begin that are not finished.
pub(crate) const TEMPORARY_PREFIX: &str = ".tmp-";

/// Of a folder whose parent keeps others out, or is not ours; less the umask.
const FOLDER_MODE: u32 = 0o777;

/// Of the folders that hold a log.
const PRIVATE_MODE: u32 = 0o700;
