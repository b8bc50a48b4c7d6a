//! Speaks the ledger's API: gathers appends of many callers into batches over persistent connections.
//!
//! What is appended and what an answer means is for the caller; nothing is kept on disk here.

mod batch;
mod entropy;
mod error;
mod request;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger_protocol::Beacon;
use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::note::Note;
use messages::ledger::{BLOB_BYTES_MAX, EntryPage, FLEET_PATH, Group, Head, Info, PAGE_BYTES_MAX, Receipt};
use messages::{AgentId, Digest};
use tokio::sync::{Mutex, mpsc, oneshot};
use transport::client::Client;
use transport::tls::ClientTls;

pub use self::error::{AppendError, RequestError};
use self::request::Requests;

/// Where a ledger is and how to speak with it.
#[derive(Clone, Debug)]
pub struct LedgerClientConfig {
    /// How long one batch is tried before its callers are told [`AppendError::Unavailable`].
    pub give_up_after: Duration,
    /// How long one attempt may take.
    pub request_timeout: Duration,
    /// Trust in the ledger's certificate, and the service or auditor certificate shown to it.
    pub tls: ClientTls,
    /// `https://host:port`, without a path.
    pub url: String,
}

impl LedgerClientConfig {
    /// The ledger at `url`, with [`GIVE_UP_AFTER`] and [`REQUEST_TIMEOUT`].
    #[must_use]
    pub fn new(url: impl Into<String>, tls: ClientTls) -> Self {
        Self { give_up_after: GIVE_UP_AFTER, request_timeout: REQUEST_TIMEOUT, tls, url: url.into() }
    }
}

/// A ledger, spoken to. Copies share the queue, the connections and the cached beacon.
#[derive(Clone, Debug)]
pub struct LedgerClient {
    beacon: Arc<Mutex<Option<Asked>>>,
    queue: mpsc::Sender<batch::Job>,
    requests: Requests,
}

/// The last request for a checkpoint: when, and what came of it; `None` for nothing.
#[derive(Clone, Copy, Debug)]
struct Asked {
    beacon: Option<Beacon>,
    since: Instant,
}

impl LedgerClient {
    /// Begins to gather appends; connects with the first request.
    ///
    /// # Panics
    /// Outside a tokio runtime: the batches are sent by a task of their own, which ends with the
    /// last copy of the client.
    #[must_use]
    pub fn new(config: LedgerClientConfig) -> Self {
        let LedgerClientConfig { give_up_after, request_timeout, tls, url } = config;
        let requests = Requests::new(Client::new(tls), &url, request_timeout);
        let (queue, jobs) = mpsc::channel(QUEUE_GROUPS_MAX);
        tokio::spawn(batch::run(jobs, requests.clone(), give_up_after));
        Self { beacon: Arc::default(), queue, requests }
    }

    /// Appends a group, together with those of other callers, and answers when it is durable.
    ///
    /// Waits while the queue is full. Dropping the future does not take the group back.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] with the chain's true end; [`AppendError::Refused`] if the group
    /// breaks a rule of the log; [`AppendError::Unavailable`] if no answer came in time: the
    /// group may then have been appended or not, and the chain's head tells which.
    pub async fn append(&self, group: Group) -> Result<Vec<Receipt>, AppendError> {
        let (reply, answer) = oneshot::channel();
        let job = batch::Job::new(group, reply)?;
        self.queue.send(job).await.map_err(|_| AppendError::stopped())?;
        answer.await.map_err(|_| AppendError::stopped())?
    }

    /// Stores a blob, durably, and names it. Storing the same bytes again changes nothing.
    ///
    /// # Errors
    /// [`RequestError`]; with [`RequestError::Status`] 413 for more than [`BLOB_BYTES_MAX`].
    pub async fn put_blob(&self, bytes: Vec<u8>) -> Result<Digest, RequestError> {
        let digest = Digest(openssl::sha::sha256(&bytes));
        self.requests.put(&format!("/ledger/v1/blobs/{digest}"), bytes).await?;
        Ok(digest)
    }

    /// Reads a blob and checks that it is the one named.
    ///
    /// # Errors
    /// [`RequestError`]; with [`RequestError::Status`] 404 for one the ledger does not have and
    /// [`RequestError::Malformed`] for bytes of another digest.
    pub async fn blob(&self, digest: &Digest) -> Result<Vec<u8>, RequestError> {
        let path = format!("/ledger/v1/blobs/{digest}");
        let bytes = self.requests.get(&path, BLOB_BYTES_MAX).await?;
        if openssl::sha::sha256(&bytes) != digest.0 {
            return Err(RequestError::malformed(&path, "the bytes that its name says"));
        }
        Ok(bytes.into())
    }

