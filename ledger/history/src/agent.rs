//! One agent's history so far.

use std::collections::VecDeque;

use ledger_protocol::Beacon;
use messages::{AgentId, Digest};
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::aggregate::Aggregate;
use crate::census::{CensusRow, Status};
use crate::due::{Demand, Window, missed, overdue_at};
use crate::node::{Leaf, Node, agent_hash, terms_after};
use crate::peaks;

/// Announced windows kept for an agent: one a week for a quarter; older ones are over long since.
pub const WINDOWS_MAX: usize = 16;

/// What the entries of one agent's chain come to, as far as they are covered.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) hash: Digest,
    pub(crate) slot: u32,
    enrolled: bool,
    last_index: u64,
    terms: Digest,
    demand: Option<Demand>,
    windows: VecDeque<Window>,
    /// Clock when the last `enrol` was covered.
    since: u64,
    /// Seq of the quote of the last leaf since then.
    gap_seq: Option<u64>,
    open: Option<OpenQuote>,
    /// resetCount and restartCount of the last leaf that had them.
    boots: Option<(u32, u32)>,
    basis: Digest,
    switches: u32,
    leaves: u64,
    last: u64,
    peaks: Vec<Node>,
}

/// A quote without verdict.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub(crate) struct OpenQuote {
    pub(crate) index: u64,
    pub(crate) seq: u64,
    pub(crate) recorded_ms: u64,
    pub(crate) hash: Digest,
    pub(crate) beacon: Beacon,
    pub(crate) boots: Option<(u32, u32)>,
}

/// A verdict.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub(crate) struct Judged {
    pub(crate) hash: Digest,
    pub(crate) quote: Digest,
    pub(crate) passed: bool,
}

/// An entry that changes what governs the agent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Change {
    Demand(Demand),
    Retire,
    Window(Window),
}

/// What the covering checkpoint entry says about time.
pub(crate) struct Cover<'a> {
    /// Seconds, by the log's clock.
    pub(crate) recorded: u64,
    /// Digest of the witness policy, and the upper bound if there is one.
    pub(crate) witnessed: Option<(Digest, Option<u64>)>,
    /// Lower bound of a beacon under that policy.
    pub(crate) lower: &'a dyn Fn(&Beacon) -> Option<u64>,
}

impl Agent {
    pub(crate) fn new(id: AgentId, slot: u32) -> Self {
        let hash = agent_hash(&id);
        Self {
            id,
            hash,
            slot,
            enrolled: false,
            last_index: 0,
            terms: Digest::ZERO,
            demand: None,
            windows: VecDeque::new(),
            since: 0,
            gap_seq: None,
            open: None,
            boots: None,
            basis: Digest::ZERO,
            switches: 0,
            leaves: 0,
            last: 0,
            peaks: Vec::new(),
        }
    }

    pub(crate) fn seen(&mut self, index: u64) {
        self.last_index = index;
    }

    pub(crate) fn enrol(&mut self, entry: &Digest, clock: u64) {
        self.terms = terms_after(&self.terms, entry);
        (self.enrolled, self.since, self.gap_seq) = (true, clock, None);
        (self.demand, self.open) = (None, None);
        self.windows.clear();
    }

    pub(crate) fn change(&mut self, entry: &Digest, change: &Change) {
        self.terms = terms_after(&self.terms, entry);
        match change {
            Change::Demand(demand) => self.demand = Some(*demand),
            Change::Retire => self.enrolled = false,
            Change::Window(window) => {
                if self.windows.len() >= WINDOWS_MAX {
                    self.windows.pop_front();
                }
                self.windows.push_back(*window);
            }
        }
    }

    pub(crate) fn quote(&mut self, quote: OpenQuote) {
        self.open = Some(quote);
    }

