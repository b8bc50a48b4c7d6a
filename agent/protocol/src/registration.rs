//! Becoming known to the registrar: register, recover the credential, activate; and again when that fails.

use std::fmt;

use evidence::credential::Credential;
use evidence::reader::MalformedStructure;
use messages::AgentId;
use zeroize::Zeroizing;

use crate::tag::{Tag, TagUnavailable, activation_tag};

#[cfg(test)]
mod tests;

/// One agent's way to being registered.
///
/// Call [`handle`](Self::handle) with [`Input::Due`] to begin, carry out the effects in order and give their results
/// back as inputs. There is no end to trying: a registrar that is away or refuses today is asked again later.
#[derive(Debug)]
pub struct Registration {
    backoff: Backoff,
    id: AgentId,
    state: State,
}

/// Where a registration stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing begun, or waiting for the next attempt.
    Resting,
    /// The registrar owes a credential.
    Registering,
    /// The TPM owes the credential's content.
    Recovering,
    /// The registrar owes its word on the tag.
    Activating,
    /// Known and active.
    Registered,
}

/// What happened.
pub enum Input {
    /// The registrar answered the activation.
    ActivationAnswered(Answer),
    /// The TPM recovered the credential.
    CredentialRecovered(Zeroizing<Vec<u8>>),
    /// The TPM refused the credential: it was made for another EK or AK.
    CredentialRefused,
    /// The TPM could not be asked.
    CredentialUnavailable {
        /// Why not.
        reason: String,
    },
    /// It is time for the first, or the next, attempt.
    Due,
    /// The registrar answered the registration.
    RegistrationAnswered(Answer),
}

/// What a request to the registrar came to.
pub enum Answer {
    /// An HTTP status other than success.
    Refused {
        /// The status.
        status: u16,
        /// What the registrar says, for a person to read. Untrusted.
        reason: String,
    },
    /// Success, with the credential's bytes if it was a registration.
    Success(Vec<u8>),
    /// No answer at all, or none that can be read.
    Unreachable {
        /// Why.
        reason: String,
    },
}