    /// Where a chain ends; `None` is the fleet's chain. An agent without entries has the head of
    /// an empty chain.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn head(&self, agent: Option<&AgentId>) -> Result<Head, RequestError> {
        let chain = agent.map_or(FLEET_PATH, AgentId::as_str);
        self.requests.get_cbor(&format!("/ledger/v1/heads/{chain}"), SMALL_BYTES_MAX).await
    }

    /// A chain's entries from `from_seq` on: at most `limit`, and fewer if they are long.
    ///
    /// The page is empty only if the chain ends before `from_seq`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn entries(&self, agent: Option<&AgentId>, from_seq: u64, limit: u64) -> Result<EntryPage, RequestError> {
        let chain = agent.map_or(FLEET_PATH, AgentId::as_str);
        let path = format!("/ledger/v1/agents/{chain}/entries?from_seq={from_seq}&limit={limit}");
        self.requests.get_cbor(&path, 2 * PAGE_BYTES_MAX).await
    }

    /// A proof of all that is on record about `agent` from one second to another (since 1970), as bytes;
    /// unverified. `options` are further parameters of the route: `boots=1`, `full=1`, `gap=` seconds.
    ///
    /// # Errors
    /// [`RequestError`]; with [`RequestError::Status`] 503 while no census has the agent.
    pub async fn interval_proof(
        &self,
        agent: &AgentId,
        from: u64,
        to: u64,
        options: &[&str],
    ) -> Result<Vec<u8>, RequestError> {
        let mut path = format!("/ledger/v1/agents/{agent}/interval-proof?from={from}&to={to}");
        for option in options {
            path.push('&');
            path.push_str(option);
        }
        Ok(self.requests.get(&path, INTERVAL_PROOF_BYTES_MAX).await?.into())
    }

    /// A proof of what all machines did from one second to another, by the censuses around them, as bytes;
    /// unverified. The machines on which something went wrong are opened, or those with the label
    /// `name=value`, which must need no escaping in a query.
    ///
    /// # Errors
    /// [`RequestError`]; with [`RequestError::Status`] 503 while there is no census.
    pub async fn fleet_interval_proof(&self, from: u64, to: u64, label: Option<&str>) -> Result<Vec<u8>, RequestError> {
        let label = label.map(|label| format!("&label={}", label.replace('=', "%3D"))).unwrap_or_default();
        let path = format!("/ledger/v1/fleet/interval-proof?from={from}&to={to}{label}");
        Ok(self.requests.get(&path, INTERVAL_PROOF_BYTES_MAX).await?.into())
    }

    /// What the ledger says of itself. Its key is to be trusted only from elsewhere.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn info(&self) -> Result<Info, RequestError> {
        let path = "/ledger/v1/info";
        let bytes = self.requests.get(path, SMALL_BYTES_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|_| RequestError::malformed(path, "a ledger's description in JSON"))
    }

    /// The latest signed checkpoint, as the bytes of its note; unverified.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn checkpoint(&self) -> Result<Vec<u8>, RequestError> {
        let bytes = self.requests.get("/checkpoint", ledger_tlog::note::NOTE_BYTES_MAX).await?;
        Ok(bytes.into())
    }

    /// The latest checkpoint as the beacon of nonces, at most [`BEACON_AGE_MAX`] old; unverified,
    /// since the ledger itself refuses a quote with a beacon it has not signed.
    ///
    /// # Errors
    /// [`RequestError`]; [`RequestError::Silent`] to those who waited while another asked in vain.
    pub async fn beacon(&self) -> Result<Beacon, RequestError> {
        let came = Instant::now();
        // Held while asking, so that many callers make one request.
        let mut cached = self.beacon.lock().await;
        match *cached {
            Some(Asked { beacon: Some(beacon), since }) if since.elapsed() < BEACON_AGE_MAX => return Ok(beacon),
            // Each asking in turn would let the last of many hear of a mute ledger after hours.
            Some(Asked { beacon: None, since }) if since >= came => return Err(RequestError::Silent),
            Some(_) | None => {}
        }
        let asked = Instant::now();
        let fresh = self.fresh_beacon().await;
        *cached = match &fresh {
            Ok(beacon) => Some(Asked { beacon: Some(*beacon), since: asked }),
            Err(_) => Some(Asked { beacon: None, since: Instant::now() }),
        };
        fresh
    }

    async fn fresh_beacon(&self) -> Result<Beacon, RequestError> {
        let note = self.checkpoint().await?;
        let malformed = || RequestError::malformed("/checkpoint", "a signed checkpoint");
        let parsed = Note::parse(&note).map_err(|_| malformed())?;
        let checkpoint = Checkpoint::parse(parsed.text()).map_err(|_| malformed())?;
        let note_digest = Digest(openssl::sha::sha256(&note));
        Ok(Beacon { tree_size: checkpoint.tree_head().tree_size, note_digest })
    }
}

/// How long a batch is tried unless told otherwise: a ledger's restart takes a second or two, and
/// a verifier's round must not hang much longer than an agent's interval.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(15);

/// How long one attempt may take unless told otherwise: a disk may stall for seconds.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The oldest beacon handed out: the ledger signs once a second, so an older one costs freshness
/// and a younger one only requests.
pub const BEACON_AGE_MAX: Duration = Duration::from_secs(1);

/// Groups that wait to be sent: four full batches. Callers beyond wait for room.
const QUEUE_GROUPS_MAX: usize = 4 * messages::ledger::APPEND_ENTRIES_MAX;

/// A full proof has at most 100,000 entries, of about 500 bytes; one of the fleet has 2 KB for
/// each machine that is opened.
const INTERVAL_PROOF_BYTES_MAX: usize = 256 << 20;

/// Answers of a few fields: a head has 45 bytes, the JSON of [`Info`] under 1 KiB.
const SMALL_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests;
