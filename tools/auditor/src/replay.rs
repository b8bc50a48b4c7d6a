//! A whole log read from its first entry: everything that follows from the entries computed again.

mod evidence;
mod pruned;
mod reader;
mod stamps;

use std::ops::ControlFlow;

use ledger_tlog::{checkpoint::Checkpoint, key::NoteVerifier};
use serde::Serialize;

pub(crate) use self::evidence::Runs;
pub use self::pruned::PrunedPart;
pub(crate) use self::pruned::{TakenUp, take_up};
pub(crate) use self::reader::Reader;
use crate::{
    cause,
    hashes::HashesLost,
    log::{Log, LogUnreadable},
    report::Conclusion,
    verify::Question,
};

/// Findings of one kind that are kept; the rest is counted.
const FINDINGS_MAX: u64 = 100;

/// What is wrong, or could not be checked.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The name of what was checked: docs/auditing.md lists them.
    pub check: &'static str,
    /// The entry it is about.
    pub index: Option<u64>,
    /// What was found.
    pub text: String,
    /// Whether it is false; else it could not be checked.
    #[serde(rename = "false")]
    pub is_false: bool,
}

/// What was found so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// In the order found, at most 100 of a kind.
    pub list: Vec<Finding>,
    /// How many are false, with those not kept.
    pub false_count: u64,
    /// How many could not be checked, with those not kept.
    pub unchecked_count: u64,
}

impl Findings {
    /// Adds one.
    pub(crate) fn add(&mut self, finding: Finding) {
        let count = if finding.is_false { &mut self.false_count } else { &mut self.unchecked_count };
        *count += 1;
        let alike = |known: &&Finding| known.check == finding.check && known.is_false == finding.is_false;
        if (self.list.iter().filter(alike).count() as u64) < FINDINGS_MAX {
            self.list.push(finding);
        }
    }

    fn conclusion(&self) -> Conclusion {
        match (self.false_count, self.unchecked_count) {
            (0, 0) => Conclusion::Verified,
            (0, _) => Conclusion::NotFullyChecked,
            _ => Conclusion::False,
        }
    }

    pub(crate) fn refute(&mut self, check: &'static str, index: impl Into<Option<u64>>, text: String) {
        self.add(Finding { check, index: index.into(), text, is_false: true });
    }

    pub(crate) fn doubt(&mut self, check: &'static str, index: impl Into<Option<u64>>, text: String) {
        self.add(Finding { check, index: index.into(), text, is_false: false });
    }
}

/// What a replay came to.
#[derive(Debug, Serialize)]
pub struct ReplayReport {
    /// `attestry-audit-replay/1`.
    pub format: &'static str,
    /// The result in one word.
    pub conclusion: Conclusion,
    /// The log, by the name of the key that was given.
    pub log: String,
    /// What was counted.
    pub counts: Counts,
    /// What is told of the entries before the first that was read, if any were pruned.
    pub pruned: Option<PrunedPart>,
    /// What is false or could not be checked.
    pub findings: Findings,
}

