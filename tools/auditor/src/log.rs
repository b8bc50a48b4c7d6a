//! A whole log as it can be read: a ledger's address, its data directory, an exported folder, a mirror.

mod leaves;
mod notes;
mod pruned;
mod segments;

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use ledger_tlog::{
    bundle::{MalformedBundle, parse_entries},
    tile::{MalformedTile, TILE_WIDTH, TilePath, TileSpan},
};
use messages::Digest;

pub use self::pruned::{Boundary, PrunedUnreadable};
pub(crate) use self::pruned::{OutlivedHistories, kept_file};
pub use self::segments::SegmentFlaw;
use self::segments::Segments;
use crate::{
    bundle::blob_path,
    ledger::{Ledger, LedgerUnavailable},
};

/// Where a log's entries come from. Nothing that it gives is believed.
#[derive(Debug)]
pub struct Log(Place);

#[derive(Debug)]
enum Place {
    /// A ledger's data directory.
    Data(PathBuf, Segments),
    /// A folder with `checkpoint` and `tile/…`.
    Tiles(PathBuf),
    /// A ledger.
    Ledger(Ledger),
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogUnreadable {
    /// What the log says of its pruned entries is not usable.
    #[error("{path} cannot be used")]
    Boundary {
        /// Where it stands.
        path: String,
        /// What is wrong.
        source: PrunedUnreadable,
    },
    /// A bundle of entries is none.
    #[error("{path} is no bundle of entries")]
    Bundle {
        /// Its path.
        path: String,
        /// What is wrong.
        source: MalformedBundle,
    },
    /// The folder is no log.
    #[error("{path} is no log; expected a ledger's data directory, an exported folder or a mirror", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// A tile of hashes is none.
    #[error("{path} is no tile of hashes")]
    Hashes {
        /// Its path.
        path: String,
        /// What is wrong.
        source: MalformedTile,
    },
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerUnavailable),
    /// Entries that the checkpoint covers are not there.
    #[error("{what} is not there, though the checkpoint covers it")]
    Missing {
        /// Which.
        what: String,
    },
    /// Entries were pruned.
    #[error("{what} was pruned by the log's operator")]
    Pruned {
        /// Which.
        what: String,
    },
    /// A segment file is damaged.
    #[error("{path} is damaged at byte {offset}", path = path.display())]
    Segment {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        source: SegmentFlaw,
    },
    /// No tile has that place.
    #[error("there is no tile with entry {index}")]
    Tile {
        /// Index of the entry.
        index: u64,
        /// Why not.
        source: MalformedTile,
    },
}

impl Log {
    /// The log in a folder.
    ///
    /// # Errors
    /// [`LogUnreadable`] if there is none.
    pub fn folder(path: &Path) -> Result<Self, LogUnreadable> {
        if path.join("segments").is_dir() {
            return Ok(Self(Place::Data(path.to_owned(), Segments::list(&path.join("segments"))?)));
        }
        if path.join("checkpoint").is_file() {
            return Ok(Self(Place::Tiles(path.to_owned())));
        }
        Err(LogUnreadable::Folder { path: path.to_owned() })
    }

