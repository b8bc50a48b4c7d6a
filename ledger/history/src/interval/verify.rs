//! Whether a proof is to be believed, and what it then states.

use ledger_protocol::body::{Body, CensusBody};
use ledger_protocol::{Entry, Kind};
use ledger_timestamp::{Authorities, Token, TokenRejected};
use ledger_tlog::checkpoint::{AuthenticCheckpoint, Checkpoint, CheckpointRejected};
use ledger_tlog::key::NoteVerifier;
use ledger_tlog::policy::{MalformedPolicy, Policy, WitnessQuorum};
use ledger_tlog::proof::{ConsistencyError, verify_consistency, verify_inclusion};
use ledger_tlog::tree::TreeHead;
use messages::{AgentId, Digest};

use super::format::{CensusPart, IntervalProof, StampedNote, VERSION, VERSION_BEACONS, consistency, hash, inclusion};
use super::opened::{Opened, Piece, read};
use super::refused::{CensusEnd, IntervalRefused};
use super::statement::{Gap, IntervalStatement, NotBefore, ProvenTime, Strength, TermKind};
use super::terms::Terms;
use super::zones::Zones;
use super::{beacons, evidence};
use crate::aggregate::Aggregate;
use crate::census::{CensusHead, CensusRow};
use crate::due::{missed, planned_ms};
use crate::node::{Leaf, NO_LEAVES, Node, agent_hash, sha256};
use crate::reading::{QuoteFacts, Reading};
use crate::times::bounds_of;

/// Whom the auditor trusts: all of it comes from elsewhere than the proof.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The log's name.
    pub origin: &'a str,
    /// The log's key.
    pub log: &'a NoteVerifier,
    /// The witnesses, if any are trusted.
    pub witnesses: Option<&'a Witnesses>,
    /// The time-stamping authorities, if any are trusted.
    pub authorities: Option<&'a Authorities>,
}

/// Witnesses that the auditor trusts, as a policy file.
#[derive(Clone, Debug)]
pub struct Witnesses {
    digest: Digest,
    quorum: WitnessQuorum,
}

impl Witnesses {
    /// Reads a tlog-policy file. Quotes' times inside the proof count as witnessed if the log has put this very
    /// file, byte for byte, on record as its witness policy.
    ///
    /// # Errors
    /// [`MalformedPolicy`] if it is none.
    pub fn parse(file: &[u8]) -> Result<Self, MalformedPolicy> {
        Ok(Self { digest: sha256(file), quorum: Policy::parse(file)?.quorum().clone() })
    }
}

impl Trust<'_> {
    /// The times between which trusted witnesses place a note of `size` entries.
    pub(crate) fn bounds(&self, note: &[u8], size: u64) -> Option<(u64, u64)> {
        bounds_of(note, size, self.origin, self.log, &self.witnesses?.quorum)
    }

    pub(crate) fn open(&self, note: &[u8], which: StampedNote) -> Result<AuthenticCheckpoint, IntervalRefused> {
        self.opened(note).map_err(|source| IntervalRefused::Checkpoint { note: which, source })
    }

    /// A checkpoint of the log, in which no line of a known key is forged.
    pub(crate) fn opened(&self, note: &[u8]) -> Result<AuthenticCheckpoint, CheckpointRejected> {
        let keys: Vec<NoteVerifier> =
            self.witnesses.map(|witnesses| witnesses.quorum.witnesses().cloned().collect()).unwrap_or_default();
        Checkpoint::open(note, self.origin, self.log, &keys)
    }

    /// Whether a token over a note is of a trusted authority. One of another authority says nothing, as long as that
    /// authority has signed it: a log may ask several, and an auditor trust one.
    ///
    /// # Errors
    /// If authorities are trusted, and nobody has signed this token over this note.
    pub(super) fn believes(&self, token: &Token, note: &[u8]) -> Result<bool, TokenRejected> {
        let Some(authorities) = self.authorities else { return Ok(false) };
        match token.verify(note, None, authorities) {
            Ok(_) => Ok(true),
            // What is asked about trust comes after what is asked about the token.
            Err(TokenRejected::Chain { .. } | TokenRejected::Revoked { .. }) => Ok(false),
            Err(rejected) => Err(rejected),
        }
    }

    fn trusts(&self, basis: &Digest) -> bool {
        self.witnesses.is_some_and(|witnesses| witnesses.quorum.asks() && witnesses.digest == *basis)
    }

    fn strength(&self, basis: &Digest) -> Strength {
        if self.trusts(basis) { Strength::Witnessed } else { Strength::Claimed }
    }
}

