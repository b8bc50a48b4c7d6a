//! The log itself: from requests to durable entries, tree and checkpoints.
//!
//! ```text
//! requests → sequencing → writing → publishing → answers
//!                                       ↓
//!                                    signing → checkpoints
//! ```
//!
//! Four threads, so that while one batch is being synced the next is being sequenced and the one
//! before is being hashed. An answer leaves only at the end of the line. A fifth writes the index
//! in bulk.

mod appending;
mod indexing;
mod open_error;
mod opening;
mod publishing;
mod replay;
mod sequencing;
mod signing;
mod writing;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use ledger_protocol::body::{Body, Genesis, ServiceStart};
use ledger_protocol::{Kind, RequestRefused};
use ledger_tlog::proof::{ConsistencyProof, InclusionProof};
use ledger_tlog::tree::{TreeError, TreeHead, consistency_proof, inclusion_proof};
pub(crate) use logging::chain;
use messages::Digest;
use messages::ledger::{AppendAnswer, AppendRequest, Group, GroupResult, Info, Item};
use serde_bytes::ByteBuf;
use tokio::sync::{Notify, oneshot};

pub(crate) use self::appending::Appender;
pub(crate) use self::indexing::write_index;
pub use self::open_error::OpenError;
pub(crate) use self::opening::{Folders, INDEX_FOLDER, folders, inspect};
use self::sequencing::Reply;
use crate::blobs::Blobs;
use crate::checkpoints::Checkpoints;
use crate::clock::Clock;
use crate::folder::Folder;
use crate::histories::{Histories, HistoriesConfig, keeping, recording};
use crate::levels::Levels;
use crate::metrics::Metrics;
use crate::monitoring::Monitoring;
use crate::ownership::Ownership;
use crate::pruned::Pruned;
use crate::receipts::Receipts;
use crate::segment::Segments;
use crate::stamping::StampingConfig;
use crate::stamps::{STAMPS_FOLDER, Stamps};
use crate::store::Index;
use crate::witnessing::{Coverage, WitnessConfig, Witnessing};
use crate::{entropy, pruning};

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Time between checkpoints while entries come.
    pub checkpoint_interval: Duration,
    /// How the log's own checkpoints and the machines' histories are put on record; not at all if `None`.
    pub histories: Option<HistoriesConfig>,
    /// Which of several ledgers this is, in its `service-start` entries.
    pub instance: String,
    /// When the log calls itself ready, and where its metrics are shown beside its own address.
    pub monitoring: Monitoring,
    /// The log's name, when it is new; one is made up if none is given. A log that exists must
    /// have this name.
    pub origin: Option<String>,
    /// The folder of the lock that says what was signed last; `lock` in the data directory if
    /// `None`. It is made with the log and must be there ever after.
    pub lock: Option<PathBuf>,
    /// The data directory.
    pub path: PathBuf,
    /// How long entries keep their bodies; for ever if `None`. Older ones are pruned while the log
    /// is served.
    pub retain: Option<Duration>,
    /// Bytes after which the next segment is begun.
    pub segment_bytes_max: u64,
    /// Bytes of segments up to which a start reads every entry again; of a larger log it reads
    /// those that the index does not have.
    pub whole_bytes_max: u64,
    /// Who stamps the log's checkpoints; nobody if there is none.
    pub stamping: Option<StampingConfig>,
    /// Who cosigns the log's checkpoints before they are published; nobody if `None`.
    pub witnesses: Option<WitnessConfig>,
}

impl LogConfig {
    /// The log in the folder `path`, with [`CHECKPOINT_INTERVAL`] and [`SEGMENT_BYTES_MAX`].
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            checkpoint_interval: CHECKPOINT_INTERVAL,
            histories: None,
            instance: "ledger".to_owned(),
            lock: None,
            monitoring: Monitoring::default(),
            origin: None,
            path: path.into(),
            retain: None,
            segment_bytes_max: SEGMENT_BYTES_MAX,
            whole_bytes_max: WHOLE_BYTES_MAX,
            stamping: None,
            witnesses: None,
        }
    }
}

