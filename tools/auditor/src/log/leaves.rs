//! The hashes of a log's tree as it serves them: leaves of entries whose bodies are gone, and tiles to prove growth with.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use ledger_tlog::{
    hash::Hash,
    proof::verify_consistency,
    tile::{MalformedTile, TILE_WIDTH, TileId, TilePath, TileSpan, level_hashes},
    tree::{self, TreeHead},
};

use super::{Log, LogUnreadable, Place, read};

impl Log {
    /// Shows the hashes of the first `count` leaves of a log of `size` entries, in order.
    ///
    /// # Errors
    /// [`LogUnreadable`].
    pub(crate) fn leaves(&self, count: u64, size: u64, mut visit: impl FnMut(Hash)) -> Result<(), LogUnreadable> {
        if let Place::Data(folder, _) = &self.0 {
            let path = folder.join("levels/0");
            let failed = |source| LogUnreadable::Io { path: path.clone(), source };
            let mut file = BufReader::with_capacity(1 << 20, File::open(&path).map_err(failed)?);
            for _ in 0..count {
                let mut leaf = [0; Hash::LEN];
                file.read_exact(&mut leaf).map_err(failed)?;
                visit(Hash::from_bytes(leaf));
            }
            return Ok(());
        }
        let mut next = 0;
        while next < count {
            let number = next / u64::from(TILE_WIDTH);
            let tile = match self.hash_tile(0, number, size) {
                // A mirror has the leaves of pruned entries, and no others.
                Err(LogUnreadable::Missing { .. }) => self.hash_tile(0, number, count)?,
                tile => tile?,
            };
            for leaf in tile {
                if next < count {
                    visit(leaf);
                    next += 1;
                }
            }
        }
        Ok(())
    }

    /// Whether the hashes that the log serves show that one of its trees extends another; not if they do not, or if it
    /// has none.
    ///
    /// # Errors
    /// [`LogUnreadable`] if it does not answer.
    pub(crate) fn extends(&self, old: &TreeHead, new: &TreeHead) -> Result<bool, LogUnreadable> {
        let mut unanswered = None;
        let read = |level, start: u64, out: &mut [Hash]| -> Result<(), MalformedTile> {
            let tile = match self.hash_tile(level, start / u64::from(TILE_WIDTH), new.tree_size) {
                Ok(tile) => tile,
                Err(LogUnreadable::Hashes { .. } | LogUnreadable::Missing { .. }) => return Err(MalformedTile::Path),
                Err(error) => {
                    unanswered = Some(error);
                    return Err(MalformedTile::Path);
                }
            };
            // One read never crosses a tile.
            let offset = usize::try_from(start % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
            let hashes = tile.get(offset..).and_then(|rest| rest.get(..out.len()));
            out.copy_from_slice(hashes.ok_or(MalformedTile::Path)?);
            Ok(())
        };
        let proof = tree::consistency_proof(old.tree_size, new.tree_size, read);
        match unanswered {
            Some(error) => Err(error),
            None => Ok(proof.is_ok_and(|proof| verify_consistency(old, new, &proof).is_ok())),
        }
    }

    /// A tile of hashes in the width that the tree has, or the full one if the log has grown past it.
    pub(crate) fn hash_tile(&self, level: u8, number: u64, size: u64) -> Result<Vec<Hash>, LogUnreadable> {
        let width = level_hashes(level, size).saturating_sub(number * u64::from(TILE_WIDTH));
        let width = u16::try_from(width.min(u64::from(TILE_WIDTH))).unwrap_or(TILE_WIDTH);
        let flaw = |path: &str| {
            let path = path.to_owned();
            move |source: MalformedTile| LogUnreadable::Hashes { path, source }
        };
        let mut path = format!("tile/{level}/{number}");
        for width in [width, TILE_WIDTH] {
            let id = TileSpan::new(number, width).and_then(|span| TileId::new(level, span)).map_err(flaw(&path))?;
            path = TilePath::Hashes(id).to_string();
            let bytes = match &self.0 {
                Place::Ledger(ledger) => ledger.resource(&path)?,
                Place::Data(folder, _) => level_part(&folder.join("levels").join(level.to_string()), id)?,
                Place::Tiles(folder) => read(&folder.join(&path))?,
            };
            if let Some(bytes) = bytes {
                return id.parse_hashes(&bytes).map_err(flaw(&path));
            }
        }
        Err(LogUnreadable::Missing { what: path })
    }
}

/// A tile out of a data directory's file of a level, where they lie end to end; `None` if the file ends before.
fn level_part(path: &Path, tile: TileId) -> Result<Option<Vec<u8>>, LogUnreadable> {
    let range = tile.byte_range();
    let mut bytes = vec![0; usize::from(tile.span().width()) * Hash::LEN];
    let part = File::open(path).and_then(|file| file.read_exact_at(&mut bytes, range.start));
    match part {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(None),
        Err(source) => Err(LogUnreadable::Io { path: path.to_owned(), source }),
    }
}
