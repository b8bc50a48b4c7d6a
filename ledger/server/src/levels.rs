//! The tree's hashes: one flat file per level, made from the entries and remade when in doubt.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use ledger_tlog::frontier::Frontier;
use ledger_tlog::hash::Hash;
use ledger_tlog::tree::{TreeError, TreeHead};

use crate::disk;

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
            match disk::open(&folder.join(files.len().to_string()), OpenOptions::new().read(true).write(true)) {
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

    /// Makes everything written so far durable. Hashes are remade from the entries when they are
    /// missing; this bounds how many.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (level, file) in (0u8..).zip(&files) {
            disk::sync(file, &self.path(level))?;
        }
        Ok(())
    }

    /// Whether there are hashes for a log of `size` entries.
    pub(crate) fn reach(&self, size: u64) -> io::Result<bool> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (level, file) in (0u8..).zip(&files) {
            if file.metadata()?.len() < level_bytes(level, size) {
                return Ok(false);
            }
        }
        let next = u8::try_from(files.len()).unwrap_or(u8::MAX);
        Ok(level_bytes(next, size) == 0)
    }

    fn path(&self, level: u8) -> PathBuf {
        self.folder.join(level.to_string())
    }

    fn file(&self, level: u8) -> Option<Arc<File>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).get(usize::from(level)).cloned()
    }

    /// The file of a level; made if it is the next one.
    fn make(&self, level: u8) -> io::Result<Arc<File>> {
        if let Some(file) = self.file(level) {
            return Ok(file);
        }
        let path = self.path(level);
        let file = disk::open(&path, OpenOptions::new().read(true).write(true).create(true).truncate(false))?;
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
    /// Goes on behind `size` entries whose hashes are in the files. Who begins at 0 and goes
    /// through all leaves finds every hash that is not what the entries say.
    pub(crate) fn resume(levels: Arc<Levels>, size: u64) -> Result<Self, TreeError<io::Error>> {
        let frontier = Frontier::restore(size, |level, start, out: &mut [_]| levels.read(level, start, out))?;
        Ok(Self { frontier, levels, pending: Vec::new() })
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
                disk::write_at(&*self.levels.make(level)?, &self.levels.path(level), &pending.bytes, pending.offset)?;
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
                disk::write_at(&file, &self.levels.path(level), &pending.bytes, pending.offset)?;
            }
            pending.bytes.clear();
        }
        Ok(wrong)
    }

    /// As [`Levels::sync`].
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.levels.sync()
    }

    /// Cuts off hashes beyond the tree; tells how many files were too long.
    pub(crate) fn trim(&self) -> io::Result<u64> {
        let size = self.frontier.tree_size();
        let mut trimmed = 0;
        for level in 0..=u8::MAX {
            let path = self.levels.path(level);
            let found = match fs::metadata(&path) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            let expected = level_bytes(level, size);
            if found > expected {
                disk::set_len(&*self.levels.make(level)?, &path, expected)?;
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
