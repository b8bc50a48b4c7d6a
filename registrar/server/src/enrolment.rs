//! The ledger's side of the identity book: what must be durable there before an AK counts, or stops counting.

use std::pin::pin;
use std::sync::Mutex as SyncMutex;
use std::task::Poll;

use ledger_client::{AppendError, LedgerClient, RequestError};
use ledger_protocol::body::{Binding, Body, Enrol, OperatorAction, Retire};
use ledger_protocol::{Entry, Kind};
use messages::ledger::{Group, Head, Item, PAGE_ENTRIES_MAX, Receipt};
use messages::{AgentId, Digest};
use registrar_protocol::{
    ChainStanding, EkCertificateStanding, EnrolmentStep, Holder, Identity, IdentityTaken, Slot, SlotChoice,
};
use serde_bytes::ByteBuf;
use tokio::sync::Mutex;

use crate::store::ChainMark;

/// Appends `enrol` and `retire` entries and reads back how chains stand.
#[derive(Debug)]
pub(crate) struct Enroller {
    ledger: LedgerClient,
    /// Who wrote an entry.
    build: String,
    /// Held while a slot is chosen and its entry is queued, so that entries go out in the order of their slots.
    queueing: Mutex<()>,
    slots: SyncMutex<SlotGuess>,
}

/// The slot that is free next if all entries under way are taken in; `None` after one was not.
#[derive(Debug, Default)]
struct SlotGuess {
    next: Option<u64>,
    /// Counts the times the guess was given up, so that one failure gives up one guess.
    generation: u64,
}

/// An agent that the ledger has as enrolled.
#[derive(Debug)]
pub(crate) struct Enrolled {
    /// The record its `enrol` entry names, which is the offered one unless the ledger had an equal one before.
    pub(crate) binding: Binding,
    /// Where its chain stands now.
    pub(crate) mark: ChainMark,
}

/// Why the ledger does not have an agent as wished. Nothing may be promised then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolmentError {
    /// Entries could not be appended.
    #[error("the ledger did not take the entries")]
    Append(#[source] AppendError),
    /// The chain moved away under every attempt.
    #[error("the agent's chain or the next free slot moved in each of {ATTEMPTS_MAX} attempts; the last time: {last}")]
    Moving {
        /// What the ledger said to the last one.
        last: AppendError,
    },
    /// The chain cannot be read.
    #[error("the ledger could not be read")]
    Request(#[source] RequestError),
    /// The ledger holds the id for somebody else.
    #[error(transparent)]
    Taken(IdentityTaken),
    /// What the ledger holds is not what it should.
    #[error("the ledger's {what} is damaged; run its fsck")]
    Damaged {
        /// Which part.
        what: &'static str,
    },
}

impl EnrolmentError {
    /// Whether the same wish may be granted later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Append(AppendError::Unavailable { .. }) | Self::Moving { .. } => true,
            Self::Request(error) => error.may_pass(),
            Self::Append(_) | Self::Taken(_) | Self::Damaged { .. } => false,
        }
    }
}

impl Enroller {
    pub(crate) fn new(ledger: LedgerClient, build: String) -> Self {
        Self { ledger, build, queueing: Mutex::default(), slots: SyncMutex::default() }
    }