/// Verifies a proof and states what it shows.
///
/// The checks, in their order: format, agent, interval; the checkpoints are the log's and of one history; the
/// censuses are in the log and hold the agent's rows; the opened tree is that of the end's row, its beginning that of
/// the start's; the interval's ends are opened; the terms lead to the end's row and the leaves are under them; quotes
/// and verdicts beside the interval are those of the leaves; time-stamps are genuine, and those under beacons lie there; a
/// full proof's entries make the leaves.
///
/// # Errors
/// [`IntervalRefused`] with the check that failed.
pub fn verify(bytes: &[u8], agent: &AgentId, trust: &Trust<'_>) -> Result<IntervalStatement, IntervalRefused> {
    verify_decoded(&IntervalProof::decode(bytes).map_err(IntervalRefused::Form)?, agent, trust)
}

/// As [`verify`], for who has decoded the proof.
///
/// # Errors
/// As there.
pub fn verify_decoded(
    proof: &IntervalProof,
    agent: &AgentId,
    trust: &Trust<'_>,
) -> Result<IntervalStatement, IntervalRefused> {
    version_of(proof.version, if proof.beacon_stamps.is_some() { VERSION_BEACONS } else { VERSION })?;
    if proof.agent != *agent {
        return Err(IntervalRefused::Agent { expected: agent.clone(), found: proof.agent.clone() });
    }
    if proof.from > proof.to {
        return Err(IntervalRefused::Interval { from: proof.from, to: proof.to });
    }
    let frame = Frame::check(proof, trust)?;
    let opened = open_tree(proof, &frame)?;
    let zones = Zones::of(&opened.pieces, proof.from, proof.to)?;
    if let Some(row) = frame.start.as_ref().and_then(|(_, row)| row.as_ref())
        && row.aggregate.quotes > zones.leaves_before()
    {
        let (expected, found) = (zones.leaves_before(), row.aggregate.quotes);
        return Err(IntervalRefused::StartTooLate { expected, found });
    }
    let terms = Terms::read(&proof.terms, agent, &frame.row.terms)?;
    let governed = zones.before.iter().rev().take(1).chain(zones.inside).chain(zones.after.iter().take(1));
    terms.check(governed.clone().filter_map(|piece| Some((piece.start, piece.leaf.as_ref()?))))?;
    let readings = check_evidence(proof, &frame, &opened, &zones, &terms, trust)?;
    let stamped = check_stamps(proof, trust)?;
    let not_before = beacons::check(proof, |number| opened.leaf(number).map(|leaf| leaf.aggregate.first), trust)?;
    let full_entries = check_full(proof, &zones)?;
    Ok(state(proof, frame, &zones, terms, stamped, Checked { readings, not_before, full_entries }, trust))
}

/// What stands around the agent's tree.
struct Frame {
    head: TreeHead,
    row: CensusRow,
    end: CensusHead,
    start: Option<(CensusHead, Option<CensusRow>)>,
    /// Claimed time of the census entry at the end, in seconds.
    recorded: u64,
    /// Bounds by trusted witnesses of the end's checkpoint and of the last.
    end_low: Option<u64>,
    last_high: Option<u64>,
}

struct Checked {
    readings: Vec<Reading>,
    not_before: Vec<NotBefore>,
    full_entries: u64,
}