/// A log that is open: this process alone appends to it.
///
/// Dropping it finishes what was accepted, signs a last checkpoint and closes the log; it blocks
/// meanwhile.
#[derive(Debug)]
pub struct Ledger {
    input: appending::Input,
    /// Let go of when all threads have ended.
    ownership: Mutex<Option<Ownership>>,
    pub(crate) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads and the readers have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) blobs: Blobs,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) clock: Clock,
    pub(crate) coverage: Coverage,
    /// Entries that are durable, indexed and in the level files.
    pub(crate) durable_size: AtomicU64,
    /// Why nothing more is accepted.
    failure: OnceLock<String>,
    pub(crate) histories: Option<Histories>,
    pub(crate) index: Arc<Index>,
    pub(crate) levels: Arc<Levels>,
    /// Told when the lock was not moved on.
    pub(crate) lock_lost: Notify,
    pub(crate) origin: String,
    /// Time between checkpoints.
    pub(crate) interval: Duration,
    pub(crate) metrics: Metrics,
    pub(crate) monitoring: Monitoring,
    progress: Mutex<Progress>,
    progressed: Condvar,
    /// Where a log begins whose older entries were pruned.
    pub(crate) pruned: RwLock<Option<Arc<Pruned>>>,
    /// Held by who prunes.
    pub(crate) pruning: Mutex<()>,
    pub(crate) receipts: Receipts,
    /// The data directory.
    pub(crate) root: Folder,
    pub(crate) segments: Arc<Segments>,
    pub(crate) stamps: Stamps,
    pub(crate) vkey: String,
}

/// Where tree and checkpoints stand.
#[derive(Clone, Debug)]
struct Progress {
    /// The tree of all durable entries.
    head: TreeHead,
    /// The latest checkpoint.
    published: Option<Published>,
    /// No more entries come.
    stopping: bool,
}

/// A checkpoint that everyone may see.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) note: Arc<[u8]>,
    pub(crate) size: u64,
}

/// Why a request was not answered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AppendFailed {
    /// Too many requests wait.
    #[error("the ledger has {QUEUE_REQUESTS_MAX} requests waiting")]
    Busy,
    /// The disk failed, or what is on it; the process must be restarted. What this request asked
    /// for may be in the log or not.
    #[error("the ledger has stopped accepting entries: {reason}")]
    Failed {
        /// What failed.
        reason: String,
    },
    /// The request was answered before, and the entries that its answer was about are pruned.
    #[error("the request was appended before, as entries from {first} on, whose bodies are pruned")]
    Pruned {
        /// Index of the first of them.
        first: u64,
    },
    /// The key names another request, or another submitter's; nothing was appended.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The request is refused as a whole.
    #[error("{0}")]
    Refused(RequestRefused),
    /// The log is being closed.
    #[error("the ledger is shutting down")]
    Stopping,
}

impl Ledger {
    /// Opens the log, or begins one where there is none, and records the start.
    ///
    /// Goes through the entries that the index does not have, or through all of a small log: a
    /// torn tail is cut, hashes and indexes are made whole, and what was signed must still be
    /// there. Older entries of a large log are taken as they are, except that their files must
    /// have their lengths and the hashes of the tree's edge the root that was signed; to read
    /// all of them again is what [`fsck`](fn@crate::fsck) does. Returns when a checkpoint covers
    /// everything.
    ///
    /// # Errors
    /// [`OpenError`], naming the file, what is wrong with it and what to do.
    pub fn open(config: &LogConfig) -> Result<Self, OpenError> {
        let ledger = Self::start(config)?;
        let started = ledger.record_start(config);
        match started {
            Ok(size) if ledger.shared.wait_for_checkpoint(size) => Ok(ledger),
            Ok(_) => Err(OpenError::Start(ledger.shared.failed())),
            Err(error) => Err(OpenError::Start(error)),
        }
    }

