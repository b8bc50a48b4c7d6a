//! What the trusted witnesses say: that they cosigned, and when.

use ledger_tlog::{
    checkpoint::{AuthenticCheckpoint, Checkpoint},
    key::{NoteVerifier, PosixSeconds},
    policy::WitnessQuorum,
};
use messages::UnixMillis;

use super::{Findings, Question};
use crate::{
    bundle::{Bundle, beacon_path},
    history::History,
    statement::Bounds,
};

/// What to do about a missed quorum.
pub(super) const REMEDY: &str =
    "export again under a checkpoint with more cosignatures, or trust other witnesses; until then only the log vouches";

/// The keys of the witnesses the auditor trusts, for [`Checkpoint::open`].
pub(super) fn keys(question: &Question<'_>) -> Vec<NoteVerifier> {
    question.witnesses.map(|quorum| quorum.witnesses().cloned().collect()).unwrap_or_default()
}

/// Why the cosignatures of a checkpoint opened with [`keys`] do not suffice; none if they do.
pub(super) fn missed(checkpoint: &AuthenticCheckpoint, question: &Question<'_>) -> Option<String> {
    question.witnesses?.check(checkpoint).err().map(|missed| missed.to_string())
}

/// The times that the witnesses prove; none unless a quorum cosigned the bundle's checkpoint.
pub(super) fn bounds(
    bundle: &Bundle,
    history: &History,
    findings: &Findings,
    checkpoint: &[u8],
    question: &Question<'_>,
) -> Option<Bounds> {
    let witnessed = Witnessed::open(checkpoint, question)?;
    let after = |size| Witnessed::open(&bundle.read(&beacon_path(size)).ok()?, question)?.not_before();
    // Only what the TPM signed for its own challenge rests on the beacon.
    let authentic = |position: &usize| findings.get(position).is_some_and(|examined| examined.is_authentic());
    let quotes = history.quotes().filter(|(position, _, _)| authentic(position));
    let mut sizes = quotes.map(|(_, _, quote)| quote.beacon.tree_size);
    let first = sizes.next();
    Some(Bounds {
        first_quote_after: first.and_then(after),
        last_quote_after: sizes.last().or(first).and_then(after),
        all_before: witnessed.not_after()?,
    })
}

/// A note that a quorum cosigned, with the times.
struct Witnessed<'a> {
    note: &'a [u8],
    question: &'a Question<'a>,
    quorum: &'a WitnessQuorum,
    /// Ascending.
    times: Vec<(PosixSeconds, NoteVerifier)>,
}

impl<'a> Witnessed<'a> {
    /// None without a quorum, or if the policy asks for no witness at all.
    fn open(note: &'a [u8], question: &'a Question<'a>) -> Option<Self> {
        let quorum = question.witnesses?;
        let this = Self { note, question, quorum, times: Vec::new() };
        if this.suffices(&[]) {
            return None;
        }
        let opened = this.opened(&keys(question))?;
        quorum.check(&opened).ok()?;
        let mut times: Vec<_> = quorum
            .witnesses()
            .filter_map(|key| {
                let signature = opened.note().signatures().iter().find(|signature| signature.is_by(key))?;
                Some((signature.time?, key.clone()))
            })
            .collect();
        times.sort_by_key(|(time, _)| *time);
        Some(Self { times, ..this })
    }

    /// The latest time such that the witnesses with no earlier one suffice: one of them is honest.
    fn not_before(&self) -> Option<UnixMillis> {
        let found = self.times.iter().rev().find(|(time, _)| self.suffice_if(|other| other >= *time));
        found.map(|(time, _)| millis(*time))
    }

    /// The earliest time such that the witnesses with no later one suffice.
    fn not_after(&self) -> Option<UnixMillis> {
        let found = self.times.iter().find(|(time, _)| self.suffice_if(|other| other <= *time));
        found.map(|(time, _)| millis(*time))
    }

    fn suffice_if(&self, counts: impl Fn(PosixSeconds) -> bool) -> bool {
        let keys: Vec<_> = self.times.iter().filter(|(time, _)| counts(*time)).map(|(_, key)| key.clone()).collect();
        self.suffices(&keys)
    }

    fn suffices(&self, keys: &[NoteVerifier]) -> bool {
        self.opened(keys).is_some_and(|opened| self.quorum.check(&opened).is_ok())
    }

    fn opened(&self, keys: &[NoteVerifier]) -> Option<AuthenticCheckpoint> {
        let log_key = self.question.log_key;
        Checkpoint::open(self.note, log_key.name().as_str(), log_key, keys).ok()
    }
}

fn millis(time: PosixSeconds) -> UnixMillis {
    UnixMillis(time.0.saturating_mul(1_000))
}
