//! One agent's task: carries out what its session decides, in order, one thing at a time.

mod allowance;
mod command;
mod delivery;
mod history;
mod judging;
mod round;
mod view;

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use messages::{AgentId, Digest, FindingText, ledger::Head};
use tokio::sync::mpsc;
use transport::{client::Client, server::Shutdown};
use verifier_protocol::session::{Effect, Input, Session, Settings};

pub(crate) use self::command::{Command, CommandError, Reply};
pub(crate) use self::view::View;
use crate::{
    error_chain::chain,
    maintenance::Windows,
    services::Services,
    store::{Algorithms, ClockRow, RecordRow, StoredAgent, TermsRow},
    terms::{Reference, TermsError},
};

/// An agent and everything its rounds need.
pub(crate) struct Agent {
    id: AgentId,
    services: Arc<Services>,
    view: Arc<RwLock<View>>,

    session: Session,
    terms: TermsRow,
    reference: Arc<Reference>,
    client: Client,
    api_version: String,

    /// Where the chain ends; `None` when that has to be read from the ledger.
    head: Option<Head>,
    next_seq: u64,
    enrolled: Option<Digest>,
    clock: Option<ClockRow>,
    algorithms: Algorithms,
    /// What the last failure says.
    finding: Option<FindingText>,
    windows: Windows,

    /// The round that is being recorded, and after it the one that V's delivery rests on.
    round: Option<round::Round>,
    /// Leaf hash of the last verdict recorded by this task.
    verdict: Digest,
    logs_kept: round::LogsKept,
    /// What is carried from one appraisal to the next.
    judging: judging::Judging,
    list_allowance: allowance::ListAllowance,
}

/// How a task came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    Deleted,
    Shutdown,
}

/// What came while evidence was being waited for.
enum Arrival {
    Command(Command),
    Input(Input),
    Shutdown,
}

impl Agent {
    /// Takes up an agent as it is stored. Its effects begin the work.
    pub(crate) fn new(
        services: Arc<Services>,
        stored: StoredAgent,
        view: Arc<RwLock<View>>,
    ) -> Result<(Self, Vec<Effect>), TermsError> {
        let StoredAgent { id, terms, record: row } = stored;
        let reference = Arc::new(terms.terms.reference()?);
        let settings = terms.terms.settings(&services.polling);
        let (session, effects) =
            Session::resume(row.record, settings, stagger_ms(&id, &settings), services.clock.now());
        let agent = Self {
            client: client(&services, &reference),
            api_version: terms.terms.api_version.clone(),
            head: None,
            next_seq: row.next_seq,
            enrolled: row.enrolled,
            clock: row.clock,
            algorithms: row.algorithms,
            finding: row.finding,
            windows: row.windows,
            round: None,
            verdict: Digest::ZERO,
            logs_kept: round::LogsKept::default(),
            judging: judging::Judging::restored(&row.ima),
            list_allowance: allowance::ListAllowance::full(services.clock.now()),
            id,
            services,
            view,
            session,
            terms,
            reference,
        };
        Ok((agent, effects))
    }

    /// Works until the agent is deleted or the verifier stops.
    pub(crate) async fn run(
        mut self,
        effects: Vec<Effect>,
        mailbox: &mut mpsc::Receiver<Command>,
        mut shutdown: Shutdown,
    ) -> Ended {
        let mut queue = VecDeque::from(effects);
        let mut wake = None;
        let mut put_off = Vec::new();
        loop {
            while let Some(effect) = queue.pop_front() {
                let arrival = match effect {
                    Effect::WakeAt(at) => {
                        wake = Some(at);
                        continue;
                    }
                    Effect::Persist => {
                        self.persist();
                        continue;
                    }
                    Effect::NotifyUnreachable => {
                        self.notify_unreachable().await;
                        continue;
                    }
                    Effect::Challenge => {
                        self.publish(true);
                        self.challenge_unless_told(mailbox, &mut shutdown, &mut put_off).await
                    }
                    effect => {
                        self.publish(true);
                        Arrival::Input(self.carry_out(effect).await)
                    }
                };
                match arrival {
                    Arrival::Input(input) => queue = self.handle(input),
                    Arrival::Command(command) => match self.obey(command).await {
                        Some(effects) => {
                            wake = None;
                            queue = effects;
                        }
                        None => return Ended::Deleted,
                    },
                    Arrival::Shutdown => return Ended::Shutdown,
                }
            }
            self.publish(false);
            if let Some(command) = put_off.pop() {
                if let Some(effects) = self.obey(command).await {
                    queue = effects;
                }
                continue;
            }
            tokio::select! {
                () = shutdown.started() => return Ended::Shutdown,
                command = mailbox.recv() => {
                    let Some(command) = command else { return Ended::Shutdown };
                    match self.obey(command).await {
                        Some(effects) => queue = effects,
                        None => return Ended::Deleted,
                    }
                }
                () = self.until(wake) => {
                    wake = None;
                    queue = self.handle(Input::Due);
                }
            }
        }
    }

