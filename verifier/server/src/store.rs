//! The verifier's records: one sled tree per noun. The only user of sled.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use messages::{AgentId, Digest, FindingText, UnixMillis, ledger::Head};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sled::{Transactional, Tree, transaction::ConflictableTransactionError};
use verifier_protocol::session::Record;

use crate::{maintenance::Windows, policies::Kept, terms::Terms, vault::Sealed};

/// All records.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    db: sled::Db,
    /// Agent → [`TermsRow`]: what is asked of it. Written by operators' requests.
    terms: Tree,
    /// Agent → [`RecordRow`]: what is known of it. Written every round.
    records: Tree,
    /// Agent → [`DepartedRow`]: where its chain stood when it was deleted.
    departed: Tree,
    /// Number → [`crate::outbox::Message`]: what has still to be told.
    outbox: Tree,
    /// `role/name` → [`Kept`]: what a policy's name stands for.
    policies: Tree,
    /// Rows that could not be read, as they were, under `tree/key`.
    quarantine: Tree,
}

/// What is asked of an agent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct TermsRow {
    pub(crate) terms: Terms,
    pub(crate) share_v: Option<Sealed>,
    pub(crate) revocation_key: Option<Sealed>,
}

/// What is known of an agent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct RecordRow {
    pub(crate) record: Record,
    /// The ledger's entries of this agent up to this number are taken in.
    pub(crate) next_seq: u64,
    /// The binding of its latest enrol entry among them.
    pub(crate) enrolled: Option<Digest>,
    /// The TPM's clock at the last quote whose clock was accepted.
    pub(crate) clock: Option<ClockRow>,
    /// Names of the algorithms of the last quote.
    pub(crate) algorithms: Algorithms,
    /// What the last failure says.
    #[serde(default)]
    pub(crate) finding: Option<FindingText>,
    /// Where its measurement list stood at the last recorded verdict.
    #[serde(default)]
    pub(crate) ima: ImaRow,
    /// Maintenance announced among the entries taken in.
    #[serde(default)]
    pub(crate) windows: Windows,
}

/// A [`evidence::ima::MeasurementState`] and what reading it again takes.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct ImaRow {
    /// Its encoding; empty before the first verdict on a list.
    #[serde(default)]
    pub(crate) state: serde_bytes::ByteBuf,
    /// Runtime policies that were in force when entries that are not settled were first seen.
    #[serde(default)]
    pub(crate) earlier: Vec<Digest>,
}

/// [`evidence::attest::ClockInfo`] of an authentic quote, which is always safe.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ClockRow {
    pub(crate) clock_ms: u64,
    pub(crate) reset_count: u32,
    pub(crate) restart_count: u32,
}

/// Algorithm names as the agent gave them with its last quote.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Algorithms {
    pub(crate) hash: String,
    pub(crate) enc: String,
    pub(crate) sign: String,
}

/// Where a deleted agent's chain stood, so that a later add need not read it from its begin.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct DepartedRow {
    pub(crate) next_seq: u64,
    pub(crate) enrolled: Option<Digest>,
    #[serde(default)]
    pub(crate) windows: Windows,
}

/// An agent as the store has it.
#[derive(Clone, Debug)]
pub(crate) struct StoredAgent {
    pub(crate) id: AgentId,
    pub(crate) terms: TermsRow,
    pub(crate) record: RecordRow,
}

/// Why the store does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database did not open; another process may have it.
    #[error("cannot open the records in {path}; another verifier may be using them")]
    Open {
        /// The folder.
        path: std::path::PathBuf,
        /// What sled says.
        source: sled::Error,
    },
    /// The records were written by another version.
    #[error("the records have schema {found:?}; this build reads {SCHEMA:?}")]
    Schema {
        /// The schema found.
        found: String,
    },
    /// The database failed.
    #[error("the records could not be {operation}")]
    Sled {
        /// What was tried.
        operation: &'static str,
        /// What sled says.
        source: sled::Error,
    },
}

