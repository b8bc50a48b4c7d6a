//! Second in line: makes batches durable.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::Shared;
use super::sequencing::Sealed;
use crate::segment::{Extent, Writer};

/// A batch that is durable, and where; `None` for one without entries.
pub(super) type Written = (Sealed, Option<Extent>);

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
    ///
    /// Tells `ready` when it is free for the next batch.
    pub(super) fn run(mut self, sealed: &Receiver<Sealed>, ready: &SyncSender<()>, written: &SyncSender<Written>) {
        while ready.send(()).is_ok()
            && let Ok(mut sealed) = sealed.recv()
        {
            let extent = if sealed.batch.is_empty() {
                None
            } else {
                match self.writer.append(&mut sealed.batch) {
                    Ok(extent) => Some(extent),
                    Err(error) => {
                        self.shared.fail(format!("entries cannot be written: {error}"));
                        return;
                    }
                }
            };
            if written.send((sealed, extent)).is_err() {
                return;
            }
        }
    }
}
