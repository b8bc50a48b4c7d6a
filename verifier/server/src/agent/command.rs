//! What operators and the outbox ask of an agent's task.

use std::collections::VecDeque;

use messages::{
    Digest,
    keylime::MaintenanceWindow,
    ledger::{Group, Item},
};
use tokio::sync::oneshot;
use verifier_protocol::session::{Effect, Input};

use super::{Agent, client};
use crate::{
    entries, error_chain,
    fleet::{self, EnrolmentError},
    maintenance,
    policies::PolicyError,
    store::{DepartedRow, StoreError, StoredAgent, TermsRow},
    terms::{Application, TermsError},
};

/// Something to be done between two rounds. Answered when it is durable.
pub(crate) enum Command {
    /// Put a planned absence on record.
    Announce { actor: String, window: MaintenanceWindow, reply: Reply },
    /// Forget the agent.
    Delete { actor: String, reply: Reply },
    /// Append an entry that no round depends on.
    Note { item: Item, reply: Reply },
    /// Judge the agent afresh.
    Reactivate { actor: String, reply: Reply },
    /// Leave the agent alone.
    Stop { actor: String, reply: Reply },
    /// Ask other things of the agent.
    Update { actor: String, application: Box<Application>, reply: Reply },
    /// Die, for the tests of the supervision.
    #[cfg(test)]
    Panic,
}

/// Whom to tell of the outcome.
pub(crate) type Reply = oneshot::Sender<Result<(), CommandError>>;

/// Why a command was not carried out. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    #[error("the ledger refuses the entry: {0}")]
    LedgerRefused(String),
    #[error("the ledger cannot be reached, and nothing is done that is not recorded: {0}")]
    LedgerUnavailable(String),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("the agent's chain keeps changing; try again")]
    Restless,
    #[error("the record was not kept")]
    Store(#[source] StoreError),
    #[error("the agent cannot be taken on")]
    Terms(#[source] TermsError),
    #[error(
        "only an agent's last maintenance windows count, and {reason:?} is not over but would no longer be one of them; announce this one later"
    )]
    Windows { reason: String },
}

impl Agent {
    /// Carries out a command. `None` if the agent is gone.
    pub(super) async fn obey(&mut self, command: Command) -> Option<VecDeque<Effect>> {
        let (result, reply, deleted) = match command {
            Command::Announce { actor, window, reply } => (self.announce(actor, window).await, reply, false),
            Command::Delete { actor, reply } => (self.delete(&actor).await, reply, true),
            Command::Note { item, reply } => {
                // Says nothing to the session: it stays where it is.
                let result = self.insist(vec![item]).await;
                let _ = reply.send(result);
                return Some(VecDeque::new());
            }
            Command::Reactivate { actor, reply } => {
                (self.act("agent-reactivate", &actor, Input::Reactivate).await, reply, false)
            }
            Command::Stop { actor, reply } => (self.act("agent-stop", &actor, Input::Stop).await, reply, false),
            Command::Update { actor, application, reply } => (self.update(&actor, *application).await, reply, false),
            #[cfg(test)]
            Command::Panic => panic!("as the test asks"),
        };
        let (outcome, effects) = match result {
            Ok(effects) => (Ok(()), effects),
            // The challenge that the command cut short, if there was one, is made again.
            Err(error) => (Err(error), self.handle(Input::Conflict)),
        };
        let gone = deleted && outcome.is_ok();
        self.publish(false);
        // Whoever asked may have hung up; what was done stays done.
        let _ = reply.send(outcome);
        if gone { None } else { Some(effects) }
    }

    async fn act(&mut self, action: &str, actor: &str, input: Input) -> Result<VecDeque<Effect>, CommandError> {
        self.insist_with_owed(entries::operator_action(action, actor, &self.id, "")).await?;
        let effects = self.handle(input);
        self.keep_row().await?;
        Ok(effects)
    }

    /// The window counts for gaps that begin after a later quote; a challenge that the entry cuts short is made again.
    /// One that is on record is not recorded again.
    async fn announce(&mut self, actor: String, window: MaintenanceWindow) -> Result<VecDeque<Effect>, CommandError> {
        // What others announced shows once the chain has been taken in.
        self.head().await.map_err(refused_or_unavailable)?;
        if self.windows.holds(&window) {
            return Ok(VecDeque::new());
        }
        if let Some(displaced) = self.windows.displaced(self.services.clock.now()) {
            return Err(CommandError::Windows { reason: displaced.reason.clone() });
        }
        self.insist_here(&[entries::maintenance(&maintenance::body(&window, actor))]).await?;
        self.windows.push(window);
        self.keep_row().await?;
        Ok(self.handle(Input::Conflict))
    }

    async fn delete(&mut self, actor: &str) -> Result<VecDeque<Effect>, CommandError> {
        self.insist_with_owed(entries::operator_action("agent-delete", actor, &self.id, "")).await?;
        let departed = DepartedRow { next_seq: self.next_seq, enrolled: self.enrolled, windows: self.windows.clone() };
        self.services.store.remove_agent(&self.id, departed).await.map_err(CommandError::Store)?;
        Ok(VecDeque::new())
    }

