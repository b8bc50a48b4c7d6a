//! Judging what a machine booted: a boot event log against quoted register values and a policy.
//!
//! Three things must agree: the log's digests replay to the *quoted* registers, the log's words are borne out by its
//! digests, and the policy accepts those words. A policy relies on a register only as a whole: every event in it must be
//! explained, since event types and names are untrusted and an unexplained event could be anything.
//!
//! Not here: whether the quote is authentic ([`crate::quote`]), how often to judge, and caching of results.

use crate::boot_log::{BankHasher, BootLog, LogFormat};
use crate::crypto::CryptoUnavailable;
use crate::pcr::{PcrIndex, PcrValues};

mod alternative;
mod boot_chain;
mod case;
mod document;
mod example;
mod finding;
mod keylime;
mod malformed;
mod pattern;
mod registers;
mod secure_boot;

pub use finding::{Accepted, Finding, FindingKind};
pub use keylime::{KeylimePolicyName, UnknownKeylimePolicy};
pub use malformed::MalformedPolicy;

use alternative::Alternative;
use case::Case;
use finding::Findings;
use keylime::ReferenceState;
use registers::RegisterSet;

#[cfg(test)]
mod tests;

/// What may boot. Immutable; made from a document and named by the caller.
#[derive(Clone, Debug)]
pub struct Policy {
    judge: Judge,
}

#[derive(Clone, Debug)]
enum Judge {
    /// Events are not judged; quoted registers must still follow from the log.
    AcceptAllEvents,
    /// The first alternative without findings accepts; none of none accepts nothing.
    Alternatives(Vec<Alternative>),
    /// Keylime's policy `example` over a reference state.
    KeylimeExample(Box<ReferenceState>),
    /// Nothing passes.
    RejectAll,
}

impl Policy {
    /// Reads a declarative policy: `docs/spec/measured-boot-policy.md`.
    ///
    /// # Errors
    /// [`MalformedPolicy`] for anything the format does not say, an alternative without a requirement among it.
    pub fn from_json(document: &[u8]) -> Result<Self, MalformedPolicy> {
        document::parse(document).map(|alternatives| Self { judge: Judge::Alternatives(alternatives) })
    }

    /// Reads Keylime's reference state for one of Keylime's policies.
    ///
    /// `{}`, Keylime's way to say that nothing is to be judged, is refused: that wish has names, no policy at all or
    /// [`KeylimePolicyName::AcceptAll`].
    ///
    /// # Errors
    /// [`MalformedPolicy`] if the state is not what the policy needs.
    pub fn keylime(name: KeylimePolicyName, reference_state: &[u8]) -> Result<Self, MalformedPolicy> {
        let state = keylime::object(reference_state)?;
        let judge = match name {
            KeylimePolicyName::AcceptAll => Judge::AcceptAllEvents,
            KeylimePolicyName::Example => Judge::KeylimeExample(Box::new(ReferenceState::parse(&state)?)),
            KeylimePolicyName::RejectAll => Judge::RejectAll,
        };
        Ok(Self { judge })
    }

    /// The registers that must be quoted for this policy to accept anything, ascending.
    pub fn required_registers(&self) -> impl Iterator<Item = PcrIndex> + use<> {
        let required = match &self.judge {
            Judge::AcceptAllEvents | Judge::RejectAll => RegisterSet::EMPTY,
            Judge::Alternatives(alternatives) => {
                alternatives.iter().fold(RegisterSet::EMPTY, |set, one| set.union(one.registers()))
            }
            Judge::KeylimeExample(_) => example::REGISTERS,
        };
        required.indices()
    }

    /// Whether every event is accepted unjudged. Verdicts under such a policy have to say so.
    #[must_use]
    pub const fn accepts_every_event(&self) -> bool {
        matches!(self.judge, Judge::AcceptAllEvents)
    }

    /// Judges a log. `quoted` are values that a verified quote attested: [`crate::quote::AuthenticQuote::values`].
    ///
    /// Checks, in this order: that the log is a TPM's and has the quoted bank; that each quoted register the firmware
    /// and boot loaders extend follows from the log; that each required register is quoted; the policy. None stops
    /// another, so that all findings are kept. With several alternatives, those of each failed one are kept if none
    /// accepts.
    ///
    /// # Errors
    /// [`CryptoUnavailable`] if the bank's algorithm is switched off in the library: neither passed nor failed.
    pub fn appraise(&self, log: &BootLog<'_>, quoted: &PcrValues) -> Result<Appraisal, CryptoUnavailable> {
        let mut hasher = BankHasher::new(quoted.bank().algorithm())?;
        let replay = log.replay_with(&mut hasher)?;
        let events = log.examine_with(&mut hasher)?;
        let case = Case { log, events: &events, replay: &replay, quoted };
        let mut findings = Findings::default();
        if log.format() == LogFormat::ConfidentialComputing {
            findings.add(FindingKind::NotATpmLog);
        }
        if !log.banks().any(|bank| bank == quoted.bank()) {
            findings.add(FindingKind::BankNotInLog { bank: quoted.bank() });
        }
        registers::compare(&case, self.compared(), &mut hasher, &mut findings)?;
        let accepted = self.judge(&case, &mut findings)?;
        Ok(findings.into_appraisal(accepted, self.accepts_every_event()))
    }

    /// The registers whose quoted values must follow from the log.
    const fn compared(&self) -> RegisterSet {
        match self.judge {
            Judge::KeylimeExample(_) => example::REGISTERS,
            Judge::AcceptAllEvents | Judge::Alternatives(_) | Judge::RejectAll => registers::FROM_LOG,
        }
    }

    /// Adds what the policy finds; the name of the alternative that accepts, if one does.
    fn judge(&self, case: &Case<'_>, findings: &mut Findings) -> Result<Option<String>, CryptoUnavailable> {
        match &self.judge {
            Judge::AcceptAllEvents => (),
            Judge::RejectAll => findings.add(FindingKind::EverythingIsRejected),
            Judge::KeylimeExample(state) => {
                registers::demand(case, example::REGISTERS, findings);
                example::judge(state, case, findings);
            }
            Judge::Alternatives(alternatives) => {
                let mut failed = Findings::default();
                for alternative in alternatives {
                    let mut found = Findings::of_alternative(alternative.name());
                    alternative.judge(case, &mut found)?;
                    if found.is_empty() {
                        return Ok(Some(alternative.name().to_owned()));
                    }
                    failed.append(found);
                }
                if alternatives.is_empty() {
                    findings.add(FindingKind::NothingIsAccepted);
                }
                findings.append(failed);
            }
        }
        Ok(None)
    }
}

/// A judgement: what was found wrong, if anything.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appraisal {
    findings: Vec<Finding>,
    findings_cut: usize,
    accepted_alternative: Option<String>,
    everything_accepted: bool,
}

impl Appraisal {
    /// Whether nothing was found wrong.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.findings.is_empty() && self.findings_cut == 0
    }

    /// What was found wrong, at most 256.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many more findings there were than are kept.
    #[must_use]
    pub const fn findings_cut(&self) -> usize {
        self.findings_cut
    }

    /// The alternative of a declarative policy that accepted the events, although registers may still be wrong.
    #[must_use]
    pub fn accepted_alternative(&self) -> Option<&str> {
        self.accepted_alternative.as_deref()
    }

    /// Whether the policy accepts every event unjudged.
    #[must_use]
    pub const fn everything_accepted(&self) -> bool {
        self.everything_accepted
    }
}
