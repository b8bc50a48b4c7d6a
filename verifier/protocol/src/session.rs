//! One attester's conversation with the verifier: what happens next, and what it may lead to.

mod record;
mod transition;

use messages::{Digest, UnixMillis};

use crate::appraisal::Outcome;
pub use record::{Fact, KeyState, Record, Trust};

/// How often and how patiently one agent is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Milliseconds between two challenges; 0 asks again as soon as a round is recorded.
    pub interval_ms: u64,
    /// How much older than the interval the last verified quote may get.
    pub tolerance_ms: u64,
    /// Wait before the first repetition of a challenge that got no evidence; each next one doubles.
    pub retry_base_ms: u64,
    /// Repetitions before a miss is recorded.
    pub retries_max: u32,
    /// Wait before the ledger is tried again.
    pub ledger_retry_ms: u64,
}

impl Settings {
    /// The age from which the last verified quote no longer counts.
    #[must_use]
    pub fn age_max_ms(&self) -> u64 {
        self.interval_ms.saturating_add(self.tolerance_ms)
    }

    /// Keylime's back-off: base, 2 × base, 4 × base, …, at most 16 × base.
    fn backoff_ms(&self, attempt: u32) -> u64 {
        self.retry_base_ms.saturating_mul(1 << attempt.saturating_sub(1).min(BACKOFF_DOUBLINGS_MAX))
    }
}

/// Doublings of the back-off at most: from 2 s to 32 s, where Keylime's five retries end.
const BACKOFF_DOUBLINGS_MAX: u32 = 4;

/// One attester's conversation.
///
/// Call [`handle`](Self::handle) for every input, carry out the effects **in order** (`Persist` is
/// done before the next one starts), then wait for the input that the last effect leads to:
///
/// | effect | leads to |
/// | --- | --- |
/// | `Challenge` | `EvidenceArrived`, `EvidenceLost`, `LedgerUnavailable` |
/// | `Record`, `RecordMiss`, `RaiseRevocation`, `RecordDelivery` | `Recorded`, `Conflict`, `LedgerUnavailable`, `LedgerRefused` |
/// | `DeliverV` | `Delivered`, `DeliveryFailed` |
/// | `WakeAt` | `Due` at that time |
///
/// `Stop`, `Reactivate` and `Update` may come at any time. `now` never goes backward.
///
/// What it guarantees: V is delivered only after a recorded pass with its authorisation; nobody is
/// trusted after a start, reactivation or update before a fresh pass; a failed verdict stands until
/// an operator reactivates or updates, while quotes go on being asked for and recorded.
#[derive(Clone, Debug)]
pub struct Session {
    record: Record,
    settings: Settings,
    state: State,
    delivery: DeliveryPatience,
    trouble: Option<String>,
}

/// What the session waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    /// For the time of the next challenge.
    Waiting { attempt: u32, due: UnixMillis },
    /// For evidence.
    Challenging { asked: UnixMillis, attempt: u32, due: UnixMillis },
    /// For evidence and verdict to be durable.
    Recording { asked: UnixMillis, judged: Judged, step: Option<KeyStep> },
    /// For a miss to be durable.
    RecordingMiss { attempt: u32, due: UnixMillis },
    /// For the revocation to be durable.
    RecordingRevocation { due: UnixMillis },
    /// For the agent to take V.
    Delivering { due: UnixMillis, recipient: Digest },
    /// For the delivery to be durable.
    RecordingDelivery { due: UnixMillis, recipient: Digest },
    /// For an operator.
    Stopped,
}

/// Failed deliveries since the last good one.
#[derive(Clone, Copy, Debug, Default)]
struct DeliveryPatience {
    failures: u32,
    not_before: UnixMillis,
}

/// What an appraisal came to, as far as the session cares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judged {
    /// `component.event` of the first finding, if there is one.
    pub event: Option<String>,
    /// The outcome. An error says nothing about the machine: it changes no trust and no key.
    pub outcome: Outcome,
    /// SHA-256 of the payload key's PEM, if a key was shown.
    pub recipient: Option<Digest>,
}

/// What a verdict does to the key, recorded together with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyStep {
    /// The pass permits delivery to this payload key.
    Authorise {
        /// SHA-256 of its PEM.
        recipient: Digest,
    },
    /// Given before, or sent without an answer; the machine has failed since.
    Revoke {
        /// Who may have it.
        recipient: Digest,
    },
    /// Not given, because of the failure.
    Withhold,
}

