//! The report for a person: the conclusion first, then what it rests on.

use std::fmt::Write;

use messages::UnixMillis;

use crate::{
    instant,
    receipt::ReceiptReport,
    report::{Check, Conclusion, Outcome, Report},
    statement::Statement,
};

/// Problems shown of one check, and periods shown of a statement; JSON has them all.
const SHOWN_MAX: usize = 10;

/// Writes the report for a person.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    conclude(report, &mut out);
    for check in &report.checks {
        render_check(check, &mut out);
    }
    if let Some(statement) = &report.statement {
        state(statement, &mut out);
    }
    if !report.not_proven.is_empty() {
        out.push_str("\nNot proven by this bundle:\n");
        report.not_proven.iter().for_each(|line| line_to(&mut out, format_args!("  - {line}")));
    }
    out
}

/// Writes what a receipt proves for a person.
#[must_use]
pub fn render_receipt(report: &ReceiptReport) -> String {
    let mut out = String::new();
    let ReceiptReport { tree_size, root, key_id, .. } = report;
    match (report.index, report.old_size) {
        (Some(index), _) => {
            line_to(&mut out, format_args!("VERIFIED: the entry is number {index} in a tree of {tree_size} entries."));
        }
        (None, old) => {
            let old = old.unwrap_or_default();
            line_to(&mut out, format_args!("VERIFIED: the tree of {old} entries is unchanged in one of {tree_size}."));
        }
    }
    line_to(&mut out, format_args!("  root    {root}"));
    line_to(&mut out, format_args!("  key     {key_id}"));
    line_to(&mut out, format_args!("  issuer  {} (by its own word)", report.issuer.as_deref().unwrap_or("not named")));
    if !report.size_confirmed {
        line_to(
            &mut out,
            format_args!("Numbers are not signed, the root alone is; give --checkpoint to confirm them."),
        );
    }
    out
}

fn conclude(report: &Report, out: &mut String) {
    let agent = report.agent.as_deref().unwrap_or("?");
    let first = |outcome| {
        let mut found = report.checks.iter().filter(move |check| check.outcome == outcome);
        found.next().and_then(|check| Some((check.name.as_str(), check.problems.first()?)))
    };
    match report.conclusion {
        Conclusion::Verified => line_to(
            out,
            format_args!(
                "VERIFIED: all {} entries about agent {agent} are in the log {} and every check holds.",
                report.entries, report.log
            ),
        ),
        Conclusion::False => {
            let (check, problem) = match first(Outcome::False) {
                Some((name, problem)) => (name, format!("{}: {}", problem.place, problem.problem)),
                None => ("audit", String::new()),
            };
            line_to(out, format_args!("FALSE: {check}: {problem}."));
        }
        Conclusion::NotFullyChecked => {
            let remedy = match first(Outcome::Unchecked) {
                Some((name, problem)) => format!("{name}: {}; {}", problem.problem, problem.remedy),
                None => String::new(),
            };
            line_to(out, format_args!("NOT FULLY CHECKED: nothing is false, but {remedy}."));
        }
    }
    if let Some(statement) = &report.statement {
        let failed = statement.counts.failed;
        let judged = statement.counts.passed + failed + statement.counts.errors;
        line_to(
            out,
            format_args!("Of {judged} verdicts {} are passes and {failed} failures.", statement.counts.passed),
        );
    }
    out.push('\n');
}

pub(crate) fn render_check(check: &Check, out: &mut String) {
    let word = match check.outcome {
        Outcome::True => "ok",
        Outcome::False => "FALSE",
        Outcome::Unchecked => "unchecked",
        Outcome::NotRun => "not run",
    };
    line_to(out, format_args!("{word:>9}  {:<10} {:>7}  {}", check.name.as_str(), check.examined, check.name.claim()));
    for problem in check.problems.iter().take(SHOWN_MAX) {
        line_to(out, format_args!("           {}: {}", problem.place, problem.problem));
        line_to(out, format_args!("             -> {}", problem.remedy));
    }
    let more = (check.problems.len().saturating_sub(SHOWN_MAX)) as u64 + check.problems_cut;
    if more > 0 {
        line_to(out, format_args!("           and {more} more (--json shows up to 100)"));
    }
}

fn state(statement: &Statement, out: &mut String) {
    let (from, to) = (instant::format(statement.from), instant::format(statement.to));
    out.push('\n');
    line_to(out, format_args!("From {from} to {to}, times {}:", statement.clock));
    if !statement.labels.is_empty() {
        line_to(out, format_args!("  labels        {}", statement.labels.join(", ")));
    }
    let length = |ms| instant::format_length(ms);
    line_to(out, format_args!("  pass          {}", length(statement.pass_ms)));
    line_to(out, format_args!("  fail          {}", length(statement.fail_ms)));
    line_to(out, format_args!("  unknown       {}", length(statement.unknown_ms)));
    if statement.not_enrolled_ms > 0 {
        line_to(out, format_args!("  not enrolled  {}", length(statement.not_enrolled_ms)));
    }
    if let Some(bounds) = &statement.bounds {
        let at = |bound: Option<UnixMillis>| bound.map_or_else(|| "unknown".to_owned(), instant::format);
        line_to(out, format_args!("  first quote made after    {}  (witnesses)", at(bounds.first_quote_after)));
        line_to(out, format_args!("  last quote made after     {}  (witnesses)", at(bounds.last_quote_after)));
        line_to(out, format_args!("  all in the log before     {}  (witnesses)", at(Some(bounds.all_before))));
    }
    if let Some(stamped) = &statement.stamped {
        let at = |bound: Option<UnixMillis>| bound.map_or_else(|| "unknown".to_owned(), instant::format);
        line_to(out, format_args!("  first quote in the log before {}  (time-stamps)", at(stamped.first_quote_before)));
        line_to(out, format_args!("  all in the log before         {}  (time-stamps)", at(stamped.all_before)));
        for stamp in stamped.stamps.iter().take(SHOWN_MAX) {
            let (before, size) = (instant::format(stamp.before), stamp.tree_size);
            line_to(
                out,
                format_args!(
                    "    {size} entries before {before}, by {}, revocation {}",
                    stamp.authority, stamp.revocation
                ),
            );
        }
    }
    for period in statement.periods.iter().take(SHOWN_MAX) {
        let (from, to) = (instant::format(period.from), instant::format(period.to));
        line_to(out, format_args!("    {from} to {to}  {}", period.state.as_str()));
    }
    if statement.periods.len() > SHOWN_MAX {
        line_to(out, format_args!("    and {} more periods (see --json)", statement.periods.len() - SHOWN_MAX));
    }
    let c = &statement.counts;
    line_to(
        out,
        format_args!(
            "  {} quotes, {} of them signed by the enrolled AK for their own challenge; {} failures, {} of them over such a quote; {} missed; {} TPM resets",
            c.quotes, c.quotes_authentic, c.failed, c.failed_authentic, c.misses, c.resets
        ),
    );
    line_to(
        out,
        format_args!(
            "  keys: {} authorised, {} delivered, {} withheld, {} revoked",
            c.keys_authorised, c.keys_delivered, c.keys_withheld, c.keys_revoked
        ),
    );
}

fn line_to(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "{}", one_line(&line.to_string()));
}

/// A line without what could make it look like two, or another: reasons, names and paths are a stranger's words.
pub(crate) fn one_line(text: &str) -> String {
    let hidden = |c: char| {
        // Separators, joiners and marks of direction, which are no control characters.
        let unseen =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        c.is_control() || unseen
    };
    text.chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect()
}
