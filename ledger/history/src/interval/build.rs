//! Makes a proof from what a ledger keeps.

mod beacons;
mod tree;

use std::collections::BTreeSet;

use ledger_protocol::body::{Body, QuoteBody};
use ledger_protocol::{Entry, EntryError, Kind};
use ledger_tlog::hash::Hash;
use ledger_tlog::tree::{TreeError, consistency_proof, inclusion_proof};
use messages::cbor::CborError;
use messages::{AgentId, Digest};
use serde_bytes::ByteBuf;

use self::tree::StoredTree;
use super::format::{CensusPart, Evidence, IntervalProof, Stamp, TermsPart, VERSION, VERSION_BEACONS, digests};
use super::store::{CensusChoice, Store, StoredCensus};
use crate::node::{Leaf, terms_after};

/// What a proof is to show.
#[derive(Clone, Debug)]
pub struct Request {
    /// The agent.
    pub agent: AgentId,
    /// Its slot.
    pub slot: u32,
    /// First second of the interval.
    pub from: u64,
    /// Last second of the interval.
    pub to: u64,
    /// Gaps longer than this many seconds are shown, the first [`OPENED_MAX`] of them.
    pub gap_limit: u64,
    /// Whether the first and last quote of each boot are shown with their evidence.
    pub boots: bool,
    /// Whether every entry between the interval's first quote and its last verdict is shown.
    pub full: bool,
    /// Tokens over the proof's checkpoints, as far as the caller has any.
    pub stamps: Vec<Stamp>,
}

