//! An entry of an agent's chain, read for what its history needs of it.

use ledger_protocol::body::{Body, Enrol, Maintenance, PolicyBody};
use ledger_protocol::{Beacon, EntryRef, Kind};
use messages::cbor::{CborError, Reader};
use messages::{AgentId, AgentIdRef, Digest};
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::{NewLeaf, NewNode, PushError, Sink, WITNESS_ROLE};
use crate::agent::{Agent, Change, Cover, Judged, OpenQuote};
use crate::clock_info::ClockInfo;
use crate::due::{Demand, Window};

/// An entry that waits to be covered.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub(super) struct Queued {
    pub(super) index: u64,
    pub(super) slot: u32,
    pub(super) event: Event,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Event {
    /// The id, the slot, the entry's leaf hash.
    Enrol(AgentId, u64, Digest),
    Other,
    Quote(OpenQuote),
    /// The entry's leaf hash and what it changes.
    Terms(Digest, Change),
    Verdict(Judged),
}

impl Event {
    pub(super) fn read(index: u64, entry: &EntryRef<'_>, hash: Digest) -> Result<Self, PushError> {
        let body = |source| PushError::Body { index, kind: entry.kind, source };
        Ok(match entry.kind {
            Kind::Enrol => {
                let Enrol { slot, .. } = Enrol::decode(entry.body).map_err(body)?;
                let id = entry.agent.map(AgentIdRef::to_id).ok_or(PushError::Chain { index, kind: entry.kind })?;
                Self::Enrol(id, slot, hash)
            }
            Kind::Quote => Self::Quote(quote(index, entry, hash).map_err(body)?),
            Kind::Verdict => Self::Verdict(verdict(entry, hash).map_err(body)?),
            Kind::Policy => match PolicyBody::decode(entry.body).map_err(body)? {
                PolicyBody::Agent(policy) => {
                    let (interval_ms, tolerance_ms) = (policy.interval_ms, policy.tolerance_ms);
                    Self::Terms(hash, Change::Demand(Demand { interval_ms, tolerance_ms }))
                }
                PolicyBody::Named(_) => return Err(PushError::Chain { index, kind: entry.kind }),
            },
            Kind::Maintenance => {
                let Maintenance { from, to, .. } = Maintenance::decode(entry.body).map_err(body)?;
                Self::Terms(hash, Change::Window(Window { from_ms: from.0, to_ms: to.0, seq: entry.seq }))
            }
            Kind::Retire => Self::Terms(hash, Change::Retire),
            _ => Self::Other,
        })
    }

    pub(super) fn apply(
        self,
        index: u64,
        slot: u32,
        agent: &mut Agent,
        clock: u64,
        cover: &Cover<'_>,
        sink: &mut impl Sink,
    ) {
        agent.seen(index);
        match self {
            Self::Enrol(_, _, hash) => agent.enrol(&hash, clock),
            Self::Other => {}
            Self::Quote(quote) => agent.quote(quote),
            Self::Terms(hash, change) => agent.change(&hash, &change),
            Self::Verdict(judged) => {
                let number = agent.leaves();
                let leaf = agent.verdict(index, &judged, cover, |level, number, node| {
                    sink.node(NewNode { slot, level, number, node });
                });
                if let Some(leaf) = leaf {
                    sink.leaf(NewLeaf { slot, number, leaf });
                }
            }
        }
    }
}

/// The content of a witness policy, if the entry of the fleet's chain is one.
pub(super) fn witness_policy(index: u64, entry: &EntryRef<'_>) -> Result<Option<Option<Digest>>, PushError> {
    let policy = PolicyBody::decode(entry.body);
    match policy.map_err(|source| PushError::Body { index, kind: entry.kind, source })? {
        PolicyBody::Named(policy) if policy.role == WITNESS_ROLE => Ok(Some(policy.content)),
        PolicyBody::Named(_) => Ok(None),
        PolicyBody::Agent(_) => Err(PushError::Chain { index, kind: entry.kind }),
    }
}

/// The first three of a quote's items: the rest says nothing about when.
fn quote(index: u64, entry: &EntryRef<'_>, hash: Digest) -> Result<OpenQuote, CborError> {
    let mut reader = Reader::new(entry.body);
    reader.array_of(7)?;
    reader.array_of(2)?;
    let beacon = Beacon { tree_size: reader.unsigned()?, note_digest: Digest(reader.bytes_of()?) };
    reader.bytes_of::<32>()?; // salt
    let boots = ClockInfo::of_quote(reader.bytes()?).map(|clock| (clock.reset_count, clock.restart_count));
    Ok(OpenQuote { index, seq: entry.seq, recorded_ms: entry.recorded.0, hash, beacon, boots })
}

/// The first two of a verdict's items.
fn verdict(entry: &EntryRef<'_>, hash: Digest) -> Result<Judged, CborError> {
    let mut reader = Reader::new(entry.body);
    reader.array_of(7)?;
    let quote = Digest(reader.bytes_of()?);
    Ok(Judged { hash, quote, passed: reader.unsigned()? == 0 })
}
