//! Where the log's own time-stamps stand in it: proofs show those that lie under a quote's beacon.

use std::collections::BTreeSet;

use ledger_history::interval::Store as _;
use ledger_protocol::body::{Body, TimestampBody};
use ledger_protocol::{Entry, Kind};

use super::shelf::{Shelf, ShelfError};
use crate::stamps::{self, LOGGED};

/// Stamped checkpoints that are looked at, the latest first: with an authority's stamp each hour, and four authorities,
/// those of the last two hours.
const SIZES_MAX: usize = 8;
/// Entries of the fleet's chain behind a stamped checkpoint among which its `timestamp` entry is looked for: there are
/// about three in a second, and an authority that takes five minutes is given up by then.
const ENTRIES_MAX: u64 = 1_024;

impl Shelf<'_> {
    /// Indices of the last `timestamp` entry of each authority below `tree_size`, ascending.
    pub(super) fn timestamps_below(&self, tree_size: u64) -> Result<Vec<u64>, ShelfError> {
        let shared = self.shared();
        let sizes = shared.stamps.sizes().map_err(ShelfError::Stamps)?;
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        for size in sizes.into_iter().rev().filter(|size| *size < tree_size).take(SIZES_MAX) {
            for name in shared.stamps.names(size).map_err(ShelfError::Stamps)? {
                let Some(authority) = name.strip_suffix(LOGGED).filter(|authority| !seen.contains(*authority)) else {
                    continue;
                };
                let logged = shared.stamps.read(size, &name).map_err(ShelfError::Stamps)?.unwrap_or_default();
                if let Some(index) = self.timestamp_of(size, &logged)?.filter(|index| *index < tree_size) {
                    seen.insert(authority.to_owned());
                    found.push(index);
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The entry that names the token of which a stamp's file says that it is logged.
    fn timestamp_of(&self, size: u64, logged: &[u8]) -> Result<Option<u64>, ShelfError> {
        let end = self.shared().index.head(None).map_err(ShelfError::Index)?.seq;
        let mut low = self.shared().index.first_seq(None).map_err(ShelfError::Index)?.unwrap_or(end);
        // The first entry of the fleet's chain behind the checkpoint: nothing that it covers names its stamp.
        let mut high = end;
        while low < high {
            let middle = low.midpoint(high);
            if self.fleet_index(middle)?.is_none_or(|index| index < size) { low = middle + 1 } else { high = middle }
        }
        for seq in low..end.min(low.saturating_add(ENTRIES_MAX)) {
            let Some(index) = self.fleet_index(seq)? else { continue };
            let bytes = match self.entry(index) {
                Err(error) if error.is_pruned() => continue,
                read => read?,
            };
            let entry = Entry::decode(&bytes).map_err(|source| ShelfError::Entry { index, source })?;
            let body = (entry.kind == Kind::Timestamp).then(|| TimestampBody::decode(&entry.body).ok()).flatten();
            if body.is_some_and(|body| stamps::logged(&body.token).as_bytes() == logged) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Index of an entry of the fleet's chain.
    fn fleet_index(&self, seq: u64) -> Result<Option<u64>, ShelfError> {
        let run = self.shared().index.run(None, seq).map_err(ShelfError::Index)?;
        Ok(run.and_then(|(run, _)| run.index.checked_add(seq.checked_sub(run.seq)?)))
    }
}
