//! Checking a proof of an interval or of the fleet offline, and what it then states.

mod full;
mod words;

use ledger_history::fleet::{self, FleetProof, FleetStatement};
use ledger_history::interval::{
    self, IntervalProof, IntervalRefused, IntervalStatement, NotBefore, ProvenTime, Strength, Trust, Witnesses,
};
use ledger_timestamp::Authorities;
use ledger_tlog::key::NoteVerifier;
use messages::{AgentId, Digest};
use serde::Serialize;

pub use self::words::render;
use crate::{
    cause,
    report::{Check, Conclusion, Outcome},
    verify::Question,
};

/// What the auditor brings, and what is asked.
#[derive(Clone, Copy, Debug)]
pub struct IntervalQuestion<'a> {
    /// The log's key. Its name is the origin that is expected.
    pub log_key: &'a NoteVerifier,
    /// The machine that is asked about; the proof's own if none.
    pub agent: Option<&'a AgentId>,
    /// The witnesses that bound times, if any are trusted.
    pub witnesses: Option<&'a Witnesses>,
    /// The time-stamping authorities that bound times, if any are trusted.
    pub authorities: Option<&'a Authorities>,
}

/// How every quote of a full proof is to be judged again.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// Reads a blob that the entries name; its digest is checked here.
    pub blob: &'a dyn Fn(&Digest) -> Option<Vec<u8>>,
    /// Roots, signers and the log's key, as for a bundle.
    pub question: &'a Question<'a>,
}

impl std::fmt::Debug for Evidence<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evidence").field("question", &self.question).finish_non_exhaustive()
    }
}

/// What came of a proof. As JSON: `docs/spec/interval-proof.md` section 11.
#[derive(Debug, Serialize)]
pub struct IntervalReport {
    /// `attestry-audit-interval/1`.
    pub format: &'static str,
    /// The result in one word.
    pub conclusion: Conclusion,
    /// The log, by the name of the key that was given.
    pub log: String,
    /// Why the proof is refused; then nothing is stated.
    pub refused: Option<Refusal>,
    /// What was asked for and could not be checked, or is claimed only.
    pub unchecked: Vec<String>,
    /// What is proven; none if the proof is refused.
    pub statement: Option<Stated>,
    /// The checks of evidence, if every quote was to be judged.
    pub checks: Vec<Check>,
}

/// A check that failed.
#[derive(Debug, Serialize)]
pub struct Refusal {
    /// Its name in `docs/spec/interval-proof.md`.
    pub check: &'static str,
    /// What was found.
    pub why: String,
}

/// What a proof states.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stated {
    /// Of all machines.
    Fleet(Box<FleetStatement>),
    /// Of one machine.
    Interval(Box<IntervalStatement>),
}

/// Verifies a proof of either kind, and with `evidence` judges every quote of a full one again.
#[must_use]
pub fn verify(bytes: &[u8], question: &IntervalQuestion<'_>, evidence: Option<Evidence<'_>>) -> IntervalReport {
    let IntervalQuestion { log_key, witnesses, authorities, .. } = *question;
    let origin = log_key.name().as_str();
    let trust = Trust { origin, log: log_key, witnesses, authorities };
    let mut report = IntervalReport {
        format: "attestry-audit-interval/1",
        conclusion: Conclusion::Verified,
        log: origin.to_owned(),
        refused: None,
        unchecked: Vec::new(),
        statement: None,
        checks: Vec::new(),
    };
    let stated = if FleetProof::decode(bytes).is_ok() {
        verify_fleet(bytes, question, &trust, &mut report)
    } else {
        verify_interval(bytes, question, &trust, evidence, &mut report)
    };
    match stated {
        Ok(stated) => report.statement = Some(stated),
        Err(refused) => report.refused = Some(Refusal { check: refused.name(), why: cause::chain(&refused) }),
    }
    let outcome = |outcome| report.checks.iter().any(|check| check.outcome == outcome);
    report.conclusion = if report.refused.is_some() || outcome(Outcome::False) {
        Conclusion::False
    } else if !report.unchecked.is_empty() || outcome(Outcome::Unchecked) {
        Conclusion::NotFullyChecked
    } else {
        Conclusion::Verified
    };
    report
}

fn verify_interval(
    bytes: &[u8],
    question: &IntervalQuestion<'_>,
    trust: &Trust<'_>,
    evidence: Option<Evidence<'_>>,
    report: &mut IntervalReport,
) -> Result<Stated, IntervalRefused> {
    let proof = IntervalProof::decode(bytes).map_err(IntervalRefused::Form)?;
    let agent = question.agent.unwrap_or(&proof.agent);
    let statement = interval::verify_decoded(&proof, agent, trust)?;
    weigh(question, statement.times, &statement.committed_by, &mut report.unchecked);
    report.unchecked.extend(contradiction(&statement).map(str::to_owned));
    if let Some(evidence) = evidence {
        match full::judge(&proof, statement.quotes, evidence) {
            Ok(checks) => report.checks = checks,
            Err(problem) => report.unchecked.push(problem),
        }
    }
    Ok(Stated::Interval(Box::new(statement)))
}

/// Witnesses and authorities that cannot both be right: what rests on either of them then bounds nothing.
fn contradiction(of: &IntervalStatement) -> Option<&'static str> {
    let by = |strength| of.committed_by.iter().find(|time| time.strength == strength).map(|time| time.seconds);
    let ahead = of.not_before.iter().any(NotBefore::is_contradicted);
    let witnessed = of.after.or(of.last).filter(|_| of.times == Strength::Witnessed);
    let behind = by(Strength::Stamped).zip(witnessed).is_some_and(|(stamped, quote)| stamped < quote);
    match (ahead, behind) {
        (true, _) => {
            Some("your authorities stamped later than your witnesses saw what contains the stamp: one of them is wrong")
        }
        (_, true) => {
            Some("your authorities stamped earlier than your witnesses saw what was stamped: one of them is wrong")
        }
        _ => None,
    }
}

fn verify_fleet(
    bytes: &[u8],
    question: &IntervalQuestion<'_>,
    trust: &Trust<'_>,
    report: &mut IntervalReport,
) -> Result<Stated, IntervalRefused> {
    let statement = fleet::verify(bytes, trust)?;
    // A proof of the fleet has no tokens.
    let question = IntervalQuestion { authorities: None, ..*question };
    weigh(&question, statement.end.strength, &statement.committed_by, &mut report.unchecked);
    Ok(Stated::Fleet(Box::new(statement)))
}

/// Whoever names witnesses or authorities expects times that rest on them: what rests on less is told.
fn weigh(question: &IntervalQuestion<'_>, times: Strength, committed: &[ProvenTime], unchecked: &mut Vec<String>) {
    let has = |strength| committed.iter().any(|time| time.strength == strength);
    if question.witnesses.is_some() && times != Strength::Witnessed {
        let text = "the times rest on the log's clock: they were not, or not all, taken under your witness policy";
        unchecked.push(text.to_owned());
    }
    if question.witnesses.is_some() && !has(Strength::Witnessed) {
        unchecked.push("the last checkpoint has no quorum of your witnesses, so nothing bounds by when this was in the log; make the proof again later".to_owned());
    }
    if question.authorities.is_some() && !has(Strength::Stamped) {
        unchecked.push("no time-stamp of your authorities is on the last checkpoint".to_owned());
    }
}
