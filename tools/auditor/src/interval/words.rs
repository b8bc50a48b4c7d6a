//! A proof's statement for a person: what is proven, and on whose word.

use std::fmt::Write;

use ledger_history::{
    census::Status,
    fleet::{FleetStatement, Totals},
    interval::{Gap, IntervalStatement, NotBefore, ProvenTime, Strength, Term, TermKind},
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
            line(&mut out, &format!("VERIFIED: what follows is proven from the log {}.", report.log));
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
        Some(Stated::Interval(statement)) => state_interval(statement, &mut out),
        Some(Stated::Fleet(statement)) => state_fleet(statement, &mut out),
        None => {}
    }
    if !report.checks.is_empty() {
        out.push_str("\nEach quote and verdict, judged again:\n");
        report.checks.iter().for_each(|check| text::render_check(check, &mut out));
    }
    out
}

fn state_interval(of: &IntervalStatement, out: &mut String) {
    line(out, &format!("Machine {} from {} to {}:", of.agent, at(of.from), at(of.to)));
    line(
        out,
        &format!("  {}, of which {}.", counted(of.quotes, "quote", "quotes"), counted(of.failed, "failed", "failed")),
    );
    let silent =
        if of.missed_at_end > 0 { format!(", and {} from the last quote on", of.missed_at_end) } else { String::new() };
    line(
        out,
        &format!("  {} outside planned maintenance{silent}.", counted(of.missed, "missed quote", "missed quotes")),
    );
    line(
        out,
        &format!(
            "  {}; {}.",
            counted(of.resets, "reset or restart", "resets or restarts"),
            counted(of.late, "late quote", "late quotes")
        ),
    );
    if of.quotes > 0 {
        let end = |time: Option<u64>| time.map_or_else(|| "none".to_owned(), at);
        line(
            out,
            &format!(
                "  First quote {}, last {}; longest gap between two of them {}.",
                end(of.first),
                end(of.last),
                length(of.max_gap)
            ),
        );
    }
    let end = |time: Option<u64>, none: &str| time.map_or_else(|| none.to_owned(), at);
    line(
        out,
        &format!(
            "  The quote before the interval: {}; the one after: {}.",
            end(of.before, "there is none"),
            end(of.after, "none yet")
        ),
    );
    if of.until.seconds < of.to {
        line(out, &format!("  Complete up to {} only: the log had nothing later.", proven(&of.until)));
    } else {
        line(out, &format!("  Nothing is left out up to {}.", proven(&of.until)));
    }
    list(out, &format!("gaps longer than {}", length(of.gap_limit)), &of.gaps, gap);
    if !of.gaps_complete {
        line(out, "  There are more gaps of that kind than are shown.");
    }
    let failures: Vec<u64> = of.failures.clone();
    if of.failed > 0 {
        list(out, &format!("failures shown ({} of {})", failures.len(), of.failed), &failures, |time| at(*time));
    }
    list(out, "in force", &of.terms, term);
    list(out, "between two quotes", &of.readings, reading);
    if let Some(first) = of.readings.first() {
        line(out, "  Not covered, ever:");
        first.not_covered().iter().for_each(|text| line(out, &format!("    - {text}")));
    }
    line(out, &format!("  At the census of {} the machine was {}.", at(of.end_clock), standing(of.at_end)));
    if of.full_entries > 0 {
        line(out, &format!("  All {} entries of the interval were checked against these counts.", of.full_entries));
    }
    rests(of.times, &of.not_before, &of.committed_by, out);
}

fn state_fleet(of: &FleetStatement, out: &mut String) {
    let start = of.start.as_ref().map_or_else(|| "the begin of the log".to_owned(), proven);
    line(out, &format!("All machines from {start} to {}:", proven(&of.end)));
    let sums = &of.sums;
    line(
        out,
        &format!(
            "  {} ever enrolled, {} in the fleet at the end; of {} quotes are due, {} of them miss one.",
            of.slots, sums.agents, sums.due, sums.missed
        ),
    );
    line(out, &format!("  Together: {}.", totals(&of.total)));
    list(out, "machines shown", &of.machines, |machine| {
        let labels =
            machine.labels.iter().flatten().map(|label| format!(" {}={}", label.name, label.value)).collect::<String>();
        let last = machine.last.map_or_else(|| "never quoted".to_owned(), |time| format!("last quote {}", at(time)));
        format!(
            "{}{labels}: {}; {last}; {} at the end",
            machine.agent,
            totals(&machine.total),
            standing(machine.at_end)
        )
    });
    line(
        out,
        &format!(
            "  The other {} machines together: {}; {} of them miss a quote at the end. What is 0 together is 0 on each.",
            of.others,
            totals(&of.rest),
            of.others_missed
        ),
    );
    rests(of.end.strength, &[], &of.committed_by, out);
}

/// On whose word each time stands; never one for another.
fn rests(times: Strength, not_before: &[NotBefore], committed: &[ProvenTime], out: &mut String) {
    line(out, "\nWhat it rests on:");
    let text = match times {
        Strength::Claimed => "the log's own clock: claimed, not proven",
        Strength::Witnessed => "cosignatures of your witnesses: no quote is older than its time says",
        Strength::Stamped => "time-stamps of your authorities",
    };
    line(out, &format!("  times of the quotes   {text}"));
    for bound in not_before {
        let accuracy = if bound.accuracy_ms.is_none() { ", whose token states no accuracy" } else { "" };
        line(
            out,
            &format!("  not made before       {}{accuracy}: the quote of {}", proven(&bound.time), at(bound.quote)),
        );
    }
    for time in committed {
        line(out, &format!("  all in the log by     {}", proven(time)));
    }
    line(out, "  counts and terms      everybody who replays the log recomputes them (attestry-audit replay)");
    line(
        out,
        "Not proven: anything about a machine that was never enrolled, and a quote that never reached the log, but that it is missing.",
    );
}

fn gap(gap: &Gap) -> String {
    let to = gap.to.map_or_else(|| "the end".to_owned(), at);
    let slack = match gap.slack_ms {
        Some(slack) => format!("in truth at most {} longer", instant::format_length(slack)),
        None => "without upper bound".to_owned(),
    };
    let planned = if gap.planned_ms > 0 {
        format!("; {} of it announced before", instant::format_length(gap.planned_ms))
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
            "; the TPM counted {}, while at least {}{most} went by",
            instant::format_length(drift.counted_ms),
            instant::format_length(drift.at_least_ms)
        )
    });
    format!("{} to {}: {}{}", at(reading.times.0), at(reading.times.1), reading.covered(), drift.unwrap_or_default())
}

fn totals(of: &Totals) -> String {
    format!(
        "{}, {} failed, {} missed, {} resets, {} late",
        counted(of.quotes, "quote", "quotes"),
        of.failed,
        of.missed,
        of.resets,
        of.late
    )
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
    let _ = writeln!(out, "{text}");
}
