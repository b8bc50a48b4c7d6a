//! Tiles: the log's stored hashes in pieces of 256, and their paths.
//!
//! `tile/<level>/<index>[.p/<width>]` for hashes, `tile/entries/<index>[.p/<width>]` for bundles
//! of entries. The index is written in groups of three digits, all but the last with an `x`.
//!
//! Source: C2SP tlog-tiles.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::decimal;
use crate::hash::{Hash, MalformedHash};
use crate::tree::LEVEL_HEIGHT;

/// Hashes or entries in a full tile.
pub const TILE_WIDTH: u16 = 1 << LEVEL_HEIGHT;

/// Bytes of a full tile of hashes.
pub const TILE_BYTES: u64 = 32 << LEVEL_HEIGHT;

/// Highest level a path may name: 64 levels of 8 would be a tree of height 512.
pub const TILE_LEVEL_MAX: u8 = 63;

/// Highest tile index: the tile's bytes in a flat file of its level still end within 64 bits.
pub const TILE_INDEX_MAX: u64 = u64::MAX / TILE_BYTES - 1;

/// A tile of hashes, full or partial, at any level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    span: TileSpan,
}

/// Which of the 256-wide pieces, and how much of it; shared by tiles of hashes and bundles of
/// entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileSpan {
    index: u64,
    width: u16,
}

/// What a path below a log's prefix names.
///
/// Reads with [`FromStr`] and shows with [`Display`](fmt::Display), the one being the exact
/// inverse of the other: every tile has one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TilePath {
    /// `tile/entries/…`: length-prefixed entries; see [`bundle`](crate::bundle).
    Entries(TileSpan),
    /// `tile/<level>/…`: hashes of 32 bytes.
    Hashes(TileId),
}

impl TileSpan {
    /// `width` is 1 to 256, where 256 is the full tile.
    ///
    /// # Errors
    /// [`MalformedTile::Index`] beyond [`TILE_INDEX_MAX`]; [`MalformedTile::Width`] for 0 or
    /// more than 256.
    pub fn new(index: u64, width: u16) -> Result<Self, MalformedTile> {
        if index > TILE_INDEX_MAX {
            return Err(MalformedTile::Index);
        }
        if width == 0 || width > TILE_WIDTH {
            return Err(MalformedTile::Width);
        }
        Ok(Self { index, width })
    }

    /// Which tile of its level, from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries, 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// True when nothing can be added to it.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The positions it holds within its level: leaf indices for level 0 and for entries.
    #[must_use]
    pub const fn positions(&self) -> Range<u64> {
        let start = self.index * TILE_WIDTH as u64;
        start..start + self.width as u64
    }

    /// The spans of `count` positions: all full ones and, if something is left, a partial one.
    fn cover(count: u64) -> impl Iterator<Item = Self> {
        let full = count / u64::from(TILE_WIDTH);
        // Fits: a remainder below 256.
        let rest = u16::try_from(count % u64::from(TILE_WIDTH)).unwrap_or(0);
        (0..full)
            .map(|index| Self { index, width: TILE_WIDTH })
            .chain((rest > 0).then_some(Self { index: full, width: rest }))
    }
}

impl TileId {
    /// The tile `span` of `level`.
    ///
    /// # Errors
    /// [`MalformedTile::Level`] beyond [`TILE_LEVEL_MAX`].
    pub fn new(level: u8, span: TileSpan) -> Result<Self, MalformedTile> {
        if level > TILE_LEVEL_MAX { Err(MalformedTile::Level) } else { Ok(Self { level, span }) }
    }

    /// Level of the stored hashes, 0 for leaf hashes.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// Index and width.
    #[must_use]
    pub const fn span(&self) -> TileSpan {
        self.span
    }

    /// Where its bytes lie in the flat file of its level.
    #[must_use]
    pub const fn byte_range(&self) -> Range<u64> {
        let start = self.span.index * TILE_BYTES;
        start..start + self.span.width as u64 * Hash::LEN as u64
    }

    /// Reads the tile's bytes.
    ///
    /// # Errors
    /// [`MalformedTile::Bytes`] unless there are exactly 32 for each hash of its width.
    pub fn parse_hashes(&self, bytes: &[u8]) -> Result<Vec<Hash>, MalformedTile> {
        let expected = usize::from(self.span.width) * Hash::LEN;
        let wrong_length = MalformedTile::Bytes { expected, found: bytes.len() };
        if bytes.len() != expected {
            return Err(wrong_length);
        }
        bytes
            .chunks_exact(Hash::LEN)
            .map(Hash::try_from)
            .collect::<Result<_, MalformedHash>>()
            .map_err(|_| wrong_length)
    }
}

