//! All agents of one verifier: who they are, and that each one's task lives.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use ledger_client::{AppendError, RequestError};
use ledger_protocol::body::Binding;
use messages::{
    AgentId, Digest, UnixMillis,
    cbor::CborError,
    keylime::AgentStatus,
    ledger::{Group, Head, Item},
};
use openssl::error::ErrorStack;
use tokio::sync::{mpsc, oneshot};
use transport::server::Shutdown;
use zeroize::Zeroizing;

use crate::{
    agent::{Agent, Command, CommandError, Ended, View},
    chain::{self, ChainError, Seen},
    entries, entropy,
    error_chain::chain as explain,
    maintenance::Windows,
    policies::{PolicyError, Role},
    services::Services,
    store::{RecordRow, StoreError, StoredAgent, TermsRow},
    terms::{Application, Terms, TermsError, Wishes},
    vault::{Purpose, SealError},
};

/// The agents of a verifier.
pub(crate) struct Fleet {
    adding: Mutex<HashSet<AgentId>>,
    agents: RwLock<BTreeMap<AgentId, Handle>>,
    services: Arc<Services>,
    shutdown: Shutdown,
}

/// How to reach and see an agent's task.
#[derive(Clone)]
struct Handle {
    mailbox: mpsc::Sender<Command>,
    view: Arc<RwLock<View>>,
}

/// An id that is being added by one request and no other.
struct Reservation<'a> {
    fleet: &'a Fleet,
    id: AgentId,
}