    /// Makes the ledger hold `identity` as the agent `id`; on return that is durable.
    ///
    /// An agent that is enrolled already gets no second entry, and only the identity of the first one passes.
    pub(crate) async fn enrol(
        &self,
        id: &AgentId,
        identity: &Identity,
        mut mark: ChainMark,
    ) -> Result<Enrolled, EnrolmentError> {
        let binding = binding(id, identity);
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            let head = self.follow(id, &mut mark).await?;
            let choice = match mark.standing.step() {
                EnrolmentStep::Hold { binding } => {
                    let binding = self.binding(&binding).await?;
                    holder(&binding).admits(identity).map_err(EnrolmentError::Taken)?;
                    return Ok(Enrolled { binding, mark });
                }
                EnrolmentStep::Enrol(choice) => choice,
            };
            // The blob goes first: an entry must never name one that is not there.
            let digest = self.ledger.put_blob(binding.encode()).await.map_err(EnrolmentError::Request)?;
            match self.append_enrol(id, head, choice, digest, identity).await {
                Ok((slot, receipt)) => {
                    mark = ChainMark { next_seq: receipt.seq + 1, standing: mark.standing.enrolled(slot, digest) };
                    return Ok(Enrolled { binding, mark });
                }
                Err(EnrolmentError::Append(moved @ (AppendError::Conflict(_) | AppendError::Refused(_)))) => {
                    tracing::info!(agent = %id, reason = %moved, "the enrol entry is tried again");
                    last = Some(moved);
                }
                Err(error) => return Err(error),
            }
        }
        Err(moving(last))
    }

    /// Makes the ledger hold the agent as retired, and who did it; `None` if it was not enrolled.
    pub(crate) async fn retire(
        &self,
        id: &AgentId,
        actor: &str,
        mut mark: ChainMark,
    ) -> Result<Option<ChainMark>, EnrolmentError> {
        let mut last = None;
        // The sequencer refuses a second retire, so a chain known as enrolled need not be read up to its end.
        let mut head = match mark.standing {
            ChainStanding::Enrolled { .. } => self.ledger.head(Some(id)).await.map_err(EnrolmentError::Request)?,
            ChainStanding::Absent | ChainStanding::Retired { .. } => self.follow(id, &mut mark).await?,
        };
        for _ in 0..ATTEMPTS_MAX {
            if !matches!(mark.standing, ChainStanding::Enrolled { .. }) {
                return Ok(None);
            }
            let moved = match self.ledger.append(retirement(id, actor, head)).await {
                Ok(receipts) => {
                    let retired = receipts.last().ok_or(EnrolmentError::Damaged { what: "list of receipts" })?;
                    return Ok(Some(ChainMark { next_seq: retired.seq + 1, standing: mark.standing.retired() }));
                }
                Err(moved) => moved,
            };
            head = match &moved {
                AppendError::Conflict(head) => *head,
                AppendError::Refused(_) => self.follow(id, &mut mark).await?,
                AppendError::Unavailable { .. } => return Err(EnrolmentError::Append(moved)),
            };
            last = Some(moved);
        }
        Err(moving(last))
    }

    /// Reads the chain from the mark to its end and moves the mark there.
    async fn follow(&self, id: &AgentId, mark: &mut ChainMark) -> Result<Head, EnrolmentError> {
        loop {
            let page = self.ledger.entries(Some(id), mark.next_seq, PAGE_ENTRIES_MAX).await;
            let page = page.map_err(EnrolmentError::Request)?;
            for (_, entry) in &page.entries {
                let entry = Entry::decode(entry).map_err(|_| EnrolmentError::Damaged { what: "entry" })?;
                if entry.agent.as_ref() != Some(id) || entry.seq != mark.next_seq {
                    return Err(EnrolmentError::Damaged { what: "page of entries" });
                }
                mark.standing = after(mark.standing, &entry)?;
                mark.next_seq += 1;
            }
            if page.entries.is_empty() {
                // A mark beyond the chain's end is of another ledger: begin anew rather than trust it.
                if mark.next_seq > page.head.seq {
                    *mark = ChainMark::default();
                    continue;
                }
                return Ok(page.head);
            }
            if mark.next_seq == page.head.seq {
                return Ok(page.head);
            }
        }
    }

    async fn binding(&self, digest: &Digest) -> Result<Binding, EnrolmentError> {
        let bytes = self.ledger.blob(digest).await.map_err(EnrolmentError::Request)?;
        Binding::decode(&bytes).map_err(|_| EnrolmentError::Damaged { what: "binding record" })
    }

    async fn append_enrol(
        &self,
        id: &AgentId,
        head: Head,
        choice: SlotChoice,
        binding: Digest,
        identity: &Identity,
    ) -> Result<(Slot, Receipt), EnrolmentError> {
        let ek_certificate = match identity.standing() {
            EkCertificateStanding::Verified(_) => 0,
            EkCertificateStanding::DangerUnverified(_) => 1,
        };
        let enrol = |slot| enrolment(id, head, &Enrol { slot, binding, ek_certificate, registrar: self.build.clone() });
        let (slot, appended) = match choice {
            SlotChoice::Own(Slot(slot)) => (slot, self.ledger.append(enrol(slot)).await),
            SlotChoice::NextFree => self.append_in_next_slot(enrol).await?,
        };
        let receipts = appended.map_err(EnrolmentError::Append)?;
        let receipt = receipts.first().ok_or(EnrolmentError::Damaged { what: "list of receipts" })?;
        Ok((Slot(slot), *receipt))
    }

    /// Appends with the slot that should be free when the entry arrives. Many agents enrol at once without waiting for
    /// each other: only choosing and queueing happens one by one.
    async fn append_in_next_slot(
        &self,
        enrol: impl Fn(u64) -> Group,
    ) -> Result<(u64, Result<Vec<Receipt>, AppendError>), EnrolmentError> {
        let queueing = self.queueing.lock().await;
        let (known, generation) = {
            let guess = self.guess();
            (guess.next, guess.generation)
        };
        let slot = match known {
            Some(slot) => slot,
            None => self.ledger.info().await.map_err(EnrolmentError::Request)?.next_slot,
        };
        self.guess().next = Some(slot + 1);
        let mut append = pin!(self.ledger.append(enrol(slot)));
        // The first poll puts the group into the ledger client's queue.
        let first = std::future::poll_fn(|context| Poll::Ready(append.as_mut().poll(context))).await;
        drop(queueing);
        let appended = match first {
            Poll::Ready(appended) => appended,
            Poll::Pending => append.await,
        };
        if appended.is_err() {
            let mut guess = self.guess();
            if guess.generation == generation {
                *guess = SlotGuess { next: None, generation: generation + 1 };
            }
        }
        Ok((slot, appended))
    }

    fn guess(&self) -> std::sync::MutexGuard<'_, SlotGuess> {
        self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The identity a record binds the id to.
