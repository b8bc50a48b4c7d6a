//! What an appraisal carries to the next one: the clock, the boot log's judgement, where the list stands.

use std::collections::{BTreeMap, BTreeSet};

use evidence::{
    algorithm::{Digest, HashAlgorithm},
    attest::ClockInfo,
    ima::MeasurementState,
    runtime_policy::PolicyStack,
};
use ledger_protocol::body::{QuoteBody, Verdict};
use verifier_protocol::appraisal::{
    Appraisal, BootJudgement, BootReference, ListPart, Lists, MeasurementText, RuntimeReference, ima_register,
    unread_list,
};

use super::{Blobs, policies::Terms};

/// The course of each enrolment, by its position.
#[derive(Default)]
pub(super) struct Courses(BTreeMap<Option<usize>, Course>);

/// The appraisals of one enrolment so far.
#[derive(Default)]
pub(super) struct Course {
    boot: Option<BootJudgement>,
    clock: Option<ClockInfo>,
    /// Whether no clock was known when the last appraisal was made.
    clock_was_unknown: bool,
    /// States by the entry that the next part of the list begins at, since the machine's last start. A verifier that
    /// lost its latest one goes on from an earlier one.
    states: BTreeMap<u64, MeasurementState>,
    latest: Option<MeasurementState>,
    /// Which start of the machine the states are of.
    reset_count: Option<u32>,
    /// Whether the states go back to one that the verifier stated.
    by_word: bool,
}

/// What one appraisal is made with.
pub(super) struct Round {
    by_word: bool,
    from: u64,
    lists: Lists,
    state: Option<MeasurementState>,
}

/// Why a round is not judged again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unjudged {
    #[error("the measurement list is judged from entry {from} on; how it began is not in the bundle")]
    Begin { from: u64 },
    #[error("{what} {digest} is not in the bundle, so the verdict is not judged again")]
    Blob { what: &'static str, digest: messages::Digest },
}

impl Courses {
    pub(super) fn of(&mut self, enrol: Option<usize>) -> &mut Course {
        self.0.entry(enrol).or_default()
    }
}

impl Course {
    pub(super) const fn clock(&self) -> Option<ClockInfo> {
        self.clock
    }

    pub(super) const fn clock_was_unknown(&self) -> bool {
        self.clock_was_unknown
    }

    pub(super) fn boot<'a>(&'a self, terms: &'a Terms) -> Option<BootReference<'a>> {
        terms.measured_boot.as_ref().map(|policy| BootReference { policy, before: self.boot.as_ref() })
    }

    /// Gathers the lists of a quote and the state they continue.
    pub(super) fn round(
        &mut self,
        quote: &QuoteBody,
        terms: &Terms,
        verdict: &Verdict,
        whole: bool,
        clock: Option<ClockInfo>,
        blobs: &Blobs<'_>,
    ) -> Result<Round, Unjudged> {
        let mut lists = Lists::default();
        let wants_log = terms.measured_boot.is_some() || terms.runtime.is_some();
        if let Some(digest) = quote.boot_log.filter(|_| wants_log) {
            let log = blobs.load(&digest).ok_or(Unjudged::Blob { what: "boot log", digest })?;
            lists.boot_log = ListPart::Present(log.into_owned());
        }
        if terms.runtime.is_none() {
            return Ok(Round { by_word: false, from: 0, lists, state: None });
        }
        let first_entry = quote.ima.from;
        let text = match quote.ima.delta {
            None => String::new(),
            Some(digest) => {
                let bytes = blobs.load(&digest).ok_or(Unjudged::Blob { what: "measurement list", digest })?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        let anew = text.is_empty();
        lists.ima = ListPart::Present(MeasurementText { first_entry, text });
        let state = match self.state_at(first_entry) {
            Some(state) => state,
            None if whole || first_entry == 0 => unread_list(),
            None => {
                self.take_word(verdict, clock);
                // Nothing was judged in this round, so that what the verdict states is where it began.
                let stated = self.state_at(first_entry).filter(|_| anew);
                stated.ok_or(Unjudged::Begin { from: first_entry })?
            }
        };
        // The verifier asks for more registers along with a list's first entry; the quote shows whether it did.
        let from = if Round::is_selected(quote) { 0 } else { first_entry.max(1) };
        Ok(Round { by_word: self.by_word, from, lists, state: Some(state) })
    }

    /// Takes in what an appraisal came to.
    pub(super) fn settle(&mut self, appraisal: &Appraisal) {
        self.clock_was_unknown = self.clock.is_none();
        if let Some(boot) = appraisal.boot() {
            self.boot = Some(boot.clone());
        }
        if let Some(state) = appraisal.ima_state() {
            let reset_count = appraisal.quote().map(|quote| quote.clock_info().reset_count);
            if reset_count != self.reset_count {
                self.states.clear();
                self.by_word = false;
                self.reset_count = reset_count;
            }
            self.states.insert(state.next_entry(), state.clone());
            self.latest = Some(state.clone());
        }
        self.clock = appraisal.clock().or(self.clock);
    }

    /// The state whose next entry this is; a list from its begin is held against the latest.
    fn state_at(&self, entry: u64) -> Option<MeasurementState> {
        let state = if entry == 0 { self.latest.as_ref() } else { self.states.get(&entry) };
        state.or(self.latest.as_ref()).cloned()
    }

    /// Takes over where the list stands by the verifier's word: what came before is not in the bundle.
    fn take_word(&mut self, verdict: &Verdict, clock: Option<ClockInfo>) {
        let algorithms = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
        let running = &verdict.ima_state.running;
        let register = algorithms.into_iter().find_map(|algorithm| Digest::new(algorithm, running).ok());
        let (Some(register), Some(clock)) = (register, clock) else {
            return;
        };
        let state = MeasurementState::resumed(ima_register(), register, clock.reset_count, verdict.ima_state.count);
        self.states.insert(state.next_entry(), state.clone());
        self.latest = Some(state);
        self.reset_count = Some(clock.reset_count);
        self.by_word = true;
    }
}

impl Round {
    pub(super) const fn lists(&self) -> &Lists {
        &self.lists
    }

    pub(super) const fn begun_by_word(&self) -> bool {
        self.by_word
    }

    pub(super) fn runtime<'a>(
        &'a self,
        terms: &'a Terms,
        earlier: &'a [&'a PolicyStack],
    ) -> Option<RuntimeReference<'a>> {
        let current = terms.runtime.as_deref()?;
        Some(RuntimeReference { current, earlier, state: self.state.as_ref()?, asked_from: self.from })
    }

    /// Whether the quote covers the registers that go with a list from its first entry on.
    fn is_selected(quote: &QuoteBody) -> bool {
        let quoted = quote.pcrs.iter().flat_map(|bank| &bank.values).map(|(index, _)| *index);
        let quoted: BTreeSet<u64> = quoted.collect();
        (0..FIRMWARE_REGISTERS).all(|index| quoted.contains(&index))
    }
}

/// PCR 0 to 9, whose aggregate is a list's first entry.
const FIRMWARE_REGISTERS: u64 = 10;