    fn start(config: &LogConfig) -> Result<Self, OpenError> {
        let opened = opening::open(config, |_| Ok(()))?;
        let receipts = Receipts::open(&opened.root, opened.identity.origin()).map_err(OpenError::Receipts)?;
        let stamps = Stamps::open(&opened.root);
        let path = config.path.join(STAMPS_FOLDER);
        let stamps = stamps.map_err(|source| OpenError::Io { operation: "open", path, source })?;
        let signed = opened.signed.as_ref().map(|signed| (signed.head, signed.note.as_slice()));
        let verifier = opened.identity.verifier();
        let (witnessing, coverage) = Witnessing::begin(config.witnesses.as_ref(), verifier, signed, &opened.levels)
            .map_err(OpenError::Witnesses)?;
        let shared = Arc::new(Shared {
            blobs: opened.blobs,
            checkpoints: opened.checkpoints,
            clock: Clock::starting_at(opened.state.totals().recorded),
            coverage,
            durable_size: AtomicU64::new(opened.state.totals().size),
            failure: OnceLock::new(),
            histories: config.histories.map(|_| Histories::new(&config.path)),
            index: opened.index,
            levels: opened.levels,
            lock_lost: Notify::new(),
            origin: opened.identity.origin().to_owned(),
            interval: config.checkpoint_interval,
            metrics: Metrics::default(),
            monitoring: config.monitoring.clone(),
            progress: Mutex::new(Progress {
                head: opened.level_writer.tree_head(),
                published: opened
                    .signed
                    .as_ref()
                    .map(|signed| Published { note: Arc::from(signed.note.as_slice()), size: signed.head.tree_size }),
                stopping: false,
            }),
            progressed: Condvar::new(),
            pruned: RwLock::new(opened.pruned.as_ref().map(|(pruned, _)| Arc::new(pruned.clone()))),
            pruning: Mutex::default(),
            receipts,
            root: Folder::open(&config.path).map_err(|source| OpenError::Io {
                operation: "open",
                path: config.path.clone(),
                source,
            })?,
            segments: opened.segments,
            stamps,
            vkey: opened.identity.vkey(),
        });
        if let Some((_, snapshot)) = &opened.pruned {
            pruning::finish(&shared, snapshot).map_err(|error| OpenError::Pruning(Box::new(error)))?;
        }
        let (input, submissions) = sync_channel(QUEUE_REQUESTS_MAX);
        let input: appending::Input = Arc::new(Mutex::new(Some(input)));
        let recorded = opened.state.totals().checkpoint_size;
        // Nothing waits between sequencing and writing: a batch that cannot be written yet grows.
        let (sealed, to_write) = sync_channel(0);
        let (free, ready) = sync_channel(1);
        let (index, wanted) = sync_channel(1);
        let (written, to_publish) = sync_channel(BATCHES_WRITTEN_MAX);
        let sequencing = sequencing::Sequencing::new(Arc::clone(&shared), opened.state, opened.answers);
        let writing = writing::Writing::new(Arc::clone(&shared), opened.writer);
        let publishing = publishing::Publishing::new(
            Arc::clone(&shared),
            opened.level_writer,
            opened.answer_numbers,
            opened.ends,
            index,
        );
        let indexing = indexing::Indexing { shared: Arc::clone(&shared) };
        let signing = signing::Signing {
            guard: opened.guard,
            identity: opened.identity,
            interval: config.checkpoint_interval,
            lock: opened.lock,
            root: opened.root,
            shared: Arc::clone(&shared),
            signed: opened.signed.map(|signed| signed.note).unwrap_or_default(),
            witnessing,
        };
        let mut threads = vec![
            spawn("ledger-sequence", move || sequencing.run(&submissions, &ready, &sealed))?,
            spawn("ledger-write", move || writing.run(&to_write, &free, &written))?,
            spawn("ledger-publish", move || publishing.run(&to_publish))?,
            spawn("ledger-index", move || indexing.run(&wanted))?,
            spawn("ledger-sign", move || signing.run())?,
        ];
        if let Some(histories) = config.histories {
            let appender = Appender::new(&input, &shared);
            let recording = recording::Recording::new(appender.clone(), histories, recorded);
            let witnesses = config.witnesses.as_ref().map(|witnesses| witnesses.policy.text().to_vec());
            let keeping = keeping::Keeping::new(appender, histories, witnesses);
            threads.push(spawn("ledger-record", move || recording.run())?);
            threads.push(spawn("ledger-history", move || keeping.run())?);
        }
        let ownership = Mutex::new(Some(opened.ownership));
        Ok(Self { input, ownership, shared, threads: Mutex::new(threads) })
    }

