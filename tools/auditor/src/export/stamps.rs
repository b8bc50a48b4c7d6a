//! Which of the log's time-stamps go into a bundle: for each authority the first on a tree with the run's first quote,
//! and the first on a tree with its last entry.

use std::collections::BTreeSet;

use ledger_protocol::{
    Entry, Kind,
    body::{Body, TimestampBody},
};
use messages::UnixMillis;

use super::{ExportError, ListedStamp, Work};

/// Entries of the fleet's chain that are looked at after the first stamp on the last entry, for those of other
/// authorities: they come within one period, and a period has few entries of the fleet.
const LOOK_AFTER: u64 = 512;

/// What the stamps should cover.
#[derive(Debug, Default)]
pub(super) struct Span {
    /// Index and time of the first quote.
    first_quote: Option<(u64, UnixMillis)>,
    /// Index and time of the last entry.
    last: Option<(u64, UnixMillis)>,
}

impl Span {
    /// Notes an entry of the bundle; they come in order.
    pub(super) fn take(&mut self, index: u64, entry: &Entry) {
        if entry.kind == Kind::Quote {
            self.first_quote.get_or_insert((index, entry.recorded));
        }
        self.last = Some((index, entry.recorded));
    }
}

impl Work<'_> {
    /// Writes the stamps that the checkpoint covers, if the log has any.
    pub(super) fn write_stamps(&mut self) -> Result<(), ExportError> {
        let Some(last) = self.span.last else { return Ok(()) };
        let first = self.span.first_quote.unwrap_or(last);
        let Some(mut seq) = self.ledger.fleet_seq_at(first.1)? else { return Ok(()) };
        // Authorities that have stamped a tree with the one or the other.
        let mut found: [BTreeSet<String>; 2] = Default::default();
        let mut end = None;
        loop {
            let page = self.ledger.fleet_entries(seq)?;
            for (index, bytes) in &page.entries {
                if *index >= self.head.tree_size || end.is_some_and(|end| seq >= end) {
                    return Ok(());
                }
                seq += 1;
                let entry = Entry::decode(bytes).map_err(|source| ExportError::Entry { index: *index, source })?;
                if entry.kind != Kind::Timestamp {
                    continue;
                }
                let body =
                    TimestampBody::decode(&entry.body).map_err(|source| ExportError::Body { index: *index, source })?;
                let [with_first, with_last] = &mut found;
                let wanted_first = body.tree_size > first.0 && with_first.insert(body.tsa.clone());
                let wanted_last = body.tree_size > last.0 && with_last.insert(body.tsa.clone());
                if wanted_last {
                    end.get_or_insert(seq + LOOK_AFTER);
                }
                if wanted_first || wanted_last {
                    self.write_stamp(*index, bytes, &body)?;
                }
            }
            if page.entries.is_empty() {
                return Ok(());
            }
        }
    }

    fn write_stamp(&mut self, index: u64, bytes: &[u8], body: &TimestampBody) -> Result<(), ExportError> {
        let proof = self.proof(index, bytes)?;
        let size = body.tree_size;
        let consistency = self.tiles.consistency(size).map_err(ExportError::Proof)?;
        self.writer.stamp((index, bytes), proof.as_bytes(), (size, &consistency), &self.note_bytes)?;
        self.blobs.extend([body.note, body.token]);
        self.stamps.push(ListedStamp { index, tree_size: size });
        Ok(())
    }
}
