//! Puts groups in order: compare-and-swap per chain, all of a group or nothing of it.

use std::ops::Range;

use ledger_tlog::bundle::LENGTH_BYTES;
use messages::ledger::{APPEND_ENTRIES_MAX, AppendRequest, Group, Head, Item, Receipt};
use messages::{AgentId, AgentIdRef, Digest, UnixMillis, cbor};
use serde::{Deserialize, Serialize};

use crate::body::{Body, CensusBody};
use crate::chain::{Draft, LogState, RuleBroken};
use crate::entry::{EntryRef, HEAD_BYTES_MAX};
use crate::{Entry, EntryError, Kind};

/// Gives entries their place in the log.
///
/// Groups are judged in the order given, each seeing what those before it appended. What it
/// hands out it regards as appended: when the caller cannot make that durable, the sequencer
/// is of no further use.
#[derive(Clone, Debug)]
pub struct Sequencer {
    /// The one census that may come.
    census: Option<CensusBody>,
    state: LogState,
}

/// The entries of a request and what became of its groups.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sequenced {
    /// The groups that are appended, in the log's order without gaps.
    pub groups: Vec<SequencedGroup>,
    /// One per group of the request, in its order.
    pub outcomes: Vec<Outcome>,
}

/// A group with its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SequencedGroup {
    /// Whose chain it continues; `None` is the fleet's.
    pub agent: Option<AgentId>,
    /// Index and first byte, in the caller's buffer, of those entries that begin an entry bundle:
    /// every 256th of the log.
    pub bundles: Vec<(u64, usize)>,
    /// The entries' bytes in the caller's buffer, each after its length in two bytes: an entry
    /// bundle of tlog-tiles.
    pub frames: Range<usize>,
    /// Index of the chain's entry before the group.
    pub previous_index: Option<u64>,
    /// Where the entries go; at least one.
    pub receipts: Vec<Receipt>,
}

/// What became of a group, without what its entries themselves say.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "WireOutcome", into = "WireOutcome")]
pub enum Outcome {
    /// Appended: `count` entries from index `first` on.
    Appended {
        /// Index of the group's first entry.
        first: u64,
        /// Entries of the group.
        count: u64,
    },
    /// The chain ends elsewhere.
    Conflict(Head),
    /// The group breaks a rule.
    Refused(String),
}

/// `[first, count, null, null]`, `[seq, null, prev, null]` or `[0, null, null, text]`: one shape
/// for all three. Source: `docs/spec/segment.md`, trailer.
type WireOutcome = (u64, Option<u64>, Option<Digest>, Option<String>);

impl From<Outcome> for WireOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Appended { first, count } => (first, Some(count), None, None),
            Outcome::Conflict(head) => (head.seq, None, Some(head.prev), None),
            Outcome::Refused(text) => (0, None, None, Some(text)),
        }
    }
}

impl From<WireOutcome> for Outcome {
    fn from(wire: WireOutcome) -> Self {
        match wire {
            (first, Some(count), ..) => Self::Appended { first, count },
            (seq, None, Some(prev), _) => Self::Conflict(Head { seq, prev }),
            (_, None, None, text) => Self::Refused(text.unwrap_or_default()),
        }
    }
}

/// Why a request is refused as a whole.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestRefused {
    /// More entries than one request may have.
    #[error("the request has {found} entries; expected at most {APPEND_ENTRIES_MAX}")]
    Entries {
        /// Entries in the request.
        found: usize,
    },
    /// Another version of the API.
    #[error("the request has version {found}; expected 1")]
    Version {
        /// The version.
        found: u64,
    },
}

impl Sequencer {
    /// Continues a log.
    #[must_use]
    pub fn new(state: LogState) -> Self {
        Self { census: None, state }
    }

    /// Says which census the entries so far come to; any other is refused, and all while nobody has said.
    ///
    /// Source: `docs/spec/history.md` section 4.
    pub fn expect_census(&mut self, census: Option<CensusBody>) {
        self.census = census;
    }

    /// The log as it is when everything handed out is appended.
    #[must_use]
    pub fn state(&self) -> &LogState {
        &self.state
    }