    /// Makes the leaf of the open quote, if the verdict is on it.
    pub(crate) fn verdict(
        &mut self,
        index: u64,
        judged: &Judged,
        cover: &Cover<'_>,
        store: impl FnMut(u8, u64, Node),
    ) -> Option<Leaf> {
        let quote = self.open.take_if(|open| open.hash == judged.quote)?;
        let (time, basis) = self.time_of(&quote, cover);
        if self.leaves > 0 && basis != self.basis {
            self.switches = self.switches.saturating_add(1);
        }
        let misses = self.gap_seq.map_or(0, |before| missed(self.last, time, self.demand, &self.windows, before));
        let known = quote.boots.is_some() && self.boots.is_some();
        let aggregate = Aggregate {
            quotes: 1,
            first: time,
            last: time,
            max_gap: 0,
            fails: u64::from(!judged.passed),
            misses,
            resets: u32::from(known && quote.boots != self.boots),
            late: u32::from(self.is_late(time, cover)),
        };
        let leaf = Leaf {
            seq: quote.seq,
            aggregate,
            verdict: judged.hash,
            terms: self.terms,
            basis,
            switches: self.switches,
            quote_index: quote.index,
            verdict_index: index,
        };
        peaks::append(&mut self.peaks, self.leaves, leaf.node(&self.hash), store);
        (self.leaves, self.last, self.basis) = (self.leaves + 1, time, basis);
        self.gap_seq = Some(quote.seq);
        self.boots = quote.boots.or(self.boots);
        Some(leaf)
    }

    /// Number of leaves.
    pub(crate) fn leaves(&self) -> u64 {
        self.leaves
    }

    /// From which second on the due rule says that a quote is missed.
    pub(crate) fn overdue_at(&self) -> u64 {
        if !self.enrolled {
            return u64::MAX;
        }
        let (from, before) = match self.gap_seq {
            Some(seq) => (self.last, seq),
            None => (self.since, 0),
        };
        overdue_at(from, self.demand, &self.windows, before)
    }

    pub(crate) fn status(&self, overdue_at: u64, clock: u64) -> Status {
        let asked = self.demand.is_some_and(|demand| demand.interval_ms > 0);
        match (self.enrolled, asked, clock >= overdue_at) {
            (false, ..) => Status::Retired,
            (true, false, _) => Status::Idle,
            (true, true, false) => Status::Met,
            (true, true, true) => Status::Missed,
        }
    }

    pub(crate) fn row(&self, status: Status) -> CensusRow {
        let Node { aggregate, hash: root } = peaks::root(&self.peaks);
        let (slot, agent, last_index, terms) = (self.slot, self.hash, self.last_index, self.terms);
        CensusRow { slot, agent, status, last_index, aggregate, root, terms }
    }

    /// Bytes this agent takes in memory, for the figure in the documentation.
    pub(crate) fn bytes(&self) -> usize {
        let parts = self.peaks.capacity() * size_of::<Node>() + self.windows.capacity() * size_of::<Window>();
        size_of::<Self>() + parts + self.id.as_str().len()
    }

    /// The rules of `docs/spec/history.md` section 2, time of a quote, in their order.
    fn time_of(&self, quote: &OpenQuote, cover: &Cover<'_>) -> (u64, Digest) {
        let claimed = (self.last.max(quote.recorded_ms / 1_000), Digest::ZERO);
        let Some((policy, _)) = cover.witnessed else { return claimed };
        match (cover.lower)(&quote.beacon).filter(|lower| *lower >= self.last) {
            Some(lower) => (lower, policy),
            None if self.leaves > 0 && self.basis != Digest::ZERO => (self.last, self.basis),
            None => claimed,
        }
    }

    fn is_late(&self, time: u64, cover: &Cover<'_>) -> bool {
        let Some(demand) = self.demand else { return false };
        let known_at = match cover.witnessed {
            None => cover.recorded,
            Some((_, Some(high))) => high,
            Some((_, None)) => return true,
        };
        known_at.saturating_sub(time).saturating_mul(1_000) > demand.tolerance_ms
    }
}