    /// Writes `genesis` into an empty log and `service-start` into any; returns the log's size.
    fn record_start(&self, config: &LogConfig) -> Result<u64, AppendFailed> {
        let mut items = Vec::new();
        if self.shared.durable_size() == 0 {
            items.push(item(&Genesis {
                format: 1,
                origin: self.shared.origin.clone(),
                vkey: self.shared.vkey.clone(),
                created: self.shared.clock.now(),
            }));
        }
        items.push(item(&ServiceStart {
            service: "ledger".to_owned(),
            build: concat!("attestry-ledger ", env!("CARGO_PKG_VERSION")).to_owned(),
            instance: config.instance.clone(),
        }));
        let idempotency_key = entropy::idempotency_key()
            .map_err(|error| AppendFailed::Failed { reason: format!("no random bytes: {error}") })?;
        let groups = vec![Group { agent: None, expected: None, items }];
        let reply = self.submit(AppendRequest { version: 1, idempotency_key, groups }, None)?;
        let answer = self.received(reply.blocking_recv())?;
        match answer.results.as_slice() {
            [GroupResult::Appended(receipts)] => Ok(receipts.last().map_or(0, |receipt| receipt.index + 1)),
            other => Err(AppendFailed::Failed { reason: format!("the start was not recorded: {other:?}") }),
        }
    }

    /// Appends a request's groups and answers when they are durable.
    ///
    /// The same request under the same key gets its first answer again, and appends nothing.
    ///
    /// # Errors
    /// [`AppendFailed`]; only [`AppendFailed::Failed`] leaves open whether the groups are in the log.
    pub async fn append(&self, request: AppendRequest) -> Result<AppendAnswer, AppendFailed> {
        let reply = self.submit(request, None)?;
        self.received(reply.await)
    }

    /// As [`Ledger::append`], for the holder of a certificate: its keys are not those of others.
    pub(crate) async fn append_for(
        &self,
        submitter: Arc<str>,
        request: AppendRequest,
    ) -> Result<AppendAnswer, AppendFailed> {
        let reply = self.submit(request, Some(submitter))?;
        self.received(reply.await)
    }

    /// As [`Ledger::append`], for a caller outside any runtime; blocks.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    ///
    /// # Panics
    /// Inside an asynchronous runtime.
    pub fn append_blocking(&self, request: AppendRequest) -> Result<AppendAnswer, AppendFailed> {
        let reply = self.submit(request, None)?;
        self.received(reply.blocking_recv())
    }

    fn submit(
        &self,
        request: AppendRequest,
        submitter: Option<Arc<str>>,
    ) -> Result<oneshot::Receiver<Reply>, AppendFailed> {
        appending::submit(&self.input, &self.shared, request, submitter)
    }

    fn received(&self, reply: Result<Reply, oneshot::error::RecvError>) -> Result<AppendAnswer, AppendFailed> {
        appending::received(&self.shared, reply)
    }

    /// What the log says of itself.
    ///
    /// # Errors
    /// [`crate::IndexError`] if the index cannot be read.
    pub fn info(&self) -> Result<Info, crate::IndexError> {
        let shared = &self.shared;
        Ok(Info {
            origin: shared.origin.clone(),
            vkey: shared.vkey.clone(),
            durable_size: shared.durable_size(),
            checkpoint_size: shared.published().map_or(0, |published| published.size),
            next_slot: shared.index.totals()?.next_slot,
            minimum_index: shared.pruned().map_or(0, |pruned| pruned.minimum_index),
            receipt_key: Some(shared.receipts.public_pem().to_owned()),
        })
    }

    /// Entries that the machines' histories have taken, a little fewer than are durable; `None` if none are kept.
    #[must_use]
    pub fn histories_size(&self) -> Option<u64> {
        self.shared.histories.as_ref().map(Histories::size)
    }

