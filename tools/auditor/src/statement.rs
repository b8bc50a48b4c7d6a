//! What follows for the machine: when it passed, failed, was unknown or not enrolled.

mod failing;

use ledger_protocol::body::{ReleasePhase, VerdictResult};
use messages::UnixMillis;
use serde::{Serialize, Serializer};

use crate::{
    history::{Decoded, History, InForce},
    verify::Findings,
};

pub use failing::Reason;

/// The interval asked about; an open end means as far as the bundle reaches.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    /// Its start.
    pub from: Option<UnixMillis>,
    /// Its end.
    pub to: Option<UnixMillis>,
}

/// What is known of the machine at a time. Unknown is never a pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineState {
    /// The latest evidence failed.
    Fail,
    /// Before enrolment or after retirement.
    NotEnrolled,
    /// The latest evidence passed and is not older than policy allows.
    Pass,
    /// No evidence, or evidence older than policy allows, or evidence nobody could judge.
    Unknown,
}

impl MachineState {
    /// The state's name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::NotEnrolled => "not-enrolled",
            Self::Pass => "pass",
            Self::Unknown => "unknown",
        }
    }
}

/// A time in which the state did not change: from `from` up to, and without, `to`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Period {
    /// The state.
    pub state: MachineState,
    /// Its start.
    #[serde(serialize_with = "rfc_3339")]
    pub from: UnixMillis,
    /// Its end.
    #[serde(serialize_with = "rfc_3339")]
    pub to: UnixMillis,
}

/// What the proven entries say about the machine in an interval.
#[derive(Clone, Debug, Serialize)]
pub struct Statement {
    /// Start of the interval.
    #[serde(serialize_with = "rfc_3339")]
    pub from: UnixMillis,
    /// End of the interval.
    #[serde(serialize_with = "rfc_3339")]
    pub to: UnixMillis,
    /// Whose clock all times are of.
    pub clock: &'static str,
    /// What witnesses prove of the times; none without a quorum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Bounds>,
    /// What time-stamping authorities prove of the times; none without a stamp of one that is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamped: Option<StampBounds>,
    /// Labels of the last policy in force, `name=value`.
    pub labels: Vec<String>,
    /// Milliseconds in each state.
    pub pass_ms: u64,
    /// Milliseconds in which the latest evidence failed.
    pub fail_ms: u64,
    /// Milliseconds in which nothing is known.
    pub unknown_ms: u64,
    /// Milliseconds before enrolment or after retirement.
    pub not_enrolled_ms: u64,
    /// The states in order, without a gap.
    pub periods: Vec<Period>,
    /// What the run holds, as counts.
    pub counts: Counts,
    /// Why verdicts failed, in the log's order, whole run.
    pub reasons: Vec<Reason>,
    /// How many more reasons there are.
    pub reasons_cut: u64,
}

/// Times that a quorum of witnesses vouches for, by their own clocks, to the second.
///
/// At least one witness of each sufficient set is taken to be honest. A bound holds if those witnesses whose times bear
/// it out suffice by themselves, so for two of three it is the second latest time below and the second earliest above.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Bounds {
    /// The run's first authentic quote was made after this: its nonce rests on signatures made then.
    #[serde(serialize_with = "rfc_3339_if")]
    pub first_quote_after: Option<UnixMillis>,
    /// The run's last authentic quote was made after this.
    #[serde(serialize_with = "rfc_3339_if")]
    pub last_quote_after: Option<UnixMillis>,
    /// All entries were in the log before this.
    #[serde(serialize_with = "rfc_3339")]
    pub all_before: UnixMillis,
}

/// Times that time-stamping authorities vouch for, by their own clocks and with their own statement of accuracy.
///
/// A strength of its own, apart from the witnesses': each of the authorities would have had to sign a false time, or
/// lose its key. They say nothing of how early something was made, nor that the log shows everyone the same.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct StampBounds {
    /// The run's first authentic quote was in the log before this.
    #[serde(serialize_with = "rfc_3339_if")]
    pub first_quote_before: Option<UnixMillis>,
    /// All entries were in the log before this; none if no stamp is on a tree that has the last one.
    #[serde(serialize_with = "rfc_3339_if")]
    pub all_before: Option<UnixMillis>,
    /// The stamps behind it, ascending by time.
    pub stamps: Vec<Stamp>,
}

/// One stamp that is believed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Stamp {
    /// The first so many entries were there.
    pub tree_size: u64,
    /// Subject of the certificate that signed.
    pub authority: String,
    /// The token's time and its accuracy added.
    #[serde(serialize_with = "rfc_3339")]
    pub before: UnixMillis,
    /// `checked` if the auditor's lists cover the chain, `unknown` if not.
    pub revocation: &'static str,
}

