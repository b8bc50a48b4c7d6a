//! Whether a proof of the fleet is to be believed, and what it then states.

use ledger_protocol::body::Label;
use messages::{AgentId, Digest};
use serde::Serialize;

use super::{FleetCensus, FleetProof, Machine};
use crate::aggregate::Aggregate;
use crate::census::{CensusHead, CensusRow, Status, Sums};
use crate::interval::{CensusEnd, IntervalRefused, ProvenTime, StampedNote, Strength, Terms, Trust};
use crate::interval::{VERSION, census_entry, extends, extends_nothing, version_of};
use crate::json;
use crate::node::agent_hash;

/// What all machines did between two censuses.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct FleetStatement {
    /// First second asked about.
    pub from: u64,
    /// Last second asked about.
    pub to: u64,
    /// Time of the census at the begin; without one, counts are from the begin of the log.
    pub start: Option<ProvenTime>,
    /// Time of the census at the end.
    pub end: ProvenTime,
    /// By when all this was in the log.
    pub committed_by: Vec<ProvenTime>,
    /// Machines that have ever been enrolled.
    pub slots: u32,
    /// Sums at the end.
    #[serde(serialize_with = "json::sums")]
    pub sums: Sums,
    /// What happened between the two, on all machines.
    pub total: Totals,
    /// The machines that are opened.
    pub machines: Vec<MachineStatement>,
    /// Machines that are not.
    pub others: u32,
    /// What happened on them together: where it is 0, on each of them.
    pub rest: Totals,
    /// Of them, machines that miss a quote at the end.
    pub others_missed: u32,
    /// Whether every label that any machine had between the two censuses is listed: all slots are shown, each with its
    /// terms from the policy in force at the begin on. Only then no other machine has a label that some are shown with.
    pub labels_complete: bool,
}

/// Counts between two censuses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Totals {
    /// Quotes with a verdict.
    pub quotes: u64,
    /// Verdicts that are no pass.
    pub failed: u64,
    /// Quotes missed outside of planned maintenance, counted when the next one came.
    pub missed: u64,
    /// Quotes after a reset or restart.
    pub resets: u64,
    /// Quotes of which no checkpoint told in time.
    pub late: u64,
}

/// One machine between two censuses.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct MachineStatement {
    /// Its id.
    pub agent: AgentId,
    /// Its slot.
    pub slot: u32,
    /// Whether it had a slot at the begin.
    pub known_at_start: bool,
    /// How it stands at the end.
    #[serde(serialize_with = "json::status")]
    pub at_end: Status,
    /// Its last quote, if there is one; what the time rests on is not shown, so it is *claimed*.
    pub last: Option<u64>,
    /// Its longest gap ever, of such times.
    pub max_gap: u64,
    /// What happened between the two.
    pub total: Totals,
    /// Its labels by its last policy, where they are shown.
    #[serde(serialize_with = "json::labels")]
    pub labels: Option<Vec<Label>>,
    /// Its labels by each policy before that, from the one in force at the begin on; `None` where the terms shown do
    /// not reach back that far.
    #[serde(serialize_with = "json::label_lists")]
    pub labels_before: Option<Vec<Vec<Label>>>,
}

impl Totals {
    fn of(sums: &Sums) -> Self {
        let Sums { quotes, fails: failed, misses: missed, resets, late, .. } = *sums;
        Self { quotes, failed, missed, resets, late }
    }

    fn of_aggregate(of: &Aggregate) -> Self {
        let (resets, late) = (u64::from(of.resets), u64::from(of.late));
        Self { quotes: of.quotes, failed: of.fails, missed: of.misses, resets, late }
    }

    /// `None` if a count would fall.
    fn since(&self, before: &Self) -> Option<Self> {
        Some(Self {
            quotes: self.quotes.checked_sub(before.quotes)?,
            failed: self.failed.checked_sub(before.failed)?,
            missed: self.missed.checked_sub(before.missed)?,
            resets: self.resets.checked_sub(before.resets)?,
            late: self.late.checked_sub(before.late)?,
        })
    }
}

