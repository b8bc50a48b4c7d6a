//! Evidence judged again, machine by machine, in runs that fit memory.

use std::collections::HashMap;

use ledger_protocol::{Entry, Kind};
use messages::{AgentId, Digest};

use super::Findings;
use crate::{
    cause,
    log::Log,
    report::CheckName,
    verify::{Question, judge, read_entry},
};

/// Entries of one machine that are judged together: 16 MB of quotes and verdicts, three hours of them every 2 s.
const RUN_ENTRIES: usize = 16_384;
/// Bytes of all machines' entries that wait; beyond, the longest run is judged.
const WAITING_BYTES: usize = 256 << 20;

/// What waits to be judged.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    machines: HashMap<AgentId, Run>,
    bytes: usize,
    judged: u64,
}

/// One machine's entries by their index.
#[derive(Debug, Default)]
struct Run {
    /// What has governed it before.
    context: Vec<(u64, Vec<u8>)>,
    /// From the last quote that was judged on: where the next run begins.
    overlap: Vec<(u64, Vec<u8>)>,
    fresh: Vec<(u64, Vec<u8>)>,
}

impl Runs {
    /// Verdicts that were judged again.
    pub(crate) fn judged(&self) -> u64 {
        self.judged
    }

    /// Takes an entry that was read.
    ///
    /// What is `known` was judged before, and is only where later runs go on.
    pub(crate) fn take(
        &mut self,
        log: &Log,
        index: u64,
        bytes: &[u8],
        question: &Question<'_>,
        known: bool,
        findings: &mut Findings,
    ) {
        let Some((agent, kind)) = Entry::decode(bytes).ok().and_then(|entry| Some((entry.agent?, entry.kind))) else {
            return;
        };
        let run = self.machines.entry(agent.clone()).or_default();
        // Behind pruned entries the first run begins with a quote, as every later one: a verdict is of a quote that is here.
        if run.overlap.is_empty() && run.fresh.is_empty() && !run.context.is_empty() && kind != Kind::Quote {
            run.context.extend(governs(kind).then(|| (index, bytes.to_vec())));
            return;
        }
        self.bytes += bytes.len();
        run.fresh.push((index, bytes.to_vec()));
        if run.fresh.len() >= RUN_ENTRIES {
            self.judge(&agent, log, question, known, findings);
        } else if self.bytes > WAITING_BYTES {
            let longest = self.machines.iter().max_by_key(|(_, run)| run.fresh.len()).map(|(agent, _)| agent.clone());
            if let Some(agent) = longest {
                self.judge(&agent, log, question, known, findings);
            }
        }
    }

    /// Takes an entry that was kept among pruned ones: what governed its machine.
    pub(crate) fn context(&mut self, index: u64, bytes: &[u8]) {
        let entry = Entry::decode(bytes).ok().filter(|entry| governs(entry.kind));
        if let Some(agent) = entry.and_then(|entry| entry.agent) {
            self.machines.entry(agent).or_default().context.push((index, bytes.to_vec()));
        }
    }

    /// Judges all that waits.
    pub(crate) fn finish(&mut self, log: &Log, question: &Question<'_>, known: bool, findings: &mut Findings) {
        let mut agents: Vec<AgentId> = self.machines.keys().cloned().collect();
        agents.sort_unstable_by(|one, two| one.as_str().cmp(two.as_str()));
        for agent in agents {
            self.judge(&agent, log, question, known, findings);
        }
    }

    fn judge(&mut self, agent: &AgentId, log: &Log, question: &Question<'_>, known: bool, findings: &mut Findings) {
        let Some(run) = self.machines.get_mut(agent).filter(|run| !run.fresh.is_empty()) else { return };
        self.bytes = self.bytes.saturating_sub(run.fresh.iter().map(|(_, bytes)| bytes.len()).sum());
        if known {
            run.go_on();
            return;
        }
        let first = run.fresh.first().map_or(0, |(index, _)| *index);
        let whole = run.context.is_empty() && run.overlap.is_empty();
        let mut entries = Vec::new();
        for (index, bytes) in run.context.iter().chain(&run.overlap).chain(&run.fresh) {
            match read_entry(*index, bytes) {
                Ok(entry) => entries.push(entry),
                Err(error) if *index >= first => findings.refute("entries", *index, cause::chain(&error)),
                Err(_) => {}
            }
        }
        let blob = |digest: &Digest| log.blob(digest).ok().flatten();
        for check in judge(entries, agent, &blob, question) {
            // Of keys that were authorised before the run, the rules of the chain have spoken.
            if check.name == CheckName::Releases && !whole {
                continue;
            }
            for problem in check.problems {
                let index = index_of(&problem.place);
                if index.is_some_and(|index| index < first) {
                    continue;
                }
                let text = format!("{agent}: {}", problem.problem);
                if problem.is_false {
                    findings.refute(check.name.as_str(), index, text);
                } else {
                    findings.doubt(check.name.as_str(), index, text);
                }
            }
        }
        self.judged += run.go_on();
    }
}

impl Run {
    /// Keeps what the next run needs; returns the verdicts of this one.
    fn go_on(&mut self) -> u64 {
        let mut all = std::mem::take(&mut self.overlap);
        let known = all.len();
        all.append(&mut self.fresh);
        let kind = |bytes: &[u8]| Entry::decode(bytes).map_or(Kind::Unknown(u64::MAX), |entry| entry.kind);
        let kinds: Vec<Kind> = all.iter().map(|(_, bytes)| kind(bytes)).collect();
        let verdicts = kinds.iter().skip(known).filter(|kind| **kind == Kind::Verdict).count();
        let judged = kinds.iter().rposition(|kind| *kind == Kind::Verdict).unwrap_or(0);
        let quote = kinds.iter().take(judged).rposition(|kind| *kind == Kind::Quote).unwrap_or(0);
        // A run begins at a quote: without one everything is kept, it is little.
        self.overlap = all.split_off(quote);
        let governing = all.into_iter().zip(&kinds).filter(|(_, kind)| governs(**kind));
        self.context.extend(governing.map(|(entry, _)| entry));
        verdicts as u64
    }
}

/// Whether later quotes are judged by such an entry.
fn governs(kind: Kind) -> bool {
    matches!(kind, Kind::Enrol | Kind::Policy | Kind::Retire)
}

/// The entry that a place in a report names.
fn index_of(place: &str) -> Option<u64> {
    place.strip_prefix("entry ")?.split(' ').next()?.parse().ok()
}
