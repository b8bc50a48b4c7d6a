//! What each request does, from its body to its answer.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::credential::make_credential;
use messages::AgentId;
use messages::keylime::{Activate, Challenge, Register, RegisteredAgent, RegistrarAgents};
use registrar_protocol::{
    AuthTag, Claim, EkCertificatePolicy, EkCertificateStanding, Identity, TlsCertificate, auth_tag,
};
use tokio::sync::{Mutex, MutexGuard};
use transport::router::{Request, Response};

use crate::enrolment::{Enrolled, Enroller, EnrolmentError, holder};
use crate::pending::{Pending, PendingTable, Registration};
use crate::rate::RateLimiter;
use crate::refusal::{Refusal, chain, done, success};
use crate::store::{AgentRecord, Store};
use crate::trust::TrustDirectory;
use crate::{clock, entropy};

/// Everything the handlers share.
#[derive(Debug)]
pub(crate) struct Registrar {
    pub(crate) enroller: Enroller,
    /// Held while what an id means is changed, one lock per part of all ids.
    pub(crate) locks: IdLocks,
    pub(crate) pending: PendingTable,
    pub(crate) policy: EkCertificatePolicy,
    pub(crate) rate: RateLimiter,
    /// Set once the ledger has this service's start; before, nothing is activated or deleted.
    pub(crate) ready: AtomicBool,
    pub(crate) store: Store,
    pub(crate) trust: TrustDirectory,
}

type Outcome = Result<Response, Refusal>;

impl Registrar {
    /// `POST /v2.x/agents/{id}`: checks who registers and hands out a credential. Nothing is active by it, and an
    /// active record of the id stays as it is.
    pub(crate) async fn register(self: Arc<Self>, request: Request) -> Outcome {
        self.take_token(&request)?;
        let id = agent_id(&request)?;
        let body: Register = serde_json::from_slice(&request.body).map_err(Refusal::Json)?;
        let this = Arc::clone(&self);
        let asked = id.clone();
        let challenge = blocking(move || this.challenge(&asked, &body)).await?;
        let (registration, tag, blob) = challenge;
        let (weight, from) = (request.body.len(), request.remote.ip());
        self.pending
            .insert(id.clone(), tag, registration, weight, from, clock::monotonic())
            .map_err(Refusal::TableFull)?;
        tracing::debug!(agent = %id, remote = %request.remote, "handed out a credential");
        Ok(success(Challenge { blob }))
    }

    /// `PUT /v2.x/agents/{id}` and `…/activate`: one attempt per credential. The ledger has the agent before it is
    /// active.
    pub(crate) async fn activate(self: Arc<Self>, request: Request) -> Outcome {
        self.take_token(&request)?;
        let id = agent_id(&request)?;
        let body: Activate = serde_json::from_slice(&request.body).map_err(Refusal::Json)?;
        let _changing = self.locks.lock(&id).await;
        self.check_ready()?;
        let pending = self.pending.take(&id, clock::monotonic()).ok_or_else(|| Refusal::Unknown(id.clone()))?;
        let right = AuthTag::parse(&body.auth_tag).is_some_and(|tag| tag.is(&pending.tag));
        if !right {
            tracing::warn!(agent = %id, remote = %request.remote, "wrong proof of activation; the registration is void");
            return Err(Refusal::WrongTag);
        }
        let Some(registration) = pending.registration.clone() else {
            // The first answer was lost; nothing is done twice.
            self.pending.put_back(id, pending);
            return Ok(done());
        };
        match self.make_active(&id, &registration).await {
            Ok(()) => {
                self.pending.put_back(id, pending.activated());
                Ok(done())
            }
            Err(refusal) => Err(self.keep_unless_taken(id, pending, refusal)),
        }
    }

    /// `GET /v2.x/agents/`.
    pub(crate) async fn agents(self: Arc<Self>, _request: Request) -> Outcome {
        let uuids = blocking(move || Ok(self.store.agents()?)).await?;
        Ok(success(RegistrarAgents { uuids }))
    }

    /// `GET /v2.x/agents/{id}`.
    pub(crate) async fn agent(self: Arc<Self>, request: Request) -> Outcome {
        let id = agent_id(&request)?;
        let record = self.record(&id).await?.ok_or(Refusal::Unknown(id))?;
        Ok(success(registered(record)))
    }

    /// `DELETE /v2.x/agents/{id}`: the ledger has the retirement before the record goes.
    pub(crate) async fn delete(self: Arc<Self>, request: Request) -> Outcome {
        let id = agent_id(&request)?;
        let actor = request.peer.common_name().unwrap_or_default().to_owned();
        let _changing = self.locks.lock(&id).await;
        self.check_ready()?;
        self.pending.forget(&id);
        let (this, of) = (Arc::clone(&self), id.clone());
        let mark = blocking(move || Ok(this.store.chain(&of)?)).await?;
        let retired = self.enroller.retire(&id, &actor, mark).await.map_err(Refusal::Enrolment)?;
        let (this, of) = (Arc::clone(&self), id.clone());
        let removed = blocking(move || {
            if let Some(mark) = &retired {
                this.store.put_chain(&of, mark)?;
            }
            Ok(this.store.remove_agent(&of)? || retired.is_some())
        });
        if !removed.await? {
            return Err(Refusal::Unknown(id));
        }
        tracing::info!(agent = %id, actor, "deleted an agent");
        Ok(done())
    }