    /// In place: the history and the count go on, trust does not.
    async fn update(&mut self, actor: &str, application: Application) -> Result<VecDeque<Effect>, CommandError> {
        let Application { mut terms, share_v, revocation_key, wishes } = application;
        let wanted = terms.bound.binding;
        let new_key = share_v.is_some();
        terms.bound.key_id = match (terms.bound.key_id, new_key) {
            (Some(key_id), _) => Some(key_id),
            (None, false) => self.terms.terms.bound.key_id,
            (None, true) => Some(fleet::new_key_id()?),
        };
        let reference = terms.reference().map_err(CommandError::Terms)?;
        fleet::choose_policies(&self.services, &mut terms, wishes, actor).await?;
        fleet::keep_policy(&self.services, &terms).await?;
        let mut row = fleet::sealed_terms(&self.services, &self.id, terms, share_v, revocation_key)?;
        if !new_key {
            row.share_v = self.terms.share_v.clone();
        }
        let enrolled = self.record_update(actor, &mut row, wanted).await?;
        let another_tpm = self.terms.terms.bound.binding != Some(enrolled);
        self.take_on(row, reference, another_tpm);
        let settings = self.terms.terms.settings(&self.services.polling);
        let effects = self.handle(Input::Update { settings, new_key });
        self.keep_row().await?;
        Ok(effects)
    }

    /// Appends the new policy under the binding that the agent is enrolled under at that very
    /// place of the chain; whoever enrols it anew meanwhile makes the check run again.
    async fn record_update(
        &mut self,
        actor: &str,
        row: &mut TermsRow,
        wanted: Option<Digest>,
    ) -> Result<Digest, CommandError> {
        for _ in 0..CONFLICTS_MAX {
            // What is known of the chain's end may be old: the registrar appends to it as well.
            self.head = None;
            let head = self.head().await.map_err(refused_or_unavailable)?;
            let enrolled = self.enrolled.ok_or(EnrolmentError::NotEnrolled)?;
            row.terms.bound.binding = wanted;
            fleet::check_binding(&self.services, &self.id, &row.terms, enrolled).await?;
            row.terms.bound.binding = Some(enrolled);
            let mut items = vec![
                entries::policy(row.terms.policy_entry(enrolled)),
                entries::operator_action("agent-update", actor, &self.id, &fleet::detail(&row.terms)),
            ];
            let owed = self.owed_revocation();
            let owes = owed.is_some();
            items.extend(owed);
            match self.append(head, items).await {
                Ok(_) => {
                    if owes {
                        self.tell_of_failure().await;
                    }
                    return Ok(enrolled);
                }
                Err(Input::Conflict) => {}
                Err(input) => return Err(refused_or_unavailable(input)),
            }
        }
        Err(CommandError::Restless)
    }

    fn take_on(&mut self, row: TermsRow, reference: crate::terms::Reference, another_tpm: bool) {
        self.client = client(&self.services, &reference);
        self.api_version = row.terms.api_version.clone();
        self.reference = std::sync::Arc::new(reference);
        self.terms = row;
        self.logs_kept = super::round::LogsKept::default();
        if another_tpm {
            // Another TPM's clock has nothing to follow.
            self.clock = None;
            self.judging = super::judging::Judging::default();
        }
        self.judging.forget_policies();
        // What was used up while the machine failed must not keep it from passing now.
        self.list_allowance = super::allowance::ListAllowance::full(self.services.clock.now());
        let mut view = self.view.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        view.terms = std::sync::Arc::new(self.terms.terms.clone());
    }

    async fn keep_row(&self) -> Result<(), CommandError> {
        let (id, terms, record) = (self.id.clone(), self.terms.clone(), self.record_row());
        self.services.store.put_agent(&StoredAgent { id, terms, record }).await.map_err(CommandError::Store)
    }

    /// Appends an operator's action, and before it the revocation of a failure that waits for the ledger: the action
    /// makes the session forget the failure, and those who wait for news of it must not be forgotten with it.
    async fn insist_with_owed(&mut self, action: Item) -> Result<(), CommandError> {
        // Whether one is owed shows once the chain has been taken in.
        self.head().await.map_err(refused_or_unavailable)?;
        let owed = self.owed_revocation();
        let owes = owed.is_some();
        self.insist(owed.into_iter().chain([action]).collect()).await?;
        if owes {
            self.tell_of_failure().await;
        }
        Ok(())
    }

    /// Appends entries wherever the chain ends; on the fleet's chain when the agent has left it.
    async fn insist(&mut self, items: Vec<Item>) -> Result<(), CommandError> {
        match self.insist_here(&items).await {
            Err(CommandError::LedgerRefused(_)) => {}
            outcome => return outcome,
        }
        let group = Group { agent: None, expected: None, items };
        let appended = self.services.ledger.append(group).await;
        appended.map(drop).map_err(|error| CommandError::LedgerUnavailable(error_chain::chain(&error)))
    }

    /// Appends entries wherever the agent's own chain ends.
    async fn insist_here(&mut self, items: &[Item]) -> Result<(), CommandError> {
        for _ in 0..CONFLICTS_MAX {
            let head = self.head().await.map_err(refused_or_unavailable)?;
            match self.append(head, items.to_vec()).await {
                Ok(_) => return Ok(()),
                Err(Input::Conflict) => {}
                Err(input) => return Err(refused_or_unavailable(input)),
            }
        }
        Err(CommandError::Restless)
    }
}

fn refused_or_unavailable(input: Input) -> CommandError {
    match input {
        Input::LedgerRefused(text) => CommandError::LedgerRefused(text),
        Input::LedgerUnavailable(text) => CommandError::LedgerUnavailable(text),
        other => CommandError::LedgerUnavailable(format!("{other:?}")),
    }
}

/// Tries against a chain that grows meanwhile: another verifier appends a few times a second.
const CONFLICTS_MAX: usize = 5;