/// What was read and computed again.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// Entries under the checkpoint.
    pub entries: u64,
    /// Machines that have ever been enrolled.
    pub machines: u64,
    /// Quotes.
    pub quotes: u64,
    /// Verdicts.
    pub verdicts: u64,
    /// Notes of checkpoints and beacons that were opened, and whose root was computed.
    pub notes: u64,
    /// Censuses that were computed.
    pub censuses: u64,
    /// Verdicts whose evidence was judged again.
    pub judged: u64,
}

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum NotReplayed {
    /// The hashes could not be kept.
    #[error("the hashes of the log's tree cannot be kept in a temporary file")]
    Hashes(#[from] HashesLost),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogUnreadable),
}

/// Reads a whole log and computes again: its tree, chains and rules, nonces, histories and censuses; with `question` also
/// every quote's signature and, with the policies among the blobs, every verdict.
///
/// `progress` is told how many entries of how many were read. Memory grows with the number of machines and checkpoints,
/// not with the entries; hashes of the tree go into a temporary file.
///
/// # Errors
/// [`NotReplayed`]; what is false is no error.
pub fn replay(
    log: &Log,
    log_key: &NoteVerifier,
    question: Option<&Question<'_>>,
    mut progress: impl FnMut(u64, u64),
) -> Result<ReplayReport, NotReplayed> {
    let mut findings = Findings::default();
    let note = log.checkpoint()?;
    let mut reader = Reader::new(log_key.clone());
    let mut runs = Runs::default();
    let mut pruned = None;
    match Checkpoint::open(&note, log_key.name().as_str(), log_key, &[]) {
        Err(error) => findings.refute("checkpoint", None, cause::chain(&error)),
        Ok(opened) => {
            let head = *opened.tree_head();
            let size = head.tree_size;
            if let Some(boundary) = log.boundary()? {
                let taken = take_up((log, log), log_key, &boundary, size, &mut runs, &mut findings)?;
                (reader, pruned) = (taken.reader, Some(taken.part));
            }
            let from = reader.head().tree_size;
            progress(from, size);
            let mut taken = Ok(());
            log.read(from, size, |index, bytes| {
                taken = reader.take(log, index, bytes, &mut findings);
                if let Some(question) = question {
                    runs.take(log, index, bytes, question, false, &mut findings);
                }
                if index.is_multiple_of(4_096) {
                    progress(index, size);
                }
                if taken.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            taken?;
            progress(size, size);
            if let Some(question) = question {
                runs.finish(log, question, false, &mut findings);
            }
            let found = reader.head();
            if found != head {
                let text =
                    format!("the entries have the root {}; the checkpoint of {size} signs {}", found.root, head.root);
                findings.refute("root", None, text);
            }
            if let Some(part) = &mut pruned {
                part.census = reader.first_census();
                tell_pruned(part, &mut findings);
            }
        }
    }
    let counts = Counts { judged: runs.judged(), ..reader.counts() };
    let conclusion = findings.conclusion();
    let log = log_key.name().to_string();
    Ok(ReplayReport { format: "attestry-audit-replay/1", conclusion, log, counts, pruned, findings })
}

/// What cannot be known any more of a pruned log.
fn tell_pruned(part: &PrunedPart, findings: &mut Findings) {
    let PrunedPart { first, policy_index, .. } = *part;
    if let (Some(of), None) = (part.histories_of, part.census) {
        let text = format!("no census is on record behind entry {of}; what histories were before it is the log's word");
        findings.doubt("histories", of, text);
    }
    let text =
        format!("the entries below were pruned, as entry {policy_index} says; claims are about those from {first} on");
    findings.doubt(PRUNED, first, text);
}

impl ReplayReport {
    /// Takes a log from where its operator has pruned it, as was announced: what that leaves open stays in
    /// [`pruned`](Self::pruned), and is no reason not to call the rest verified.
    pub fn allow_pruned(&mut self) {
        let Some(part) = self.pruned else { return };
        let told =
            |finding: &Finding| finding.check == PRUNED && !finding.is_false && finding.index == Some(part.first);
        let before = self.findings.list.len();
        self.findings.list.retain(|finding| !told(finding));
        self.findings.unchecked_count -= (before - self.findings.list.len()) as u64;
        self.conclusion = self.findings.conclusion();
    }
}

/// Writes the report for a person.
#[must_use]
pub fn render(report: &ReplayReport) -> String {
    let Counts { entries, machines, quotes, verdicts, notes, censuses, judged } = report.counts;
    let first = report.findings.list.iter().find(|finding| finding.is_false).or(report.findings.list.first());
    let text = first.map_or_else(String::new, |finding| format!("{}: {}", finding.check, finding.text));
    let mut out = match report.conclusion {
        Conclusion::Verified => match &report.pruned {
            None => format!("VERIFIED: all {entries} entries of {} and what follows from them.\n", report.log),
            Some(part) => format!(
                "VERIFIED from entry {} on: {entries} entries of {} and what follows from them.\n",
                part.first, report.log
            ),
        },
        Conclusion::False => format!("FALSE: {text}.\n"),
        Conclusion::NotFullyChecked => format!("NOT FULLY CHECKED: nothing is false, but {text}.\n"),
    };
    out.push_str(&format!(
        "\n  {entries} entries, {machines} machines, {quotes} quotes, {verdicts} verdicts ({judged} judged again), {notes} checkpoints opened, {censuses} censuses computed\n"
    ));
    out.push_str(&report.pruned.map(|part| words_of(&part)).unwrap_or_default());
    let Findings { list, false_count, unchecked_count } = &report.findings;
    if !list.is_empty() {
        out.push_str(&format!("  {false_count} false, {unchecked_count} unchecked:\n"));
    }
    for finding in list.iter().take(40) {
        let word = if finding.is_false { "FALSE" } else { "unchecked" };
        let place = finding.index.map_or_else(String::new, |index| format!("entry {index}: "));
        out.push_str(&format!("  {word:>9}  {:<10} {place}{}\n", finding.check, finding.text));
    }
    out
}

/// What is said of the entries that were pruned.
fn words_of(part: &PrunedPart) -> String {
    let PrunedPart { first, policy_index, kept, .. } = part;
    let histories = match (part.histories_of, part.census) {
        (None, _) => "no histories outlived them".to_owned(),
        (Some(of), None) => format!("histories before entry {of} are the log's word"),
        (Some(of), Some(census)) => format!(
            "histories before entry {of} are the log's word, out of which the census in entry {census} and all later ones come"
        ),
    };
    format!(
        "  entries below {first} were pruned, as entry {policy_index} says: their hashes are under the checkpoint, {kept} small \
         ones were kept;\n  where chains stood is the log's word, each end a leaf; {histories}\n"
    )
}

/// The check about entries that were pruned.
const PRUNED: &str = "pruned";
