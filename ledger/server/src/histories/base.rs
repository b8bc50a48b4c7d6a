//! What the histories of a pruned log go back to: a snapshot of no fewer entries than were pruned.
//!
//! From it and the entries behind it the histories come again. The files under it do not: they are cut,
//! never made anew, and are part of every backup.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openssl::sha::sha256;

use super::keeper::{self, Log, SNAPSHOT_FILE, bring_up};
use super::{HISTORIES_FOLDER, HistoriesError, error::io};
use crate::engine::Shared;
use crate::folder::Folder;
use crate::pruned::{PRUNED_FOLDER, STATE_END, first_of, histories_name};

/// First entry that the log in `root` still has; 0 if nothing was pruned.
pub(super) fn first_entry(root: &Folder) -> Result<u64, HistoriesError> {
    let path = root.file(PRUNED_FOLDER);
    if !path.exists() {
        return Ok(0);
    }
    let names = Folder::open(&path).and_then(|folder| folder.names()).map_err(io("list", &path))?;
    Ok(names.iter().filter_map(|name| first_of(name, STATE_END)).max().unwrap_or(0))
}

/// Where the snapshot for a log that begins with the entry `first` is.
fn path(root: &Folder, first: u64) -> PathBuf {
    root.file(PRUNED_FOLDER).join(histories_name(first))
}

/// Whether there is one: not if the log kept no histories when it was pruned.
pub(super) fn exists(root: &Folder, first: u64) -> bool {
    path(root, first).exists()
}

/// Reads the snapshot.
pub(super) fn load(root: &Folder, first: u64) -> Result<Vec<u8>, HistoriesError> {
    let path = path(root, first);
    let bytes = std::fs::read(&path).map_err(io("read", &path))?;
    let whole = bytes.split_last_chunk::<32>().filter(|(saved, checksum)| sha256(saved) == **checksum);
    let saved = whole.map(|(saved, _)| saved.to_vec());
    saved.ok_or(HistoriesError::Base { path })
}

/// The snapshot's file, to be written before anything below `first` is deleted; `None` if the log keeps no
/// histories. All that the snapshot rests on is on the disk. Blocks, for as long as the histories need.
pub(crate) fn file_for(shared: &Shared, first: u64) -> Result<Option<Vec<u8>>, HistoriesError> {
    let root = &shared.root;
    let before = first_entry(root)?;
    let file = root.file(HISTORIES_FOLDER).join(SNAPSHOT_FILE);
    if before > 0 && !exists(root, before) && !file.exists() {
        return Ok(None);
    }
    match &shared.histories {
        Some(histories) => {
            histories.want_save(first);
            let begun = Instant::now();
            while histories.saved() < first {
                if begun.elapsed() > SAVE_WAIT || !shared.wait_for(SAVE_LOOK, |_, _| false) {
                    let reason = histories.problem().unwrap_or_else(|| "they are behind".to_owned());
                    return Err(HistoriesError::NotSaved { first, reason });
                }
            }
        }
        None => {
            let log = Log { blobs: &shared.blobs, levels: &shared.levels, segments: &shared.segments };
            if bring_up(root, log, shared.durable_size())?.is_none() {
                return Ok(None);
            }
        }
    }
    let mut saved = std::fs::read(&file).map_err(io("read", &file))?;
    let found = keeper::saved_size(&saved)?;
    if found < first {
        return Err(HistoriesError::NotSaved { first, reason: format!("they were saved with {found} entries") });
    }
    let checksum = sha256(&saved);
    saved.extend_from_slice(&checksum);
    Ok(Some(saved))
}

/// The files under the snapshot of a log that begins with the entry `first`, relative to the data directory,
/// and how many of their bytes no entry can make anew; none if the log keeps no histories.
pub(crate) fn extents(root: &Folder, first: u64) -> Result<Vec<(PathBuf, u64)>, HistoriesError> {
    if first == 0 || !exists(root, first) {
        return Ok(Vec::new());
    }
    let files = keeper::extents(&root.file(HISTORIES_FOLDER), &load(root, first)?)?;
    Ok(files.into_iter().map(|(path, bytes)| (Path::new(HISTORIES_FOLDER).join(path), bytes)).collect())
}

/// How long a prune waits for the histories: they follow within seconds, and an operator asks again.
const SAVE_WAIT: Duration = Duration::from_secs(60);

/// How often it looks.
const SAVE_LOOK: Duration = Duration::from_millis(20);
