//! Beside the line: writes the index in bulk, never ahead of what is durable.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::{Shared, chain};
use crate::segment::{Extent, Location};
use crate::store::{Finished, IndexError, Update};

/// The indexing thread.
pub(super) struct Indexing {
    pub(super) shared: Arc<Shared>,
}

/// Why the index was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexingError {
    /// The index itself.
    #[error("the index cannot be written")]
    Index(#[from] IndexError),
    /// The hashes it relies on.
    #[error("hashes cannot be made durable")]
    Levels(#[source] std::io::Error),
}

impl Indexing {
    /// Writes every [`INTERVAL`], and when `wanted` asks for it, until nobody can any more.
    pub(super) fn run(self, wanted: &Receiver<()>) {
        loop {
            let asked = wanted.recv_timeout(INTERVAL);
            if let Err(error) = write_index(&self.shared) {
                return self.shared.fail(chain(&error));
            }
            if asked == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }
}

/// Writes what the index does not have yet, after the hashes of the same entries are durable: a
/// start that finds the index at a size need not look at older entries.
pub(crate) fn write_index(shared: &Shared) -> Result<(), IndexingError> {
    let size = shared.index.write_staged(|| shared.levels.sync().map_err(IndexingError::Levels))?;
    if let Some(size) = size {
        shared.segments.indexed(size);
    }
    Ok(())
}

/// Follows where segments end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Where the last batch ended.
    pub(super) last: Option<Location>,
}

impl Ends {
    /// Takes down a batch whose first entry is `first`.
    pub(super) fn note(&mut self, extent: Extent, first: u64, update: &mut Update) {
        let segment = extent.start.segment;
        if let Some(last) = self.last.filter(|last| last.segment != segment) {
            update.finished(last.segment, Finished { bytes: last.offset, end: first });
        }
        let end = Location { segment, offset: extent.end };
        self.last = Some(end);
        update.end(end);
    }
}

/// What a start may have to go through again at most, beside the rest of a checkpoint's time.
const INTERVAL: Duration = Duration::from_secs(1);