    /// The entries of a whole bundle as they are kept here, `None` if it is not there or is none.
    pub(crate) fn whole_bundle(&self, number: u64) -> Option<Vec<Vec<u8>>> {
        let (path, bytes, width) = self.bundle(0, number, u64::from(TILE_WIDTH)).ok()?;
        let entries = parse_entries(&bytes, width).map_err(|source| LogUnreadable::Bundle { path, source }).ok()?;
        Some(entries.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// A mirror, which may have no checkpoint yet.
    pub(crate) fn mirror(path: &Path) -> Self {
        Self(Place::Tiles(path.to_owned()))
    }

    /// The log of a ledger.
    #[must_use]
    pub fn ledger(ledger: Ledger) -> Self {
        Self(Place::Ledger(ledger))
    }

    /// The latest checkpoint's note.
    ///
    /// # Errors
    /// [`LogUnreadable`].
    pub fn checkpoint(&self) -> Result<Vec<u8>, LogUnreadable> {
        match &self.0 {
            Place::Data(path, _) | Place::Tiles(path) => {
                read(&path.join("checkpoint"))?.ok_or_else(|| LogUnreadable::Missing { what: "checkpoint".to_owned() })
            }
            Place::Ledger(ledger) => Ok(ledger.checkpoint()?),
        }
    }

    /// A blob that is what its name says, if it is kept here.
    ///
    /// # Errors
    /// [`LogUnreadable`].
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LogUnreadable> {
        let bytes = match &self.0 {
            Place::Data(path, _) => {
                let name = digest.to_string();
                read(&path.join("blobs").join(name.get(..2).unwrap_or_default()).join(&name))?
            }
            Place::Tiles(path) => read(&path.join(blob_path(digest)))?,
            Place::Ledger(ledger) => ledger.blob(digest)?,
        };
        Ok(bytes.filter(|bytes| openssl::sha::sha256(bytes) == digest.0))
    }

    /// Shows the entries from index `from` to before `to`, in order, until `visit` breaks.
    ///
    /// # Errors
    /// [`LogUnreadable`]; what was shown before is right as far as it was read.
    pub fn read(
        &self,
        from: u64,
        to: u64,
        mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogUnreadable> {
        if let Place::Data(_, segments) = &self.0 {
            return segments.read(from, to, visit);
        }
        let tile_width = u64::from(TILE_WIDTH);
        let mut next = from;
        while next < to {
            let number = next / tile_width;
            let width = to.saturating_sub(number * tile_width).min(tile_width);
            let (path, bytes, width) = match self.bundle(next, number, width) {
                Ok(found) => found,
                Err(error @ (LogUnreadable::Missing { .. } | LogUnreadable::Pruned { .. })) => {
                    // The first ones behind those that were pruned have no bundle.
                    let end = to.min((number + 1) * tile_width);
                    let Some(entries) = self.bodiless(next, end)? else { return Err(error) };
                    for (index, entry) in (next..).zip(&entries) {
                        if visit(index, entry).is_break() {
                            return Ok(());
                        }
                    }
                    next = end;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let entries = parse_entries(&bytes, width).map_err(|source| LogUnreadable::Bundle { path, source })?;
            for (index, entry) in (number * tile_width..).zip(entries) {
                if index >= next && index < to && visit(index, entry).is_break() {
                    return Ok(());
                }
            }
            next = (number + 1) * tile_width;
        }
        Ok(())
    }

    /// The bytes of one entry of a log of `size` entries.
    ///
    /// # Errors
    /// [`LogUnreadable`].
    pub fn entry(&self, index: u64, size: u64) -> Result<Vec<u8>, LogUnreadable> {
        let mut found = None;
        self.read(index, size, |_, bytes| {
            found = Some(bytes.to_vec());
            ControlFlow::Break(())
        })?;
        found.ok_or_else(|| LogUnreadable::Missing { what: format!("entry {index}") })
    }

    /// A bundle in the width that the checkpoint has, or the full one if the log has grown past it.
    fn bundle(&self, index: u64, number: u64, width: u64) -> Result<(String, Vec<u8>, u16), LogUnreadable> {
        let mut path = String::new();
        for width in [u16::try_from(width).unwrap_or(TILE_WIDTH), TILE_WIDTH] {
            let span = TileSpan::new(number, width).map_err(|source| LogUnreadable::Tile { index, source })?;
            path = TilePath::Entries(span).to_string();
            let bytes = match &self.0 {
                Place::Ledger(ledger) => match ledger.resource(&path) {
                    Err(LedgerUnavailable::Status { status: 410, .. }) => {
                        return Err(LogUnreadable::Pruned { what: path });
                    }
                    answer => answer?,
                },
                Place::Data(folder, _) | Place::Tiles(folder) => read(&folder.join(&path))?,
            };
            if let Some(bytes) = bytes {
                return Ok((path, bytes, width));
            }
        }
        Err(LogUnreadable::Missing { what: path })
    }
}

/// A file, `None` if it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, LogUnreadable> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LogUnreadable::Io { path: path.to_owned(), source }),
    }
}