impl Frame {
    fn check(proof: &IntervalProof, trust: &Trust<'_>) -> Result<Self, IntervalRefused> {
        let last = trust.open(&proof.note, StampedNote::Last)?;
        let head = *last.tree_head();
        let end_note = trust.open(&proof.end.note, StampedNote::End)?;
        extends(end_note.tree_head(), &head, &proof.end_to_note, StampedNote::Last)?;
        match &proof.start {
            None => extends_nothing(&proof.start_to_end)?,
            Some(start) => {
                let start_note = trust.open(&start.note, StampedNote::Start)?;
                extends(start_note.tree_head(), end_note.tree_head(), &proof.start_to_end, StampedNote::End)?;
            }
        }
        let agent = agent_hash(&proof.agent);
        let at_end = check_census(&proof.end, proof.slot, &head, end_note.tree_head(), CensusEnd::End)?;
        let (end, recorded) = at_end;
        let row = proof.end.opening.row.filter(|row| row.agent == agent);
        let row = row.ok_or(IntervalRefused::CensusRow { end: CensusEnd::End })?;
        let start = match &proof.start {
            None => None,
            Some(part) => {
                let note = trust.open(&part.note, StampedNote::Start)?;
                let (census, _) = check_census(part, proof.slot, &head, note.tree_head(), CensusEnd::Start)?;
                if part.opening.row.is_some_and(|row| row.agent != agent) {
                    return Err(IntervalRefused::CensusRow { end: CensusEnd::Start });
                }
                Some((census, part.opening.row))
            }
        };
        let end_low = trust.bounds(&proof.end.note, end.prefix_size).map(|(low, _)| low);
        let last_high = trust.bounds(&proof.note, head.tree_size).map(|(_, high)| high);
        Ok(Self { head, row, end, start, recorded, end_low, last_high })
    }
}

pub(crate) fn extends(
    old: &TreeHead,
    new: &TreeHead,
    proof: &[Digest],
    note: StampedNote,
) -> Result<(), IntervalRefused> {
    verify_consistency(old, new, &consistency(proof)).map_err(|source| IntervalRefused::Consistency { note, source })
}

/// Without a census at the start there is nothing to extend: hashes that nobody looks at are no part of a proof.
pub(crate) fn extends_nothing(proof: &[Digest]) -> Result<(), IntervalRefused> {
    if proof.is_empty() {
        return Ok(());
    }
    let source = ConsistencyError::Length { expected: 0, found: proof.len() };
    Err(IntervalRefused::Consistency { note: StampedNote::End, source })
}

/// The census entry is in the log, of the checkpoint's size, and holds the slot as shown.
fn check_census(
    part: &CensusPart,
    slot: u32,
    head: &TreeHead,
    note: &TreeHead,
    end: CensusEnd,
) -> Result<(CensusHead, u64), IntervalRefused> {
    let (body, recorded) = census_entry(&part.entry, part.index, &part.inclusion, head, note.tree_size, end)?;
    let census = part.opening.verify(slot, &body).map_err(|source| IntervalRefused::CensusOpening { end, source })?;
    Ok((census, recorded))
}

/// The body of a census entry that is in the tree of `head` and covers `size` entries; and when it was sequenced, by
/// the log's clock, in seconds.
pub(crate) fn census_entry(
    bytes: &[u8],
    index: u64,
    path: &[Digest],
    head: &TreeHead,
    size: u64,
    end: CensusEnd,
) -> Result<(CensusBody, u64), IntervalRefused> {
    let entry = Entry::decode(bytes).ok().filter(|entry| entry.kind == Kind::Census && entry.agent.is_none());
    let entry = entry.ok_or(IntervalRefused::CensusEntry { end })?;
    let body = CensusBody::decode(&entry.body).map_err(|_| IntervalRefused::CensusEntry { end })?;
    verify_inclusion(&hash(&Entry::leaf_hash(bytes)), index, head, &inclusion(path))
        .map_err(|source| IntervalRefused::CensusInclusion { end, source })?;
    if size != body.prefix_size {
        return Err(IntervalRefused::CensusSize { end, expected: body.prefix_size, found: size });
    }
    Ok((body, entry.recorded.0 / 1_000))
}

