//! Signed checkpoints: every one is kept, and the latest is public.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use ledger_tlog::checkpoint::{AuthenticCheckpoint, Checkpoint, CheckpointRejected};
use ledger_tlog::key::NoteVerifier;

use crate::folder::Folder;

/// One file for each checkpoint ever signed, named by its size.
///
/// The first [`SHARD_FILES`] lie in `checkpoints/`, further ones in folders of as many files, each
/// named by its first size in 20 digits: a start lists the last folder, not all of them.
#[derive(Debug)]
pub(crate) struct Checkpoints(RwLock<Shards>);

#[derive(Debug)]
struct Shards {
    /// By first size, ascending; never empty.
    folders: Vec<(u64, Arc<Folder>)>,
    /// Files in the last one.
    in_last: usize,
}

impl Shards {
    fn of(&self, size: u64) -> Option<(usize, Arc<Folder>)> {
        let at = self.folders.partition_point(|(first, _)| *first <= size).checked_sub(1)?;
        self.folders.get(at).map(|(_, folder)| (at, Arc::clone(folder)))
    }
}

impl Checkpoints {
    pub(crate) fn open(folder: Folder) -> io::Result<Self> {
        let firsts: Vec<u64> = folder.names()?.iter().filter_map(|name| shard_of_name(name)).collect();
        let root = Arc::new(folder);
        let mut folders = vec![(0, Arc::clone(&root))];
        for first in firsts {
            folders.push((first, Arc::new(Folder::open(root.file(&shard_name(first)))?)));
        }
        let in_last = match folders.last() {
            Some((_, last)) => sizes_in(last, &mut Vec::new())?.len(),
            None => 0,
        };
        Ok(Self(RwLock::new(Shards { folders, in_last })))
    }

    pub(crate) fn keep(&self, size: u64, note: &[u8]) -> io::Result<()> {
        let mut shards = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name = size.to_string();
        let Some((at, folder)) = shards.of(size) else { return Ok(()) };
        let is_last = at + 1 == shards.folders.len();
        if !is_last || folder.file(&name).exists() {
            return folder.keep(&name, note);
        }
        let folder = if shards.in_last < SHARD_FILES {
            folder
        } else {
            let Some((_, root)) = shards.folders.first() else { return Ok(()) };
            let made = Arc::new(root.make(&shard_name(size))?);
            shards.folders.push((size, Arc::clone(&made)));
            shards.in_last = 0;
            made
        };
        folder.keep(&name, note)?;
        shards.in_last += 1;
        Ok(())
    }

    pub(crate) fn read(&self, size: u64) -> io::Result<Option<Vec<u8>>> {
        let found = self.0.read().unwrap_or_else(PoisonError::into_inner).of(size);
        found.map_or(Ok(None), |(_, folder)| folder.read(&size.to_string()))
    }

    /// Where the checkpoint of a size is, or would be looked for; for messages.
    pub(crate) fn path(&self, size: u64) -> PathBuf {
        let found = self.0.read().unwrap_or_else(PoisonError::into_inner).of(size);
        found.map_or_else(PathBuf::new, |(_, folder)| folder.file(&size.to_string()))
    }

    /// Removes what an interrupted write has left where the latest ones are.
    pub(crate) fn remove_temporary(&self) -> io::Result<()> {
        let shards = self.0.read().unwrap_or_else(PoisonError::into_inner);
        shards.folders.iter().rev().take(2).try_for_each(|(_, folder)| folder.remove_temporary())
    }

    /// The size of the latest one kept.
    pub(crate) fn newest(&self) -> io::Result<Option<u64>> {
        for (_, folder) in self.folders().iter().rev() {
            if let Some(newest) = sizes_in(folder, &mut Vec::new())?.last() {
                return Ok(Some(*newest));
            }
        }
        Ok(None)
    }

    /// All sizes not before those of the folder that the checkpoint `known` is in, ascending, and
    /// from which size on that is all there is. Lists two folders at most if `known` is of late.
    pub(crate) fn sizes_around(&self, known: u64) -> io::Result<(u64, Vec<u64>)> {
        let folders = self.folders();
        let at = folders.partition_point(|(first, _)| *first <= known).saturating_sub(1);
        let mut sizes = Vec::new();
        for (_, folder) in folders.iter().skip(at) {
            sizes.extend(sizes_in(folder, &mut Vec::new())?);
        }
        Ok((folders.get(at).map_or(0, |(first, _)| *first), sizes))
    }

    /// The sizes, ascending, and the names that are none.
    pub(crate) fn sizes(&self) -> io::Result<(Vec<u64>, Vec<String>)> {
        let mut sizes = Vec::new();
        let mut strangers = Vec::new();
        for (_, folder) in self.folders() {
            sizes.extend(sizes_in(&folder, &mut strangers)?);
        }
        Ok((sizes, strangers))
    }

    fn folders(&self) -> Vec<(u64, Arc<Folder>)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).folders.clone()
    }
}

/// Sizes in one folder, ascending; names that are neither a size nor a folder of further ones go
/// to `strangers`.
fn sizes_in(folder: &Folder, strangers: &mut Vec<String>) -> io::Result<Vec<u64>> {
    let mut sizes = Vec::new();
    for name in folder.names()? {
        match name.parse::<u64>() {
            Ok(size) if size.to_string() == name => sizes.push(size),
            _ if shard_of_name(&name).is_some() => {}
            _ => strangers.push(name),
        }
    }
    sizes.sort_unstable();
    Ok(sizes)
}

fn shard_name(first: u64) -> String {
    format!("{first:020}")
}

fn shard_of_name(name: &str) -> Option<u64> {
    let first = name.parse().ok()?;
    (shard_name(first) == name).then_some(first)
}

/// Authenticates a note as this log's and nothing else: its bytes are the only ones for it.
pub(crate) fn open_note(note: &[u8], key: &NoteVerifier) -> Result<AuthenticCheckpoint, NoteFlaw> {
    let opened = Checkpoint::open(note, key.name().as_str(), key, &[]).map_err(NoteFlaw::Rejected)?;
    if opened.note().note().to_bytes() == note { Ok(opened) } else { Err(NoteFlaw::NotCanonical) }
}

/// Why a file is not a checkpoint of this log.
#[derive(Debug, thiserror::Error)]
pub enum NoteFlaw {
    /// The note is not written in the one way there is.
    #[error("the note is not in its canonical form")]
    NotCanonical,
    /// It is not a checkpoint that this log's key has signed.
    #[error("the note is not a checkpoint signed with this log's key")]
    Rejected(#[source] CheckpointRejected),
}

/// Files of one folder: listed in about a millisecond, and a million checkpoints are 245 folders.
const SHARD_FILES: usize = 4_096;

/// The public copy of the latest checkpoint, in the data directory.
pub(crate) const PUBLIC_FILE: &str = "checkpoint";

#[cfg(test)]
mod tests;