/// Gaps, failures and reboots shown one by one at most, of each: a proof with all three stays under 50 KB.
pub const OPENED_MAX: usize = 16;
/// Entries of the terms after which they begin at the policy in force instead of the enrolment.
const TERMS_MANY: usize = 32;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum NotProven<E: std::error::Error + 'static> {
    /// The interval ends before it begins.
    #[error("the interval ends at {to}, before it begins at {from}")]
    Interval {
        /// Its begin.
        from: u64,
        /// Its end.
        to: u64,
    },
    /// No census on record, or none with the agent in it, is under the newest checkpoint.
    #[error("no census on record has the agent in slot {slot}; one follows with the next epoch")]
    NoCensus {
        /// The slot.
        slot: u32,
    },
    /// The store's parts contradict each other.
    #[error("the ledger's records contradict each other: {what}")]
    Contradiction {
        /// What is wrong.
        what: &'static str,
    },
    /// An entry is not what the records say it is.
    #[error("entry {index} is not what the records say")]
    Entry {
        /// Index of the entry.
        index: u64,
        /// What is wrong with its bytes.
        source: EntryError,
    },
    /// A body is not what its kind says.
    #[error("the body of entry {index} is not what the records say")]
    Body {
        /// Index of the entry.
        index: u64,
        /// What is wrong with its bytes.
        source: CborError,
    },
    /// Something could not be read.
    #[error("the ledger's records could not be read")]
    Store(#[source] E),
    /// No path through the log's tree.
    #[error("no proof could be made in the log's tree")]
    Tree(#[source] TreeError<E>),
}

/// Makes the proof for `request`.
///
/// # Errors
/// [`NotProven`] if the store cannot be read, or holds no census with the agent.
pub fn prove<S: Store>(store: &S, request: &Request) -> Result<IntervalProof, NotProven<S::Error>> {
    let Request { slot, from, to, .. } = *request;
    if from > to {
        return Err(NotProven::Interval { from, to });
    }
    let (tree_size, note) = store.latest_note().map_err(NotProven::Store)?;
    let census = |choice| store.census(choice, slot, tree_size).map_err(NotProven::Store);
    let has_row = |census: &StoredCensus| census.opening.row.is_some();
    // A quote after the interval closes it: nothing can be added to it any more.
    let closes = |census: &StoredCensus| census.opening.row.is_some_and(|row| row.aggregate.last > to);
    let end = match census(CensusChoice::After(to))?.filter(has_row) {
        Some(end) if closes(&end) => end,
        Some(end) => census(CensusChoice::After(u64::MAX))?.filter(closes).unwrap_or(end),
        // An agent that was enrolled later: the newest census has its whole history.
        None => census(CensusChoice::After(u64::MAX))?.ok_or(NotProven::NoCensus { slot })?,
    };
    let row = end.opening.row.ok_or(NotProven::NoCensus { slot })?;
    let start = census(CensusChoice::Before(from))?.filter(|start| start.prefix_size < end.prefix_size);

    let mut tree = StoredTree::new(store, slot, &request.agent, row.aggregate.quotes);
    let mut shown = Shown::default();
    let quotes = row.aggregate.quotes;
    let low = tree.count_before(from)?;
    let high = to.checked_add(1).map_or(Ok(quotes), |end| tree.count_before(end))?;
    shown.pick(&mut tree, request, low, high)?;
    let maker = Maker { store, tree_size };
    let beacon_stamps = shown.pick_beacons(&maker, &mut tree, &request.agent, low, high)?;
    let cut = start.as_ref().and_then(|start| start.opening.row).map_or(0, |row| row.aggregate.quotes);
    let opened = if quotes == 0 { Vec::new() } else { tree.opened(&shown.leaves, cut)? };
    let anchor = low.checked_sub(1).or((quotes > 0).then_some(0)).map(|number| tree.leaf(number)).transpose()?;
    let evidence = shown.evidence.iter().map(|number| maker.evidence(*number, &tree.leaf(*number)?));
    let evidence = evidence.collect::<Result<Vec<_>, _>>()?;
    let entries = match request.full.then(|| (tree.leaf(low).ok(), tree.leaf(high.saturating_sub(1)).ok())) {
        Some((Some(first), Some(last))) if low < high => maker.chain(&request.agent, &first, &last)?,
        _ => Vec::new(),
    };
    let start_to_end = match &start {
        None => Vec::new(),
        Some(start) => maker.consistency(start.prefix_size, end.prefix_size)?,
    };
    Ok(IntervalProof {
        version: if beacon_stamps.is_some() { VERSION_BEACONS } else { VERSION },
        agent: request.agent.clone(),
        slot,
        from,
        to,
        gap_limit: request.gap_limit,
        terms: maker.terms(slot, anchor.as_ref(), end.prefix_size)?,
        end_to_note: maker.consistency(end.prefix_size, tree_size)?,
        start: start.map(|start| maker.census(start)).transpose()?,
        end: maker.census(end)?,
        tree: ByteBuf::from(opened),
        evidence,
        note: ByteBuf::from(note),
        start_to_end,
        stamps: request.stamps.clone(),
        entries,
        beacon_stamps,
    })
}

/// Leaves that are shown, and those whose entries are too.
#[derive(Default)]
struct Shown {
    leaves: BTreeSet<u64>,
    evidence: BTreeSet<u64>,
}

impl Shown {
    /// The leaves beside the ends of the interval `low..high`, and within what is worth a look.
    fn pick<S: Store>(
        &mut self,
        tree: &mut StoredTree<'_, S>,
        request: &Request,
        low: u64,
        high: u64,
    ) -> Result<(), NotProven<S::Error>> {
        let quotes = tree.leaves();
        let beside = [low.checked_sub(1), (high < quotes).then_some(high)];
        self.evidence.extend(beside.into_iter().flatten());
        if low < high {
            self.leaves.extend([low, high - 1]);
            if request.full {
                self.leaves.extend(low..high);
            }
            let gaps = tree.gaps(low, high, request.gap_limit, OPENED_MAX)?;
            self.leaves.extend(gaps.iter().flat_map(|at| [*at - 1, *at]));
            self.leaves.extend(tree.marked(low, high, |of| of.fails > 0, OPENED_MAX)?);
        }
        if request.boots && low < high {
            let resets = tree.marked(low, high, |of| of.resets > 0, OPENED_MAX)?;
            self.evidence.extend([low, high - 1]);
            self.evidence.extend(resets.iter().flat_map(|at| [at.saturating_sub(1), *at]));
        }
        self.leaves.extend(&self.evidence);
        Ok(())
    }
}

/// Makes the parts that lie in the log's tree.
pub(crate) struct Maker<'a, S> {
    pub(crate) store: &'a S,
    /// Size of the last checkpoint.
    pub(crate) tree_size: u64,
}

