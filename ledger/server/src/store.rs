//! The indexes, in sled: made from segments and checkpoints, and remade from them at any time.
//!
//! New entries are answered from memory at once and written in bulk, about once a second.

mod update;

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ledger_protocol::{AgentChain, Answers, LogState, LogTotals};
use messages::ledger::Head;
use messages::{AgentId, Digest, cbor};
use openssl::sha::Sha256;

pub(crate) use self::update::Update;
use crate::segment::{Location, RememberedAnswer};

/// Everything looked up by something else than the index of an entry.
///
/// One tree, so that changes come together or not at all; the first byte of a key says what it
/// is. Nothing is flushed per batch: at start it is caught up from the segments.
#[derive(Debug)]
pub(crate) struct Index {
    db: sled::Db,
    path: PathBuf,
    staged: RwLock<Staged>,
    /// Held by who writes.
    turn: Mutex<()>,
}

/// What is known and not in sled yet.
#[derive(Debug, Default)]
struct Staged {
    /// Older: being written.
    writing: Option<Arc<Update>>,
    next: Update,
}

impl Staged {
    /// Newest first.
    fn updates(&self) -> impl Iterator<Item = &Update> {
        std::iter::once(&self.next).chain(self.writing.as_deref())
    }
}

/// Why the indexes failed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A record is not what was written.
    #[error("the index in {path} has a malformed record; run: attestry-ledger reindex", path = path.display())]
    Malformed {
        /// Its folder.
        path: PathBuf,
    },
    /// The store failed.
    #[error("the index in {path} cannot be used; run: attestry-ledger reindex", path = path.display())]
    Store {
        /// Its folder.
        path: PathBuf,
        /// What it says.
        source: sled::Error,
    },
}

/// A run of one chain's entries with successive indices in one segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Run {
    /// Number of the first entry in its chain.
    pub(crate) seq: u64,
    /// Its index in the log.
    pub(crate) index: u64,
    /// Where it is.
    pub(crate) location: Location,
}

/// A segment that is not continued any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Finished {
    pub(crate) bytes: u64,
    /// Index after its last entry.
    pub(crate) end: u64,
}

