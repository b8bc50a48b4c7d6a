//! Every pair of state and input.

use messages::{Digest, UnixMillis};

use super::{Effect, Input, Judged, KeyState, KeyStep, Loss, Session, Settings, State, Trust};
use crate::appraisal::Outcome;

impl Session {
    /// Takes in what happened at `now` and says what to do, in order.
    pub fn handle(&mut self, input: Input, now: UnixMillis) -> Vec<Effect> {
        use Input as I;
        use State as S;
        let state = std::mem::replace(&mut self.state, State::Stopped);
        match (state, input) {
            // An operator's word counts in every state.
            (_, I::Stop) => self.stop(),
            (_, I::Reactivate) => self.reactivate(now),
            (_, I::Update { settings, new_key }) => self.update(settings, new_key, now),

            (S::Waiting { attempt, due }, I::Due) => self.challenge(attempt, due, now),
            (state @ S::Waiting { .. }, I::LedgerUnavailable(text) | I::LedgerRefused(text)) => {
                self.trouble = Some(text);
                self.stay(state)
            }
            // Nothing is asked or sent in this state, so nothing can have come of it.
            (
                state @ S::Waiting { .. },
                I::Conflict
                | I::Delivered
                | I::DeliveryFailed(_)
                | I::EvidenceArrived(_)
                | I::EvidenceLost(..)
                | I::Recorded(_),
            ) => self.stay(state),

            (S::Challenging { asked, .. }, I::EvidenceArrived(judged)) => self.record_round(asked, judged, now),
            (S::Challenging { attempt, due, .. }, I::EvidenceLost(loss, text)) => {
                self.lose(attempt, due, loss, text, now)
            }
            (S::Challenging { attempt, due, .. }, I::LedgerUnavailable(text) | I::LedgerRefused(text)) => {
                self.await_ledger(attempt, due, text, now)
            }
            (S::Challenging { attempt, due, .. }, I::Conflict) => self.try_again(attempt, due, now),
            (state @ S::Challenging { .. }, I::Delivered | I::DeliveryFailed(_) | I::Due | I::Recorded(_)) => {
                self.stay(state)
            }

            (S::Recording { asked, judged, step }, I::Recorded(verdict)) => {
                self.recorded_round(asked, &judged, step, verdict, now)
            }
            // Evidence whose place in the chain is taken, or that could not be recorded, is not counted.
            (S::Recording { asked, .. }, I::Conflict) => self.try_again(0, asked, now),
            (S::Recording { asked, .. }, I::LedgerUnavailable(text) | I::LedgerRefused(text)) => {
                self.await_ledger(0, asked, text, now)
            }
            (
                state @ S::Recording { .. },
                I::Delivered | I::DeliveryFailed(_) | I::Due | I::EvidenceArrived(_) | I::EvidenceLost(..),
            ) => self.stay(state),

            (S::RecordingMiss { .. }, I::Recorded(_)) => self.recorded_miss(now),
            (S::RecordingMiss { attempt, due }, I::Conflict) => self.try_again(attempt, due, now),
            (S::RecordingMiss { attempt, due }, I::LedgerUnavailable(text) | I::LedgerRefused(text)) => {
                self.await_ledger(attempt, due, text, now)
            }
            (
                state @ S::RecordingMiss { .. },
                I::Delivered | I::DeliveryFailed(_) | I::Due | I::EvidenceArrived(_) | I::EvidenceLost(..),
            ) => self.stay(state),

            (S::RecordingRevocation { due }, I::Recorded(_)) => {
                self.record.raised();
                self.trouble = None;
                self.rest(due, now, vec![Effect::Persist])
            }
            // The failure stands unraised in the record; it is raised before the next challenge.
            (S::RecordingRevocation { due }, I::Conflict) => self.try_again(0, due, now),
            (S::RecordingRevocation { due }, I::LedgerUnavailable(text) | I::LedgerRefused(text)) => {
                self.await_ledger(0, due, text, now)
            }
            (
                state @ S::RecordingRevocation { .. },
                I::Delivered | I::DeliveryFailed(_) | I::Due | I::EvidenceArrived(_) | I::EvidenceLost(..),
            ) => self.stay(state),

            (S::Delivering { due, recipient }, I::Delivered) => {
                self.state = S::RecordingDelivery { due, recipient };
                vec![Effect::RecordDelivery { recipient }]
            }
            (S::Delivering { due, .. }, I::DeliveryFailed(text)) => self.delivery_failed(due, text, now),
            (
                state @ S::Delivering { .. },
                I::Conflict
                | I::Due
                | I::EvidenceArrived(_)
                | I::EvidenceLost(..)
                | I::LedgerRefused(_)
                | I::LedgerUnavailable(_)
                | I::Recorded(_),
            ) => self.stay(state),

            (S::RecordingDelivery { due, recipient }, I::Recorded(_)) => {
                self.record.key = KeyState::Released { recipient };
                self.trouble = None;
                self.rest(due, now, vec![Effect::Persist])
            }
            // The share is out: its delivery is recorded before anything else is done.
            (state @ S::RecordingDelivery { .. }, I::Conflict) => self.stay_until_ledger(state, None, now),
            (state @ S::RecordingDelivery { .. }, I::LedgerUnavailable(text)) => {
                self.stay_until_ledger(state, Some(text), now)
            }
            (S::RecordingDelivery { due, recipient }, I::Due) => {
                self.state = S::RecordingDelivery { due, recipient };
                vec![Effect::RecordDelivery { recipient }]
            }
            // Only after a change of the chain by others: a fresh pass authorises and delivers again.
            (S::RecordingDelivery { due, .. }, I::LedgerRefused(text)) => self.await_ledger(0, due, text, now),
            (
                state @ S::RecordingDelivery { .. },
                I::Delivered | I::DeliveryFailed(_) | I::EvidenceArrived(_) | I::EvidenceLost(..),
            ) => self.stay(state),

            (
                state @ S::Stopped,
                I::Conflict
                | I::Delivered
                | I::DeliveryFailed(_)
                | I::Due
                | I::EvidenceArrived(_)
                | I::EvidenceLost(..)
                | I::LedgerRefused(_)
                | I::LedgerUnavailable(_)
                | I::Recorded(_),
            ) => self.stay(state),
        }
    }