pub(crate) fn version_of(found: u64, expected: u64) -> Result<(), IntervalRefused> {
    if found == expected { Ok(()) } else { Err(IntervalRefused::Version { found }) }
}

fn open_tree(proof: &IntervalProof, frame: &Frame) -> Result<Opened, IntervalRefused> {
    let Aggregate { quotes, .. } = frame.row.aggregate;
    let none = Node { aggregate: Aggregate::NONE, hash: NO_LEAVES };
    let prefix = frame.start.as_ref().and_then(|(_, row)| row.as_ref());
    let prefix_quotes = prefix.map_or(0, |row| row.aggregate.quotes);
    let opened = if quotes == 0 && proof.tree.is_empty() {
        Opened { root: none, prefix: None, pieces: Vec::new() }
    } else {
        read(&proof.tree, &frame.row.agent, quotes, prefix_quotes).map_err(IntervalRefused::Tree)?
    };
    if opened.root != (Node { aggregate: frame.row.aggregate, hash: frame.row.root }) {
        return Err(IntervalRefused::TreeRoot { end: CensusEnd::End });
    }
    // The tree at the start is the beginning of the tree at the end: nothing was taken out since.
    if let Some(row) = prefix
        && (prefix_quotes > quotes
            || opened.prefix.unwrap_or(none) != (Node { aggregate: row.aggregate, hash: row.root }))
    {
        return Err(IntervalRefused::TreeRoot { end: CensusEnd::Start });
    }
    Ok(opened)
}

/// Every given pair is checked; the leaves beside the interval must have one.
fn check_evidence(
    proof: &IntervalProof,
    frame: &Frame,
    opened: &Opened,
    zones: &Zones<'_>,
    terms: &Terms,
    trust: &Trust<'_>,
) -> Result<Vec<Reading>, IntervalRefused> {
    let needed = [zones.before.last(), zones.after.first()];
    for number in needed.into_iter().flatten().map(|piece| piece.start) {
        if !proof.evidence.iter().any(|evidence| evidence.number == number) {
            return Err(IntervalRefused::EvidenceMissing { number });
        }
    }
    let mut readings = Vec::new();
    let mut last: Option<(u64, &Leaf, QuoteFacts)> = None;
    for evidence in &proof.evidence {
        let number = evidence.number;
        let in_order = last.is_none_or(|(last, ..)| last < number);
        let leaf = opened.leaf(number).filter(|_| in_order).ok_or(IntervalRefused::EvidenceMissing { number })?;
        let mut facts = evidence::check(evidence, leaf, &proof.agent, &frame.head, trust)?;
        bound(&mut facts, leaf, terms, trust);
        if let Some((_, before, first)) = &last {
            // Another TPM enrolled in between, whatever the later verdict says of its binding.
            let anew = terms.between(Some(before.seq), leaf.seq).filter_map(|term| match term {
                TermKind::Enrol(enrol) if enrol.binding != first.binding => Some(enrol.binding),
                _ => None,
            });
            let second = QuoteFacts { binding: anew.last().unwrap_or(facts.binding), ..facts };
            readings.push(Reading::between(first, &second, (before.aggregate.first, leaf.aggregate.first)));
        }
        last = Some((number, leaf, facts));
    }
    Ok(readings)
}

/// The leaf's own times, as far as trusted witnesses stand behind them.
fn bound(facts: &mut QuoteFacts, leaf: &Leaf, terms: &Terms, trust: &Trust<'_>) {
    if trust.trusts(&leaf.basis) {
        let Aggregate { first: time, late, .. } = leaf.aggregate;
        facts.not_before = facts.not_before.max(Some(time));
        let demand = terms.demand_at(leaf).filter(|_| late == 0);
        facts.not_after = demand.map(|demand| time.saturating_add(demand.tolerance_ms.div_ceil(1_000)));
    }
}

