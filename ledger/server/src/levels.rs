//! The tree's hashes: one flat file per level, made from the entries and remade when in doubt.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use ledger_tlog::frontier::Frontier;
use ledger_tlog::hash::Hash;
use ledger_tlog::tree::TreeHead;

/// The level files, for those who read hashes. Hash `i` of a level is at byte `32 i`.
#[derive(Debug)]
pub(crate) struct Levels {
    files: RwLock<Vec<Arc<File>>>,
    folder: PathBuf,
}

impl Levels {
    /// Opens the files that are there.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        let mut files = Vec::new();
        loop {
            match OpenOptions::new().read(true).write(true).open(folder.join(files.len().to_string())) {
                Ok(file) => files.push(Arc::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Self { files: RwLock::new(files), folder })
    }

    /// Fills `out` with the hashes of `level` from `start` on; what tlog's tree functions call.
    pub(crate) fn read(&self, level: u8, start: u64, out: &mut [Hash]) -> io::Result<()> {
        let bytes = self.bytes(level, start * HASH_BYTES, out.len() * Hash::LEN)?;
        for (hash, bytes) in out.iter_mut().zip(bytes.chunks_exact(Hash::LEN)) {
            *hash = Hash::try_from(bytes).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// A tile's bytes, or any others of a level.
    pub(crate) fn bytes(&self, level: u8, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let file = self.file(level).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn file(&self, level: u8) -> Option<Arc<File>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).get(usize::from(level)).cloned()
    }

    /// The file of a level; made if it is the next one.
    fn make(&self, level: u8) -> io::Result<Arc<File>> {
        if let Some(file) = self.file(level) {
            return Ok(file);
        }
        let path = self.folder.join(level.to_string());
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let file = Arc::new(file);
        self.files.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&file));
        Ok(file)
    }
}

/// Appends leaves and writes the hashes that they complete.
#[derive(Debug)]
pub(crate) struct LevelWriter {
    frontier: Frontier,
    levels: Arc<Levels>,
    /// What is not written yet, by level.
    pending: Vec<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    offset: u64,
}

impl LevelWriter {
    /// Starts at the empty tree: a start goes through all leaves, and finds every hash that is
    /// not what the entries say.
    pub(crate) fn new(levels: Arc<Levels>) -> Self {
        Self { frontier: Frontier::new(), levels, pending: Vec::new() }
    }

    pub(crate) fn append(&mut self, leaf: Hash) {
        let pending = &mut self.pending;
        self.frontier.append(leaf, |level, index, hash| {
            let level = usize::from(level);
            if pending.len() <= level {
                pending.resize_with(level + 1, Pending::default);
            }
            if let Some(pending) = pending.get_mut(level) {
                if pending.bytes.is_empty() {
                    pending.offset = index * HASH_BYTES;
                }
                pending.bytes.extend_from_slice(hash.as_bytes());
            }
        });
    }

    pub(crate) fn tree_head(&self) -> TreeHead {
        self.frontier.tree_head()
    }

    pub(crate) fn tree_size(&self) -> u64 {
        self.frontier.tree_size()
    }

    /// Writes what is new.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        for (level, pending) in (0u8..).zip(&mut self.pending) {
            if !pending.bytes.is_empty() {
                self.levels.make(level)?.write_all_at(&pending.bytes, pending.offset)?;
                pending.bytes.clear();
            }
        }
        Ok(())
    }

    /// Writes what is not in the files as it should be; tells how many places were wrong, other
    /// than by being missing.
    pub(crate) fn repair(&mut self) -> io::Result<u64> {
        let mut wrong = 0;
        for (level, pending) in (0u8..).zip(&mut self.pending) {
            if pending.bytes.is_empty() {
                continue;
            }
            let file = self.levels.make(level)?;
            let there = file.metadata()?.len().saturating_sub(pending.offset);
            let there = usize::try_from(there).unwrap_or(usize::MAX).min(pending.bytes.len());
            let mut found = vec![0; there];
            file.read_exact_at(&mut found, pending.offset)?;
            if found != pending.bytes {
                wrong += u64::from(!pending.bytes.starts_with(&found));
                file.write_all_at(&pending.bytes, pending.offset)?;
            }
            pending.bytes.clear();
        }
        Ok(wrong)
    }

    /// Cuts off hashes beyond the tree; tells how many files were too long.
    pub(crate) fn trim(&self) -> io::Result<u64> {
        let size = self.frontier.tree_size();
        let mut trimmed = 0;
        for level in 0..=u8::MAX {
            let path = self.levels.folder.join(level.to_string());
            let found = match fs::metadata(&path) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            let expected = level_bytes(level, size);
            if found > expected {
                self.levels.make(level)?.set_len(expected)?;
                trimmed += 1;
            }
        }
        Ok(trimmed)
    }
}

/// Bytes of a level's file in a log of `size` entries.
pub(crate) fn level_bytes(level: u8, size: u64) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0) * HASH_BYTES
}

const HASH_BYTES: u64 = Hash::LEN as u64;