    /// Judges a request's groups at the time `now`; entries are never recorded before those that
    /// precede them, whatever the clock does.
    ///
    /// `signed` tells the digest of the checkpoint of a size, if this log has signed one. The
    /// entries' bytes are added to `frames`.
    ///
    /// # Errors
    /// [`RequestRefused`], with nothing appended.
    pub fn sequence(
        &mut self,
        request: &AppendRequest,
        now: UnixMillis,
        signed: impl Fn(u64) -> Option<Digest>,
        frames: &mut Vec<u8>,
    ) -> Result<Sequenced, RequestRefused> {
        if request.version != 1 {
            return Err(RequestRefused::Version { found: request.version });
        }
        let found = request.groups.iter().map(|group| group.items.len()).sum();
        if found > APPEND_ENTRIES_MAX {
            return Err(RequestRefused::Entries { found });
        }
        let mut sequenced = Sequenced::default();
        for group in &request.groups {
            let begin = frames.len();
            let outcome = match self.sequence_group(group, now, &signed, frames) {
                Ok(placed) => {
                    let first = placed.receipts.first().map_or(0, |receipt| receipt.index);
                    let count = placed.receipts.len() as u64;
                    sequenced.groups.push(placed);
                    Outcome::Appended { first, count }
                }
                Err(GroupFlaw::Conflict(head)) => Outcome::Conflict(head),
                Err(flaw) => {
                    frames.truncate(begin);
                    Outcome::Refused(explain(&flaw))
                }
            };
            sequenced.outcomes.push(outcome);
        }
        Ok(sequenced)
    }

    fn sequence_group(
        &mut self,
        group: &Group,
        now: UnixMillis,
        signed: impl Fn(u64) -> Option<Digest>,
        frames: &mut Vec<u8>,
    ) -> Result<SequencedGroup, GroupFlaw> {
        let agent = group.agent.as_ref();
        let mut draft = self.state.draft(agent);
        let head = draft.head(agent);
        match group.expected {
            Some(expected) if expected != head => return Err(GroupFlaw::Conflict(head)),
            None if agent.is_some() => return Err(GroupFlaw::NoHead),
            Some(_) | None => {}
        }
        if group.items.is_empty() {
            return Err(GroupFlaw::Empty);
        }
        let previous_index = draft.last_index(agent);
        let bodies =
            group.items.iter().map(|item| item.body.len() + item.after.as_ref().map_or(0, |after| after.len()));
        let room = bodies.sum::<usize>() + group.items.len() * (LENGTH_BYTES + HEAD_BYTES_MAX + LINK_BYTES);
        let begin = frames.len();
        frames.reserve(room);
        let mut placing = Placing {
            agent,
            bundles: Vec::new(),
            census: self.census.as_ref(),
            draft: &mut draft,
            frames,
            linked: Vec::new(),
            now,
            receipts: Vec::with_capacity(group.items.len()),
        };
        for (number, item) in group.items.iter().enumerate() {
            placing.place(item, &signed).map_err(|flaw| GroupFlaw::Item { number, flaw })?;
        }
        let Placing { bundles, frames, receipts, .. } = placing;
        let frames = begin..frames.len();
        self.state.accept(agent, draft);
        Ok(SequencedGroup { agent: group.agent.clone(), bundles, frames, previous_index, receipts })
    }
}

/// Why a group is not appended.
#[derive(Debug, thiserror::Error)]
enum GroupFlaw {
    #[error("the chain ends elsewhere")]
    Conflict(Head),
    #[error("the group has no entries; expected at least one")]
    Empty,
    #[error("entry {number} of the group")]
    Item {
        number: usize,
        #[source]
        flaw: ItemFlaw,
    },
    #[error("the group does not say where its agent's chain ends; only the fleet's may be appended to blindly")]
    NoHead,
}