/// Why an agent's enrolment does not fit what is asked for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolmentError {
    #[error("ak_tpm is not the attestation key that the agent was enrolled with")]
    Ak,
    #[error("the binding is {wanted}; the agent is enrolled under {enrolled}")]
    Binding { wanted: Digest, enrolled: Digest },
    #[error("the binding record {enrolled} is malformed")]
    BindingMalformed { enrolled: Digest, source: CborError },
    #[error("the binding record {enrolled} is not of this agent")]
    BindingOfOther { enrolled: Digest },
    #[error("the ledger cannot be reached, and nothing is done that is not recorded")]
    Chain(#[source] ChainError),
    #[error("agent is not enrolled; it has to register first")]
    NotEnrolled,
    #[error("no random bytes")]
    Random(#[from] ErrorStack),
    #[error("the ledger cannot be reached, and nothing is done that is not recorded")]
    Request(#[source] RequestError),
    #[error("a secret could not be sealed")]
    Seal(#[source] SealError),
    #[error("ak_tpm")]
    Terms(#[source] TermsError),
}

/// Why an agent is not added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddError {
    #[error(transparent)]
    Command(CommandError),
    #[error("agent of id {0} already exists")]
    Exists(AgentId),
}

/// Why a command does not reach an agent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TellError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("the agent's task is being restarted")]
    Restarting,
    #[error("agent id not found")]
    Unknown,
}

impl Fleet {
    /// Takes up every agent in the store.
    pub(crate) fn resume(services: Arc<Services>, shutdown: Shutdown) -> Result<Arc<Self>, StoreError> {
        let stored = services.store.agents()?;
        let fleet = Arc::new(Self { adding: Mutex::default(), agents: RwLock::default(), services, shutdown });
        for agent in stored {
            fleet.employ(agent);
        }
        Ok(fleet)
    }

    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    pub(crate) fn ids(&self) -> Vec<AgentId> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub(crate) fn status(&self, id: &AgentId, now: UnixMillis) -> Option<AgentStatus> {
        Some(self.view(id)?.status(&self.services, now))
    }

    pub(crate) fn view(&self, id: &AgentId) -> Option<View> {
        let handle = self.handle(id)?;
        let view = handle.view.read().unwrap_or_else(PoisonError::into_inner);
        Some(view.clone())
    }

    /// Adds an agent: its policy and the operator's action are durable before it is.
    pub(crate) async fn add(
        self: &Arc<Self>,
        id: AgentId,
        actor: &str,
        application: Application,
    ) -> Result<(), AddError> {
        let reserved = self.reserve(&id).ok_or_else(|| AddError::Exists(id.clone()))?;
        let stored = self.enlist(&id, actor, application).await.map_err(AddError::Command)?;
        self.employ(stored);
        drop(reserved);
        Ok(())
    }

    /// Gives a command to an agent's task and waits for its answer.
    pub(crate) async fn tell(
        &self,
        id: &AgentId,
        command: impl FnOnce(oneshot::Sender<Result<(), CommandError>>) -> Command,
    ) -> Result<(), TellError> {
        let handle = self.handle(id).ok_or(TellError::Unknown)?;
        let (reply, answer) = oneshot::channel();
        handle.mailbox.send(command(reply)).await.map_err(|_| TellError::Unknown)?;
        Ok(answer.await.map_err(|_| TellError::Restarting)??)
    }

    /// Deletes an agent: when this returns, its id is free.
    pub(crate) async fn delete(&self, id: &AgentId, actor: String) -> Result<(), TellError> {
        let handle = self.handle(id).ok_or(TellError::Unknown)?;
        self.tell(id, |reply| Command::Delete { actor, reply }).await?;
        self.dismiss(id, &handle.view);
        Ok(())
    }

    /// Appends an entry that no round depends on to an agent's chain, or to the fleet's if the
    /// agent is no longer here.
    pub(crate) async fn note(&self, id: &AgentId, item: Item) -> Result<(), TellError> {
        match self.tell(id, |reply| Command::Note { item: item.clone(), reply }).await {
            Err(TellError::Unknown) => {
                let group = Group { agent: None, expected: None, items: vec![item] };
                let appended = self.services.ledger.append(group).await;
                appended.map(drop).map_err(|error| TellError::Command(CommandError::LedgerUnavailable(explain(&error))))
            }
            outcome => outcome,
        }
    }

    /// An agent that was added by a policy's name.
    pub(crate) fn user_of(&self, role: Role, name: &str) -> Option<AgentId> {
        let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
        let uses = |handle: &Handle| {
            let view = handle.view.read().unwrap_or_else(PoisonError::into_inner);
            view.terms.chosen(role).is_some_and(|chosen| chosen.is_named(name))
        };
        agents.iter().find(|(_, handle)| uses(handle)).map(|(id, _)| id.clone())
    }

    async fn enlist(&self, id: &AgentId, actor: &str, application: Application) -> Result<StoredAgent, CommandError> {
        let services = &self.services;
        let Application { mut terms, share_v, revocation_key, wishes } = application;
        let Enrolment { mut head, binding: enrolled, mut windows } = enrolment(services, id).await?;
        check_binding(services, id, &terms, enrolled).await?;
        terms.bound.binding = Some(enrolled);
        if terms.bound.key_id.is_none() {
            terms.bound.key_id = Some(new_key_id()?);
        }
        choose_policies(services, &mut terms, wishes, actor).await?;
        keep_policy(services, &terms).await?;
        let has_key = share_v.is_some();
        let row = sealed_terms(services, id, terms, share_v, revocation_key)?;
        let items = vec![
            entries::policy(row.terms.policy_entry(enrolled)),
            entries::operator_action("agent-add", actor, id, &detail(&row.terms)),
        ];
        for attempt in 0.. {
            let group = Group { agent: Some(id.clone()), expected: Some(head), items: items.clone() };
            match services.ledger.append(group).await {
                Ok(receipts) => {
                    let last = receipts.last();
                    head = last.map_or(head, |last| Head { seq: last.seq + 1, prev: last.leaf_hash });
                    break;
                }
                Err(AppendError::Conflict(_)) if attempt < CONFLICTS_MAX => {
                    let now = enrolment(services, id).await?;
                    if now.binding != enrolled {
                        return Err(EnrolmentError::Binding { wanted: enrolled, enrolled: now.binding }.into());
                    }
                    (head, windows) = (now.head, now.windows);
                }
                Err(AppendError::Refused(text)) => return Err(CommandError::LedgerRefused(text)),
                Err(error) => return Err(CommandError::LedgerUnavailable(explain(&error))),
            }
        }
        let record = RecordRow { windows, ..RecordRow::new(services.clock.now(), has_key, head, enrolled) };
        let stored = StoredAgent { id: id.clone(), terms: row, record };
        services.store.put_agent(&stored).await.map_err(CommandError::Store)?;
        Ok(stored)
    }

    /// Starts the agent's task and sees that it lives.
    fn employ(self: &Arc<Self>, stored: StoredAgent) {
        let settings = stored.terms.terms.settings(&self.services.polling);
        let view = Arc::new(RwLock::new(View::of(&stored, settings)));
        let (mailbox, commands) = mpsc::channel(MAILBOX_COMMANDS_MAX);
        let handle = Handle { mailbox, view: Arc::clone(&view) };
        let id = stored.id.clone();
        self.agents.write().unwrap_or_else(PoisonError::into_inner).insert(id, handle);
        tokio::spawn(supervise(Arc::clone(self), stored, view, commands));
    }

    fn handle(&self, id: &AgentId) -> Option<Handle> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Forgets this very task; one that was begun for the same id since stays.
    fn dismiss(&self, id: &AgentId, view: &Arc<RwLock<View>>) {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        if agents.get(id).is_some_and(|handle| Arc::ptr_eq(&handle.view, view)) {
            agents.remove(id);
        }
    }

    fn reserve(&self, id: &AgentId) -> Option<Reservation<'_>> {
        let mut adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.handle(id).is_none() && adding.insert(id.clone());
        free.then(|| Reservation { fleet: self, id: id.clone() })
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.fleet.adding.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Lets an agent's task live until it ends by itself. One that panics is told of, shown in the
/// status, and begun again from what is stored and on record.
async fn supervise(fleet: Arc<Fleet>, stored: StoredAgent, view: Arc<RwLock<View>>, commands: mpsc::Receiver<Command>) {
    let id = stored.id.clone();
    let commands = Arc::new(tokio::sync::Mutex::new(commands));
    let mut stored = Some(stored);
    let mut shutdown = fleet.shutdown.clone();
    loop {
        let trouble = match stored.take() {
            None => "the agent's record is gone or cannot be read".to_owned(),
            Some(stored) => match Agent::new(Arc::clone(&fleet.services), stored, Arc::clone(&view)) {
                Err(error) => format!("the agent's record cannot be used: {}", explain(&error)),
                Ok((agent, effects)) => {
                    let (commands, shutdown) = (Arc::clone(&commands), shutdown.clone());
                    let life = async move { agent.run(effects, &mut *commands.lock().await, shutdown).await };
                    match tokio::spawn(life).await {
                        Ok(Ended::Deleted) => return fleet.dismiss(&id, &view),
                        Ok(Ended::Shutdown) => return,
                        Err(failure) => format!("internal error, being restarted: {failure}"),
                    }
                }
            },
        };
        tracing::error!(agent = %id, trouble, "an agent's task has died");
        view.write().unwrap_or_else(PoisonError::into_inner).mark_broken(trouble);
        tokio::select! {
            () = shutdown.started() => return,
            () = tokio::time::sleep(RESTART_PAUSE) => {}
            () = turn_away(&commands) => {}
        }
        stored = fleet.services.store.agent(&id).ok().flatten();
    }
}

/// Answers commands that nobody can carry out now with [`TellError::Restarting`], by letting go of them. Never
/// ends by itself.
async fn turn_away(commands: &tokio::sync::Mutex<mpsc::Receiver<Command>>) {
    let mut commands = commands.lock().await;
    while let Some(_unheard) = commands.recv().await {}
    std::future::pending().await
}

/// What an agent's chain says when the agent is added.
struct Enrolment {
    /// Where it ends.
    head: Head,
    /// The binding it is enrolled under.
    binding: Digest,
    /// Maintenance announced since.
    windows: Windows,
}

async fn enrolment(services: &Services, id: &AgentId) -> Result<Enrolment, EnrolmentError> {
    let departed = services.store.departed(id).ok().flatten();
    let (from, mut enrolled, mut windows) = departed
        .map_or((0, None, Windows::default()), |departed| (departed.next_seq, departed.enrolled, departed.windows));
    let see = |entry| match entry {
        Seen::Enrolled(binding) => {
            enrolled = Some(binding);
            windows.clear();
        }
        Seen::Maintenance(window) => windows.push(window),
        Seen::Retired => enrolled = None,
        Seen::Fact(_) | Seen::Failed(_) | Seen::Other | Seen::Quote(_) => {}
    };
    let head = chain::read(&services.ledger, id, from, see).await.map_err(EnrolmentError::Chain)?;
    Ok(Enrolment { head, binding: enrolled.ok_or(EnrolmentError::NotEnrolled)?, windows })
}

/// Checks that what the tenant took for the agent's TPM is what is enrolled: the AK, byte for byte,
/// and the record's hash if it was given.
pub(crate) async fn check_binding(
    services: &Services,
    id: &AgentId,
    terms: &Terms,
    enrolled: Digest,
) -> Result<(), EnrolmentError> {
    if let Some(wanted) = terms.bound.binding.filter(|wanted| *wanted != enrolled) {
        return Err(EnrolmentError::Binding { wanted, enrolled });
    }
    let record = services.ledger.blob(&enrolled).await.map_err(EnrolmentError::Request)?;
    let binding = Binding::decode(&record).map_err(|source| EnrolmentError::BindingMalformed { enrolled, source })?;
    if binding.agent != *id {
        return Err(EnrolmentError::BindingOfOther { enrolled });
    }
    let ak = terms.ak_tpm2b().map_err(EnrolmentError::Terms)?;
    if binding.ak.as_slice() == ak { Ok(()) } else { Err(EnrolmentError::Ak) }
}

/// Fills in the policies that were wished for.
pub(crate) async fn choose_policies(
    services: &Services,
    terms: &mut Terms,
    wishes: Wishes,
    actor: &str,
) -> Result<(), PolicyError> {
    let now = services.clock.now_s();
    terms.runtime = services.policies.choose(Role::Runtime, wishes.runtime, actor, now).await?;
    terms.measured_boot = services.policies.choose(Role::MeasuredBoot, wishes.measured_boot, actor, now).await?;
    Ok(())
}

/// Stores the policy's text as a blob: an entry names only what can be read.
pub(crate) async fn keep_policy(services: &Services, terms: &Terms) -> Result<(), EnrolmentError> {
    let kept = services.ledger.put_blob(terms.tpm_policy.clone().into_bytes()).await;
    kept.map(drop).map_err(EnrolmentError::Request)
}

/// A name for a key that the tenant did not name.
pub(crate) fn new_key_id() -> Result<Digest, EnrolmentError> {
    Ok(Digest(*entropy::random::<32>()?))
}

pub(crate) fn sealed_terms(
    services: &Services,
    id: &AgentId,
    terms: Terms,
    share_v: Option<Zeroizing<Vec<u8>>>,
    revocation_key: Option<Zeroizing<Vec<u8>>>,
) -> Result<TermsRow, EnrolmentError> {
    let seal = |purpose, secret: Option<Zeroizing<Vec<u8>>>| {
        let sealed = secret.map(|secret| services.vault.seal(id, purpose, &secret));
        sealed.transpose().map_err(EnrolmentError::Seal)
    };
    Ok(TermsRow {
        share_v: seal(Purpose::ShareV, share_v)?,
        revocation_key: seal(Purpose::RevocationKey, revocation_key)?,
        terms,
    })
}

/// What an add or update asks for, for the operator-action entry.
pub(crate) fn detail(terms: &Terms) -> String {
    let Terms { host, port, interval_ms, tolerance_ms, .. } = terms;
    let policies: Vec<String> =
        terms.policies().iter().map(|policy| format!("{}={}", policy.role, policy.digest)).collect();
    let policies = policies.join(" ");
    let key = terms.bound.key_id.map(|key_id| format!(" key={key_id}")).unwrap_or_default();
    format!("address={host}:{port} interval={interval_ms}ms tolerance={tolerance_ms}ms {policies}{key}")
}

/// Commands that wait for one agent: operators are few, and each waits for an answer.
const MAILBOX_COMMANDS_MAX: usize = 16;
/// Tries against a chain that grows meanwhile.
const CONFLICTS_MAX: u32 = 5;
/// Before a task that died is begun again, so that one that dies at once takes no whole core.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
