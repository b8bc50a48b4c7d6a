//! A whole log as it can be read: a ledger's address, its data directory, an exported folder, a mirror.

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

    /// The note of the published checkpoint of a size, if it is kept here.
    ///
    /// # Errors
    /// [`LogUnreadable`].
    pub fn note(&self, size: u64) -> Result<Option<Vec<u8>>, LogUnreadable> {
        match &self.0 {
            Place::Data(path, _) | Place::Tiles(path) => read_note(path, size),
            Place::Ledger(ledger) => match ledger.kept_checkpoint(size) {
                Err(LedgerUnavailable::Status { status: 404, .. }) => Ok(None),
                answer => Ok(answer.map(Some)?),
            },
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
            let (path, bytes, width) = self.bundle(next, number, width)?;
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
                Place::Ledger(ledger) => ledger.resource(&path)?,
                Place::Data(folder, _) | Place::Tiles(folder) => read(&folder.join(&path))?,
            };
            if let Some(bytes) = bytes {
                return Ok((path, bytes, width));
            }
        }
        Err(LogUnreadable::Missing { what: path })
    }
}

/// A note in `checkpoints/`: in a ledger's directory those beyond 4,096 are in folders by their first size.
fn read_note(path: &Path, size: u64) -> Result<Option<Vec<u8>>, LogUnreadable> {
    let folder = path.join("checkpoints");
    if let Some(note) = read(&folder.join(size.to_string()))? {
        return Ok(Some(note));
    }
    let Ok(listed) = fs::read_dir(&folder) else { return Ok(None) };
    let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let before = |name: &String| name.len() == 20 && name.parse::<u64>().is_ok_and(|first| first <= size);
    match names.filter(before).max() {
        Some(name) => read(&folder.join(name).join(size.to_string())),
        None => Ok(None),
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
