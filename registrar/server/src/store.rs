//! The identity book on disk: sled, one tree per noun. Nothing else in this crate knows sled.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ledger_protocol::body::Binding;
use messages::AgentId;
use registrar_protocol::{ChainStanding, Contact};

use row::{AgentRow, ChainRow};

mod row;
#[cfg(test)]
mod tests;

/// The active agents, and where each agent's chain of the ledger stood when it was last looked at.
///
/// Copies share one database. Its methods block: call them where blocking is allowed.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    agents: sled::Tree,
    chains: sled::Tree,
    database: sled::Db,
    quarantine: sled::Tree,
}

/// An active agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentRecord {
    /// Who it is, for good.
    pub(crate) binding: Binding,
    /// Where it is now.
    pub(crate) contact: Contact,
}

/// How an agent's chain stood after its first `next_seq` entries. The ledger is the truth; this only saves reading
/// what was read before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ChainMark {
    /// The first entry that is not accounted for.
    pub(crate) next_seq: u64,
    /// The standing before it.
    pub(crate) standing: ChainStanding,
}

/// Why the book cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database failed.
    #[error("the registrar's store could not {operation}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// What sled says.
        source: sled::Error,
    },
    /// A record that cannot be written down.
    #[error("a record of the registrar's store could not be encoded")]
    Encode(#[source] serde_json::Error),
    /// The folder is no database of ours, or another process has it.
    #[error("the registrar's store {path} cannot be opened; is another registrar using it?", path = path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// What sled says.
        source: sled::Error,
    },
    /// The database was written by another version of this program.
    #[error("the registrar's store {path} has schema {found:?}; this version reads {SCHEMA:?}", path = path.display())]
    Schema {
        /// The folder.
        path: PathBuf,
        /// The schema found.
        found: String,
    },
}

impl Store {
    /// Opens the book in `path`, or starts one.
    ///
    /// # Errors
    /// [`StoreError`] if another process has it, it is damaged, or it has another schema.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let opening = |source| StoreError::Open { path: path.to_owned(), source };
        // Where machines can be reached lies below: others have no business here.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| opening(error.into()))?;
        let database = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).open().map_err(opening)?;
        let tree = |name| database.open_tree(name).map_err(failed("open a tree"));
        let (agents, chains, meta, quarantine) = (tree("agents")?, tree("chains")?, tree("meta")?, tree("quarantine")?);
        match meta.get(SCHEMA_KEY).map_err(failed("read its schema"))? {
            Some(found) if *found == *SCHEMA.as_bytes() => {}
            Some(found) => {
                let found = String::from_utf8_lossy(&found).into_owned();
                return Err(StoreError::Schema { path: path.to_owned(), found });
            }
            None => {
                meta.insert(SCHEMA_KEY, SCHEMA).map_err(failed("write its schema"))?;
                database.flush().map_err(failed("write to disk"))?;
            }
        }
        Ok(Self { agents, chains, database, quarantine })
    }

    /// The active agent of this id. A row that cannot be read is set aside and counts as none: the ledger still says
    /// whose the id is.
    pub(crate) fn agent(&self, id: &AgentId) -> Result<Option<AgentRecord>, StoreError> {
        let row = self.agents.get(id.as_str()).map_err(failed("read an agent"))?;
        row.map_or(Ok(None), |row| self.read_or_set_aside(id.as_str().as_bytes(), &row))
    }

    /// The ids of all active agents, ascending. A row that cannot be read is set aside, not listed, and hides no other.
    pub(crate) fn agents(&self) -> Result<Vec<AgentId>, StoreError> {
        let mut ids = Vec::new();
        for pair in &self.agents {
            let (key, row) = pair.map_err(failed("list its agents"))?;
            if let Some(record) = self.read_or_set_aside(&key, &row)? {
                ids.push(record.binding.agent);
            }
        }
        Ok(ids)
    }

    /// Where the agent's chain stood; the beginning if it was never looked at or the row cannot be read.
    pub(crate) fn chain(&self, id: &AgentId) -> Result<ChainMark, StoreError> {
        let row = self.chains.get(id.as_str()).map_err(failed("read a chain mark"))?;
        Ok(row.and_then(|row| ChainRow::decode(&row)).unwrap_or_default())
    }

    /// Writes an active agent, durable on return.
    pub(crate) fn put_agent(&self, record: &AgentRecord) -> Result<(), StoreError> {
        let row = AgentRow::encode(record).map_err(StoreError::Encode)?;
        self.agents.insert(record.binding.agent.as_str(), row).map_err(failed("write an agent"))?;
        self.flush()
    }

    /// Writes where a chain stands. Not flushed: losing it costs only reading again.
    pub(crate) fn put_chain(&self, id: &AgentId, mark: &ChainMark) -> Result<(), StoreError> {
        let row = ChainRow::encode(mark).map_err(StoreError::Encode)?;
        self.chains.insert(id.as_str(), row).map_err(failed("write a chain mark"))?;
        Ok(())
    }

    /// Removes an agent, durable on return; false if there was none.
    pub(crate) fn remove_agent(&self, id: &AgentId) -> Result<bool, StoreError> {
        let removed = self.agents.remove(id.as_str()).map_err(failed("remove an agent"))?;
        self.flush()?;
        Ok(removed.is_some())
    }

    /// Makes everything written so far durable.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.database.flush().map(drop).map_err(failed("write to disk"))
    }

    fn read_or_set_aside(&self, key: &[u8], row: &[u8]) -> Result<Option<AgentRecord>, StoreError> {
        let flaw = match AgentRow::decode(key, row) {
            Ok(record) => return Ok(Some(record)),
            Err(flaw) => flaw,
        };
        let key_text = String::from_utf8_lossy(key);
        tracing::error!(key = ?key_text, %flaw, "a record of the store cannot be read; it is set aside");
        self.quarantine.insert(key, row).map_err(failed("set a record aside"))?;
        self.flush()?;
        self.agents.remove(key).map_err(failed("remove a record that was set aside"))?;
        Ok(None)
    }
}

fn failed(operation: &'static str) -> impl Fn(sled::Error) -> StoreError {
    move |source| StoreError::Database { operation, source }
}

/// Ten thousand records of 5 KiB, and as much again for the tree above them.
const CACHE_BYTES: u64 = 96 << 20;
const SCHEMA_KEY: &str = "schema";
/// Raised when a tree or a row changes its meaning; rows carry a version of their own.
const SCHEMA: &str = "1";
