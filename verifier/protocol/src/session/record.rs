//! What must be remembered of an attester between two rounds and over a restart.

use messages::{Digest, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::appraisal::Outcome;

/// What is known of an agent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    /// Passed attestations since the add.
    pub attestation_count: u64,
    /// What became of the share V.
    pub key: KeyState,
    /// When the last challenge was sent.
    pub last_challenge: Option<UnixMillis>,
    /// `component.event` of the last failure.
    pub last_event: Option<String>,
    /// When the challenge of the last recorded quote was sent.
    pub last_received: Option<UnixMillis>,
    /// When the challenge of the last passed quote was sent: the quote is not older.
    pub last_success: Option<UnixMillis>,
    /// What the last verdict says of it.
    pub trust: Trust,
    /// Since when evidence has not come, once it was given up.
    pub unreachable: Option<UnixMillis>,
}

/// What the last verdict says of an agent. Its age is another matter: see [`crate::status`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Trust {
    /// The last verdict failed; stands until an operator reactivates or updates.
    Failed {
        /// When its challenge was sent.
        at: UnixMillis,
        /// `component.event` of its first finding.
        event: String,
        /// Whether the revocation is durable.
        raised: bool,
        /// Leaf hash of the verdict.
        verdict: Digest,
    },
    /// The last verdict passed.
    Passed {
        /// When its challenge was sent.
        at: UnixMillis,
    },
    /// An operator stopped it.
    Stopped,
    /// No verdict since the add, a restart, a reactivation or an update.
    Unproven {
        /// Since when; after a restart the time of the last pass.
        since: UnixMillis,
    },
}

/// What became of the share V.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum KeyState {
    /// Its delivery is on record as authorised, and not as done.
    Authorised {
        /// SHA-256 of the payload key's PEM.
        recipient: Digest,
    },
    /// There is no V.
    None,
    /// Waits for a pass.
    Pending,
    /// The agent took it.
    Released {
        /// SHA-256 of the payload key's PEM.
        recipient: Digest,
    },
    /// The agent took it, or may have taken it, and failed later.
    Revoked,
    /// The agent failed before it got it.
    Withheld,
}

impl KeyState {
    /// The state as the status names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending | Self::Authorised { .. } => "pending",
            Self::Released { .. } => "released",
            Self::Revoked => "revoked",
            Self::Withheld => "withheld",
        }
    }
}

/// What an entry of the agent's chain says, for catching up with the ledger.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fact {
    /// The share V's delivery was authorised.
    KeyAuthorised {
        /// SHA-256 of the payload key's PEM.
        recipient: Digest,
    },
    /// The agent took V.
    KeyDelivered {
        /// SHA-256 of the payload key's PEM.
        recipient: Digest,
    },
    /// The agent had V and failed.
    KeyRevoked,
    /// The agent failed before it had V.
    KeyWithheld,
    /// The revocation of the last failing verdict is durable.
    RevocationRaised,
    /// A verdict.
    Verdict {
        /// When it was recorded.
        at: UnixMillis,
        /// First finding, empty for none.
        event: String,
        /// The outcome.
        outcome: Outcome,
        /// Its leaf hash.
        verdict: Digest,
    },
}

impl Record {
    /// An agent that was just added, with or without a share V.
    #[must_use]
    pub const fn new(now: UnixMillis, has_key: bool) -> Self {
        Self {
            attestation_count: 0,
            key: if has_key { KeyState::Pending } else { KeyState::None },
            last_challenge: None,
            last_event: None,
            last_received: None,
            last_success: None,
            trust: Trust::Unproven { since: now },
            unreachable: None,
        }
    }

    /// Starts the judgement afresh: no trust, and a share that was withheld or revoked waits again.
    pub(super) fn forget_trust(&mut self, now: UnixMillis) {
        self.trust = Trust::Unproven { since: now };
        self.unreachable = None;
        if matches!(self.key, KeyState::Withheld | KeyState::Revoked) {
            self.key = KeyState::Pending;
        }
    }

    /// Takes in a verdict on the quote whose challenge was sent at `at`.
    pub(super) fn judged(&mut self, at: UnixMillis, outcome: Outcome, event: &str, verdict: Digest) {
        self.last_received = Some(at);
        self.unreachable = None;
        let standing = matches!(self.trust, Trust::Failed { .. } | Trust::Stopped);
        match outcome {
            Outcome::Pass => {
                self.attestation_count += 1;
                self.last_success = Some(at);
                if !standing {
                    self.trust = Trust::Passed { at };
                }
            }
            Outcome::Fail => {
                self.last_event = Some(event.to_owned());
                // Known already: the first failure and its revocation stand.
                if !standing {
                    self.trust = Trust::Failed { at, event: event.to_owned(), raised: false, verdict };
                }
            }
            // The last pass goes on ageing.
            Outcome::Error => self.last_event = Some(event.to_owned()),
        }
    }

    pub(super) fn raised(&mut self) {
        if let Trust::Failed { raised, .. } = &mut self.trust {
            *raised = true;
        }
    }

    pub(super) fn replay(&mut self, fact: Fact) {
        match fact {
            Fact::Verdict { at, event, outcome, verdict } => {
                // A pass read from the ledger is history: what is trusted now needs one that was just asked for. Its
                // time is the ledger's, so it makes no trust younger either.
                let trust = self.trust.clone();
                self.judged(at, outcome, &event, verdict);
                if outcome == Outcome::Pass {
                    self.trust = trust;
                }
            }
            Fact::RevocationRaised => self.raised(),
            // Without a share there is nothing that an older one's entries could say.
            _ if self.key == KeyState::None => {}
            Fact::KeyAuthorised { recipient } => self.key = KeyState::Authorised { recipient },
            Fact::KeyDelivered { recipient } => self.key = KeyState::Released { recipient },
            Fact::KeyRevoked => self.key = KeyState::Revoked,
            Fact::KeyWithheld => self.key = KeyState::Withheld,
        }
    }
}