impl TilePath {
    /// True if a log of `tree_size` entries has everything this tile holds.
    ///
    /// A partial tile stays available, as a prefix, after the log has grown beyond it.
    #[must_use]
    pub fn exists_in(&self, tree_size: u64) -> bool {
        let (count, span) = match self {
            Self::Entries(span) => (tree_size, span),
            Self::Hashes(tile) => (level_hashes(tile.level, tree_size), &tile.span),
        };
        span.positions().end <= count
    }

    /// Every tile and bundle of a log of `tree_size` entries: bundles first, then the levels
    /// upward; partial ones only at the right edge.
    pub fn all(tree_size: u64) -> impl Iterator<Item = Self> {
        let levels = (0..=TILE_LEVEL_MAX).flat_map(move |level| {
            TileSpan::cover(level_hashes(level, tree_size)).map(move |span| Self::Hashes(TileId { level, span }))
        });
        TileSpan::cover(tree_size).map(Self::Entries).chain(levels)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entries(span) => write!(f, "tile/entries/{span}"),
            Self::Hashes(tile) => write!(f, "tile/{}/{}", tile.level, tile.span),
        }
    }
}

impl fmt::Display for TileSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 2^51 has 16 digits: at most six groups.
        for exponent in (1..6).rev() {
            let above = self.index / 1000_u64.pow(exponent);
            if above > 0 {
                write!(f, "x{:03}/", above % 1000)?;
            }
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TilePath {
    type Err = MalformedTile;

    fn from_str(path: &str) -> Result<Self, MalformedTile> {
        let path = path.strip_prefix("tile/").ok_or(MalformedTile::Path)?;
        let (kind, span) = path.split_once('/').ok_or(MalformedTile::Path)?;
        let span = span.parse()?;
        if kind == "entries" {
            return Ok(Self::Entries(span));
        }
        let level = decimal::parse(kind).and_then(|level| u8::try_from(level).ok());
        TileId::new(level.ok_or(MalformedTile::Level)?, span).map(Self::Hashes)
    }
}

impl FromStr for TileSpan {
    type Err = MalformedTile;

    fn from_str(text: &str) -> Result<Self, MalformedTile> {
        let (index, width) = match text.split_once(".p/") {
            None => (text, TILE_WIDTH),
            Some((index, width)) => {
                let width = decimal::parse(width).and_then(|width| u16::try_from(width).ok());
                // 256 would be a second name of the full tile.
                let partial = width.filter(|width| *width < TILE_WIDTH);
                (index, partial.ok_or(MalformedTile::Width)?)
            }
        };
        let span = Self::new(parse_index(index)?, width)?;
        // Refuses `x000/001`, a second name of `001`.
        if span.to_string() == text { Ok(span) } else { Err(MalformedTile::Index) }
    }
}

/// Why text, numbers or bytes are not a tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedTile {
    /// The content is not as long as its width says.
    #[error("a tile has {found} bytes, expected {expected}")]
    Bytes {
        /// Bytes for its width.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The index is too large or not in canonical groups of three digits.
    #[error("the tile index is not in groups of three digits, or beyond {TILE_INDEX_MAX}")]
    Index,
    /// The level is not a number up to 63.
    #[error("the tile level is not a decimal from 0 to {TILE_LEVEL_MAX}")]
    Level,
    /// The path does not start like a tile's.
    #[error("the path is not tile/<level>/<index> or tile/entries/<index>")]
    Path,
    /// The width is not 1 to 255 (in a path) or 1 to 256.
    #[error("the tile width is not a decimal from 1 to 255")]
    Width,
}

/// Stored hashes of `level` in a tree of `tree_size` leaves.
#[must_use]
pub fn level_hashes(level: u8, tree_size: u64) -> u64 {
    tree_size.checked_shr(u32::from(level) * u32::from(LEVEL_HEIGHT)).unwrap_or(0)
}

fn parse_index(text: &str) -> Result<u64, MalformedTile> {
    let mut index = 0_u64;
    let mut groups = text.split('/').peekable();
    while let Some(group) = groups.next() {
        let digits = match groups.peek() {
            Some(_) => group.strip_prefix('x').ok_or(MalformedTile::Index)?,
            None => group,
        };
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(MalformedTile::Index);
        }
        let value: u64 = digits.parse().map_err(|_| MalformedTile::Index)?;
        index = index.checked_mul(1000).and_then(|index| index.checked_add(value)).ok_or(MalformedTile::Index)?;
    }
    Ok(index)
}

#[cfg(test)]
mod tests;
