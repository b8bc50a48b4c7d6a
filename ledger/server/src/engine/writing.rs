//! Second in line: makes batches durable.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::Shared;
use super::sequencing::Sealed;
use crate::segment::{Location, Writer};

/// A batch that is durable, and where; `None` for one without entries.
pub(super) type Written = (Sealed, Option<Location>);

/// The writing thread.
pub(super) struct Writing {
    shared: Arc<Shared>,
    writer: Writer,
}

impl Writing {
    pub(super) fn new(shared: Arc<Shared>, writer: Writer) -> Self {
        Self { shared, writer }
    }

    /// Runs until no more batches come or one cannot be made durable.
    ///
    /// A failed write or sync is never tried again: after it the system may call clean what is
    /// not on the disk. Whoever waits for this batch or a later one learns that it failed.
    pub(super) fn run(mut self, sealed: &Receiver<Sealed>, written: &SyncSender<Written>) {
        while let Ok(sealed) = sealed.recv() {
            let location = if sealed.batch.is_empty() {
                None
            } else {
                match self.writer.append(&sealed.batch) {
                    Ok(location) => Some(location),
                    Err(error) => {
                        self.shared.fail(format!("entries cannot be written: {error}"));
                        return;
                    }
                }
            };
            if written.send((sealed, location)).is_err() {
                return;
            }
        }
    }
}
