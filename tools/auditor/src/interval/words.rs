//! A proof's statement for a person: what is proven, and on whose word.

mod fleet;

use std::fmt::Write;

use ledger_history::{
    census::Status,
    interval::{Gap, IntervalStatement, ProvenTime, Strength, Term, TermKind},
    reading::Reading,
};
use messages::UnixMillis;

use super::{IntervalReport, Stated};
use crate::{instant, report::Conclusion, text};

/// Lines shown of each list; JSON has them all.
const SHOWN_MAX: usize = 20;

/// Writes the report for a person.
#[must_use]
pub fn render(report: &IntervalReport) -> String {
    let mut out = String::new();
    match (&report.refused, report.conclusion) {
        (Some(refused), _) => {
            line(&mut out, &format!("FALSE: {}: {}.", refused.check, refused.why));
            return out;
        }
        (None, Conclusion::Verified) => {
            line(
                &mut out,
                &format!("VERIFIED: what follows stands in the log {}, as firmly as is said of each part.", report.log),
            );
        }
        (None, Conclusion::False) => {
            line(&mut out, "FALSE: the proof holds, but its evidence does not bear out its verdicts.")
        }
        (None, Conclusion::NotFullyChecked) => {
            let more = report.unchecked.first().map_or("see the checks below", String::as_str);
            line(&mut out, &format!("NOT FULLY CHECKED: nothing is false, but {more}."));
        }
    }
    for unchecked in report.unchecked.iter().skip(1) {
        line(&mut out, &format!("  also: {unchecked}."));
    }
    out.push('\n');
    match &report.statement {
        Some(Stated::Interval(statement)) => state_interval(statement, report.checks.is_empty(), &mut out),
        Some(Stated::Fleet(statement)) => fleet::state(statement, &mut out),
        None => {}
    }
    if !report.checks.is_empty() {
        out.push_str("\nEach quote and verdict, judged again:\n");
        report.checks.iter().for_each(|check| text::render_check(check, &mut out));
    }
    out
}

fn state_interval(of: &IntervalStatement, unjudged: bool, out: &mut String) {
    line(out, &format!("Machine {} from {} to {}:", of.agent, at(of.from), at(of.to)));
    line(out, &format!("  {} with a verdict, of which {} failed.", counted(of.quotes, "quote", "quotes"), of.failed));
    state_missed(of, out);
    line(
        out,
        &format!(
            "  {}; {}.",
            counted(of.resets, "reset or restart", "resets or restarts"),
            counted(of.late, "late quote", "late quotes")
        ),
    );
    let end = |time: Option<u64>, none: &str| time.map_or_else(|| none.to_owned(), at);
    if of.quotes > 0 {
        line(
            out,
            &format!(
                "  First quote {}, last {}; longest gap between two of them {}.",
                end(of.first, "none"),
                end(of.last, "none"),
                length(of.max_gap)
            ),
        );
    }
    line(
        out,
        &format!(
            "  The quote before the interval: {}; the one after: {}.",
            end(of.before, "there is none"),
            end(of.after, "none is shown")
        ),
    );
    let until = proven(&of.until);
    if of.after.is_some() {
        line(out, &format!("  Nothing can be added up to {until}: a later quote of its chain is on record."));
    } else if of.until.seconds < of.to {
        line(out, &format!("  Only up to {until}: this proof shows the log as it stood then, and nothing later."));
        line(out, "  What was on its way then can still be added.");
    } else {
        line(out, &format!("  Complete up to {until} as the log stood then; what was on its way can still be added."));
    }
    if of.gaps.is_empty() && of.gaps_complete {
        line(out, &format!("  No gap longer than {}, the limit that the proof was made with.", length(of.gap_limit)));
    }
    let firm = of.times != Strength::Claimed;
    list(out, &format!("gaps longer than {}", length(of.gap_limit)), &of.gaps, |one| gap(one, firm));
    if !of.gaps_complete {
        line(out, "  There are more gaps of that kind than are shown.");
    }
    let failures: Vec<u64> = of.failures.clone();
    if of.failed > 0 {
        list(out, &format!("failures shown ({} of {})", failures.len(), of.failed), &failures, |time| at(*time));
    }
    list(out, "what governed it, from what was in force at the begin up to the end census", &of.terms, term);
    list(out, "between two quotes", &of.readings, reading);
    if let Some(first) = of.readings.first() {
        line(out, "  Not covered, ever:");
        first.not_covered().iter().for_each(|text| line(out, &format!("    - {text}")));
    }
    line(
        out,
        &format!(
            "  At the end census, by its clock of {}, the machine was {}.",
            proven(&of.end_clock),
            standing(of.at_end)
        ),
    );
    if of.full_entries > 0 {
        line(out, &format!("  All {} entries of the interval were checked against these counts.", of.full_entries));
    }
    rests(of, unjudged, out);
}

/// What is counted as missed, and what can be counted by nobody.
fn state_missed(of: &IntervalStatement, out: &mut String) {
    let silent = match of.missed_at_end {
        Some(missed) if missed > 0 => format!(", and {missed} more from the last quote on"),
        _ => String::new(),
    };
    line(
        out,
        &format!("  {} outside planned maintenance{silent}.", counted(of.missed, "missed quote", "missed quotes")),
    );
    let anew = of.terms.iter().any(|term| match term.kind {
        TermKind::Enrol(_) => term.seq > 0,
        TermKind::Retire(_) => true,
        TermKind::Maintenance(_) | TermKind::Policy(_) => false,
    });
    if of.missed_at_end.is_none() && of.last.or(of.before).is_none() {
        line(out, "  Not counted: what was due before a first quote. Nothing shown says from when on.");
    } else if of.missed_at_end.is_none() || anew {
        line(out, "  Not counted: what was due between a quote and the retirement or new enrolment behind it.");
    }
}