    fn stay(&mut self, state: State) -> Vec<Effect> {
        self.state = state;
        vec![]
    }

    fn stop(&mut self) -> Vec<Effect> {
        self.state = State::Stopped;
        self.record.trust = Trust::Stopped;
        self.trouble = None;
        vec![Effect::Persist]
    }

    fn reactivate(&mut self, now: UnixMillis) -> Vec<Effect> {
        self.record.forget_trust(now);
        self.delivery = super::DeliveryPatience::default();
        self.trouble = None;
        self.state = State::Waiting { attempt: 0, due: now };
        vec![Effect::Persist, Effect::WakeAt(now)]
    }

    fn update(&mut self, settings: Settings, new_key: bool, now: UnixMillis) -> Vec<Effect> {
        self.settings = settings;
        if new_key {
            self.record.key = KeyState::Pending;
        }
        self.reactivate(now)
    }

    /// A failure whose revocation is not durable yet goes first.
    fn challenge(&mut self, attempt: u32, due: UnixMillis, now: UnixMillis) -> Vec<Effect> {
        if let Some(raise) = self.unraised() {
            self.state = State::RecordingRevocation { due };
            return vec![raise];
        }
        self.record.last_challenge = Some(now);
        self.state = State::Challenging { asked: now, attempt, due };
        vec![Effect::Challenge]
    }

    fn unraised(&self) -> Option<Effect> {
        match &self.record.trust {
            Trust::Failed { event, raised: false, verdict, .. } => {
                Some(Effect::RaiseRevocation { verdict: *verdict, event: event.clone() })
            }
            Trust::Failed { .. } | Trust::Passed { .. } | Trust::Stopped | Trust::Unproven { .. } => None,
        }
    }

    fn record_round(&mut self, asked: UnixMillis, judged: Judged, now: UnixMillis) -> Vec<Effect> {
        let step = self.key_step(&judged, now);
        self.state = State::Recording { asked, judged, step };
        vec![Effect::Record(step)]
    }

    /// What a verdict does to the key: each once per change.
    fn key_step(&self, judged: &Judged, now: UnixMillis) -> Option<KeyStep> {
        match judged.outcome {
            Outcome::Pass => self.release_step(judged, now),
            Outcome::Fail => match self.record.key {
                KeyState::Pending => Some(KeyStep::Withhold),
                // Authorised may be delivered: an agent can take the share and not say so.
                KeyState::Authorised { recipient } | KeyState::Released { recipient } => {
                    Some(KeyStep::Revoke { recipient })
                }
                KeyState::None | KeyState::Revoked | KeyState::Withheld => None,
            },
            Outcome::Error => None,
        }
    }