/// What the run of entries holds, whole run, not only the interval.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Quotes.
    pub quotes: u64,
    /// Quotes that the enrolled AK signed for their own challenge.
    pub quotes_authentic: u64,
    /// Passing verdicts.
    pub passed: u64,
    /// Failing verdicts.
    pub failed: u64,
    /// Failing verdicts over an authentic quote: the TPM itself bears them out.
    pub failed_authentic: u64,
    /// Verdicts that say the evidence could not be judged.
    pub errors: u64,
    /// Entries that say due evidence did not come.
    pub misses: u64,
    /// Key releases authorised.
    pub keys_authorised: u64,
    /// Key releases delivered.
    pub keys_delivered: u64,
    /// Key releases withheld.
    pub keys_withheld: u64,
    /// Keys revoked.
    pub keys_revoked: u64,
    /// Resets of the TPM between two authentic quotes, by its own counter.
    pub resets: u64,
}

/// Draws the statement; none if the run is empty.
pub(crate) fn draw(
    history: &History,
    interval: Interval,
    findings: &Findings,
    (bounds, stamped): (Option<Bounds>, Option<StampBounds>),
) -> Option<Statement> {
    let (_, first) = history.run().next()?;
    let (last_position, last) = history.run().next_back()?;
    let start = interval.from.unwrap_or(first.recorded);
    let end = interval.to.unwrap_or(last.recorded).max(start);
    let periods = periods(history, start, end);
    let sum = |state| periods.iter().filter(|p| p.state == state).map(|p| p.to.ms_since(p.from)).sum();
    let policy = history.in_force(last_position).policy;
    let (reasons, reasons_cut) = failing::reasons(history);
    Some(Statement {
        from: start,
        to: end,
        clock: match (bounds, &stamped) {
            (None, None) => "claimed by the log's clock, not proven",
            (None, Some(_)) => "claimed by the log's clock, bounded above by time-stamps",
            (Some(_), None) => "claimed by the log's clock, proven by witnesses within the bounds",
            (Some(_), Some(_)) => "claimed by the log's clock, proven by witnesses and time-stamps within the bounds",
        },
        bounds,
        stamped,
        labels: history
            .policy(policy)
            .map(|policy| policy.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect())
            .unwrap_or_default(),
        pass_ms: sum(MachineState::Pass),
        fail_ms: sum(MachineState::Fail),
        unknown_ms: sum(MachineState::Unknown),
        not_enrolled_ms: sum(MachineState::NotEnrolled),
        counts: count(history, findings),
        reasons,
        reasons_cut,
        periods,
    })
}

/// From a point in time on the machine is in a state, at most until another.
struct Mark {
    at: UnixMillis,
    state: MachineState,
    until: Option<UnixMillis>,
}

fn periods(history: &History, start: UnixMillis, end: UnixMillis) -> Vec<Period> {
    let mut periods: Vec<Period> = Vec::new();
    let mut add = |state, from: UnixMillis, to: UnixMillis| {
        let (from, to) = (from.max(start), to.min(end));
        if from >= to {
            return;
        }
        match periods.last_mut() {
            Some(last) if last.state == state && last.to == from => last.to = to,
            _ => periods.push(Period { state, from, to }),
        }
    };
    let marks = marks(history);
    for (position, mark) in marks.iter().enumerate() {
        let next = marks.get(position + 1).map_or(UnixMillis(u64::MAX), |next| next.at);
        let until = mark.until.map_or(next, |until| until.min(next)).max(mark.at);
        add(mark.state, mark.at, until);
        add(MachineState::Unknown, until, next);
    }
    periods
}

fn marks(history: &History) -> Vec<Mark> {
    let before = if history.is_whole() { MachineState::NotEnrolled } else { MachineState::Unknown };
    let mut marks = vec![Mark { at: UnixMillis(0), state: before, until: None }];
    for (position, entry) in history.run() {
        let mark = |state| Mark { at: entry.recorded, state, until: None };
        match &entry.body {
            Decoded::Enrol(_) => marks.push(mark(MachineState::Unknown)),
            Decoded::Retire => marks.push(mark(MachineState::NotEnrolled)),
            // A quote ends what the one before it said, also if nobody judges it.
            Decoded::Quote(_) => marks.push(mark(MachineState::Unknown)),
            Decoded::Verdict(verdict) => marks.push(judged(history, history.in_force(position), verdict.result)),
            Decoded::KeyRelease(_)
            | Decoded::Miss
            | Decoded::Opaque
            | Decoded::OperatorAction
            | Decoded::Policy(_)
            | Decoded::Revocation => {}
        }
    }
    if let Some((_, last)) = history.run().next_back() {
        // What came after the last entry is not in the bundle; a retired agent may have come back.
        marks.push(Mark { at: last.recorded, state: MachineState::Unknown, until: None });
    }
    marks
}