/// On whose word each time stands; never one for another.
fn rests(of: &IntervalStatement, unjudged: bool, out: &mut String) {
    out.push('\n');
    line(out, "What it rests on:");
    line(
        out,
        &format!("  times of the quotes   {}", strength(of.times, "no quote that passed was made before its time")),
    );
    for bound in &of.not_before {
        let accuracy = if bound.accuracy_ms.is_none() { ", whose token states no accuracy" } else { "" };
        line(
            out,
            &format!("  not made before       {}{accuracy}: the quote of {}", proven(&bound.time), at(bound.quote)),
        );
    }
    committed(&of.committed_by, out);
    line(
        out,
        "  counts and times      sums of the log's entries: everybody who replays the log recomputes them, and finds",
    );
    line(out, "                        sums that are false (attestry-audit replay)");
    if unjudged {
        line(
            out,
            "  verdicts              the verifier's word: its quotes' signatures were not checked here (prove --full and",
        );
        line(out, "                        verify --full judge each again)");
    }
    line(
        out,
        "Not proven: anything about a machine that was never enrolled, and a quote that never reached the log, but that it is missing.",
    );
    line(out, "A quote that is on record without a verdict counts as none.");
}

/// What times rest on; `bound` is what witnesses' cosignatures say.
fn strength(of: Strength, bound: &str) -> String {
    match of {
        Strength::Claimed => "the log's own clock: claimed, not proven".to_owned(),
        Strength::Witnessed => format!("cosignatures of your witnesses: {bound}"),
        Strength::Stamped => "time-stamps of your authorities".to_owned(),
    }
}

fn committed(times: &[ProvenTime], out: &mut String) {
    for time in times {
        line(out, &format!("  all in the log by     {}", proven(time)));
    }
}

fn gap(gap: &Gap, firm: bool) -> String {
    let to = gap.to.map_or_else(|| "the end".to_owned(), at);
    let slack = match gap.slack_ms {
        Some(slack) if firm => format!("in truth at most {} longer", instant::format_length(slack)),
        Some(slack) => format!("by the log's clock at most {} longer", instant::format_length(slack)),
        None => "without upper bound".to_owned(),
    };
    let planned = if gap.planned_ms > 0 {
        format!("; {} of it in maintenance announced before it began", instant::format_length(gap.planned_ms))
    } else {
        String::new()
    };
    format!("{} to {to}: {}, {slack}{planned}", at(gap.from), length(gap.seconds))
}

fn term(term: &Term) -> String {
    let what = match &term.kind {
        TermKind::Enrol(body) => format!("enrolled, binding {}", short(&body.binding.to_string())),
        TermKind::Maintenance(body) => format!(
            "maintenance announced from {} to {} by {}: {}",
            instant::format(body.from),
            instant::format(body.to),
            body.actor,
            body.reason
        ),
        TermKind::Policy(body) => {
            let roles: Vec<String> =
                body.policies.iter().map(|of| format!("{} {}", of.role, short(&of.digest.to_string()))).collect();
            let policies = if roles.is_empty() { "none".to_owned() } else { roles.join(", ") };
            format!(
                "a quote every {}, tolerance {}; policies: {policies}",
                instant::format_length(body.interval_ms),
                instant::format_length(body.tolerance_ms)
            )
        }
        TermKind::Retire(body) => format!("retired by {}: {}", body.actor, body.reason),
    };
    format!("entry {} of its chain, sequenced {} (claimed): {what}", term.seq, instant::format(term.recorded))
}

fn reading(reading: &Reading) -> String {
    let drift = reading.drift.map(|drift| {
        let most =
            drift.at_most_ms.map_or_else(String::new, |most| format!(" and at most {}", instant::format_length(most)));
        format!(
            "; FINDING: the TPM's clock counted {}, while at least {}{most} went by",
            instant::format_length(drift.counted_ms),
            instant::format_length(drift.at_least_ms)
        )
    });
    format!("{} to {}: {}{}", at(reading.times.0), at(reading.times.1), reading.covered(), drift.unwrap_or_default())
}

fn standing(status: Status) -> &'static str {
    match status {
        Status::Idle => "enrolled, with nothing due",
        Status::Met => "enrolled, with nothing missed",
        Status::Missed => "missing a quote that is due",
        Status::Retired => "retired",
    }
}

fn proven(time: &ProvenTime) -> String {
    let by = match time.strength {
        Strength::Claimed => "claimed by the log's clock",
        Strength::Witnessed => "bounded by witnesses",
        Strength::Stamped => "bounded by RFC 3161 time-stamps",
    };
    format!("{} ({by})", at(time.seconds))
}

fn list<T>(out: &mut String, title: &str, of: &[T], show: impl Fn(&T) -> String) {
    if of.is_empty() {
        return;
    }
    line(out, &format!("  {title}:"));
    of.iter().take(SHOWN_MAX).for_each(|item| line(out, &format!("    {}", show(item))));
    if of.len() > SHOWN_MAX {
        line(out, &format!("    and {} more (see --json)", of.len() - SHOWN_MAX));
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn at(seconds: u64) -> String {
    instant::format(UnixMillis(seconds.saturating_mul(1_000)))
}

fn length(seconds: u64) -> String {
    instant::format_length(seconds.saturating_mul(1_000))
}

/// Enough of a digest to tell policies apart by eye; JSON has it whole.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn line(out: &mut String, text: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "{}", text::one_line(text));
}