    fn release_step(&self, judged: &Judged, now: UnixMillis) -> Option<KeyStep> {
        let recipient = judged.recipient?;
        let trusted = matches!(self.record.trust, Trust::Passed { .. } | Trust::Unproven { .. });
        let wanted = match self.record.key {
            KeyState::Pending | KeyState::Authorised { .. } => true,
            // Another payload key: the agent was restarted and has lost the share.
            KeyState::Released { recipient: before } => before != recipient,
            KeyState::None | KeyState::Revoked | KeyState::Withheld => false,
        };
        (trusted && wanted && now >= self.delivery.not_before).then_some(KeyStep::Authorise { recipient })
    }

    fn recorded_round(
        &mut self,
        asked: UnixMillis,
        judged: &Judged,
        step: Option<KeyStep>,
        verdict: Option<Digest>,
        now: UnixMillis,
    ) -> Vec<Effect> {
        let event = judged.event.as_deref().unwrap_or_default();
        self.record.judged(asked, judged.outcome, event, verdict.unwrap_or_default());
        self.trouble = None;
        let due = asked.plus_ms(self.settings.interval_ms);
        match step {
            Some(KeyStep::Authorise { recipient }) => {
                self.record.key = KeyState::Authorised { recipient };
                self.state = State::Delivering { due, recipient };
                return vec![Effect::Persist, Effect::DeliverV];
            }
            Some(KeyStep::Revoke { .. }) => self.record.key = KeyState::Revoked,
            Some(KeyStep::Withhold) => self.record.key = KeyState::Withheld,
            None => {}
        }
        match self.unraised() {
            Some(raise) => {
                self.state = State::RecordingRevocation { due };
                vec![Effect::Persist, raise]
            }
            None => self.rest(due, now, vec![Effect::Persist]),
        }
    }

    fn lose(&mut self, attempt: u32, due: UnixMillis, loss: Loss, text: String, now: UnixMillis) -> Vec<Effect> {
        self.trouble = Some(text.clone());
        if attempt >= self.settings.retries_max {
            self.state = State::RecordingMiss { attempt, due };
            return vec![Effect::RecordMiss { due, attempts: attempt + 1, loss, text }];
        }
        let attempt = attempt + 1;
        self.state = State::Waiting { attempt, due };
        vec![Effect::WakeAt(now.plus_ms(self.settings.backoff_ms(attempt)))]
    }

    fn recorded_miss(&mut self, now: UnixMillis) -> Vec<Effect> {
        let news = self.record.unreachable.is_none() && self.record.attestation_count > 0;
        self.record.unreachable.get_or_insert(now);
        let mut effects = vec![Effect::Persist];
        if news {
            effects.push(Effect::NotifyUnreachable);
        }
        // Not sooner than a repetition would come: an agent with interval 0 is not asked in a loop.
        let wait = self.settings.interval_ms.max(self.settings.retry_base_ms);
        self.rest(now.plus_ms(wait), now, effects)
    }

    fn delivery_failed(&mut self, due: UnixMillis, text: String, now: UnixMillis) -> Vec<Effect> {
        self.delivery.failures = self.delivery.failures.saturating_add(1);
        self.delivery.not_before = now.plus_ms(self.settings.backoff_ms(self.delivery.failures));
        let effects = self.rest(due, now, vec![Effect::Persist]);
        self.trouble = Some(text);
        effects
    }

    /// Waits for the next round, due at `due` or at once.
    fn rest(&mut self, due: UnixMillis, now: UnixMillis, mut effects: Vec<Effect>) -> Vec<Effect> {
        let due = due.max(now);
        self.state = State::Waiting { attempt: 0, due };
        effects.push(Effect::WakeAt(due));
        effects
    }

    fn await_ledger(&mut self, attempt: u32, due: UnixMillis, text: String, now: UnixMillis) -> Vec<Effect> {
        self.trouble = Some(text);
        self.try_again(attempt, due, now)
    }

    fn try_again(&mut self, attempt: u32, due: UnixMillis, now: UnixMillis) -> Vec<Effect> {
        self.state = State::Waiting { attempt, due };
        vec![Effect::WakeAt(now.plus_ms(self.settings.ledger_retry_ms))]
    }

    fn stay_until_ledger(&mut self, state: State, text: Option<String>, now: UnixMillis) -> Vec<Effect> {
        self.trouble = text.or(self.trouble.take());
        self.state = state;
        vec![Effect::WakeAt(now.plus_ms(self.settings.ledger_retry_ms))]
    }
}