/// Verifies a proof of the fleet and states what it shows.
///
/// The checks, in their order: format, interval; the checkpoints are the log's and of one history; the censuses are
/// in the log and of their checkpoints, the first of them before the interval; no sum falls from the one to the other;
/// each machine's rows are in them, under its own id, its counts do not fall, and its terms are those of its row; what is
/// left for the others is not negative.
///
/// # Errors
/// [`IntervalRefused`] with the check that failed.
pub fn verify(bytes: &[u8], trust: &Trust<'_>) -> Result<FleetStatement, IntervalRefused> {
    let proof = FleetProof::decode(bytes).map_err(IntervalRefused::Form)?;
    version_of(proof.version, VERSION)?;
    if proof.from > proof.to {
        return Err(IntervalRefused::Interval { from: proof.from, to: proof.to });
    }
    let last = trust.open(&proof.note, StampedNote::Last)?;
    let end_note = trust.open(&proof.end.note, StampedNote::End)?;
    extends(end_note.tree_head(), last.tree_head(), &proof.end_to_note, StampedNote::Last)?;
    let (end, recorded) = check_census(&proof.end, last.tree_head(), end_note.tree_head().tree_size, CensusEnd::End)?;
    let start = match &proof.start {
        None => {
            extends_nothing(&proof.start_to_end)?;
            None
        }
        Some(part) => {
            let note = trust.open(&part.note, StampedNote::Start)?;
            extends(note.tree_head(), end_note.tree_head(), &proof.start_to_end, StampedNote::End)?;
            let size = note.tree_head().tree_size;
            let head = check_census(part, last.tree_head(), size, CensusEnd::Start)?.0;
            // A later begin would leave out what happened before it.
            if part.clock.seconds >= proof.from {
                let (from, found) = (proof.from, part.clock.seconds);
                return Err(IntervalRefused::CensusTooLate { from, found });
            }
            Some((part, head))
        }
    };
    let before = start.as_ref().map_or_else(Totals::default, |(_, head)| Totals::of(&head.sums));
    let total = Totals::of(&end.sums).since(&before).ok_or(IntervalRefused::SumsFell { slot: None })?;
    let mut machines = Vec::with_capacity(proof.machines.len());
    let mut rest = total;
    let mut others_missed = end.sums.missed;
    let mut last_slot = None;
    for machine in &proof.machines {
        let slot = machine.slot;
        if last_slot.is_some_and(|last| last >= slot) {
            return Err(IntervalRefused::MachineOrder { slot });
        }
        last_slot = Some(slot);
        let statement = check_machine(machine, &proof, (&end, start.as_ref().map(|(_, head)| head)))?;
        rest = rest.since(&statement.total).ok_or(IntervalRefused::SumsFell { slot: Some(slot) })?;
        let missed = u32::from(statement.at_end == Status::Missed);
        others_missed = others_missed.checked_sub(missed).ok_or(IntervalRefused::SumsFell { slot: Some(slot) })?;
        machines.push(statement);
    }
    let time = |part: &FleetCensus, head: &CensusHead| match trust.bounds(&part.note, head.prefix_size) {
        Some((low, _)) => ProvenTime { seconds: low, strength: Strength::Witnessed },
        None => ProvenTime { seconds: head.clock.seconds, strength: Strength::Claimed },
    };
    let mut committed_by = vec![ProvenTime { seconds: recorded, strength: Strength::Claimed }];
    let high = trust.bounds(&proof.note, last.tree_head().tree_size).map(|(_, high)| high);
    committed_by.extend(high.map(|seconds| ProvenTime { seconds, strength: Strength::Witnessed }));
    let opened = u32::try_from(machines.len()).unwrap_or(u32::MAX);
    let others = end.slots.saturating_sub(opened);
    let listed = |machine: &MachineStatement| machine.labels.is_some() && machine.labels_before.is_some();
    Ok(FleetStatement {
        from: proof.from,
        to: proof.to,
        start: start.as_ref().map(|(part, head)| time(part, head)),
        end: time(&proof.end, &end),
        committed_by,
        slots: end.slots,
        sums: end.sums,
        total,
        labels_complete: others == 0 && machines.iter().all(listed),
        machines,
        others,
        rest,
        others_missed,
    })
}

