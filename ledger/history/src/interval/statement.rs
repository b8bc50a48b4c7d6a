//! What a proof that was believed states.

use ledger_protocol::body::{AgentPolicy, Enrol, Maintenance, Retire};
use messages::{AgentId, UnixMillis};
use serde::Serialize;

use crate::census::Status;
use crate::json;
use crate::reading::Reading;

/// All that is on record about one agent between two times. Times are seconds since 1970.
///
/// As JSON: `docs/spec/interval-proof.md` section 10.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct IntervalStatement {
    /// The agent.
    pub agent: AgentId,
    /// Its slot.
    pub slot: u32,
    /// First second of the interval.
    pub from: u64,
    /// Last second of the interval.
    pub to: u64,
    /// Up to when the statement is complete: no checkpoint that was known by then covers a quote that is not counted.
    /// At most `to`.
    pub until: ProvenTime,
    /// By when all this was in the log, in each strength there is.
    pub committed_by: Vec<ProvenTime>,
    /// What the times of the quotes rest on: the weakest in the interval and beside it.
    pub times: Strength,
    /// Before which times quotes that are shown were not made, by trusted authorities whose tokens their beacons commit to.
    pub not_before: Vec<NotBefore>,
    /// Quotes with a verdict in the interval; one that was never judged counts as none.
    pub quotes: u64,
    /// Of them, verdicts that are no pass.
    pub failed: u64,
    /// Quotes that were due outside of planned maintenance and did not come, counted at the quote that came next by the
    /// policy in force there; the gap that begins before the interval counts whole, one in which the agent was enrolled
    /// anew counts nothing.
    pub missed: u64,
    /// Quotes missed between the last one and `until`. `None` if quotes may have been due and nothing shown says from
    /// when or up to when: before the first quote, and if the agent was retired or enrolled anew behind the last.
    pub missed_at_end: Option<u64>,
    /// Quotes after a reset or restart of the TPM.
    pub resets: u64,
    /// Quotes of which no checkpoint told within the tolerance: with them no gap has an upper bound.
    pub late: u64,
    /// The last quote before the interval.
    pub before: Option<u64>,
    /// The first in it.
    pub first: Option<u64>,
    /// The last in it.
    pub last: Option<u64>,
    /// The first after it.
    pub after: Option<u64>,
    /// The longest distance between two quotes in the interval.
    pub max_gap: u64,
    /// Gaps longer than this are listed.
    pub gap_limit: u64,
    /// They, in order; also those that begin before the interval or end after it, or at `until`.
    pub gaps: Vec<Gap>,
    /// Whether all of them are listed.
    pub gaps_complete: bool,
    /// Times of failed quotes that are shown, at most `failed`.
    pub failures: Vec<u64>,
    /// What governed the agent: from the policy in force at the begin to the census at the end, complete.
    pub terms: Vec<Term>,
    /// The agent at the census at the end.
    #[serde(serialize_with = "json::status")]
    pub at_end: Status,
    /// Clock of that census, by which quotes are due: *witnessed* if it rests on the auditor's own witness policy.
    pub end_clock: ProvenTime,
    /// Clock of the census at the start, if there is one, and whether the agent had a slot then.
    #[serde(serialize_with = "json::start")]
    pub start: Option<(ProvenTime, bool)>,
    /// What is covered between quotes that are shown, in order.
    pub readings: Vec<Reading>,
    /// Entries of the agent's chain that were shown and checked, of a full proof.
    pub full_entries: u64,
}

/// What a time rests on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// The log's clock.
    Claimed,
    /// Witnesses that the auditor trusts.
    Witnessed,
    /// A time-stamping authority that the auditor trusts.
    Stamped,
}

impl Strength {
    /// The word for it in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Witnessed => "witnessed",
            Self::Stamped => "stamped",
        }
    }
}

/// A time and what it rests on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct ProvenTime {
    /// Seconds since 1970.
    pub seconds: u64,
    /// What it rests on.
    pub strength: Strength,
}

/// A lower bound of the time at which one quote was made.
///
/// The quote's nonce commits to its beacon, the beacon's tree to the token: so the token was there first. What its
/// authority says of the time is believed of it, and of nobody else.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct NotBefore {
    /// The quote's time, of the strength that the statement's `times` has.
    pub quote: u64,
    /// Number of its leaf.
    pub number: u64,
    /// The bound: genTime less the accuracy; always stamped.
    pub time: ProvenTime,
    /// The accuracy that the token states; `None` if it states none, which counts as 0.
    pub accuracy_ms: Option<u64>,
    /// By when the beacon was there, by trusted witnesses. The token is older than the beacon, so a bound that is later
    /// than this shows that the authority or the witnesses are wrong.
    pub beacon_by: Option<ProvenTime>,
}

impl NotBefore {
    /// Whether authority and witnesses cannot both be right.
    #[must_use]
    pub fn is_contradicted(&self) -> bool {
        self.beacon_by.is_some_and(|by| by.seconds < self.time.seconds)
    }
}

/// A time without quotes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Gap {
    /// The quote before.
    pub from: u64,
    /// The quote after; `None` if there is none up to the end of the statement.
    pub to: Option<u64>,
    /// Its length, to the quote after or the end of the statement.
    pub seconds: u64,
    /// How much longer it may have been in truth: the tolerance by which the quote after was not late. `None` if that is
    /// late, or there is none.
    pub slack_ms: Option<u64>,
    /// How much of it lies in maintenance that was announced before it began.
    pub planned_ms: u64,
}

/// An entry that governed the agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Term {
    /// Its number in the agent's chain.
    pub seq: u64,
    /// When it was sequenced, by the log's clock: claimed.
    pub recorded: UnixMillis,
    /// What it says.
    pub kind: TermKind,
}

/// What an entry that governs an agent says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TermKind {
    /// An AK became active.
    Enrol(Enrol),
    /// Announced absence.
    Maintenance(Maintenance),
    /// What is asked of the agent.
    Policy(AgentPolicy),
    /// It left the fleet.
    Retire(Retire),
}