/// What to do.
#[derive(Debug)]
pub enum Effect {
    /// Have the TPM recover the credential.
    Recover(Credential),
    /// Send the registration.
    Register,
    /// The agent is registered and active.
    Registered,
    /// Send this tag as the proof of activation.
    SendTag(Tag),
    /// Tell the operator why an attempt failed.
    Tell(Setback),
    /// Come back with [`Input::Due`] after so many milliseconds.
    WaitMs(u64),
}

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Setback {
    /// The registrar's credential is no credential.
    #[error("the registrar sent something that is no credential")]
    Credential(#[from] MalformedStructure),
    /// The registrar forgot the agent between registration and activation.
    #[error("the registrar does not know the agent any more; registering again")]
    Forgotten,
    /// The registrar made the credential for another EK or AK than this TPM has.
    #[error("the TPM refused the registrar's credential: it was made for another EK or AK")]
    OtherTpm,
    /// The registrar will not have this agent; an operator has to act there.
    #[error("the registrar refused the {step} with status {status}: {reason:?}")]
    Refused {
        /// `registration` or `activation`.
        step: &'static str,
        /// The HTTP status.
        status: u16,
        /// What the registrar says.
        reason: String,
    },
    /// The tag could not be made.
    #[error(transparent)]
    Tag(#[from] TagUnavailable),
    /// The TPM did not do its part.
    #[error("the TPM cannot be used: {reason}")]
    TpmUnavailable {
        /// Why not.
        reason: String,
    },
    /// The registrar did not answer.
    #[error("the registrar cannot be reached for the {step}: {reason}")]
    Unreachable {
        /// `registration` or `activation`.
        step: &'static str,
        /// Why.
        reason: String,
    },
}

impl Registration {
    /// An agent that is not registered, with the waiting times to use.
    #[must_use]
    pub const fn new(id: AgentId, backoff: Backoff) -> Self {
        Self { backoff, id, state: State::Resting }
    }

    /// Takes one input; `fresh` is random and spreads many agents' attempts over time.
    ///
    /// An input that answers no open question (such as a late answer) changes nothing.
    pub fn handle(&mut self, input: Input, fresh: u64) -> Vec<Effect> {
        match (self.state, input) {
            (State::Resting, Input::Due) => {
                self.state = State::Registering;
                vec![Effect::Register]
            }
            (State::Registering, Input::RegistrationAnswered(answer)) => self.on_registration(answer, fresh),
            (State::Recovering, Input::CredentialRecovered(credential)) => self.on_credential(&credential, fresh),
            (State::Recovering, Input::CredentialRefused) => self.rest(Setback::OtherTpm, Pace::Slow, fresh),
            (State::Recovering, Input::CredentialUnavailable { reason }) => {
                self.rest(Setback::TpmUnavailable { reason }, Pace::Growing, fresh)
            }
            (State::Activating, Input::ActivationAnswered(answer)) => self.on_activation(answer, fresh),
            (State::Registering | State::Recovering | State::Activating | State::Registered, Input::Due)
            | (
                State::Resting | State::Recovering | State::Activating | State::Registered,
                Input::RegistrationAnswered(_),
            )
            | (
                State::Resting | State::Registering | State::Activating | State::Registered,
                Input::CredentialRecovered(_) | Input::CredentialRefused | Input::CredentialUnavailable { .. },
            )
            | (
                State::Resting | State::Registering | State::Recovering | State::Registered,
                Input::ActivationAnswered(_),
            ) => Vec::new(),
        }
    }

    fn on_registration(&mut self, answer: Answer, fresh: u64) -> Vec<Effect> {
        match answer {
            Answer::Success(bytes) => match Credential::parse(&bytes) {
                Ok(blob) => {
                    self.state = State::Recovering;
                    vec![Effect::Recover(blob)]
                }
                Err(malformed) => self.rest(malformed.into(), Pace::Slow, fresh),
            },
            Answer::Refused { status, reason } => {
                let pace = Pace::after(status);
                self.rest(Setback::Refused { step: "registration", status, reason }, pace, fresh)
            }
            Answer::Unreachable { reason } => {
                self.rest(Setback::Unreachable { step: "registration", reason }, Pace::Growing, fresh)
            }
        }
    }

    fn on_credential(&mut self, credential: &[u8], fresh: u64) -> Vec<Effect> {
        match activation_tag(credential, &self.id) {
            Ok(tag) => {
                self.state = State::Activating;
                vec![Effect::SendTag(tag)]
            }
            Err(failure) => self.rest(failure.into(), Pace::Growing, fresh),
        }
    }

    fn on_activation(&mut self, answer: Answer, fresh: u64) -> Vec<Effect> {
        match answer {
            Answer::Success(_) => {
                self.state = State::Registered;
                self.backoff.reset();
                vec![Effect::Registered]
            }
            Answer::Refused { status: 404, .. } => self.rest(Setback::Forgotten, Pace::Growing, fresh),
            // A wrong tag deletes the record, so that every refusal means beginning again.
            Answer::Refused { status, reason } => {
                let pace = Pace::after(status);
                self.rest(Setback::Refused { step: "activation", status, reason }, pace, fresh)
            }
            Answer::Unreachable { reason } => {
                self.rest(Setback::Unreachable { step: "activation", reason }, Pace::Growing, fresh)
            }
        }
    }

    fn rest(&mut self, setback: Setback, pace: Pace, fresh: u64) -> Vec<Effect> {
        self.state = State::Resting;
        vec![Effect::Tell(setback), Effect::WaitMs(self.backoff.delay_ms(pace, fresh))]
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ActivationAnswered(_) => "ActivationAnswered",
            Self::CredentialRecovered(_) => "CredentialRecovered(secret)",
            Self::CredentialRefused => "CredentialRefused",
            Self::CredentialUnavailable { .. } => "CredentialUnavailable",
            Self::Due => "Due",
            Self::RegistrationAnswered(_) => "RegistrationAnswered",
        })
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, reason } => write!(f, "Refused({status}, {reason:?})"),
            Self::Success(bytes) => write!(f, "Success({} bytes)", bytes.len()),
            Self::Unreachable { reason } => write!(f, "Unreachable({reason:?})"),
        }
    }
}

/// Whether the next attempt may succeed by itself.
#[derive(Clone, Copy)]
enum Pace {
    /// It may: wait longer each time.
    Growing,
    /// Somebody has to act first: wait the longest time.
    Slow,
}

impl Pace {
    /// Overload, time-outs and the server's own faults pass; other refusals stay until an operator acts.
    const fn after(status: u16) -> Self {
        match status {
            408 | 409 | 425 | 429 | 500..=599 => Self::Growing,
            _ => Self::Slow,
        }
    }
}

/// How long to wait between attempts: doubling from the initial to the longest delay, less a random part of up to
/// half, so that a fleet does not come back in one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backoff {
    attempts: u32,
    initial_ms: u64,
    max_ms: u64,
}

impl Backoff {
    /// Delays from `initial_ms` (at least 1) to `max_ms`.
    #[must_use]
    pub const fn new(initial_ms: u64, max_ms: u64) -> Self {
        Self { attempts: 0, initial_ms: if initial_ms == 0 { 1 } else { initial_ms }, max_ms }
    }

    const fn reset(&mut self) {
        self.attempts = 0;
    }

    fn delay_ms(&mut self, pace: Pace, fresh: u64) -> u64 {
        let full = match pace {
            Pace::Growing => {
                // 2^16 times the initial delay is past any sensible maximum, and cannot overflow the shift.
                let factor = 1_u64 << self.attempts.min(16);
                self.attempts = self.attempts.saturating_add(1);
                self.initial_ms.saturating_mul(factor).min(self.max_ms)
            }
            Pace::Slow => self.max_ms,
        };
        full - fresh % (full / 2 + 1)
    }
}