    /// The checks of a registration and the credential for it. Blocks: signatures, RSA, the trust folder.
    fn challenge(&self, id: &AgentId, body: &Register) -> Result<(Registration, AuthTag, String), Refusal> {
        let claim = Claim::parse(body).map_err(Refusal::Claim)?;
        let trust = self.trust.current(clock::monotonic());
        let identity = claim.verify(&trust, self.policy, clock::unix_seconds()).map_err(Refusal::Identity)?;
        if !claim.unjudged.is_empty() {
            let members: Vec<String> = claim.unjudged.iter().map(ToString::to_string).collect();
            tracing::info!(agent = %id, ?members, "IAK and IDevID are not judged; the EK alone identifies the TPM");
        }
        if let Some(record) = self.store.agent(id)? {
            holder(&record.binding).admits(&identity).map_err(Refusal::Taken)?;
        }
        let secret = entropy::credential_secret().map_err(Refusal::Crypto)?;
        let randomness = entropy::credential_randomness().map_err(Refusal::Crypto)?;
        let credential = make_credential(identity.ek(), identity.ak().name(), secret.as_bytes(), &randomness)
            .map_err(Refusal::Credential)?;
        let tag = auth_tag(secret.as_bytes(), id).map_err(Refusal::Crypto)?;
        let registration = Registration { contact: claim.contact, identity };
        Ok((registration, tag, STANDARD.encode(credential.encode())))
    }

    /// Makes an activated registration the id's record, once the ledger has it.
    async fn make_active(self: &Arc<Self>, id: &AgentId, registration: &Registration) -> Result<(), Refusal> {
        let (binding, mark) = match self.record(id).await? {
            // Looked at again: another TPM may have become active since this one registered.
            Some(record) => {
                holder(&record.binding).admits(&registration.identity).map_err(Refusal::Taken)?;
                (record.binding, None)
            }
            None => {
                let Enrolled { binding, mark } = self.enrol(id, &registration.identity).await?;
                (binding, Some(mark))
            }
        };
        let (digest, contact) = (binding.digest(), registration.contact.clone());
        let (this, of) = (Arc::clone(self), id.clone());
        blocking(move || {
            if let Some(mark) = &mark {
                this.store.put_chain(&of, mark)?;
            }
            Ok(this.store.put_agent(&AgentRecord { binding, contact })?)
        })
        .await?;
        tracing::info!(agent = %id, binding = %digest, "an attester is active");
        Ok(())
    }

    async fn enrol(self: &Arc<Self>, id: &AgentId, identity: &Identity) -> Result<Enrolled, Refusal> {
        if let EkCertificateStanding::DangerUnverified(why) = identity.standing() {
            let why = why.as_ref().map_or_else(|| "there is none".to_owned(), |why| chain(why));
            tracing::warn!(agent = %id, why, "enrolling a TPM whose EK certificate is not verified, as configured");
        }
        let (this, of) = (Arc::clone(self), id.clone());
        let mark = blocking(move || Ok(this.store.chain(&of)?)).await?;
        self.enroller.enrol(id, identity, mark).await.map_err(Refusal::Enrolment)
    }

    async fn record(self: &Arc<Self>, id: &AgentId) -> Result<Option<AgentRecord>, Refusal> {
        let (this, of) = (Arc::clone(self), id.clone());
        blocking(move || Ok(this.store.agent(&of)?)).await
    }

    /// After a right tag, what failed on our side may be tried again with the same tag; an id that is taken may not.
    fn keep_unless_taken(&self, id: AgentId, pending: Pending, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Taken(_) | Refusal::Enrolment(EnrolmentError::Taken(_)) => {}
            _ => self.pending.put_back(id, pending),
        }
        refusal
    }

    fn take_token(&self, request: &Request) -> Result<(), Refusal> {
        self.rate.take(request.remote.ip(), clock::monotonic()).map_err(|wait| Refusal::Rate { wait })
    }

    fn check_ready(&self) -> Result<(), Refusal> {
        if self.ready.load(Ordering::Acquire) { Ok(()) } else { Err(Refusal::NotReady) }
    }
}

fn agent_id(request: &Request) -> Result<AgentId, Refusal> {
    request.param("agent").parse().map_err(Refusal::Agent)
}

fn registered(record: AgentRecord) -> RegisteredAgent {
    let AgentRecord { binding, contact } = record;
    RegisteredAgent {
        binding: Some(binding.digest()),
        ek_tpm: STANDARD.encode(&binding.ek),
        ekcert: binding.ek_certificate.as_ref().map(|certificate| STANDARD.encode(certificate)),
        aik_tpm: STANDARD.encode(&binding.ak),
        agent_id: Some(binding.agent),
        ip: contact.host,
        port: contact.port,
        mtls_cert: contact.certificate.as_ref().map(TlsCertificate::as_wire).map(str::to_owned),
        // Identity fields never change under one id, so they were set exactly once.
        regcount: 1,
    }
}

/// Runs what blocks where blocking is allowed.
async fn blocking<T, F>(work: F) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Refusal> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(Refusal::Internal)?
}

/// Locks by id, in a fixed number of parts: two ids may share one and wait for each other, no harm beyond that.
#[derive(Debug)]
pub(crate) struct IdLocks(Vec<Mutex<()>>);

impl IdLocks {
    pub(crate) fn new() -> Self {
        Self((0..LOCKS).map(|_| Mutex::default()).collect())
    }

    async fn lock(&self, id: &AgentId) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let part = usize::try_from(hasher.finish() % LOCKS).unwrap_or_default();
        match self.0.get(part) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }
}

/// Activations that wait for the ledger at one time without meeting: as many as one batch of it is likely to hold.
const LOCKS: u64 = 1_024;
