//! What the notes of the log's checkpoint entries prove about time.

use std::collections::VecDeque;

use ledger_protocol::Beacon;
use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::key::NoteVerifier;
use ledger_tlog::policy::{Policy, WitnessQuorum};
use messages::Digest;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::node::sha256;

/// Checkpoint entries whose times are remembered: quotes on beacons older than the last 4,096
/// checkpoint entries, more than an hour at one per second, take the time of the quote before.
pub const CHECKPOINTS_REMEMBERED: usize = 4_096;

/// A witness policy that the log has put on record.
#[derive(Clone, Debug)]
pub(crate) struct WitnessPolicy {
    pub(crate) digest: Digest,
    pub(crate) blob: Vec<u8>,
    quorum: WitnessQuorum,
}

impl WitnessPolicy {
    /// None if the blob is no tlog-policy, or asks for no witness.
    pub(crate) fn read(blob: Vec<u8>) -> Option<Self> {
        let quorum = Policy::parse(&blob).ok()?.quorum().clone();
        quorum.asks().then(|| Self { digest: sha256(&blob), blob, quorum })
    }
}

/// The times between which cosignatures place a note of `size` entries, in seconds.
pub(crate) fn bounds_of(
    note: &[u8],
    size: u64,
    origin: &str,
    log: &NoteVerifier,
    quorum: &WitnessQuorum,
) -> Option<(u64, u64)> {
    let witnesses: Vec<NoteVerifier> = quorum.witnesses().cloned().collect();
    let checkpoint = Checkpoint::open(note, origin, log, &witnesses).ok()?;
    if checkpoint.tree_head().tree_size != size {
        return None;
    }
    let bounds = quorum.time_bounds(&checkpoint)?;
    Some((bounds.not_before.0, bounds.not_after.0))
}

/// As [`bounds_of`], under the log's own policy.
pub(crate) fn bounds_under(
    policy: &WitnessPolicy,
    note: &[u8],
    size: u64,
    origin: &str,
    vkey: &str,
) -> Option<(u64, u64)> {
    bounds_of(note, size, origin, &vkey.parse().ok()?, &policy.quorum)
}

/// The checkpoint entries of late, with their times.
#[derive(Clone, Debug, Default, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub(crate) struct NoteTimes {
    entries: VecDeque<NoteTime>,
}

/// One checkpoint entry.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub(crate) struct NoteTime {
    pub(crate) index: u64,
    pub(crate) tree_size: u64,
    pub(crate) note: Digest,
    /// Index of the policy entry under which it was judged.
    pub(crate) policy: Option<u64>,
    pub(crate) low: Option<u64>,
    pub(crate) high: Option<u64>,
    /// Largest `low` since that policy came into force, this one included.
    pub(crate) low_max: Option<u64>,
}

impl NoteTimes {
    /// Adds the next checkpoint entry; fills in its running maximum.
    pub(crate) fn push(&mut self, mut entry: NoteTime) {
        let before = self.entries.back().filter(|last| last.policy == entry.policy).and_then(|last| last.low_max);
        entry.low_max = before.max(entry.low);
        if self.entries.len() >= CHECKPOINTS_REMEMBERED {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    pub(crate) fn last(&self) -> Option<&NoteTime> {
        self.entries.back()
    }

    /// Before which time no quote on `beacon` was made, by the policy entry `policy`.
    pub(crate) fn lower(&self, beacon: &Beacon, policy: u64) -> Option<u64> {
        let usable = |entry: &&NoteTime| entry.policy == Some(policy);
        let inside = self.entries.partition_point(|entry| entry.index < beacon.tree_size);
        let inside = inside.checked_sub(1).and_then(|at| self.entries.get(at)).filter(usable);
        let own = self.entries.binary_search_by_key(&beacon.tree_size, |entry| entry.tree_size).ok();
        let own = own.and_then(|at| self.entries.get(at)).filter(usable);
        let own = own.filter(|entry| entry.note == beacon.note_digest);
        inside.and_then(|entry| entry.low_max).max(own.and_then(|entry| entry.low))
    }
}

#[cfg(test)]
mod tests;
