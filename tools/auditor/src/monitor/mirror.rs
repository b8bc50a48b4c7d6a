//! The monitor's own copy of a log: `tile/entries/…` of C2SP tlog-tiles, `checkpoints/<size>`, `blobs/<sha256>`, `checkpoint`;
//! of a log that was pruned before the mirror began also `pruned/` and `tile/0/…`, as an exported folder has them.
//!
//! Files are written aside and renamed; `checkpoint` comes last, when all that it covers is durable. So it is always a
//! whole log, also after a kill.

use std::{
    fs::{self, File, TryLockError},
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use ledger_tlog::{
    bundle::append_entry,
    hash::Hash,
    tile::{TILE_WIDTH, TileId, TilePath, TileSpan},
};

use super::{
    NotWatched,
    files::{failed, place, remove, replace, settle},
};
use messages::Digest;

use crate::log::Log;

#[derive(Debug)]
pub(super) struct Mirror {
    folder: PathBuf,
    /// Held while this monitor has the mirror: two would take each other's files away.
    _lock: File,
}

impl Mirror {
    pub(super) fn open(folder: PathBuf) -> Result<Self, NotWatched> {
        for name in ["blobs", "checkpoints", "evidence", "tile/entries"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(failed("make", &path))?;
        }
        let path = folder.join("lock");
        let lock = File::options().create(true).append(true).open(&path).map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(NotWatched::Busy { folder }),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn checkpoint(&self) -> Result<Option<Vec<u8>>, NotWatched> {
        let path = self.folder.join(CHECKPOINT);
        match fs::read(&path) {
            Ok(note) => Ok(Some(note)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &path)(source)),
        }
    }

    /// The mirror as a log, also before it has a checkpoint.
    pub(super) fn log(&self) -> Log {
        Log::mirror(&self.folder)
    }

    /// Begins to copy entries from index `from` on, after those of the same bundle that are there. `from` is where a
    /// bundle begins, or the end of what is there.
    pub(super) fn copy(&self, from: u64) -> Result<Copy<'_>, NotWatched> {
        let mut copy = Copy { mirror: self, bundle: Vec::new(), next: from - from % WIDTH };
        let mut there = Vec::new();
        self.log().read(copy.next, from, |_, bytes| {
            there.push(bytes.to_vec());
            ControlFlow::Continue(())
        })?;
        there.iter().try_for_each(|bytes| copy.append(bytes))?;
        Ok(copy)
    }

    /// Writes the leaves of entries whose bodies were pruned, as tiles.
    pub(super) fn keep_leaves(&self, leaves: &[Hash], number: u64) -> Result<(), NotWatched> {
        let width = u16::try_from(leaves.len()).unwrap_or(TILE_WIDTH);
        let Ok(id) = TileSpan::new(number, width).and_then(|span| TileId::new(0, span)) else { return Ok(()) };
        let bytes: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
        place(&self.folder.join(TilePath::Hashes(id).to_string()), &bytes)
    }

    /// Writes a file of the mirror.
    pub(super) fn keep(&self, path: &str, bytes: &[u8]) -> Result<(), NotWatched> {
        place(&self.folder.join(path), bytes)
    }

    /// Whether the mirror has a file with these content's digest.
    pub(super) fn has(&self, path: &str, digest: &Digest) -> bool {
        fs::read(self.folder.join(path)).is_ok_and(|bytes| openssl::sha::sha256(&bytes) == digest.0)
    }

    /// Keeps bytes that are proof against the log, with the mirror's own checkpoint at the time.
    pub(super) fn evidence(&self, name: &str, bytes: &[u8]) -> Result<(), NotWatched> {
        let digest = hex::encode(openssl::sha::sha256(bytes));
        let name = format!("{name}-{}", digest.get(..16).unwrap_or_default());
        let path = self.folder.join("evidence").join(&name);
        if path.exists() {
            return Ok(());
        }
        if let Some(own) = self.checkpoint()? {
            replace(&self.folder.join("evidence").join(name + ".mirror"), &own)?;
        }
        replace(&path, bytes)
    }

    /// Takes a checkpoint over, all that it covers being on the disk, and removes what only the one before it needed.
    pub(super) fn publish(&self, note: &[u8], before: u64, size: u64) -> Result<(), NotWatched> {
        settle(&self.folder)?;
        replace(&self.folder.join(CHECKPOINT), note)?;
        for number in before / WIDTH..=size / WIDTH {
            self.tidy(number, size)?;
        }
        Ok(())
    }

    /// Removes the partial bundles that a kill has left between a checkpoint and what it makes superfluous.
    pub(super) fn tidy_all(&self, size: u64) -> Result<(), NotWatched> {
        let mut folders = vec![self.folder.join("tile/entries")];
        while let Some(folder) = folders.pop() {
            let listed = fs::read_dir(&folder).map_err(failed("list", &folder))?;
            for path in listed.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()) {
                if path.extension().is_none() {
                    folders.push(path);
                } else if let Some(number) = number_of(&self.folder, &path) {
                    self.tidy(number, size)?;
                }
            }
        }
        Ok(())
    }

    /// Of a bundle that is whole no partial ones are needed, of the last one only that of the tree's width.
    fn tidy(&self, number: u64, size: u64) -> Result<(), NotWatched> {
        let Ok(span) = TileSpan::new(number, 1) else { return Ok(()) };
        let path = self.folder.join(TilePath::Entries(span).to_string());
        let Some(folder) = path.parent() else { return Ok(()) };
        if number < size / WIDTH {
            return if folder.exists() { remove(folder) } else { Ok(()) };
        }
        let needed = (size % WIDTH).to_string();
        let listed = fs::read_dir(folder).into_iter().flatten();
        for path in listed.filter_map(|entry| Some(entry.ok()?.path())) {
            if number == size / WIDTH && path.file_name().is_some_and(|name| name != needed.as_str()) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// The number of the bundle whose partial ones are in a folder such as `tile/entries/x001/234.p`.
fn number_of(mirror: &Path, folder: &Path) -> Option<u64> {
    let path = folder.strip_prefix(mirror).ok()?.join("1");
    match path.to_str()?.parse().ok()? {
        TilePath::Entries(span) => Some(span.index()),
        TilePath::Hashes(_) => None,
    }
}

/// Entries on their way into bundles.
#[derive(Debug)]
pub(super) struct Copy<'a> {
    mirror: &'a Mirror,
    bundle: Vec<u8>,
    /// Index of the next entry.
    next: u64,
}

impl Copy<'_> {
    /// Index of the next entry.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), NotWatched> {
        append_entry(&mut self.bundle, bytes)
            .map_err(io::Error::other)
            .map_err(failed("bundle an entry into", &self.mirror.folder))?;
        self.next += 1;
        if self.next.is_multiple_of(WIDTH) { self.write(TILE_WIDTH) } else { Ok(()) }
    }

    /// The whole bundle that a copy before this one has left, if the next entry is in it and it is not beyond `to`; the
    /// copy goes on behind it.
    pub(super) fn left_over(&mut self, log: &Log, to: u64) -> Option<Vec<Vec<u8>>> {
        let number = self.next / WIDTH;
        let end = (number + 1) * WIDTH;
        if end > to {
            return None;
        }
        let skipped = usize::try_from(self.next % WIDTH).unwrap_or(usize::MAX);
        let entries = log.whole_bundle(number)?;
        self.bundle.clear();
        self.next = end;
        Some(entries.into_iter().skip(skipped).collect())
    }

    /// Writes the last bundle, which is partial.
    pub(super) fn finish(mut self) -> Result<(), NotWatched> {
        // A remainder below 256 fits.
        match u16::try_from(self.next % WIDTH) {
            Ok(width @ 1..) => self.write(width),
            _ => Ok(()),
        }
    }

    fn write(&mut self, width: u16) -> Result<(), NotWatched> {
        let bytes = std::mem::take(&mut self.bundle);
        let number = self.next.saturating_sub(1) / WIDTH;
        let Ok(span) = TileSpan::new(number, width) else { return Ok(()) };
        place(&self.mirror.folder.join(TilePath::Entries(span).to_string()), &bytes)
    }
}

const CHECKPOINT: &str = "checkpoint";
/// Entries of a bundle.
pub(super) const WIDTH: u64 = TILE_WIDTH as u64;
