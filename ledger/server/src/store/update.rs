//! Changes to the index, before they are records.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Included};

use ledger_protocol::{AgentChain, LogTotals};
use messages::{AgentId, cbor};

use super::{ANSWER, CHAIN, END, FINISHED, Finished, MARK, Run, TOTALS, key, run_key};
use crate::segment::{Location, RememberedAnswer};

/// Changes that belong together.
#[derive(Debug, Default)]
pub(crate) struct Update {
    /// By number: the answer, or that it is forgotten.
    answers: BTreeMap<u64, Option<RememberedAnswer>>,
    chains: HashMap<AgentId, AgentChain>,
    end: Option<Location>,
    finished: BTreeMap<u64, Finished>,
    marks: BTreeMap<u64, Location>,
    /// By [`run_key`].
    runs: BTreeMap<Vec<u8>, Run>,
    totals: Option<LogTotals>,
}

impl Update {
    pub(crate) fn chain(&mut self, agent: AgentId, chain: AgentChain) {
        self.chains.insert(agent, chain);
    }

    pub(crate) fn set_totals(&mut self, totals: LogTotals) {
        self.totals = Some(totals);
    }

    /// Records where the next batch goes.
    pub(crate) fn end(&mut self, end: Location) {
        self.end = Some(end);
    }

    /// Records that the segment with the first index `first` is not continued.
    pub(crate) fn finished(&mut self, first: u64, finished: Finished) {
        self.finished.insert(first, finished);
    }

    pub(crate) fn add_mark(&mut self, index: u64, location: Location) {
        self.marks.insert(index, location);
    }

    /// Records where entries of a chain begin that do not just follow those before them.
    pub(crate) fn run(&mut self, agent: Option<&AgentId>, run: Run) {
        self.runs.insert(run_key(agent, run.seq), run);
    }

    /// Remembers the answer number `number`.
    pub(crate) fn answer(&mut self, number: u64, answer: RememberedAnswer) {
        self.answers.insert(number, Some(answer));
    }

    pub(crate) fn forget_answer(&mut self, number: u64) {
        self.answers.insert(number, None);
    }

    /// Adds what came later.
    pub(super) fn absorb(&mut self, later: Self) {
        self.answers.extend(later.answers);
        self.chains.extend(later.chains);
        self.end = later.end.or(self.end);
        self.finished.extend(later.finished);
        self.marks.extend(later.marks);
        self.runs.extend(later.runs);
        self.totals = later.totals.or(self.totals);
    }

    /// Roughly how many records it changes; 0 if none.
    pub(super) fn records(&self) -> usize {
        let few = usize::from(self.totals.is_some()) + self.finished.len();
        few + self.answers.len() + self.chains.len() + self.marks.len() + self.runs.len()
    }

    pub(super) fn to_batch(&self) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for (number, answer) in &self.answers {
            let key = key(ANSWER, &number.to_be_bytes());
            match answer {
                Some(answer) => batch.insert(key, cbor::encode(answer)),
                None => batch.remove(key),
            }
        }
        for (agent, chain) in &self.chains {
            batch.insert(key(CHAIN, agent.as_str().as_bytes()), cbor::encode(chain));
        }
        if let Some(end) = self.end {
            batch.insert(&[END], numbers(&[end.segment, end.offset]));
        }
        for (first, finished) in &self.finished {
            batch.insert(key(FINISHED, &first.to_be_bytes()), numbers(&[finished.bytes, finished.end]));
        }
        for (index, location) in &self.marks {
            batch.insert(key(MARK, &index.to_be_bytes()), numbers(&[location.segment, location.offset]));
        }
        for (key, run) in &self.runs {
            batch.insert(key.as_slice(), numbers(&[run.index, run.location.segment, run.location.offset]));
        }
        if let Some(totals) = &self.totals {
            batch.insert(&[TOTALS], cbor::encode(totals));
        }
        batch
    }

    pub(super) fn chain_of(&self, agent: &AgentId) -> Option<&AgentChain> {
        self.chains.get(agent)
    }

    pub(super) fn totals(&self) -> Option<&LogTotals> {
        self.totals.as_ref()
    }

    pub(super) fn mark(&self, index: u64) -> Option<(u64, Location)> {
        self.marks.range(..=index).next_back().map(|(index, location)| (*index, *location))
    }

    /// The last run with a key from `first` to `here`.
    pub(super) fn run_before(&self, first: &[u8], here: &[u8]) -> Option<Run> {
        self.runs.range::<[u8], _>((Included(first), Included(here))).next_back().map(|(_, run)| *run)
    }

    /// The first run with a key from `first` to `last`.
    pub(super) fn run_from(&self, first: &[u8], last: &[u8]) -> Option<Run> {
        self.runs.range::<[u8], _>((Included(first), Included(last))).next().map(|(_, run)| *run)
    }

    /// The first run with a key after `here` and not after `last`.
    pub(super) fn run_after(&self, here: &[u8], last: &[u8]) -> Option<Run> {
        self.runs.range::<[u8], _>((Excluded(here), Included(last))).next().map(|(_, run)| *run)
    }
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}
