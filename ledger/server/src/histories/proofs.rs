//! Proofs of an interval, of one machine or of many.

use std::io;
use std::sync::Arc;

use ledger_history::fleet::{self, FleetRequest, Selection};
use ledger_history::interval::{
    CensusChoice, IntervalRefused, NotProven, Request, Stamp, StampedNote, Trust, prove, verify,
};
use ledger_tlog::key::{MalformedKey, NoteVerifier};
use messages::AgentId;
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

/// Proves what all machines come to between the censuses around two times, with those opened that `selection`
/// names; what is returned has been verified.
pub(crate) fn of_fleet(shared: &Shared, from: u64, to: u64, selection: Selection) -> Result<Vec<u8>, NoProof> {
    let desk = Desk::open(shared)?;
    let (shelf, _) = desk.shelf(to)?;
    let proof = fleet::prove(&shelf, &FleetRequest { from, to, selection }).map_err(NoProof::NotProven)?.encode();
    fleet::verify(&proof, &desk.trust()).map_err(NoProof::Refused)?;
    Ok(proof)
}

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
        let newest = Shelf::new(histories, shared, self.newest.clone());
        let end = newest.find(CensusChoice::After(to), self.newest.size).map_err(NoProof::Histories)?;
        let Some(index) = end.and_then(|(_, record)| record.index) else { return Ok((newest, Vec::new())) };
        let sizes = shared.stamps.sizes().map_err(NoProof::Stamps)?;
        for size in sizes.into_iter().filter(|size| *size > index && *size <= self.newest.size) {
            let tokens = self.tokens(size).map_err(NoProof::Stamps)?;
            let note = shared.checkpoints.read(size).map_err(NoProof::Stamps)?;
            if let (Some(note), false) = (note, tokens.is_empty()) {
                let tree = Published { note: Arc::from(note), size };
                return Ok((Shelf::new(histories, shared, tree), tokens));
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

    /// What any stranger has of this log.
    fn trust(&self) -> Trust<'_> {
        Trust { origin: &self.shared.origin, log: &self.key, witnesses: None, authorities: None }
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
        // A file that was altered behind our back must not become a claim.
        verify(&proof, &request.agent, &self.trust()).map_err(NoProof::Refused)?;
        Ok(proof)
    }
}