impl<S: Store> Maker<'_, S> {
    pub(crate) fn entry(&self, index: u64) -> Result<Vec<u8>, NotProven<S::Error>> {
        self.store.entry(index).map_err(NotProven::Store)
    }

    fn inclusion(&self, index: u64) -> Result<Vec<Digest>, NotProven<S::Error>> {
        let proof = inclusion_proof(index, self.tree_size, self.hashes()).map_err(NotProven::Tree)?;
        Ok(digests(proof.hashes()))
    }

    pub(crate) fn consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, NotProven<S::Error>> {
        let proof = consistency_proof(old, new, self.hashes()).map_err(NotProven::Tree)?;
        Ok(digests(proof.hashes()))
    }

    fn hashes(&self) -> impl FnMut(u8, u64, &mut [Hash]) -> Result<(), S::Error> {
        |level, start, out| self.store.hashes(level, start, out)
    }

    pub(crate) fn census(&self, census: StoredCensus) -> Result<CensusPart, NotProven<S::Error>> {
        let StoredCensus { index, prefix_size, opening } = census;
        Ok(CensusPart {
            index,
            entry: ByteBuf::from(self.entry(index)?),
            inclusion: self.inclusion(index)?,
            opening,
            note: ByteBuf::from(self.store.note(prefix_size).map_err(NotProven::Store)?),
        })
    }

    fn evidence(&self, number: u64, leaf: &Leaf) -> Result<Evidence, NotProven<S::Error>> {
        let quote = self.entry(leaf.quote_index)?;
        let index = leaf.quote_index;
        let entry = Entry::decode(&quote).map_err(|source| NotProven::Entry { index, source })?;
        let body = QuoteBody::decode(&entry.body).map_err(|source| NotProven::Body { index, source })?;
        let beacon = self.store.blob(&body.beacon.note_digest).map_err(NotProven::Store)?;
        Ok(Evidence {
            number,
            index: leaf.verdict_index,
            verdict: ByteBuf::from(self.entry(leaf.verdict_index)?),
            inclusion: self.inclusion(leaf.verdict_index)?,
            quote: ByteBuf::from(quote),
            beacon: beacon.map(ByteBuf::from),
        })
    }

    /// From the last enrolment before `anchor` on, or the last policy if there are many, to the census at the end.
    fn terms(&self, slot: u32, anchor: Option<&Leaf>, covered: u64) -> Result<TermsPart, NotProven<S::Error>> {
        let mut indices = self.store.terms(slot).map_err(NotProven::Store)?;
        indices.retain(|index| *index < covered);
        let mut chain = Digest::ZERO;
        let mut entries = Vec::with_capacity(indices.len());
        let (mut enrolled, mut policy) = (None, None);
        let mut at_anchor = anchor.is_some_and(|anchor| anchor.terms == chain);
        for (position, index) in indices.into_iter().enumerate() {
            let bytes = self.entry(index)?;
            let entry = Entry::decode(&bytes).map_err(|source| NotProven::Entry { index, source })?;
            if !at_anchor {
                match entry.kind {
                    Kind::Enrol => enrolled = Some((position, chain)),
                    Kind::Policy => policy = Some((position, chain)),
                    _ => {}
                }
            }
            chain = terms_after(&chain, &Entry::leaf_hash(&bytes));
            at_anchor = at_anchor || anchor.is_some_and(|anchor| anchor.terms == chain);
            entries.push(ByteBuf::from(bytes));
        }
        // An enrolment without policy after it needs the chain from its start.
        let begin = match (anchor, enrolled, policy) {
            (None, ..) => None,
            (Some(_), Some(enrolled), Some(policy)) if enrolled.0 < policy.0 => {
                Some(if entries.len() - enrolled.0 > TERMS_MANY { policy } else { enrolled })
            }
            _ => None,
        };
        let (skip, before) = begin.unwrap_or((0, Digest::ZERO));
        Ok(TermsPart { before, entries: entries.split_off(skip) })
    }

    /// The agent's entries from one leaf's quote to another's verdict.
    fn chain(&self, agent: &AgentId, first: &Leaf, last: &Leaf) -> Result<Vec<ByteBuf>, NotProven<S::Error>> {
        let indices = self.store.chain(agent, first.quote_index, last.verdict_index).map_err(NotProven::Store)?;
        indices.into_iter().map(|index| self.entry(index).map(ByteBuf::from)).collect()
    }
}