/// A verdict speaks for its quote's time, as long as the policy in force lets a quote be the latest.
fn judged(history: &History, before: InForce, result: VerdictResult) -> Mark {
    let state = match result {
        VerdictResult::Pass => MachineState::Pass,
        VerdictResult::Fail => MachineState::Fail,
        VerdictResult::Error => MachineState::Unknown,
    };
    let at = before.quote.and_then(|quote| history.get(quote)).map(|quote| quote.recorded).unwrap_or_default();
    let hold = history.policy(before.policy).map_or(0, |p| p.interval_ms.saturating_add(p.tolerance_ms));
    Mark { at, state, until: Some(at.plus_ms(hold)) }
}

fn count(history: &History, findings: &Findings) -> Counts {
    let mut counts = Counts::default();
    let mut resets = None;
    let authentic = |position: usize| findings.get(&position).is_some_and(|examined| examined.is_authentic());
    for (position, entry) in history.run() {
        match &entry.body {
            Decoded::Quote(_) => {
                counts.quotes += 1;
                counts.quotes_authentic += u64::from(authentic(position));
                if let Some(clock) = findings.get(&position).and_then(|examined| examined.clock()) {
                    let before = resets.replace(clock.reset_count).unwrap_or(clock.reset_count);
                    counts.resets += u64::from(clock.reset_count.saturating_sub(before));
                }
            }
            Decoded::Verdict(verdict) => match verdict.result {
                VerdictResult::Pass => counts.passed += 1,
                VerdictResult::Fail => {
                    counts.failed += 1;
                    let quote = history.in_force(position).quote;
                    counts.failed_authentic += u64::from(quote.is_some_and(authentic));
                }
                VerdictResult::Error => counts.errors += 1,
            },
            Decoded::Miss => counts.misses += 1,
            Decoded::KeyRelease(release) => match release.phase {
                ReleasePhase::Authorised => counts.keys_authorised += 1,
                ReleasePhase::Delivered => counts.keys_delivered += 1,
                ReleasePhase::Withheld => counts.keys_withheld += 1,
                ReleasePhase::Revoked => counts.keys_revoked += 1,
            },
            // Another TPM has another counter.
            Decoded::Enrol(_) => resets = None,
            Decoded::Opaque | Decoded::OperatorAction | Decoded::Policy(_) | Decoded::Retire | Decoded::Revocation => {}
        }
    }
    counts
}

/// What this kind of bundle cannot show, said plainly.
pub(crate) fn not_proven(
    history: &History,
    tree_size: u64,
    (bounds, stamped): (Option<Bounds>, Option<&StampBounds>),
    cosignatures_checked: bool,
) -> Vec<String> {
    let times = match (bounds, stamped) {
        (None, None) => "the times: they are the log's own clock, and nothing outside the log confirms them",
        (None, Some(_)) => {
            "the times beyond the time-stamps' bounds: how long before them something happened is the log's own clock"
        }
        (Some(_), None) => "the times more exactly than the witnesses' bounds: in between they are the log's own clock",
        (Some(_), Some(_)) => {
            "the times more exactly than the bounds of witnesses and time-stamps: in between they are the log's own clock"
        }
    };
    let mut list = vec![times.to_owned()];
    if let Some((_, last)) = history.run().next_back() {
        list.push(format!(
            "that nothing follows entry {} (seq {}): later entries of the agent, below the checkpoint's {tree_size} or after it, are not ruled out",
            last.index, last.seq
        ));
    }
    let holes = history.holes();
    if !holes.is_empty() {
        list.push(format!(
            "what stood at {} of the agent's chain: among it could be a policy or an enrolment that is not shown",
            holes.iter().map(|(from, to)| format!("seq {from} to {to}")).collect::<Vec<_>>().join(", ")
        ));
    }
    list.push(match (bounds, cosignatures_checked) {
        (Some(_), _) => "that the log shows everyone the same history, unless each sufficient set of the witnesses has an honest one".to_owned(),
        (None, true) => "that the log shows everyone the same history: too few of the trusted witnesses cosigned".to_owned(),
        (None, false) => "that the log shows everyone the same history: cosignatures of witnesses are not checked".to_owned(),
    });
    list.push("what the machine did between two quotes beyond what its registers measure".to_owned());
    list.push("that EK certificates were not revoked: revocation lists are not consulted".to_owned());
    list
}

fn rfc_3339_if<S: Serializer>(instant: &Option<UnixMillis>, serializer: S) -> Result<S::Ok, S::Error> {
    match instant {
        Some(instant) => rfc_3339(instant, serializer),
        None => serializer.serialize_none(),
    }
}

fn rfc_3339<S: Serializer>(instant: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::instant::format(*instant))
}
