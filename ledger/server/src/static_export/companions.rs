//! What stands beside the tiles: notes, time-stamps, blobs, and what is known of pruned entries.
//!
//! Files here never change under their name, but for those in `pruned/`; what is there is left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ledger_protocol::body::{Body, PolicyBody, TimestampBody};
use ledger_protocol::{Entry, Kind};
use messages::Digest;

use super::tiles::create;
use super::{ExportError, ExportedBlobs};
use crate::pruned::{KeptEntries, PRUNED_FOLDER, Pruned, Snapshot, histories_name};
use crate::stamps::{LOGGED, RESPONSE, STAMPS_FOLDER};

/// The files beside the tiles, on their way from a log's directory.
pub(super) struct Companions<'a> {
    blobs: ExportedBlobs,
    data: &'a Path,
    out: &'a Path,
    /// Files that are there now, by what they are.
    counts: Counts,
}

/// How many files of each kind the target has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) blobs: u64,
    pub(super) notes: u64,
    pub(super) stamps: u64,
}

impl<'a> Companions<'a> {
    pub(super) fn new(data: &'a Path, out: &'a Path, blobs: ExportedBlobs) -> Self {
        Self { blobs, data, out, counts: Counts::default() }
    }

    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Copies the blobs that an entry names, as far as they are kept.
    pub(super) fn entry(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        let Ok(entry) = Entry::decode(bytes) else { return Ok(()) };
        for digest in named(&entry, self.blobs) {
            let name = digest.to_string();
            let target = self.out.join("blobs").join(&name);
            let source = self.data.join("blobs").join(name.get(..2).unwrap_or_default()).join(&name);
            self.counts.blobs += u64::from(copy(&source, &target)?);
        }
        Ok(())
    }

    /// Copies the notes of all checkpoints of at most `tree_size` entries, into folders as the log has them.
    pub(super) fn notes(&mut self, tree_size: u64) -> Result<(), ExportError> {
        let folder = self.data.join("checkpoints");
        for name in names(&folder)? {
            if !folder.join(&name).is_dir() {
                self.note(Path::new(&name), tree_size)?;
                continue;
            }
            // Beyond the first 4,096 in folders that are named by their first size, in 20 digits.
            if name.parse::<u64>().is_ok_and(|first| first <= tree_size) {
                for inner in names(&folder.join(&name))? {
                    self.note(&Path::new(&name).join(inner), tree_size)?;
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, path: &Path, tree_size: u64) -> Result<(), ExportError> {
        let size = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok());
        if size.is_some_and(|size| size <= tree_size) {
            let path = Path::new("checkpoints").join(path);
            self.counts.notes += u64::from(copy(&self.data.join(&path), &self.out.join(&path))?);
        }
        Ok(())
    }

    /// Copies the stamps on checkpoints of at most `tree_size` entries. The answer comes last: where it is, everything is.
    pub(super) fn stamps(&mut self, tree_size: u64) -> Result<(), ExportError> {
        let folder = self.data.join(STAMPS_FOLDER);
        for size in names(&folder)?.into_iter().filter(|name| name.parse().is_ok_and(|size: u64| size <= tree_size)) {
            let (answers, others): (Vec<_>, Vec<_>) =
                names(&folder.join(&size))?.into_iter().partition(|name| name.ends_with(RESPONSE));
            for name in others.into_iter().filter(|name| !name.ends_with(LOGGED)).chain(answers) {
                let path = Path::new(STAMPS_FOLDER).join(&size).join(&name);
                let there = copy(&self.data.join(&path), &self.out.join(&path))?;
                self.counts.stamps += u64::from(there && name.ends_with(RESPONSE));
            }
        }
        Ok(())
    }

    /// Writes what an auditor goes on from, where entries were pruned: `bodiless` are the entries from the first on that
    /// no bundle has.
    pub(super) fn pruned(
        &mut self,
        pruned: &Pruned,
        snapshot: &Snapshot,
        bodiless: &[(u64, Vec<u8>)],
    ) -> Result<(), ExportError> {
        let folder = self.out.join(PRUNED_FOLDER);
        let failed = |operation, path: PathBuf| move |source| ExportError::Io { operation, path, source };
        let kept: io::Result<Vec<_>> = pruned.kept.from(0).collect();
        let mut kept = kept.map_err(failed("read", self.data.join(PRUNED_FOLDER)))?;
        for (_, entry) in &kept {
            self.entry(entry)?;
        }
        kept.extend_from_slice(bodiless);
        let kept = KeptEntries::encode(kept.iter().map(|(index, entry)| (*index, entry.as_slice())));
        let histories = self.data.join(PRUNED_FOLDER).join(histories_name(pruned.first));
        let histories = read(&histories).map_err(failed("read", histories))?;
        let files = [("kept", Some(kept)), ("histories", histories), ("boundary", Some(snapshot.boundary()))];
        for (name, bytes) in files {
            let path = folder.join(name);
            if let Some(bytes) = bytes {
                create(&path, &bytes).map_err(failed("write", path))?;
            }
        }
        Ok(())
    }
}

/// What an entry names that belongs into the target.
fn named(entry: &Entry, blobs: ExportedBlobs) -> Vec<Digest> {
    match (blobs, entry.kind) {
        // Notes lie by their sizes.
        (_, Kind::Checkpoint) => Vec::new(),
        (_, Kind::Timestamp) => TimestampBody::decode(&entry.body).map(|body| vec![body.token]).unwrap_or_default(),
        (ExportedBlobs::All, _) => entry.blobs().unwrap_or_default(),
        (ExportedBlobs::Histories, Kind::Policy) if entry.agent.is_none() => match PolicyBody::decode(&entry.body) {
            Ok(PolicyBody::Named(policy)) => policy.content.into_iter().collect(),
            Ok(PolicyBody::Agent(_)) | Err(_) => Vec::new(),
        },
        (ExportedBlobs::Histories, _) => Vec::new(),
    }
}

/// Copies a file that never changes; whether the target has it now.
fn copy(from: &Path, to: &Path) -> Result<bool, ExportError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| ExportError::Io { operation, path, source }
    };
    // Its length tells half a file that a crash has left.
    let length = |path: &Path| path.metadata().map(|metadata| metadata.len()).ok();
    let Some(wanted) = length(from) else { return Ok(to.exists()) };
    if length(to) != Some(wanted) {
        match read(from).map_err(failed("read", from))? {
            Some(bytes) => create(to, &bytes).map_err(failed("write", to))?,
            None => return Ok(to.exists()),
        }
    }
    Ok(true)
}

/// Names in a folder, ascending, without what is being written; none if there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, ExportError> {
    let failed = |source| ExportError::Io { operation: "list", path: folder.to_owned(), source };
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut names = Vec::new();
    for entry in listed {
        let name = entry.map_err(failed)?.file_name().into_string().unwrap_or_default();
        names.extend((!name.is_empty() && !name.starts_with('.')).then_some(name));
    }
    names.sort_unstable();
    Ok(names)
}

/// A file, `None` if it is not there.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