impl Store {
    /// Blocks, and waits a moment for a verifier of before to let go.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let db = open_when_free(path).map_err(failed)?;
        let tree = |name: &str| db.open_tree(name).map_err(failed);
        let meta = tree("meta")?;
        match meta.get("schema").map_err(failed)? {
            Some(found) if found == SCHEMA.as_bytes() => {}
            Some(found) => return Err(StoreError::Schema { found: String::from_utf8_lossy(&found).into_owned() }),
            None => {
                meta.insert("schema", SCHEMA.as_bytes()).map_err(failed)?;
            }
        }
        Ok(Self {
            terms: tree("terms")?,
            records: tree("records")?,
            departed: tree("departed")?,
            outbox: tree("outbox")?,
            policies: tree("policies")?,
            quarantine: tree("quarantine")?,
            db,
        })
    }

    /// Every agent. A row that cannot be read is set aside and told of; the others stay.
    pub(crate) fn agents(&self) -> Result<Vec<StoredAgent>, StoreError> {
        let mut agents = Vec::new();
        for row in &self.terms {
            let (key, value) = row.map_err(failed("read"))?;
            let id = std::str::from_utf8(&key).ok().and_then(|text| text.parse::<AgentId>().ok());
            let (Some(id), Some(terms)) = (id, self.parsed("terms", &self.terms, &key, &value)?) else {
                continue;
            };
            let Some(record) = self.records.get(&key).map_err(failed("read"))? else {
                self.set_aside("terms", &self.terms, &key, &value)?;
                continue;
            };
            match self.parsed("records", &self.records, &key, &record)? {
                Some(record) => agents.push(StoredAgent { id, terms, record }),
                None => self.set_aside("terms", &self.terms, &key, &value)?,
            }
        }
        Ok(agents)
    }

    /// The ids of all agents.
    pub(crate) fn ids(&self) -> Result<Vec<AgentId>, StoreError> {
        let mut ids = Vec::new();
        for key in self.terms.iter().keys() {
            let key = key.map_err(failed("read"))?;
            ids.extend(std::str::from_utf8(&key).ok().and_then(|text| text.parse::<AgentId>().ok()));
        }
        Ok(ids)
    }

    /// One agent.
    pub(crate) fn agent(&self, id: &AgentId) -> Result<Option<StoredAgent>, StoreError> {
        let terms = self.row(&self.terms, id)?;
        let record = self.row(&self.records, id)?;
        Ok(terms.zip(record).map(|(terms, record)| StoredAgent { id: id.clone(), terms, record }))
    }

    /// Writes an agent's rows together, durably.
    pub(crate) async fn put_agent(&self, agent: &StoredAgent) -> Result<(), StoreError> {
        let key = agent.id.as_str().as_bytes();
        let (terms, record) = (json(&agent.terms), json(&agent.record));
        (&self.terms, &self.records)
            .transaction(|(terms_tree, records_tree)| {
                terms_tree.insert(key, terms.as_slice())?;
                records_tree.insert(key, record.as_slice())?;
                Ok::<(), ConflictableTransactionError<()>>(())
            })
            .map_err(aborted)?;
        self.flush().await
    }

    /// Writes what is known of an agent. Durable within half a second; the ledger holds what a
    /// crash before that loses.
    pub(crate) fn put_record(&self, id: &AgentId, record: &RecordRow) -> Result<(), StoreError> {
        self.records.insert(id.as_str(), json(record)).map(drop).map_err(failed("written"))
    }

    /// Removes an agent, durably, keeping where its chain stood.
    pub(crate) async fn remove_agent(&self, id: &AgentId, departed: DepartedRow) -> Result<(), StoreError> {
        let key = id.as_str().as_bytes();
        let departed = json(&departed);
        (&self.terms, &self.records, &self.departed)
            .transaction(|(terms, records, tombs)| {
                terms.remove(key)?;
                records.remove(key)?;
                tombs.insert(key, departed.as_slice())?;
                Ok::<(), ConflictableTransactionError<()>>(())
            })
            .map_err(aborted)?;
        self.flush().await
    }

    /// Where a deleted agent's chain stood.
    pub(crate) fn departed(&self, id: &AgentId) -> Result<Option<DepartedRow>, StoreError> {
        self.row(&self.departed, id)
    }

    /// The named policies of one role.
    pub(crate) fn policies(&self, role: &str) -> Result<Vec<(String, Kept)>, StoreError> {
        let prefix = format!("{role}/");
        let mut policies = Vec::new();
        for row in self.policies.scan_prefix(&prefix) {
            let (key, value) = row.map_err(failed("read"))?;
            if let Some(kept) = self.parsed("policies", &self.policies, &key, &value)? {
                let name = key.get(prefix.len()..).unwrap_or_default();
                policies.push((String::from_utf8_lossy(name).into_owned(), kept));
            }
        }
        Ok(policies)
    }

    /// Adds or replaces what a policy's name stands for, durably.
    pub(crate) async fn put_policy(&self, role: &str, name: &str, kept: &Kept) -> Result<(), StoreError> {
        self.policies.insert(format!("{role}/{name}"), json(kept)).map_err(failed("written"))?;
        self.flush().await
    }

    /// Forgets a policy's name, durably.
    pub(crate) async fn remove_policy(&self, role: &str, name: &str) -> Result<(), StoreError> {
        self.policies.remove(format!("{role}/{name}")).map_err(failed("written"))?;
        self.flush().await
    }

    /// Adds or replaces what has to be told, all or nothing, durably.
    pub(crate) async fn put_messages<M: Serialize>(
        &self,
        messages: impl IntoIterator<Item = (String, M)>,
    ) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, message) in messages {
            batch.insert(key.as_bytes(), json(&message));
        }
        self.outbox.apply_batch(batch).map_err(failed("written"))?;
        self.flush().await
    }

    /// Removes what has been told or given up.
    pub(crate) async fn remove_message(&self, key: &str) -> Result<(), StoreError> {
        self.outbox.remove(key).map_err(failed("written"))?;
        self.flush().await
    }

    /// Everything that has still to be told.
    pub(crate) fn messages<M: DeserializeOwned>(&self) -> Result<Vec<(String, M)>, StoreError> {
        let mut messages = Vec::new();
        for row in &self.outbox {
            let (key, value) = row.map_err(failed("read"))?;
            if let Some(message) = self.parsed("outbox", &self.outbox, &key, &value)? {
                messages.push((String::from_utf8_lossy(&key).into_owned(), message));
            }
        }
        Ok(messages)
    }

    /// Waits until all that was written is on disk.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        self.db.flush_async().await.map(drop).map_err(failed("made durable"))
    }

    fn row<T: DeserializeOwned>(&self, tree: &Tree, id: &AgentId) -> Result<Option<T>, StoreError> {
        let Some(value) = tree.get(id.as_str()).map_err(failed("read"))? else {
            return Ok(None);
        };
        let name = String::from_utf8_lossy(&tree.name()).into_owned();
        self.parsed(&name, tree, id.as_str().as_bytes(), &value)
    }

    fn parsed<T: DeserializeOwned>(
        &self,
        name: &str,
        tree: &Tree,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<T>, StoreError> {
        match serde_json::from_slice(value) {
            Ok(row) => Ok(Some(row)),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                let key_text = String::from_utf8_lossy(key);
                tracing::error!(tree = name, key = %key_text.escape_debug(), line, column, "a row cannot be read and is set aside");
                self.set_aside(name, tree, key, value).map(|()| None)
            }
        }
    }

    fn set_aside(&self, name: &str, tree: &Tree, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let place = [name.as_bytes(), b"/", key].concat();
        self.quarantine.insert(place, value).map_err(failed("written"))?;
        tree.remove(key).map(drop).map_err(failed("written"))
    }
}