pub(crate) fn holder(binding: &Binding) -> Holder<'_> {
    Holder {
        ek: &binding.ek,
        ak: &binding.ak,
        certificate: binding.ek_certificate.as_ref().map(|certificate| certificate.as_slice()),
    }
}

fn binding(id: &AgentId, identity: &Identity) -> Binding {
    Binding {
        version: 1,
        agent: id.clone(),
        ek: ByteBuf::from(identity.ek().public().to_tpm2b()),
        ak: ByteBuf::from(identity.ak().public().to_tpm2b()),
        ek_certificate: identity.certificate().map(ByteBuf::from),
        chain: identity.chain().iter().map(|issuer| ByteBuf::from(issuer.as_slice())).collect(),
    }
}

fn after(standing: ChainStanding, entry: &Entry) -> Result<ChainStanding, EnrolmentError> {
    match entry.kind {
        Kind::Enrol => {
            let enrol = Enrol::decode(&entry.body).map_err(|_| EnrolmentError::Damaged { what: "enrol entry" })?;
            Ok(standing.enrolled(Slot(enrol.slot), enrol.binding))
        }
        Kind::Retire => Ok(standing.retired()),
        _ => Ok(standing),
    }
}

fn enrolment(id: &AgentId, head: Head, enrol: &Enrol) -> Group {
    Group { agent: Some(id.clone()), expected: Some(head), items: vec![item(enrol)] }
}

/// Who retires the agent comes first: after the `retire` entry the chain takes nothing but an `enrol`.
fn retirement(id: &AgentId, actor: &str, head: Head) -> Group {
    let action = OperatorAction {
        action: "agent-delete".to_owned(),
        actor: actor.to_owned(),
        target: Some(id.to_string()),
        detail: "at the registrar".to_owned(),
    };
    let retire = Retire { actor: actor.to_owned(), reason: "deleted at the registrar".to_owned() };
    Group { agent: Some(id.clone()), expected: Some(head), items: vec![item(&action), item(&retire)] }
}

/// One entry with this body.
pub(crate) fn item<B: Body>(body: &B) -> Item {
    Item { kind: B::KIND.number(), body: ByteBuf::from(body.encode()), after: None }
}

fn moving(last: Option<AppendError>) -> EnrolmentError {
    EnrolmentError::Moving { last: last.unwrap_or(AppendError::Conflict(Head::default())) }
}

/// A chain or the next slot moves when another service appends at the same moment; that it does so sixteen times
/// running means that something else is wrong.
const ATTEMPTS_MAX: usize = 16;
