//! What is known of entries whose bodies were pruned: the log's state where the rest begins, and
//! the small entries that are kept. Source: `docs/spec/segment.md` §Pruned logs.

mod kept;
mod snapshot;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ledger_tlog::hash::Hash;
use ledger_tlog::tree::TreeHead;
use messages::Digest;

pub(crate) use self::kept::{KeptEntries, is_kept};
pub(crate) use self::snapshot::Snapshot;
use crate::folder::Folder;
use crate::levels::{LevelWriter, Levels};

/// Where a pruned log begins.
#[derive(Clone, Debug)]
pub(crate) struct Pruned {
    /// First entry that has its body.
    pub(crate) first: u64,
    /// Small entries before it.
    pub(crate) kept: Arc<KeptEntries>,
    /// The index that tlog-tiles calls minimum: bundles that end there or before are not served.
    pub(crate) minimum_index: u64,
    /// The entry that says so.
    pub(crate) policy_index: u64,
    /// Evidence that went with the entries, sorted: so that it can be told from what never was.
    evidence: Arc<[Digest]>,
}

/// Why a pruned log's beginning is not usable.
#[derive(Debug, thiserror::Error)]
pub enum PrunedError {
    /// A file is missing or cannot be read.
    #[error("{path} cannot be read; restore it from a backup", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{path} is damaged; restore it from a backup", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The hashes of the pruned entries are not theirs any more, and nothing can make them anew.
    #[error(
        "the first {size} entries were pruned and their hashes in {path} have the root {found}; expected {expected}: \
         restore the hashes from a backup", path = path.display()
    )]
    Hashes {
        /// Entries pruned.
        size: u64,
        /// The folder of the hashes.
        path: PathBuf,
        /// Root of the hashes there.
        found: Hash,
        /// Root when they were pruned.
        expected: Hash,
    },
    /// There are no segments, or they begin later.
    #[error("the log was pruned up to entry {first}, but the segment that begins there is missing; restore it")]
    Segment {
        /// First entry that is to be there.
        first: u64,
    },
}

impl Pruned {
    /// Takes up what the log in `root` says of its pruned entries; `None` if none were.
    pub(crate) fn load(root: &Folder) -> Result<Option<(Self, Snapshot)>, PrunedError> {
        if !root.file(PRUNED_FOLDER).exists() {
            return Ok(None);
        }
        let failed = |path: PathBuf| move |source| PrunedError::Io { path, source };
        let folder = Folder::open(root.file(PRUNED_FOLDER)).map_err(failed(root.file(PRUNED_FOLDER)))?;
        let names = folder.names().map_err(failed(folder.path().to_owned()))?;
        let Some(first) = names.iter().filter_map(|name| first_of(name, STATE_END)).max() else {
            return Ok(None);
        };
        let path = folder.file(&state_name(first));
        let bytes = std::fs::read(&path).map_err(failed(path.clone()))?;
        let snapshot = Snapshot::decode(&bytes).filter(|snapshot| snapshot.first == first);
        let snapshot = snapshot.ok_or(PrunedError::Damaged { path })?;
        let kept = KeptEntries::open(folder.file(&kept_name(first)), &snapshot.kept)?;
        let (minimum_index, policy_index) = (snapshot.minimum_index, snapshot.policy_index);
        let evidence = snapshot.doomed.as_slice().into();
        Ok(Some((Self { first, kept: Arc::new(kept), minimum_index, policy_index, evidence }, snapshot)))
    }

    /// Whether a blob was evidence for pruned entries alone.
    pub(crate) fn has_deleted(&self, blob: &Digest) -> bool {
        self.evidence.binary_search(blob).is_ok()
    }
}

impl Snapshot {
    /// Goes on behind the pruned entries. Interior hashes are made anew from the leaves if they
    /// are not what they were, or if `anew` asks for it; leaves that are not theirs are an error.
    pub(crate) fn level_writer(
        &self,
        levels: &Arc<Levels>,
        path: PathBuf,
        anew: bool,
    ) -> Result<LevelWriter, PrunedError> {
        let head = TreeHead { tree_size: self.first, root: Hash::from_bytes(self.root.0) };
        if !anew
            && let Ok(writer) = LevelWriter::resume(Arc::clone(levels), self.first)
            && writer.tree_head() == head
        {
            return Ok(writer);
        }
        let failed = |source| PrunedError::Io { path: path.clone(), source };
        let mut writer = LevelWriter::resume(Arc::clone(levels), 0).map_err(|error| failed(io::Error::other(error)))?;
        for_each_leaf(levels, self.first, |leaf| writer.append(leaf)).map_err(failed)?;
        let found = writer.tree_head().root;
        if found != head.root {
            return Err(PrunedError::Hashes { size: self.first, path, found, expected: head.root });
        }
        writer.repair().map_err(failed)?;
        Ok(writer)
    }
}

/// Shows the first `size` leaves as they are stored.
pub(crate) fn for_each_leaf(levels: &Levels, size: u64, mut visit: impl FnMut(Hash)) -> io::Result<()> {
    let mut next = 0;
    let mut leaves = [ledger_tlog::hash::EMPTY_ROOT; LEAVES_AT_ONCE];
    while next < size {
        let count = usize::try_from(size - next).unwrap_or(LEAVES_AT_ONCE).min(LEAVES_AT_ONCE);
        let Some(out) = leaves.get_mut(..count) else { break };
        levels.read(0, next, out)?;
        out.iter().for_each(|leaf| visit(*leaf));
        next += count as u64;
    }
    Ok(())
}

/// The leaf hash that is stored for an entry.
pub(crate) fn stored_leaf(levels: &Levels, index: u64) -> io::Result<Digest> {
    let mut leaf = [ledger_tlog::hash::EMPTY_ROOT];
    levels.read(0, index, &mut leaf)?;
    let [leaf] = leaf;
    Ok(Digest(*leaf.as_bytes()))
}

/// The state's file for a log that begins with the entry `first`.
pub(crate) fn state_name(first: u64) -> String {
    format!("{first:020}{STATE_END}")
}

/// The kept entries' file.
pub(crate) fn kept_name(first: u64) -> String {
    format!("{first:020}{KEPT_END}")
}

/// The file that the histories go back to.
pub(crate) fn histories_name(first: u64) -> String {
    format!("{first:020}{HISTORIES_END}")
}

/// Which beginning a file belongs to, whichever it is.
pub(crate) fn first_of_any(name: &str) -> Option<u64> {
    [STATE_END, KEPT_END, HISTORIES_END].into_iter().find_map(|end| first_of(name, end))
}

/// Which beginning a file belongs to, if its name ends so.
pub(crate) fn first_of(name: &str, end: &str) -> Option<u64> {
    let digits = name.strip_suffix(end)?;
    let first = digits.parse().ok()?;
    (format!("{first:020}") == digits).then_some(first)
}

/// The folder of all this in the data directory.
pub(crate) const PRUNED_FOLDER: &str = "pruned";

/// Ends of files' names.
pub(crate) const STATE_END: &str = ".state";
/// See [`STATE_END`].
const KEPT_END: &str = ".kept";
/// See [`STATE_END`].
const HISTORIES_END: &str = ".histories";

/// Leaves read at once: 128 KiB.
const LEAVES_AT_ONCE: usize = 4_096;
