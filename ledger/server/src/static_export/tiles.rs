//! Writes tiles and entry bundles as entries come, holding one of each level at a time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ledger_tlog::bundle::append_entry;
use ledger_tlog::frontier::Frontier;
use ledger_tlog::hash::Hash;
use ledger_tlog::tile::{TILE_WIDTH, TileId, TilePath, TileSpan};
use ledger_tlog::tree::TreeHead;

use super::ExportError;

/// What is open at the right edge.
pub(super) struct TileWriter {
    bundle: Vec<u8>,
    /// First entry whose body is there: bundles that begin before are not written.
    bundles_from: u64,
    /// Entries under the checkpoint that the target has: their tiles are final.
    covered: u64,
    frontier: Frontier,
    kept: u64,
    /// Hashes of the last tile of each level.
    levels: Vec<Level>,
    out: PathBuf,
    written: u64,
}

#[derive(Default)]
struct Level {
    bytes: Vec<u8>,
    index: u64,
}

impl TileWriter {
    pub(super) fn new(out: PathBuf, covered: u64) -> Self {
        Self {
            bundle: Vec::new(),
            bundles_from: 0,
            covered,
            frontier: Frontier::new(),
            kept: 0,
            levels: Vec::new(),
            out,
            written: 0,
        }
    }

    /// Files that were there already, and files written.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.kept, self.written)
    }

    /// Takes the leaf of the next entry, whose body was pruned.
    pub(super) fn append_pruned(&mut self, leaf: Hash) -> Result<(), ExportError> {
        self.bundles_from = self.frontier.tree_size() + 1;
        self.append_leaf(leaf);
        self.write_levels(true)
    }

    /// Takes the next entry, and writes the tiles that it completes.
    pub(super) fn append(&mut self, entry: &[u8], leaf: Hash) -> Result<(), ExportError> {
        let index = self.frontier.tree_size();
        self.append_leaf(leaf);
        append_entry(&mut self.bundle, entry).map_err(|error| {
            let path = self.out.join(format!("entry {index}"));
            ExportError::Io { operation: "bundle", path, source: io::Error::other(error) }
        })?;
        if (index + 1).is_multiple_of(u64::from(TILE_WIDTH)) {
            self.write_bundle(index / u64::from(TILE_WIDTH), TILE_WIDTH)?;
        }
        self.write_levels(true)
    }

    fn append_leaf(&mut self, leaf: Hash) {
        let levels = &mut self.levels;
        self.frontier.append(leaf, |level, index, hash| {
            let level = usize::from(level);
            if levels.len() <= level {
                levels.resize_with(level + 1, Level::default);
            }
            if let Some(level) = levels.get_mut(level) {
                level.index = index / u64::from(TILE_WIDTH);
                level.bytes.extend_from_slice(hash.as_bytes());
            }
        });
    }

    /// Writes the partial tiles; the head of all that was taken.
    pub(super) fn finish(&mut self) -> Result<TreeHead, ExportError> {
        let head = self.frontier.tree_head();
        let width = head.tree_size % u64::from(TILE_WIDTH);
        // Fits: a remainder below 256.
        if let Ok(width @ 1..) = u16::try_from(width) {
            self.write_bundle(head.tree_size / u64::from(TILE_WIDTH), width)?;
        }
        self.write_levels(false)?;
        Ok(head)
    }

    fn write_bundle(&mut self, index: u64, width: u16) -> Result<(), ExportError> {
        let bytes = std::mem::take(&mut self.bundle);
        if index * u64::from(TILE_WIDTH) < self.bundles_from {
            return Ok(());
        }
        let Ok(span) = TileSpan::new(index, width) else {
            return Ok(());
        };
        self.write(TilePath::Entries(span), &bytes)
    }

    fn write_levels(&mut self, full_only: bool) -> Result<(), ExportError> {
        for level in 0..self.levels.len() {
            let Some(open) = self.levels.get_mut(level) else { break };
            let width = u16::try_from(open.bytes.len() / Hash::LEN).unwrap_or(TILE_WIDTH);
            if width == 0 || (full_only && width < TILE_WIDTH) {
                continue;
            }
            let bytes = std::mem::take(&mut open.bytes);
            let tile = u8::try_from(level).ok().zip(TileSpan::new(open.index, width).ok());
            if let Some(Ok(tile)) = tile.map(|(level, span)| TileId::new(level, span)) {
                self.write(TilePath::Hashes(tile), &bytes)?;
            }
        }
        Ok(())
    }

    /// Leaves what is there and equal. What differs may be half a file that a crash has left, but
    /// not under a checkpoint: that was put in place after its tiles were on the disk.
    fn write(&mut self, tile: TilePath, bytes: &[u8]) -> Result<(), ExportError> {
        let path = self.out.join(tile.to_string());
        match fs::read(&path) {
            Ok(there) if there == bytes => {
                self.kept += 1;
                return Ok(());
            }
            Ok(_) if tile.exists_in(self.covered) => return Err(ExportError::Differs { path }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ExportError::Io { operation: "read", path, source }),
        }
        create(&path, bytes).map_err(|source| ExportError::Io { operation: "write", path, source })?;
        self.written += 1;
        Ok(())
    }
}

/// Whole or not at all: a reader must never see half a tile. What is synced is synced at the end.
pub(super) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let temporary = path.with_extension("tmp");
    File::create(&temporary)?.write_all(bytes)?;
    fs::rename(temporary, path)
}
