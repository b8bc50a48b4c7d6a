//! Proofs of an interval, of one machine or of many.

use std::io;
use std::sync::Arc;

use ledger_history::census::{CensusRow, Status};
use ledger_history::interval::{
    CensusChoice, IntervalRefused, NotProven, Request, Stamp, StampedNote, Store, Trust, prove, verify,
};
use ledger_protocol::body::{Body, PolicyBody};
use ledger_protocol::{Entry, Kind};
use ledger_tlog::key::{MalformedKey, NoteVerifier};
use messages::AgentId;
use messages::ledger::FleetIntervalProof;
use serde_bytes::ByteBuf;

use super::shelf::{Shelf, ShelfError};
use super::{Histories, HistoriesError};
use crate::engine::{Published, Shared};
use crate::stamps;
use crate::store::IndexError;

/// What a proof is to show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) gap_limit: u64,
    pub(crate) boots: bool,
    pub(crate) full: bool,
}

/// A label that machines must have: `name=value`.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoProof {
    #[error("the histories cannot be read")]
    Histories(#[source] HistoriesError),
    #[error("the index cannot be read")]
    Index(#[source] IndexError),
    #[error("the log's own key is malformed")]
    Key(#[source] MalformedKey),
    #[error("this ledger keeps no histories")]
    NotKept,
    #[error("the proof cannot be made")]
    NotProven(#[source] NotProven<ShelfError>),
    #[error("no proofs can be made now: {reason}")]
    NotReady { reason: String },
    /// What the files hold contradicts the log.
    #[error("the proof that was made does not verify; run: attestry-ledger reindex")]
    Refused(#[source] IntervalRefused),
    #[error("the stamps on a checkpoint cannot be read")]
    Stamps(#[source] io::Error),
    #[error("the entries of the agent in slot {slot} cannot be read")]
    Terms { slot: u32, source: ShelfError },
    #[error("the log has no such agent")]
    UnknownAgent,
}

/// Proves all that is on record about `agent` between two times; what is returned has been verified.
pub(crate) fn of_agent(shared: &Shared, agent: &AgentId, interval: Interval) -> Result<Vec<u8>, NoProof> {
    let desk = Desk::open(shared)?;
    let chain = shared.index.chain(agent).map_err(NoProof::Index)?.ok_or(NoProof::UnknownAgent)?;
    let slot = u32::try_from(chain.slot).map_err(|_| NoProof::UnknownAgent)?;
    let (shelf, stamps) = desk.shelf(interval.to)?;
    desk.prove(&shelf, &stamps, agent.clone(), slot, interval)
}

/// Proofs of the machines from `from_slot` on that were in the fleet, and have the label if one is wanted;
/// at most [`PAGE_PROOFS_MAX`].
pub(crate) fn of_fleet(
    shared: &Shared,
    wanted: Option<&Wanted>,
    from_slot: u32,
    interval: Interval,
) -> Result<FleetIntervalProof, NoProof> {
    let desk = Desk::open(shared)?;
    let (shelf, stamps) = desk.shelf(interval.to)?;
    let find = |choice| shelf.find(choice, shelf.tree.size).map_err(NoProof::Histories);
    let Some((number, end)) = find(CensusChoice::After(interval.to))? else {
        return Err(NoProof::NotProven(NotProven::NoCensus { slot: from_slot }));
    };
    let covered = find(CensusChoice::Before(interval.from))?.map_or(0, |(_, start)| start.prefix_size);
    let census = desk.histories.census(number).map_err(NoProof::Histories)?;
    let mut page = FleetIntervalProof {
        version: 1,
        from: interval.from,
        to: interval.to,
        label: wanted.map(|wanted| format!("{}={}", wanted.name, wanted.value)),
        agents: census.head().sums.agents.into(),
        next_slot: None,
        proofs: Vec::new(),
    };
    // Who has left before the interval has nothing in it.
    let concerned = |row: &&CensusRow| row.status != Status::Retired || row.last_index >= covered;
    for row in census.rows().iter().filter(|row| row.slot >= from_slot).filter(concerned) {
        let slot = row.slot;
        let known = about(&shelf, slot, end.prefix_size).map_err(|source| NoProof::Terms { slot, source })?;
        let Some((agent, labels)) = known else { continue };
        let has = |wanted: &Wanted| labels.iter().any(|(name, value)| *name == wanted.name && *value == wanted.value);
        if !wanted.is_none_or(has) {
            continue;
        }
        if page.proofs.len() >= PAGE_PROOFS_MAX {
            page.next_slot = Some(slot.into());
            break;
        }
        page.proofs.push(ByteBuf::from(desk.prove(&shelf, &stamps, agent, slot, interval)?));
    }
    Ok(page)
}

/// An agent's id and its labels by the last policy below `covered`.
fn about(shelf: &Shelf<'_>, slot: u32, covered: u64) -> Result<Option<Labelled>, ShelfError> {
    let mut known: Option<Labelled> = None;
    for index in shelf.terms(slot)?.into_iter().rev().filter(|index| *index < covered) {
        let bytes = shelf.entry(index)?;
        let entry = Entry::decode(&bytes).map_err(|source| ShelfError::Entry { index, source })?;
        let Some(agent) = entry.agent else { continue };
        if entry.kind == Kind::Policy
            && let Ok(PolicyBody::Agent(policy)) = PolicyBody::decode(&entry.body)
        {
            let labels = policy.labels.into_iter().map(|label| (label.name, label.value)).collect();
            return Ok(Some((agent, labels)));
        }
        known.get_or_insert((agent, Vec::new()));
    }
    Ok(known)
}

type Labelled = (AgentId, Vec<(String, String)>);

/// What all proofs of one request have in common.
struct Desk<'a> {
    histories: &'a Histories,
    key: NoteVerifier,
    newest: Published,
    shared: &'a Shared,
}

impl<'a> Desk<'a> {
    fn open(shared: &'a Shared) -> Result<Self, NoProof> {
        let histories = shared.histories.as_ref().ok_or(NoProof::NotKept)?;
        if let Some(reason) = histories.problem() {
            return Err(NoProof::NotReady { reason });
        }
        let key = shared.vkey.parse().map_err(NoProof::Key)?;
        let unsigned = || NoProof::NotReady { reason: "no checkpoint is signed".to_owned() };
        Ok(Self { histories, key, newest: shared.published().ok_or_else(unsigned)?, shared })
    }

    /// Under the earliest stamped checkpoint that covers the census after `to`, so that the stamp bounds the
    /// proof's time as closely as there is any; else under the newest.
    fn shelf(&self, to: u64) -> Result<(Shelf<'a>, Vec<Stamp>), NoProof> {
        let (histories, shared) = (self.histories, self.shared);
        let newest = Shelf { histories, shared, tree: self.newest.clone() };
        let end = newest.find(CensusChoice::After(to), self.newest.size).map_err(NoProof::Histories)?;
        let Some(index) = end.and_then(|(_, record)| record.index) else { return Ok((newest, Vec::new())) };
        let sizes = shared.stamps.sizes().map_err(NoProof::Stamps)?;
        for size in sizes.into_iter().filter(|size| *size > index && *size <= self.newest.size) {
            let tokens = self.tokens(size).map_err(NoProof::Stamps)?;
            let note = shared.checkpoints.read(size).map_err(NoProof::Stamps)?;
            if let (Some(note), false) = (note, tokens.is_empty()) {
                let tree = Published { note: Arc::from(note), size };
                return Ok((Shelf { histories, shared, tree }, tokens));
            }
        }
        Ok((newest, Vec::new()))
    }

    fn tokens(&self, size: u64) -> io::Result<Vec<Stamp>> {
        let mut tokens = Vec::new();
        for name in self.shared.stamps.names(size)?.iter().filter(|name| name.ends_with(stamps::RESPONSE)) {
            let response = self.shared.stamps.read(size, name)?.unwrap_or_default();
            let token = ByteBuf::from(stamps::token(&response)?.to_der());
            tokens.push(Stamp { note: StampedNote::Last, token });
        }
        Ok(tokens)
    }

    fn prove(
        &self,
        shelf: &Shelf<'_>,
        stamps: &[Stamp],
        agent: AgentId,
        slot: u32,
        interval: Interval,
    ) -> Result<Vec<u8>, NoProof> {
        let Interval { from, to, gap_limit, boots, full } = interval;
        let request = Request { agent, slot, from, to, gap_limit, boots, full, stamps: stamps.to_vec() };
        let proof = prove(shelf, &request).map_err(NoProof::NotProven)?.encode();
        let trust = Trust { origin: &self.shared.origin, log: &self.key, witnesses: None, authorities: None };
        // A file that was altered behind our back must not become a claim.
        verify(&proof, &request.agent, &trust).map_err(NoProof::Refused)?;
        Ok(proof)
    }
}

/// Proofs of one page: some 4 MB without entries.
const PAGE_PROOFS_MAX: usize = 256;