    /// Asks for evidence; an operator's command cuts the asking short, a note waits for its end.
    async fn challenge_unless_told(
        &mut self,
        mailbox: &mut mpsc::Receiver<Command>,
        shutdown: &mut Shutdown,
        put_off: &mut Vec<Command>,
    ) -> Arrival {
        let mut asking = std::pin::pin!(self.challenge());
        loop {
            tokio::select! {
                () = shutdown.started() => return Arrival::Shutdown,
                input = &mut asking => return Arrival::Input(input),
                command = mailbox.recv() => match command {
                    None => return Arrival::Shutdown,
                    Some(note @ Command::Note { .. }) => put_off.push(note),
                    Some(command) => return Arrival::Command(command),
                },
            }
        }
    }

    async fn carry_out(&mut self, effect: Effect) -> Input {
        match effect {
            Effect::DeliverV => self.deliver_v().await,
            Effect::RaiseRevocation { verdict, event } => self.raise_revocation(verdict, event).await,
            Effect::Record(step) => self.record_round(step).await,
            Effect::RecordDelivery { recipient } => self.record_delivery(recipient).await,
            Effect::RecordMiss { due, attempts, loss, text } => self.record_miss(due, attempts, loss, &text).await,
            Effect::Challenge => self.challenge().await,
            // Carried out by the loop, and without an input to follow.
            Effect::NotifyUnreachable | Effect::Persist | Effect::WakeAt(_) => Input::Conflict,
        }
    }

    fn handle(&mut self, input: Input) -> VecDeque<Effect> {
        let now = self.services.clock.now();
        self.session.handle(input, now).into()
    }

    async fn until(&self, wake: Option<messages::UnixMillis>) {
        match wake {
            None => pending().await,
            Some(at) => {
                let wait = at.ms_since(self.services.clock.now());
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
        }
    }

    fn persist(&self) {
        if let Err(error) = self.services.store.put_record(&self.id, &self.record_row()) {
            // The ledger has what the store lost; the next start reads it from there.
            tracing::error!(agent = %self.id, error = chain(&error), "a record was not written");
        }
    }

    fn record_row(&self) -> RecordRow {
        RecordRow {
            record: self.session.record().clone(),
            next_seq: self.next_seq,
            enrolled: self.enrolled,
            clock: self.clock,
            algorithms: self.algorithms.clone(),
            finding: self.finding.clone(),
            ima: self.judging.row(),
            windows: self.windows.clone(),
        }
    }

    fn publish(&self, in_flight: bool) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        view.update(&self.session, &self.algorithms, &self.windows, in_flight);
        if view.finding != self.finding {
            view.finding.clone_from(&self.finding);
        }
    }
}

/// Spreads a fleet that is taken up at once over an interval, each agent always at the same place.
fn stagger_ms(id: &AgentId, settings: &Settings) -> u64 {
    let digest = openssl::sha::sha256(id.as_str().as_bytes());
    let number = digest.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)).unwrap_or_default();
    number % settings.interval_ms.clamp(1, STAGGER_MS_MAX)
}

/// Ten thousand handshakes take two cores about ten seconds; nobody waits longer than that.
const STAGGER_MS_MAX: u64 = 10_000;

fn client(services: &Services, reference: &Reference) -> Client {
    match reference.pin {
        Some(pin) => services.to_agents.pinned(pin),
        None => services.to_agents.clone(),
    }
}

#[cfg(test)]
mod tests;
