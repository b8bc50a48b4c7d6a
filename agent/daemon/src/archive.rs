//! Payloads that are ZIP archives, unpacked within limits or not at all.

use std::io::{Cursor, Read};
use std::path::Component;

use zeroize::Zeroizing;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::secure_folder::{SecureFolder, SecureFolderError, TEMPORARY};

#[cfg(test)]
mod tests;

/// Why an archive is not unpacked. Everything but [`ArchiveRejected::Folder`] is decided before anything is written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveRejected {
    /// Writing failed.
    #[error(transparent)]
    Folder(#[from] SecureFolderError),
    /// A link, a device or the like.
    #[error("entry {name:?} is neither a file nor a folder")]
    Kind {
        /// The entry.
        name: String,
    },
    /// Not a readable archive.
    #[error("the archive cannot be read")]
    Malformed(#[from] ZipError),
    /// The name leaves the folder, is too deep, or would overwrite another.
    #[error("entry {name:?} has a name that is not accepted")]
    Name {
        /// The entry.
        name: String,
    },
    /// Reading an entry failed.
    #[error("entry {name:?} cannot be read")]
    Read {
        /// The entry.
        name: String,
        /// Why not.
        source: std::io::Error,
    },
    /// More unpacked than there is room for.
    #[error("the archive unpacks to more than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// More entries than any payload has.
    #[error("the archive has {found} entries, at most {ENTRIES_MAX} are accepted")]
    TooMany {
        /// Entries found.
        found: usize,
    },
}

/// Whether a payload begins as a ZIP archive does.
pub(crate) fn is_archive(payload: &[u8]) -> bool {
    payload.starts_with(b"PK\x03\x04") || payload.starts_with(b"PK\x05\x06")
}

/// Unpacks `payload` below `folder`: files with mode 0600, folders with 0700, whatever the archive says.
///
/// `reserved` are names at the top that the archive may not have. What the archive claims about sizes is not
/// believed; reading stops at `bytes_max`.
pub(crate) fn unpack(
    payload: &[u8],
    folder: &SecureFolder,
    reserved: &[&str],
    bytes_max: u64,
) -> Result<(), ArchiveRejected> {
    for entry in read(payload, reserved, bytes_max)? {
        match entry.content {
            None => folder.make_folder(&entry.name)?,
            Some(content) => folder.write(&entry.name, &content)?,
        }
    }
    Ok(())
}

/// A file with its content, or a folder.
struct Entry {
    name: String,
    content: Option<Zeroizing<Vec<u8>>>,
}

fn read(payload: &[u8], reserved: &[&str], bytes_max: u64) -> Result<Vec<Entry>, ArchiveRejected> {
    let mut archive = ZipArchive::new(Cursor::new(payload))?;
    if archive.len() > ENTRIES_MAX {
        return Err(ArchiveRejected::TooMany { found: archive.len() });
    }
    let (mut entries, mut left): (Vec<Entry>, u64) = (Vec::new(), bytes_max);
    for index in 0..archive.len() {
        let mut file = archive.by_index(index)?;
        let name = file.name()?.into_owned();
        if !(file.is_dir() || file.is_file()) || file.is_symlink() || !is_plain(file.unix_mode()) {
            return Err(ArchiveRejected::Kind { name });
        }
        let parts = parts(&name).ok_or_else(|| ArchiveRejected::Name { name: name.clone() })?;
        let path = parts.join("/");
        let taken = |entry: &Entry| entry.name == path && !(entry.content.is_none() && file.is_dir());
        if path == TEMPORARY || reserved.contains(&path.as_str()) || entries.iter().any(taken) {
            return Err(ArchiveRejected::Name { name });
        }
        if file.is_dir() {
            add_folders(&mut entries, &parts);
            continue;
        }
        add_folders(&mut entries, parts.split_last().map_or(&[][..], |(_, folders)| folders));
        let mut content = Zeroizing::new(Vec::new());
        let limit = left.saturating_add(1);
        file.by_ref().take(limit).read_to_end(&mut content).map_err(|source| ArchiveRejected::Read { name, source })?;
        left = left
            .checked_sub(u64::try_from(content.len()).unwrap_or(u64::MAX))
            .ok_or(ArchiveRejected::TooLarge { bytes_max })?;
        entries.push(Entry { name: path, content: Some(content) });
    }
    Ok(entries)
}

/// Lists the folders above an entry, each once and before what is in it.
fn add_folders(entries: &mut Vec<Entry>, parts: &[String]) {
    for depth in 1..=parts.len() {
        let name = parts.iter().take(depth).map(String::as_str).collect::<Vec<_>>().join("/");
        if !entries.iter().any(|entry| entry.name == name) {
            entries.push(Entry { name, content: None });
        }
    }
}

/// The plain components of a name; `None` if it leaves the folder or is not to be accepted otherwise.
fn parts(name: &str) -> Option<Vec<String>> {
    if name.len() > NAME_BYTES_MAX || name.contains(['\\', '\0']) {
        return None;
    }
    let mut parts = Vec::new();
    for component in std::path::Path::new(name).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?.to_owned()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (1..=DEPTH_MAX).contains(&parts.len()).then_some(parts)
}

/// Whether the file type bits of a Unix mode, if there are any, say file or folder.
fn is_plain(mode: Option<u32>) -> bool {
    matches!(mode.unwrap_or(0) & 0o170_000, 0 | 0o100_000 | 0o040_000)
}

/// Keylime's own archives have seven entries and what the operator includes; each costs an inode of the tmpfs.
const ENTRIES_MAX: usize = 1024;
/// `PATH_MAX` is 4,096 with the folder's own path in it.
const NAME_BYTES_MAX: usize = 1024;
const DEPTH_MAX: usize = 16;
