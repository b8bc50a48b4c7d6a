//! Hashes of the log's tree, by tile: proofs are computed here, a request for every 256 entries.

use std::collections::HashMap;

use ledger_tlog::{
    hash::Hash,
    proof::{ConsistencyProof, InclusionProof},
    tile::{MalformedTile, TILE_WIDTH, TileId, TilePath, TileSpan, level_hashes},
    tree::{self, TreeError},
};

use super::{Ledger, LedgerUnavailable};

/// Tiles kept at most: 8 KiB each, so 64 MiB.
const TILES_MAX: usize = 8_192;

/// The tree of one size, as far as it was asked for.
#[derive(Debug)]
pub struct Tiles<'a> {
    ledger: &'a Ledger,
    tree_size: u64,
    kept: HashMap<(u8, u64), Vec<Hash>>,
}

/// Why hashes are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum TilesError {
    /// The ledger does not have the tile.
    #[error("the ledger does not serve {path}, which its checkpoint covers")]
    Missing {
        /// The tile.
        path: String,
    },
    /// What it serves is no tile.
    #[error("the ledger serves a malformed {path}")]
    Malformed {
        /// The tile.
        path: String,
        /// What is wrong with it.
        source: MalformedTile,
    },
    /// No answer.
    #[error(transparent)]
    Unavailable(#[from] LedgerUnavailable),
}

impl<'a> Tiles<'a> {
    /// The tree of the first `tree_size` entries.
    #[must_use]
    pub fn new(ledger: &'a Ledger, tree_size: u64) -> Self {
        Self { ledger, tree_size, kept: HashMap::new() }
    }

    /// Proves that the entry at `index` is in the tree.
    ///
    /// # Errors
    /// [`TreeError`], with [`TilesError`] as its cause.
    pub fn inclusion(&mut self, index: u64) -> Result<InclusionProof, TreeError<TilesError>> {
        tree::inclusion_proof(index, self.tree_size, |level, start, out| self.read(level, start, out))
    }

    /// Proves that the tree extends the one of `old` entries.
    ///
    /// # Errors
    /// [`TreeError`], with [`TilesError`] as its cause.
    pub fn consistency(&mut self, old: u64) -> Result<ConsistencyProof, TreeError<TilesError>> {
        tree::consistency_proof(old, self.tree_size, |level, start, out| self.read(level, start, out))
    }

    fn read(&mut self, level: u8, start: u64, out: &mut [Hash]) -> Result<(), TilesError> {
        let (tile, offset) = (start / u64::from(TILE_WIDTH), start % u64::from(TILE_WIDTH));
        let hashes = self.tile(level, tile)?;
        // One read never crosses a tile.
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let wanted = hashes.get(offset..).and_then(|rest| rest.get(..out.len()));
        let wanted = wanted.ok_or_else(|| TilesError::Missing { path: format!("tile/{level} from {start}") })?;
        out.copy_from_slice(wanted);
        Ok(())
    }

    fn tile(&mut self, level: u8, index: u64) -> Result<&[Hash], TilesError> {
        if !self.kept.contains_key(&(level, index)) {
            let hashes = self.fetch(level, index)?;
            if self.kept.len() >= TILES_MAX {
                self.kept.clear();
            }
            self.kept.insert((level, index), hashes);
        }
        Ok(self.kept.get(&(level, index)).map(Vec::as_slice).unwrap_or_default())
    }

    /// The tile in the width this tree has, or the full one if the log has grown past it.
    fn fetch(&self, level: u8, index: u64) -> Result<Vec<Hash>, TilesError> {
        let stored = level_hashes(level, self.tree_size);
        let width = stored.saturating_sub(index * u64::from(TILE_WIDTH)).min(u64::from(TILE_WIDTH));
        let width = u16::try_from(width).unwrap_or(TILE_WIDTH);
        let mut missing = String::new();
        for width in [width, TILE_WIDTH] {
            let id = TileSpan::new(index, width).and_then(|span| TileId::new(level, span));
            let id = id.map_err(|source| TilesError::Malformed { path: format!("tile/{level}/{index}"), source })?;
            missing = TilePath::Hashes(id).to_string();
            if let Some(bytes) = self.ledger.tile(&missing)? {
                let parsed = id.parse_hashes(&bytes);
                return parsed.map_err(|source| TilesError::Malformed { path: missing, source });
            }
        }
        Err(TilesError::Missing { path: missing })
    }
}