#[derive(Debug, thiserror::Error)]
enum ItemFlaw {
    #[error("the census is not the one that the entries before it come to")]
    Census,
    #[error("the entry cannot be encoded")]
    Entry(#[source] EntryError),
    #[error("the entry links to the group's entry before it, but it is the first")]
    NoLink,
    #[error("the entry breaks a rule of its chain")]
    Rule(#[source] RuleBroken),
}

/// A group that is being placed.
struct Placing<'a> {
    agent: Option<&'a AgentId>,
    bundles: Vec<(u64, usize)>,
    census: Option<&'a CensusBody>,
    draft: &'a mut Draft,
    frames: &'a mut Vec<u8>,
    /// Room for bodies whose link is filled in.
    linked: Vec<u8>,
    now: UnixMillis,
    receipts: Vec<Receipt>,
}

impl Placing<'_> {
    fn place(&mut self, item: &Item, signed: impl Fn(u64) -> Option<Digest>) -> Result<(), ItemFlaw> {
        let Head { seq, prev } = self.draft.head(self.agent);
        let index = self.draft.totals().size;
        let recorded = self.now.max(self.draft.totals().recorded);
        let body = match &item.after {
            None => item.body.as_slice(),
            Some(after) => {
                let link = self.receipts.last().ok_or(ItemFlaw::NoLink)?.leaf_hash;
                self.linked.clear();
                for part in [item.body.as_slice(), &LINK_HEAD, link.as_bytes(), after.as_slice()] {
                    self.linked.extend_from_slice(part);
                }
                &self.linked
            }
        };
        let agent = self.agent.map(AgentIdRef::from);
        let entry = EntryRef { kind: Kind::from(item.kind), agent, seq, prev, recorded, body };
        if entry.kind == Kind::Census && CensusBody::decode(entry.body).ok().as_ref() != self.census {
            return Err(ItemFlaw::Census);
        }
        if !entry.kind.is_read_by_rules() {
            cbor::check(entry.body).map_err(EntryError::Cbor).map_err(ItemFlaw::Entry)?;
        }
        let frame = self.frames.len();
        if index.is_multiple_of(BUNDLE_ENTRIES) {
            self.bundles.push((index, frame));
        }
        self.frames.extend_from_slice(&[0; LENGTH_BYTES]);
        entry.push_to(self.frames).map_err(ItemFlaw::Entry)?;
        let encoded = self.frames.get(frame + LENGTH_BYTES..).unwrap_or_default();
        let length = u16::try_from(encoded.len()).map_err(|_| EntryError::Length { found: encoded.len() });
        let length = length.map_err(ItemFlaw::Entry)?.to_be_bytes();
        let leaf_hash = Entry::leaf_hash(encoded);
        if let Some(prefix) = self.frames.get_mut(frame..frame + LENGTH_BYTES) {
            prefix.copy_from_slice(&length);
        }
        self.draft.apply(&entry, leaf_hash, signed).map_err(ItemFlaw::Rule)?;
        self.receipts.push(Receipt { index, seq, recorded, leaf_hash });
        Ok(())
    }
}

impl Entry {
    /// Whether this is the entry that a sequencer makes of `item`, the items of its group before it
    /// being in place: same kind, and same body with the link, if any, to the entry before.
    #[must_use]
    pub fn is_made_of(&self, item: &Item) -> bool {
        if self.kind != Kind::from(item.kind) {
            return false;
        }
        match &item.after {
            None => self.body == *item.body,
            Some(after) => {
                let rest = self.body.strip_prefix(item.body.as_slice());
                let rest = rest.and_then(|rest| rest.strip_prefix(&LINK_HEAD));
                rest.and_then(|rest| rest.strip_prefix(self.prev.as_bytes())) == Some(after.as_slice())
            }
        }
    }
}

/// The whole chain of causes in one line: the submitter sees nothing else.
fn explain(flaw: &GroupFlaw) -> String {
    let mut text = flaw.to_string();
    let mut cause = std::error::Error::source(flaw);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Entries of a full bundle. Source: C2SP tlog-tiles.
const BUNDLE_ENTRIES: u64 = 256;

/// CBOR head of a byte string of 32 bytes.
const LINK_HEAD: [u8; 2] = [0x58, 0x20];
const LINK_BYTES: usize = LINK_HEAD.len() + 32;

#[cfg(test)]
mod tests;