impl ClockRow {
    pub(crate) fn of(clock: &evidence::attest::ClockInfo) -> Self {
        let evidence::attest::ClockInfo { clock_ms, reset_count, restart_count, .. } = *clock;
        Self { clock_ms, reset_count, restart_count }
    }

    pub(crate) fn info(self) -> evidence::attest::ClockInfo {
        let Self { clock_ms, reset_count, restart_count } = self;
        evidence::attest::ClockInfo { clock_ms, reset_count, restart_count, safe: true }
    }
}

impl RecordRow {
    /// An agent that is being added where its chain ends at `head`.
    pub(crate) fn new(now: UnixMillis, has_key: bool, head: Head, enrolled: Digest) -> Self {
        Self {
            record: Record::new(now, has_key),
            next_seq: head.seq,
            enrolled: Some(enrolled),
            clock: None,
            algorithms: Algorithms::default(),
            finding: None,
            ima: ImaRow::default(),
            windows: Windows::default(),
        }
    }
}

fn json<T: Serialize>(row: &T) -> Vec<u8> {
    serde_json::to_vec(row).expect("invariant: rows have text keys and no failing parts")
}

fn failed(operation: &'static str) -> impl Fn(sled::Error) -> StoreError {
    move |source| StoreError::Sled { operation, source }
}

fn aborted(error: sled::transaction::TransactionError<()>) -> StoreError {
    let source = match error {
        sled::transaction::TransactionError::Storage(source) => source,
        sled::transaction::TransactionError::Abort(()) => sled::Error::Unsupported("aborted".into()),
    };
    StoreError::Sled { operation: "written", source }
}

/// sled's threads keep the lock for a moment after the last handle is gone; another process keeps it.
fn open_when_free(path: &Path) -> Result<sled::Db, sled::Error> {
    let begun = Instant::now();
    loop {
        match sled::open(path) {
            Err(sled::Error::Io(error)) if error.to_string().contains("lock") && begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// sled's flusher looks up twice a second.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Written into every database; another value is another layout.
const SCHEMA: &str = "attestry-verifier-1";

#[cfg(test)]
mod tests;
