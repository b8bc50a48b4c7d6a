//! The hashes of a log's tree while it is read: in temporary files, so that memory does not grow with the log.

use std::{fs::File, io, io::Write, os::unix::fs::FileExt};

use ledger_tlog::{frontier::Frontier, hash::Hash};

/// Hashes that wait to be written, a multiple of a tile's 256: 2 MiB.
const WAITING_MAX: usize = 256 * 256;

/// The hashes of each level, those of whole subtrees of 256^level entries.
#[derive(Debug, Default)]
pub(crate) struct HashFiles {
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    file: Option<File>,
    written: u64,
    waiting: Vec<Hash>,
}

/// Why hashes are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum HashesLost {
    /// The temporary file cannot be used.
    #[error("a temporary file cannot be used")]
    Io(#[source] io::Error),
    /// They are beyond what was read.
    #[error("level {level} has no hashes from {start} on")]
    Missing {
        /// The level.
        level: u8,
        /// The first one asked for.
        start: u64,
    },
}

impl HashFiles {
    /// Appends a leaf to `frontier` and keeps what becomes complete by it.
    pub(crate) fn append(&mut self, frontier: &mut Frontier, leaf: Hash) -> Result<(), HashesLost> {
        let mut done = Ok(());
        frontier.append(leaf, |level, _, hash| {
            if done.is_ok() {
                done = self.push(usize::from(level), hash);
            }
        });
        done.map_err(HashesLost::Io)
    }

    fn push(&mut self, level: usize, hash: Hash) -> io::Result<()> {
        while self.levels.len() <= level {
            self.levels.push(Level { file: None, written: 0, waiting: Vec::new() });
        }
        match self.levels.get_mut(level) {
            Some(level) => level.push(hash),
            None => Ok(()),
        }
    }

    /// Hashes of a level; one read never crosses a tile.
    pub(crate) fn read(&self, level: u8, start: u64, out: &mut [Hash]) -> Result<(), HashesLost> {
        let missing = HashesLost::Missing { level, start };
        let Some(of) = self.levels.get(usize::from(level)) else { return Err(missing) };
        if start >= of.written {
            let from = usize::try_from(start - of.written).unwrap_or(usize::MAX);
            let found = of.waiting.get(from..).and_then(|rest| rest.get(..out.len()));
            out.copy_from_slice(found.ok_or(missing)?);
            return Ok(());
        }
        let Some(file) = &of.file else { return Err(missing) };
        let mut bytes = vec![0; out.len() * Hash::LEN];
        file.read_exact_at(&mut bytes, start * Hash::LEN as u64).map_err(HashesLost::Io)?;
        for (hash, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
            *hash = Hash::from_bytes(*bytes);
        }
        Ok(())
    }
}

impl Level {
    fn push(&mut self, hash: Hash) -> io::Result<()> {
        self.waiting.push(hash);
        if self.waiting.len() < WAITING_MAX {
            return Ok(());
        }
        let bytes: Vec<u8> = self.waiting.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        file.write_all(&bytes)?;
        self.file = Some(file);
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}