/// The entry is in the log, of the checkpoint's size, and its root is that of the parts.
fn check_census(
    part: &FleetCensus,
    last: &ledger_tlog::tree::TreeHead,
    size: u64,
    end: CensusEnd,
) -> Result<(CensusHead, u64), IntervalRefused> {
    let (body, recorded) = census_entry(&part.entry, part.index, &part.inclusion, last, size, end)?;
    let sums = body.sums.as_slice().try_into().map_err(|_| IntervalRefused::CensusEntry { end })?;
    let head = CensusHead {
        prefix_size: body.prefix_size,
        epoch: body.epoch,
        clock: part.clock,
        slots: part.slots,
        sums: Sums::from_bytes(sums),
        top: part.top,
    };
    if head.root() == body.root { Ok((head, recorded)) } else { Err(IntervalRefused::CensusRoot { end }) }
}

fn check_machine(
    machine: &Machine,
    proof: &FleetProof,
    (end, start): (&CensusHead, Option<&CensusHead>),
) -> Result<MachineStatement, IntervalRefused> {
    let Machine { slot, agent, .. } = machine;
    let hash = agent_hash(agent);
    let opening = |end, source| IntervalRefused::CensusOpening { end, source };
    machine.end.verify(*slot, &end.body()).map_err(|source| opening(CensusEnd::End, source))?;
    let row = machine.end.row.filter(|row| row.agent == hash);
    let row = row.ok_or(IntervalRefused::CensusRow { end: CensusEnd::End })?;
    let before = match (&machine.start, start) {
        (Some(part), Some(head)) => {
            part.verify(*slot, &head.body()).map_err(|source| opening(CensusEnd::Start, source))?;
            if part.row.is_some_and(|row| row.agent != hash) {
                return Err(IntervalRefused::CensusRow { end: CensusEnd::Start });
            }
            part.row
        }
        (None, None) => None,
        _ => return Err(IntervalRefused::CensusRow { end: CensusEnd::Start }),
    };
    debug_assert!(proof.start.is_some() == start.is_some(), "one is checked from the other");
    let earlier = before.map_or_else(Totals::default, |row| Totals::of_aggregate(&row.aggregate));
    let total = Totals::of_aggregate(&row.aggregate).since(&earlier);
    let total = total.ok_or(IntervalRefused::SumsFell { slot: Some(*slot) })?;
    let (labels, labels_before) = match &machine.terms {
        None => (None, None),
        Some(part) => labels(&Terms::read(part, agent, &row.terms)?, before.as_ref()),
    };
    Ok(MachineStatement {
        agent: agent.clone(),
        slot: *slot,
        known_at_start: before.is_some(),
        at_end: row.status,
        last: (row.aggregate.quotes > 0).then_some(row.aggregate.last),
        max_gap: row.aggregate.max_gap,
        total,
        labels,
        labels_before,
    })
}

/// Labels by the last policy; and those of the policies before it, if the terms reach back to the begin.
fn labels(terms: &Terms, before: Option<&CensusRow>) -> (Option<Vec<Label>>, Option<Vec<Vec<Label>>>) {
    let last = terms.policies().next_back();
    let current = last.map(|(_, policy)| policy.labels.clone()).unwrap_or_default();
    let reached = terms.reach(before.map_or(&Digest::ZERO, |row| &row.terms));
    let earlier = reached.map(|reached| {
        let at_begin = terms.policies().rfind(|(at, _)| *at < reached).map_or(0, |(at, _)| at);
        let until = last.map_or(0, |(at, _)| at);
        let between = terms.policies().filter(|(at, _)| (at_begin..until).contains(at));
        between.map(|(_, policy)| policy.labels.clone()).collect()
    });
    (Some(current), earlier)
}