    /// Proves that the entry `index` is among the first `size`, which must be durable.
    ///
    /// # Errors
    /// [`TreeError`], as when there are not so many entries or a hash cannot be read.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<InclusionProof, TreeError<std::io::Error>> {
        inclusion_proof(index, size, |level, start, out: &mut [_]| self.shared.levels.read(level, start, out))
    }

    /// Proves that the first `old` entries are also the beginning of the first `new`, which must
    /// be durable.
    ///
    /// # Errors
    /// As [`Ledger::inclusion_proof`].
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<ConsistencyProof, TreeError<std::io::Error>> {
        consistency_proof(old, new, |level, start, out: &mut [_]| self.shared.levels.read(level, start, out))
    }

    /// Why the log accepts nothing more; `None` while all is well.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.shared.failure.get().map(String::as_str)
    }

    /// Finishes what was accepted, signs a last checkpoint and closes the log. Blocks; calling it
    /// again does nothing.
    pub fn close(&self) {
        lock(&self.input).take();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            if thread.join().is_err() {
                self.shared.fail("a thread of the log panicked");
            }
        }
        let ownership = lock(&self.ownership).take();
        if ownership.is_some()
            && let Err(error) = self.shared.index.flush()
        {
            tracing::warn!(error = chain(&error), "the index was not flushed; the next start catches it up");
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    pub(crate) fn durable_size(&self) -> u64 {
        self.durable_size.load(Ordering::Acquire)
    }

    pub(crate) fn published(&self) -> Option<Published> {
        self.progress().published.clone()
    }

    /// The digest of the checkpoint of a size, if this log has signed one.
    pub(crate) fn signed(&self, size: u64) -> Option<Digest> {
        match self.index.checkpoint(size) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, size, "a checkpoint was not looked up");
                None
            }
        }
    }

    /// Whether nothing more is accepted.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    /// Where the log begins, if older entries were pruned.
    pub(crate) fn pruned(&self) -> Option<Arc<Pruned>> {
        self.pruned.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }

    fn make_progress(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress());
        self.progressed.notify_all();
    }

    /// Waits until `news` finds something in the sizes of the tree and of the published checkpoint, or so
    /// long; tells whether the log goes on.
    pub(crate) fn wait_for(&self, timeout: Duration, news: impl Fn(u64, u64) -> bool) -> bool {
        let progress = self.progress();
        let quiet = |progress: &mut Progress| {
            let published = progress.published.as_ref().map_or(0, |published| published.size);
            !progress.stopping && self.failure.get().is_none() && !news(progress.head.tree_size, published)
        };
        let waited = self.progressed.wait_timeout_while(progress, timeout, quiet);
        let progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        !progress.stopping && self.failure.get().is_none()
    }

    /// Waits until a checkpoint covers `size` entries; false if that will not happen.
    pub(crate) fn wait_for_checkpoint(&self, size: u64) -> bool {
        let mut progress = self.progress();
        loop {
            if progress.published.as_ref().is_some_and(|published| published.size >= size) {
                return true;
            }
            if progress.stopping || self.failure.get().is_some() {
                return false;
            }
            progress = self.progressed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Stops the log for good; the first reason counts.
    fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!(reason, "the ledger stops accepting entries; restart it when the cause is mended");
        let _ = self.failure.set(reason);
        self.coverage.end();
        self.make_progress(|_| {});
    }

    pub(crate) fn failed(&self) -> AppendFailed {
        match self.failure.get() {
            Some(reason) => AppendFailed::Failed { reason: reason.clone() },
            None => AppendFailed::Stopping,
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(OpenError::Thread)
}

fn item<B: Body>(body: &B) -> Item {
    let kind: Kind = B::KIND;
    Item { kind: kind.number(), body: ByteBuf::from(body.encode()), after: None }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Time between checkpoints unless told otherwise: the age of a nonce's beacon.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a segment unless told otherwise: few files a day, each quickly copied.
pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;

/// Bytes of segments that a start reads whole unless told otherwise: a fraction of a second.
pub const WHOLE_BYTES_MAX: u64 = 64 << 20;

/// Requests that wait to be sequenced: what a disk that stalls for a second may gather from a
/// thousand callers; beyond, callers are told to come back.
const QUEUE_REQUESTS_MAX: usize = 1_024;

/// Batches that are durable and wait to be indexed; more would only add to the waiting.
const BATCHES_WRITTEN_MAX: usize = 2;
