//! Each machine's history and the census, kept beside the log so that proofs of an interval can be made.
//!
//! ```text
//! publishing → keeping → histories/ → shelf → proofs
//!     signing → recording → checkpoint entries
//! ```
//!
//! Two threads. Neither is on the way to an answer. What they keep is a function of the entries:
//! `histories/` may be removed while the log is stopped, and comes back the same, unless entries were pruned.

mod agent_files;
pub(crate) mod base;
mod census_files;
mod error;
pub(crate) mod keeper;
pub(crate) mod keeping;
pub(crate) mod proofs;
pub(crate) mod recording;
mod shelf;
mod timestamps;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ledger_history::census::Census;
use ledger_protocol::body::CensusBody;

pub use self::error::HistoriesError;

/// How often the log puts its own checkpoints and the census on record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HistoriesConfig {
    /// Least time between two censuses.
    pub epoch: Duration,
    /// Time after which an idle log puts a checkpoint on record all the same, so that time goes on.
    pub idle_checkpoint_interval: Duration,
}

impl Default for HistoriesConfig {
    fn default() -> Self {
        Self { epoch: CENSUS_EPOCH, idle_checkpoint_interval: IDLE_CHECKPOINT_INTERVAL }
    }
}

/// What readers and the line know of the histories.
#[derive(Debug)]
pub(crate) struct Histories {
    cache: Mutex<VecDeque<(u64, Arc<Census>)>>,
    /// Censuses that are kept whole, leaves under them included.
    censuses: AtomicU64,
    path: PathBuf,
    /// The census that may be appended now.
    permitted: Mutex<Option<CensusBody>>,
    /// Why no proofs are made.
    problem: Mutex<Option<String>>,
    /// Entries of the last snapshot.
    saved: AtomicU64,
    /// Entries taken.
    size: AtomicU64,
    /// Entries that a snapshot is to have.
    wanted: AtomicU64,
}

impl Histories {
    /// Of the log in the folder `root`; they are not ready before somebody says so.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            cache: Mutex::default(),
            censuses: AtomicU64::new(0),
            path: root.join(HISTORIES_FOLDER),
            permitted: Mutex::default(),
            problem: Mutex::new(Some("the histories are being brought up to date".to_owned())),
            saved: AtomicU64::new(0),
            size: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
        }
    }

    /// The one census that the line may take.
    pub(crate) fn permitted(&self) -> Option<CensusBody> {
        lock(&self.permitted).clone()
    }

    fn permit(&self, census: Option<CensusBody>) {
        *lock(&self.permitted) = census;
    }

    /// Why no proofs can be made; `None` if they can.
    pub(crate) fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }

    fn set_problem(&self, problem: Option<String>) {
        *lock(&self.problem) = problem;
    }

    /// Entries that the histories have taken.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Asks for a snapshot of so many entries at least.
    fn want_save(&self, size: u64) {
        self.wanted.fetch_max(size, Ordering::AcqRel);
    }

    /// Entries of the last snapshot, which is on the disk with all that it rests on.
    fn saved(&self) -> u64 {
        self.saved.load(Ordering::Acquire)
    }

    /// So many censuses can be read.
    fn show(&self, censuses: u64) {
        self.censuses.store(censuses, Ordering::Release);
    }

    fn shown(&self) -> u64 {
        self.censuses.load(Ordering::Acquire)
    }

    /// A census by its number, with all its rows.
    fn census(&self, number: u64) -> Result<Arc<Census>, HistoriesError> {
        if let Some((_, census)) = lock(&self.cache).iter().find(|(known, _)| *known == number) {
            return Ok(Arc::clone(census));
        }
        let census = Arc::new(census_files::read(&self.path, number)?);
        let mut cache = lock(&self.cache);
        cache.push_front((number, Arc::clone(&census)));
        let mut rows = 0;
        let keep = cache.iter().take_while(|(_, census)| {
            rows += census.rows().len();
            rows <= CACHE_ROWS_MAX
        });
        let keep = keep.count().clamp(CACHE_CENSUSES_MIN, CACHE_CENSUSES_MAX);
        cache.truncate(keep);
        Ok(census)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Least time between two censuses unless told otherwise: how finely a proof's ends are bounded.
pub const CENSUS_EPOCH: Duration = Duration::from_secs(60);

/// How often an idle log's checkpoint is put on record unless told otherwise: 1,440 entries of about 130
/// bytes a day, and as many censuses.
pub const IDLE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// The folder's name in the data directory.
pub(crate) const HISTORIES_FOLDER: &str = "histories";

/// Rows of censuses held for readers, about 400 bytes each with their tree: 80 MB.
const CACHE_ROWS_MAX: usize = 200_000;

/// Censuses held whatever their size: the two that a proof opens.
const CACHE_CENSUSES_MIN: usize = 2;

/// Censuses held at most: the ends of a few intervals that are asked for again and again.
const CACHE_CENSUSES_MAX: usize = 16;
