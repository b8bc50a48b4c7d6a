//! Second in line: makes batches durable.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Instant;

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
    /// Tells `ready` when it is free for the next batch, with a buffer to use again.
    pub(super) fn run(mut self, sealed: &Receiver<Sealed>, ready: &SyncSender<Vec<u8>>, written: &SyncSender<Written>) {
        let mut buffer = Vec::new();
        while ready.send(std::mem::take(&mut buffer)).is_ok()
            && let Ok(mut sealed) = sealed.recv()
        {
            let extent = if sealed.batch.is_empty() {
                None
            } else {
                let begun = Instant::now();
                match self.writer.append(&mut sealed.batch) {
                    Ok(extent) => {
                        self.shared.metrics.sync.observe_time(begun.elapsed());
                        self.shared.metrics.batch_entries.observe(sealed.batch.count().into());
                        Some(extent)
                    }
                    Err(error) => {
                        self.shared.fail(format!("entries cannot be written: {error}"));
                        return;
                    }
                }
            };
            buffer = sealed.batch.take_buffer();
            if buffer.capacity() > BUFFER_BYTES_MAX {
                buffer = Vec::new();
            }
            if written.send((sealed, extent)).is_err() {
                return;
            }
        }
        if let Err(error) = self.writer.finish() {
            tracing::warn!(%error, "zeros at the end of the last segment were not cut off; the next start does that");
        }
    }
}

/// A larger buffer is let go: a batch is sealed past 4 MiB, and requests that make it larger are rare.
const BUFFER_BYTES_MAX: usize = 16 << 20;