/// Times by which trusted authorities saw the checkpoints; the earliest of the last one counts.
fn check_stamps(proof: &IntervalProof, trust: &Trust<'_>) -> Result<Option<u64>, IntervalRefused> {
    let mut stamped: Option<u64> = None;
    for (position, stamp) in proof.stamps.iter().enumerate() {
        let start = proof.start.as_ref().map(|start| start.note.as_slice());
        let note = match stamp.note {
            StampedNote::Start => start.ok_or(IntervalRefused::StampNote { position })?,
            StampedNote::End => proof.end.note.as_slice(),
            StampedNote::Last => proof.note.as_slice(),
        };
        let token = Token::parse(&stamp.token).map_err(|source| IntervalRefused::StampForm { position, source })?;
        let believed = trust.believes(&token, note);
        let believed = believed.map_err(|source| IntervalRefused::StampRejected { position, source })?;
        if believed && stamp.note == StampedNote::Last {
            let latest = latest_seconds(&token);
            stamped = Some(stamped.map_or(latest, |known| known.min(latest)));
        }
    }
    Ok(stamped)
}

/// The end of the authority's accuracy, in whole seconds upwards; milliseconds are cut off in the token's time.
fn latest_seconds(token: &Token) -> u64 {
    let accuracy_ms = token.info().accuracy.map_or(0, |accuracy| accuracy.0.div_ceil(1_000));
    token.info().gen_time.0.saturating_add(accuracy_ms).div_ceil(1_000)
}

fn check_full(proof: &IntervalProof, zones: &Zones<'_>) -> Result<u64, IntervalRefused> {
    if proof.entries.is_empty() {
        return Ok(0);
    }
    if let Some(piece) = zones.inside.iter().find(|piece| piece.leaf.is_none()) {
        return Err(IntervalRefused::FullLeaf { number: piece.start });
    }
    let leaves = zones.inside.iter().filter_map(|piece| Some((piece.start, piece.leaf.as_ref()?)));
    evidence::check_full(&proof.entries, &proof.agent, leaves)
}

fn state(
    proof: &IntervalProof,
    frame: Frame,
    zones: &Zones<'_>,
    terms: Terms,
    stamped: Option<u64>,
    checked: Checked,
    trust: &Trust<'_>,
) -> IntervalStatement {
    let claimed = ProvenTime { seconds: frame.end.clock.seconds, strength: Strength::Claimed };
    let witnessed = |seconds| ProvenTime { seconds, strength: Strength::Witnessed };
    let covered = frame.end_low.map_or(claimed, witnessed);
    let times = times_strength(zones, trust);
    // A later quote closes the interval: times never go back along a chain.
    let until = match zones.first_after() {
        Some(_) => ProvenTime { seconds: proof.to, strength: times },
        None => ProvenTime { seconds: covered.seconds.min(proof.to), ..covered },
    };
    let clock = |census: &CensusHead| ProvenTime {
        seconds: census.clock.seconds,
        strength: trust.strength(&census.clock.basis),
    };
    let mut committed_by = vec![ProvenTime { seconds: frame.recorded, strength: Strength::Claimed }];
    committed_by.extend(frame.last_high.map(witnessed));
    committed_by.extend(stamped.map(|seconds| ProvenTime { seconds, strength: Strength::Stamped }));
    let sum = zones.sum();
    let (gaps, gaps_complete) = gaps(zones, &terms, until.seconds, proof.gap_limit);
    let failing = |piece: &&Piece| piece.leaf.is_some() && piece.aggregate.fails > 0;
    IntervalStatement {
        until,
        committed_by,
        times,
        not_before: checked.not_before,
        quotes: sum.quotes,
        failed: sum.fails,
        missed: sum.misses,
        missed_at_end: missed_at_end(zones, &terms, until.seconds),
        resets: u64::from(sum.resets),
        late: u64::from(sum.late),
        before: zones.last_before().map(|leaf| leaf.aggregate.last),
        first: zones.first_inside().map(|leaf| leaf.aggregate.first),
        last: zones.last_inside().map(|leaf| leaf.aggregate.last),
        after: zones.first_after().map(|leaf| leaf.aggregate.first),
        max_gap: sum.max_gap,
        gap_limit: proof.gap_limit,
        gaps,
        gaps_complete,
        failures: zones.inside.iter().filter(failing).map(|piece| piece.aggregate.first).collect(),
        terms: terms.into_terms(),
        at_end: frame.row.status,
        end_clock: clock(&frame.end),
        start: frame.start.map(|(census, row)| (clock(&census), row.is_some())),
        readings: checked.readings,
        full_entries: checked.full_entries,
        agent: proof.agent.clone(),
        slot: proof.slot,
        from: proof.from,
        to: proof.to,
    }
}

