//! Copies files below one folder to the same places below another.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{BLOBS, BackupError, SEGMENTS, file_name, io_error, open};
use crate::folder::{Folder, TEMPORARY_PREFIX};
use crate::pruned::{PRUNED_FOLDER, first_of_any};
use crate::receipts::{RECEIPT_KEY_FILE, RECEIPT_PUBLIC_FILE};
use crate::segment::{Segments, name};

pub(super) struct Copying<'a> {
    bytes: u64,
    files: u64,
    from: &'a Folder,
    to: &'a Folder,
}

impl<'a> Copying<'a> {
    pub(super) fn new(from: &'a Folder, to: &'a Folder) -> Self {
        Self { bytes: 0, files: 0, from, to }
    }

    pub(super) fn source(&self, relative: &Path) -> PathBuf {
        self.from.path().join(relative)
    }

    fn target(&self, relative: &Path) -> PathBuf {
        self.to.path().join(relative)
    }

    /// Files written and their bytes.
    pub(super) const fn written(&self) -> (u64, u64) {
        (self.files, self.bytes)
    }

    pub(super) fn folder(&self, relative: impl AsRef<Path>) -> Result<(), BackupError> {
        let path = self.target(relative.as_ref());
        fs::create_dir_all(&path).map_err(io_error("make", &path))
    }

    /// Whether a file that does not change any more has its length in the copy.
    pub(super) fn is_copied(&self, relative: &Path) -> Result<bool, BackupError> {
        let (from, to) = (self.source(relative), self.target(relative));
        let length = from.metadata().map_err(io_error("look at", &from))?.len();
        Ok(to.metadata().is_ok_and(|metadata| metadata.len() == length))
    }

    /// Copies the log's keys, those that sign beside its own, and the key of receipts; without the
    /// private ones if only `public` are wanted.
    pub(super) fn keys(&mut self, public: bool) -> Result<(), BackupError> {
        for name in self.from.names().map_err(io_error("list", self.from.path()))? {
            if is_key(&name) && !(public && is_private(&name)) {
                self.file(Path::new(&name))?;
            }
        }
        Ok(())
    }

    /// Copies the private keys alone.
    pub(super) fn private_keys(&mut self) -> Result<(), BackupError> {
        for name in self.from.names().map_err(io_error("list", self.from.path()))? {
            if is_key(&name) && is_private(&name) {
                self.file(Path::new(&name))?;
            }
        }
        self.sync()
    }

    /// Copies a file that does not change, with its mode, unless it is there; one that vanishes
    /// meanwhile was pruned. It has its name only when it is whole.
    pub(super) fn file(&mut self, relative: &Path) -> Result<(), BackupError> {
        let (from, to) = (self.source(relative), self.target(relative));
        let length = match from.metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io_error("look at", &from)(error)),
        };
        if to.metadata().is_ok_and(|metadata| metadata.len() == length) {
            return Ok(());
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(io_error("make", parent))?;
        }
        let temporary = to.with_file_name(format!("{TEMPORARY_PREFIX}{}", file_name(&to)));
        match fs::copy(&from, &temporary).and_then(|copied| fs::rename(&temporary, &to).map(|()| copied)) {
            Ok(copied) => {
                self.files += 1;
                self.bytes += copied;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !from.exists() => Ok(()),
            Err(error) => Err(io_error("copy", &from)(error)),
        }
    }

    /// Copies the bytes of a growing file from `start` to `end`; the copy ends there.
    pub(super) fn range(&mut self, relative: &Path, start: u64, end: u64) -> Result<(), BackupError> {
        let (from, to) = (self.source(relative), self.target(relative));
        let copied = (|| {
            let mut source = File::open(&from)?;
            let mut target = File::options().write(true).create(true).truncate(false).open(&to)?;
            let there = target.metadata()?.len();
            if there == end && start == end {
                return Ok(0);
            }
            let start = start.min(there);
            target.set_len(start)?;
            source.seek(SeekFrom::Start(start))?;
            target.seek(SeekFrom::Start(start))?;
            let copied = io::copy(&mut source.take(end - start), &mut target)?;
            target.flush()?;
            if copied < end - start { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(copied) }
        })();
        let copied: u64 = copied.map_err(io_error("copy", &from))?;
        self.files += u64::from(copied > 0);
        self.bytes += copied;
        Ok(())
    }

    /// Copies the files below a folder that `wanted` wants and that are not there.
    pub(super) fn tree(&mut self, relative: &Path, wanted: &mut dyn FnMut(&Path) -> bool) -> Result<(), BackupError> {
        let path = self.source(relative);
        let names = open(&path)?.names().map_err(io_error("list", &path))?;
        for name in names {
            let (path, relative) = (path.join(&name), relative.join(&name));
            if !wanted(&path) {
                continue;
            }
            if path.is_dir() {
                self.folder(&relative)?;
                self.tree(&relative, wanted)?;
            } else {
                self.file(&relative)?;
            }
        }
        Ok(())
    }

    /// Removes from the copy what was pruned from the log.
    pub(super) fn forget_pruned(&self, first: u64) -> Result<(), BackupError> {
        let segments = open(&self.target(Path::new(SEGMENTS)))?;
        let (firsts, _) = Segments::list(&segments).map_err(io_error("list", segments.path()))?;
        let mut old: Vec<PathBuf> =
            firsts.into_iter().filter(|old| *old < first).map(|old| segments.file(&name(old))).collect();
        let pruned = open(&self.target(Path::new(PRUNED_FOLDER)))?;
        for name in pruned.names().map_err(io_error("list", pruned.path()))? {
            old.extend(first_of_any(&name).filter(|of| *of != first).map(|_| pruned.file(&name)));
        }
        let blobs = open(&self.target(Path::new(BLOBS)))?;
        for prefix in blobs.names().map_err(io_error("list", blobs.path()))? {
            let folder = open(&blobs.file(&prefix))?;
            for name in folder.names().map_err(io_error("list", folder.path()))? {
                if !self.source(Path::new(BLOBS)).join(&prefix).join(&name).exists() {
                    old.push(folder.file(&name));
                }
            }
        }
        old.iter().try_for_each(|path| fs::remove_file(path).map_err(io_error("remove", path)))
    }

    /// Makes all of it durable at once.
    pub(super) fn sync(&self) -> Result<(), BackupError> {
        let path = self.to.path();
        let synced = File::open(path).and_then(|folder| rustix::fs::syncfs(&folder).map_err(io::Error::from));
        synced.map_err(io_error("sync", path))
    }
}

/// The first private key in a folder.
pub(super) fn private_key_in(folder: &Folder) -> Result<Option<PathBuf>, BackupError> {
    let names = folder.names().map_err(io_error("list", folder.path()))?;
    Ok(names.iter().find(|name| is_key(name) && is_private(name)).map(|name| folder.file(name)))
}

fn is_key(name: &str) -> bool {
    name.starts_with(KEYS) || [RECEIPT_KEY_FILE, RECEIPT_PUBLIC_FILE].contains(&name)
}

fn is_private(name: &str) -> bool {
    name.ends_with(PRIVATE_KEY_END)
}

/// How the names of private keys end.
const PRIVATE_KEY_END: &str = ".key";

/// How the names of the files of the log's keys begin, private and public.
const KEYS: &str = "log.";