impl Index {
    /// Opens the index in `path`, making an empty one if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        let failed = |source| IndexError::Store { path: path.to_owned(), source };
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_MS));
        let db = config.open().map_err(failed)?;
        Ok(Self { db, path: path.to_owned(), staged: RwLock::default(), turn: Mutex::default() })
    }

    /// What the rules need to know, as of the last update; a log without entries if there was none.
    pub(crate) fn state(&self) -> Result<LogState, IndexError> {
        let totals = match self.db.get([TOTALS]).map_err(self.failed())? {
            Some(bytes) => self.decode(&bytes)?,
            None => LogTotals::default(),
        };
        let mut agents = Vec::new();
        for found in self.db.scan_prefix([CHAIN]) {
            let (key, value) = found.map_err(self.failed())?;
            let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
            let agent = name.and_then(|name| name.parse().ok()).ok_or_else(|| self.malformed())?;
            agents.push((agent, self.decode(&value)?));
        }
        Ok(LogState::restore(totals, agents))
    }

    /// The remembered answers, and the numbers of the oldest and of the next.
    pub(crate) fn answers(&self) -> Result<(Answers, u64, u64), IndexError> {
        let mut answers = Answers::default();
        let (mut oldest, mut next) = (None, 0);
        for found in self.db.scan_prefix([ANSWER]) {
            let (key, value) = found.map_err(self.failed())?;
            let number = key.get(1..).and_then(be_u64).ok_or_else(|| self.malformed())?;
            let (key, answered): RememberedAnswer = self.decode(&value)?;
            answers.remember(key, answered);
            oldest.get_or_insert(number);
            next = number + 1;
        }
        Ok((answers, oldest.unwrap_or(next), next))
    }

    /// Makes changes known at once. They are written by [`Index::write_staged`].
    pub(crate) fn stage(&self, update: Update) {
        write(&self.staged).next.absorb(update);
    }

    /// Whether so much is staged that it should be written soon, and whether at once.
    pub(crate) fn pressure(&self) -> (bool, bool) {
        let records = read(&self.staged).next.records();
        (records >= STAGED_RECORDS, records >= 4 * STAGED_RECORDS)
    }

    /// Writes what is staged, after `before` has made durable what the index must not be ahead
    /// of. Returns how many entries the index then has, `None` if nothing was staged.
    pub(crate) fn write_staged<E: From<IndexError>>(
        &self,
        before: impl FnOnce() -> Result<(), E>,
    ) -> Result<Option<u64>, E> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let update = {
            let mut staged = write(&self.staged);
            if staged.next.records() == 0 {
                return Ok(None);
            }
            let update = Arc::new(std::mem::take(&mut staged.next));
            staged.writing = Some(Arc::clone(&update));
            update
        };
        before()?;
        self.db.apply_batch(update.to_batch()).map_err(self.failed())?;
        write(&self.staged).writing = None;
        Ok(update.totals().map(|totals| totals.size))
    }

    /// Records a checkpoint that is kept.
    pub(crate) fn add_checkpoint(&self, size: u64, note: &Digest) -> Result<(), IndexError> {
        let key = key(CHECKPOINT, &size.to_be_bytes());
        self.db.insert(key, note.as_bytes()).map(drop).map_err(self.failed())
    }

    /// Digest of the kept checkpoint of a size.
    pub(crate) fn checkpoint(&self, size: u64) -> Result<Option<Digest>, IndexError> {
        let found = self.db.get(key(CHECKPOINT, &size.to_be_bytes())).map_err(self.failed())?;
        found.map(|bytes| Digest::try_from(&*bytes).map_err(|_| self.malformed())).transpose()
    }

    /// Sizes of kept checkpoints from `from` to `to`, both included, ascending, at most `limit`.
    pub(crate) fn checkpoints(&self, from: u64, to: u64, limit: usize) -> Result<Vec<u64>, IndexError> {
        let bounds = key(CHECKPOINT, &from.to_be_bytes())..=key(CHECKPOINT, &to.to_be_bytes());
        let sizes = self.db.range(bounds).take(limit).map(|found| {
            let (key, _) = found.map_err(self.failed())?;
            key.get(1..).and_then(be_u64).ok_or_else(|| self.malformed())
        });
        sizes.collect()
    }

    /// Size of the latest checkpoint recorded.
    pub(crate) fn last_checkpoint(&self) -> Result<Option<u64>, IndexError> {
        let found = self.db.scan_prefix([CHECKPOINT]).next_back().transpose().map_err(self.failed())?;
        found.map(|(key, _)| key.get(1..).and_then(be_u64).ok_or_else(|| self.malformed())).transpose()
    }

    /// Number of the first entry of a chain that the index has a place of; `None` if it has none.
    pub(crate) fn first_seq(&self, agent: Option<&AgentId>) -> Result<Option<u64>, IndexError> {
        let staged = read(&self.staged);
        let (first, last) = (run_key(agent, 0), run_key(agent, u64::MAX));
        let stored = self.db.range(first.clone()..=last.clone()).next().transpose().map_err(self.failed())?;
        let stored = stored.map(|found| self.decode_run(&found)).transpose()?;
        let in_memory = staged.updates().filter_map(|update| update.run_from(&first, &last));
        Ok(in_memory.chain(stored).map(|run| run.seq).min())
    }

    /// Forgets places in segments before the one that begins with the entry `first`.
    pub(crate) fn prune(&self, first: u64) -> Result<(), IndexError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys: Vec<sled::IVec> = Vec::new();
        for kind in [MARK, FINISHED] {
            let old = key(kind, &0u64.to_be_bytes())..key(kind, &first.to_be_bytes());
            for found in self.db.range(old) {
                keys.push(found.map_err(self.failed())?.0);
            }
        }
        for found in self.db.scan_prefix([RUN]) {
            let found = found.map_err(self.failed())?;
            if self.decode_run(&found)?.location.segment < first {
                keys.push(found.0);
            }
        }
        for keys in keys.chunks(PRUNED_AT_ONCE) {
            let mut batch = sled::Batch::default();
            keys.iter().for_each(|key| batch.remove(key));
            self.db.apply_batch(batch).map_err(self.failed())?;
        }
        self.flush()
    }

    /// The end of a chain.
    pub(crate) fn head(&self, agent: Option<&AgentId>) -> Result<Head, IndexError> {
        Ok(match agent {
            None => self.totals()?.fleet,
            Some(agent) => self.chain(agent)?.map_or_else(Head::default, |chain| chain.head),
        })
    }

    /// What belongs to no one agent.
    pub(crate) fn totals(&self) -> Result<LogTotals, IndexError> {
        let staged = read(&self.staged);
        if let Some(totals) = staged.updates().find_map(Update::totals) {
            return Ok(*totals);
        }
        match self.db.get([TOTALS]).map_err(self.failed())? {
            Some(bytes) => self.decode(&bytes),
            None => Ok(LogTotals::default()),
        }
    }

    /// Where the next batch goes, or would go if its segment were not full; `None` without entries.
    pub(crate) fn end(&self) -> Result<Option<Location>, IndexError> {
        let found = self.db.get([END]).map_err(self.failed())?;
        found.map(|bytes| self.numbers(&bytes).map(|[segment, offset]| Location { segment, offset })).transpose()
    }

    /// What is known of a finished segment.
    pub(crate) fn finished(&self, first: u64) -> Result<Option<Finished>, IndexError> {
        let found = self.db.get(key(FINISHED, &first.to_be_bytes())).map_err(self.failed())?;
        found.map(|value| self.numbers(&value).map(|[bytes, end]| Finished { bytes, end })).transpose()
    }

    /// The last marked entry at or before `index`, and where it is.
    pub(crate) fn mark(&self, index: u64) -> Result<Option<(u64, Location)>, IndexError> {
        let staged = read(&self.staged);
        if let Some(mark) = staged.updates().find_map(|update| update.mark(index)) {
            return Ok(Some(mark));
        }
        let bounds = key(MARK, &0u64.to_be_bytes())..=key(MARK, &index.to_be_bytes());
        let found = self.db.range(bounds).next_back().transpose().map_err(self.failed())?;
        let decode = |(key, value): (sled::IVec, sled::IVec)| {
            let index = key.get(1..).and_then(be_u64).ok_or_else(|| self.malformed())?;
            let [segment, offset] = self.numbers(&value)?;
            Ok((index, Location { segment, offset }))
        };
        found.map(decode).transpose()
    }

    /// Where an agent's chain stands.
    pub(crate) fn chain(&self, agent: &AgentId) -> Result<Option<AgentChain>, IndexError> {
        let staged = read(&self.staged);
        if let Some(chain) = staged.updates().find_map(|update| update.chain_of(agent)) {
            return Ok(Some(chain.clone()));
        }
        let found = self.db.get(key(CHAIN, agent.as_str().as_bytes())).map_err(self.failed())?;
        found.map(|bytes| self.decode(&bytes)).transpose()
    }

    /// The run that the entry `seq` of a chain is in, or would be in; and the number with which
    /// the next run begins, if there is one.
    pub(crate) fn run(&self, agent: Option<&AgentId>, seq: u64) -> Result<Option<(Run, Option<u64>)>, IndexError> {
        let staged = read(&self.staged);
        let first = run_key(agent, 0);
        let last = run_key(agent, u64::MAX);
        let here = run_key(agent, seq);
        let stored = self.db.range(first.clone()..=here.clone()).next_back().transpose().map_err(self.failed())?;
        let stored = stored.map(|found| self.decode_run(&found)).transpose()?;
        let in_memory = staged.updates().filter_map(|update| update.run_before(&first, &here));
        let Some(run) = in_memory.chain(stored).max_by_key(|run| run.seq) else {
            return Ok(None);
        };
        let mut after = self.db.range((Bound::Excluded(here.clone()), Bound::Included(last.clone())));
        let stored = after.next().transpose().map_err(self.failed())?;
        let stored = stored.map(|next| self.decode_run(&next)).transpose()?;
        let in_memory = staged.updates().filter_map(|update| update.run_after(&here, &last));
        let next = in_memory.chain(stored).map(|run| run.seq).min();
        Ok(Some((run, next)))
    }

    fn decode_run(&self, (key, value): &(sled::IVec, sled::IVec)) -> Result<Run, IndexError> {
        let seq = key.len().checked_sub(8).and_then(|at| key.get(at..)).and_then(be_u64);
        let seq = seq.ok_or_else(|| self.malformed())?;
        let [index, segment, offset] = self.numbers(value)?;
        Ok(Run { seq, index, location: Location { segment, offset } })
    }

    fn numbers<const N: usize>(&self, value: &[u8]) -> Result<[u64; N], IndexError> {
        let mut chunks = value.chunks(8).map(be_u64);
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = chunks.next().flatten().ok_or_else(|| self.malformed())?;
        }
        if chunks.next().is_some() { Err(self.malformed()) } else { Ok(numbers) }
    }

    /// SHA-256 over all records in the order of their keys, each as u32 length and bytes of key
    /// and value: two indexes with one digest hold the same.
    pub(crate) fn digest(&self) -> Result<Digest, IndexError> {
        let mut sha = Sha256::new();
        for found in self.db.iter() {
            let (key, value) = found.map_err(self.failed())?;
            for part in [&key, &value] {
                let length = u32::try_from(part.len()).map_err(|_| self.malformed())?;
                sha.update(&length.to_be_bytes());
                sha.update(part);
            }
        }
        Ok(Digest(sha.finish()))
    }

    /// Writes everything to the disk, so that the next start has little to catch up.
    pub(crate) fn flush(&self) -> Result<(), IndexError> {
        self.db.flush().map(drop).map_err(self.failed())
    }

    fn decode<T: serde::Serialize + serde::de::DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, IndexError> {
        cbor::decode(bytes).map_err(|_| self.malformed())
    }

    pub(crate) fn malformed(&self) -> IndexError {
        IndexError::Malformed { path: self.path.clone() }
    }

    fn failed(&self) -> impl Fn(sled::Error) -> IndexError {
        let path = self.path.clone();
        move |source| IndexError::Store { path: path.clone(), source }
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn key(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

/// Kind, length of the agent's id (0 for the fleet's chain), id, number: a chain's runs lie
/// together in their order.
fn run_key(agent: Option<&AgentId>, seq: u64) -> Vec<u8> {
    let name = agent.map_or("", AgentId::as_str);
    let mut key = Vec::with_capacity(2 + name.len() + 8);
    // Fits: an agent id has at most 80 bytes.
    key.extend_from_slice(&[RUN, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    key.extend_from_slice(name.as_bytes());
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

fn be_u64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// `a` ‖ agent id → [`AgentChain`].
const CHAIN: u8 = b'a';
/// `e` → u64 segment ‖ u64 offset where the next batch goes.
const END: u8 = b'e';
/// `f` ‖ u64 first index → u64 bytes ‖ u64 end of a finished segment.
const FINISHED: u8 = b'f';
/// `i` ‖ u64 number → remembered answer.
const ANSWER: u8 = b'i';
/// `m` ‖ u64 index → u64 segment ‖ u64 offset, for every 256th entry.
const MARK: u8 = b'm';
/// `p` ‖ u64 size → digest of the kept checkpoint.
const CHECKPOINT: u8 = b'p';
/// `r` ‖ chain ‖ u64 seq → [`Run`].
const RUN: u8 = b'r';
/// `t` → [`LogTotals`]: says up to where everything else is caught up.
const TOTALS: u8 = b't';

/// Pages kept in memory: a hundred thousand agents' chains and latest runs.
const CACHE_BYTES: u64 = 64 << 20;

/// Changed records after which they are written without waiting: about 16 MiB.
const STAGED_RECORDS: usize = 1 << 17;

/// Records removed in one write: a few megabytes of keys.
const PRUNED_AT_ONCE: usize = 1 << 16;

/// How often changes go to the disk: what is lost is made again from the segments.
const FLUSH_MS: u64 = 1_000;
