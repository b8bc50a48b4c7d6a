//! A root file system, walked without ever following a symbolic link.

use std::{
    ffi::{CStr, CString},
    fs::File,
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags},
    io::Errno,
};

use crate::failure::Failure;

/// A regular file that was found: opened by its folder, so that nobody can put a link in its path meanwhile.
pub(super) struct FoundFile {
    folder: Arc<OwnedFd>,
    name: CString,
    /// Its path from the root.
    pub(super) path: String,
}

impl FoundFile {
    /// Opens the file; nothing if it has gone, or is no regular file any more.
    pub(super) fn open(&self) -> Result<Option<File>, Failure> {
        // Not waiting for a writer, should it have become a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&*self.folder, &*self.name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(unreadable(&self.path, error)),
        };
        let metadata = file.metadata().map_err(|error| unreadable(&self.path, error))?;
        Ok(metadata.is_file().then_some(file))
    }
}

/// What the walk tells of.
pub(super) enum Step {
    File(FoundFile),
    /// A name that is not UTF-8 cannot stand in JSON.
    Unlistable(String),
}

/// Walks all folders below `root` but those in `skips` and [`SKIPPED`]; stops quietly when `tell` says false.
pub(super) fn walk(root: &Path, skips: &[String], tell: &mut dyn FnMut(Step) -> bool) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(root, flags, Mode::empty())
        .map_err(|error| Failure::system(format_args!("open {}", root.display()), error))?;
    Walk { skips, tell }.folder(&Arc::new(folder), "", 0).map(drop)
}

struct Walk<'w> {
    skips: &'w [String],
    tell: &'w mut dyn FnMut(Step) -> bool,
}

impl Walk<'_> {
    /// Walks one folder; false to stop.
    fn folder(&mut self, folder: &Arc<OwnedFd>, path: &str, depth: usize) -> Result<bool, Failure> {
        if depth > DEPTH_MAX {
            return Err(Failure::new(format!("{path} is more than {DEPTH_MAX} folders deep")));
        }
        let entries = Dir::read_from(&**folder).map_err(|error| unreadable(path, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(path, error))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(text) = name.to_str() else {
                if !(self.tell)(Step::Unlistable(format!("{path}/{}", name.to_string_lossy()))) {
                    return Ok(false);
                }
                continue;
            };
            let path = format!("{path}/{text}");
            let goes_on = match kind(folder, name, entry.file_type()) {
                Ok(FileType::Directory) => self.subfolder(folder, name, &path, depth)?,
                Ok(FileType::RegularFile) => {
                    let (folder, name) = (Arc::clone(folder), name.to_owned());
                    (self.tell)(Step::File(FoundFile { folder, name, path }))
                }
                Ok(_) | Err(Errno::NOENT) => true,
                Err(error) => return Err(unreadable(&path, error)),
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn subfolder(&mut self, folder: &OwnedFd, name: &CStr, path: &str, depth: usize) -> Result<bool, Failure> {
        if SKIPPED.contains(&path) || self.skips.iter().any(|skip| skip.trim_end_matches('/') == path) {
            return Ok(true);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(subfolder) => self.folder(&Arc::new(subfolder), path, depth + 1),
            // It has gone, or become a link or a file.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(true),
            Err(error) => Err(unreadable(path, error)),
        }
    }
}

/// The type of an entry, asked for where the file system does not tell it in the folder.
fn kind(folder: &OwnedFd, name: &CStr, told: FileType) -> Result<FileType, Errno> {
    if told != FileType::Unknown {
        return Ok(told);
    }
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

fn unreadable(path: &str, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::system(format_args!("read {path} of the root file system"), error)
        .remedy("run this as a user who can read all of it, or pass the folder over with --skip")
}

/// Folders of the kernel's own file systems, of files that come and go, and of other media.
const SKIPPED: [&str; 8] = ["/dev", "/lost+found", "/media", "/mnt", "/proc", "/run", "/sys", "/tmp"];
/// Each level keeps a folder open, and processes may open 1024 files.
const DEPTH_MAX: usize = 256;