/// The weakest basis from the leaf before the interval to the one after it: equal numbers of switches at both ends
/// say that there is one only.
fn times_strength(zones: &Zones<'_>, trust: &Trust<'_>) -> Strength {
    let ends = [zones.last_before(), zones.first_inside(), zones.last_inside(), zones.first_after()];
    let mut leaves = ends.into_iter().flatten();
    let Some(first) = leaves.next() else { return Strength::Claimed };
    if leaves.all(|leaf| leaf.switches == first.switches && leaf.basis == first.basis) {
        trust.strength(&first.basis)
    } else {
        Strength::Claimed
    }
}

/// Distances over the limit between pieces that follow one another, and whether there can be others.
fn gaps(zones: &Zones<'_>, terms: &Terms, until: u64, limit: u64) -> (Vec<Gap>, bool) {
    let after = zones.after.first();
    let run: Vec<&Piece> = zones.before.last().into_iter().chain(zones.inside).chain(after).collect();
    let complete = zones.inside.iter().all(|piece| piece.aggregate.max_gap <= limit);
    let planned = |left: &Piece, to: u64| {
        let seq = left.leaf.as_ref().map_or(0, |leaf| leaf.seq);
        planned_ms(left.aggregate.last.saturating_mul(1_000), to.saturating_mul(1_000), &terms.windows(seq), seq)
    };
    let mut found = Vec::new();
    for (left, right) in run.iter().zip(run.iter().skip(1)) {
        let (from, to) = (left.aggregate.last, right.aggregate.first);
        if to.saturating_sub(from) > limit {
            let slack = right.leaf.as_ref().filter(|leaf| leaf.aggregate.late == 0);
            let slack_ms = slack.and_then(|leaf| terms.demand_at(leaf)).map(|demand| demand.tolerance_ms);
            let (seconds, planned_ms) = (to.saturating_sub(from), planned(left, to));
            found.push(Gap { from, to: Some(to), seconds, slack_ms, planned_ms });
        }
    }
    if let (Some(last), None) = (run.last(), after)
        && until.saturating_sub(last.aggregate.last) > limit
    {
        let from = last.aggregate.last;
        let (seconds, planned_ms) = (until.saturating_sub(from), planned(last, until));
        found.push(Gap { from, to: None, seconds, slack_ms: None, planned_ms });
    }
    (found, complete)
}

/// The due rule from the last quote to the end of the statement, by the terms that are shown. `None` where quotes may
/// have been due but nothing shown says from or up to when: before a first quote, and around a retirement.
fn missed_at_end(zones: &Zones<'_>, terms: &Terms, until: u64) -> Option<u64> {
    let after = zones.first_after();
    let end = after.map_or(u64::MAX, |leaf| leaf.seq);
    let last = zones.last_inside().or(zones.last_before());
    let mut between = terms.between(last.map(|last| last.seq), end);
    let Some(last) = last else {
        let asks = |term: &TermKind| matches!(term, TermKind::Policy(policy) if policy.interval_ms > 0);
        return (!between.any(asks)).then_some(0);
    };
    if between.any(|term| matches!(term, TermKind::Enrol(_) | TermKind::Retire(_))) {
        return None;
    }
    let from = last.aggregate.last;
    let demand = after.map_or_else(|| terms.demand_at_end(), |leaf| terms.demand_at(leaf));
    Some(missed(from, until.max(from), demand, &terms.windows(last.seq), last.seq))
}