/// Why evidence did not come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loss {
    /// An answer that is no quote.
    NoQuote,
    /// The agent refused.
    Refused,
    /// No connection, or no answer in time.
    Unreachable,
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Input {
    /// The chain had grown elsewhere: nothing was appended, and the shell has caught up.
    Conflict,
    /// The agent took V.
    Delivered,
    /// The agent did not take V.
    DeliveryFailed(String),
    /// The time of the last `WakeAt` has come.
    Due,
    /// Evidence came and was appraised.
    EvidenceArrived(Judged),
    /// No evidence came.
    EvidenceLost(Loss, String),
    /// The ledger's rules do not allow the entry.
    LedgerRefused(String),
    /// The ledger did not answer; what was to be appended is not counted.
    LedgerUnavailable(String),
    /// An operator wants the agent judged afresh.
    Reactivate,
    /// What was to be recorded is durable; for a verdict, its leaf hash.
    Recorded(Option<Digest>),
    /// An operator wants the agent left alone.
    Stop,
    /// An operator changed what is asked of the agent.
    Update {
        /// The new settings.
        settings: Settings,
        /// Whether a share V came along.
        new_key: bool,
    },
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Ask the agent for a quote with a new nonce.
    Challenge,
    /// Encrypt V to the payload key of the last evidence and send it.
    DeliverV,
    /// Tell the operators' channels that a good agent is no longer reached.
    NotifyUnreachable,
    /// Write the [`Record`] down.
    Persist,
    /// Append the revocation; when it is durable, tell the channels.
    RaiseRevocation {
        /// Leaf hash of the failing verdict.
        verdict: Digest,
        /// `component.event` of its first finding.
        event: String,
    },
    /// Append evidence and verdict in one group, with the key's step if there is one.
    Record(Option<KeyStep>),
    /// Append that the agent took V.
    RecordDelivery {
        /// SHA-256 of the payload key's PEM it was encrypted to.
        recipient: Digest,
    },
    /// Append that evidence did not come.
    RecordMiss {
        /// When it was due.
        due: UnixMillis,
        /// How often it was asked for.
        attempts: u32,
        /// Why it did not come.
        loss: Loss,
        /// The last error.
        text: String,
    },
    /// Come back with `Due` then.
    WakeAt(UnixMillis),
}

/// What the session is doing, for the status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Activity {
    /// Between rounds, or asking for the first time.
    Attesting,
    /// Giving V to the agent.
    ProvidingV {
        /// Whether it failed before.
        again: bool,
    },
    /// Asking again after a loss.
    Retrying,
}

impl Session {
    /// A session over what is known of the agent, new or kept from before.
    ///
    /// A pass from before does not count: [`Trust::Unproven`] until a fresh one. A failure and a
    /// stop do. Returns the first effects: a new agent is asked at once; one from before when it is
    /// due, and not within the first `stagger_ms`, which the caller chooses differently for each so
    /// that a whole fleet is not asked in one moment.
    #[must_use]
    pub fn resume(mut record: Record, settings: Settings, stagger_ms: u64, now: UnixMillis) -> (Self, Vec<Effect>) {
        // A clock that was ahead when the record was written puts neither the next challenge off nor the ageing.
        if let Trust::Passed { at: since } | Trust::Unproven { since } = record.trust {
            record.trust = Trust::Unproven { since: since.min(now) };
        }
        let from_before = |asked: UnixMillis| asked.min(now).plus_ms(settings.interval_ms).max(now.plus_ms(stagger_ms));
        let due = record.last_challenge.map_or(now, from_before);
        let stopped = record.trust == Trust::Stopped;
        let state = if stopped { State::Stopped } else { State::Waiting { attempt: 0, due } };
        let effects = if stopped { vec![] } else { vec![Effect::WakeAt(due)] };
        (Self { record, settings, state, delivery: DeliveryPatience::default(), trouble: None }, effects)
    }

    /// What is to be kept.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Takes in what the ledger holds of this agent and the record does not yet.
    pub fn replay(&mut self, fact: Fact) {
        self.record.replay(fact);
    }

    /// How often and how patiently the agent is asked.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What went wrong last and has not been put right.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What it is doing.
    #[must_use]
    pub const fn activity(&self) -> Activity {
        match self.state {
            State::Delivering { .. } | State::RecordingDelivery { .. } => {
                Activity::ProvidingV { again: self.delivery.failures > 0 }
            }
            State::Waiting { attempt: 1.., .. } | State::Challenging { attempt: 1.., .. } => Activity::Retrying,
            State::RecordingMiss { .. } => Activity::Retrying,
            State::Waiting { .. }
            | State::Challenging { .. }
            | State::Recording { .. }
            | State::RecordingRevocation { .. }
            | State::Stopped => Activity::Attesting,
        }
    }
}

#[cfg(test)]
mod tests;
