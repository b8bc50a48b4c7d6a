//! What the log counts and measures of itself, for Prometheus.
//!
//! Counting is one relaxed addition each: nothing here makes an append wait.

mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use messages::UnixMillis;

pub(crate) use self::text::{CONTENT_TYPE, Sample, Text, float};

/// Counters and histograms of one log since its start.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Time to an answer, by what it promises: durable, committed, witnessed.
    pub(crate) acks: [Histogram; 3],
    /// Entries of a batch.
    pub(crate) batch_entries: Histogram,
    covering: Mutex<Covering>,
    /// Requests that wait to be sequenced.
    pub(crate) queued: AtomicU64,
    refused: [AtomicU64; CAUSES.len()],
    /// When each time-stamping authority stamped last.
    stamped: Mutex<BTreeMap<String, UnixMillis>>,
    /// Time to write a batch and make it durable.
    pub(crate) sync: Histogram,
}

/// How far checkpoints are behind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Covering {
    /// When the latest checkpoint was published.
    pub(crate) published: Option<Instant>,
    /// Since when an entry waits for a checkpoint.
    pub(crate) uncovered: Option<Instant>,
    /// Since when an entry waits for a checkpoint with a quorum of cosignatures.
    pub(crate) unwitnessed: Option<Instant>,
}

/// Why a request, or a group of one, got nothing of what it asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    /// A file of the ledger is damaged (500).
    Broken = 0,
    /// A group: its chain ends elsewhere.
    Conflict = 1,
    /// The request contradicts an earlier one (422).
    Contradiction = 2,
    /// Malformed (400).
    Malformed = 3,
    /// There is no such thing (404).
    NotFound = 4,
    /// It was pruned (410).
    Pruned = 5,
    /// A group: it breaks a rule.
    Rule = 6,
    /// The caller has too much on the way (429).
    TooMany = 7,
    /// The ledger is busy, stopping or has stopped (503).
    Unavailable = 8,
}

/// The label of each [`Cause`].
const CAUSES: [&str; 9] =
    ["broken", "conflict", "contradiction", "malformed", "not-found", "pruned", "rule", "too-many", "unavailable"];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            acks: [(); 3].map(|()| Histogram::new(&LATENCY_US)),
            batch_entries: Histogram::new(&ENTRIES),
            covering: Mutex::default(),
            queued: AtomicU64::new(0),
            refused: CAUSES.map(|_| AtomicU64::new(0)),
            stamped: Mutex::default(),
            sync: Histogram::new(&LATENCY_US),
        }
    }
}

impl Metrics {
    pub(crate) fn refused(&self, cause: Cause) {
        if let Some(count) = self.refused.get(cause as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts of refusals with their causes' labels.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CAUSES.into_iter().zip(&self.refused).map(|(cause, count)| (cause, count.load(Ordering::Relaxed)))
    }

    /// There are new durable entries.
    pub(crate) fn grown(&self) {
        let mut covering = lock(&self.covering);
        let now = Instant::now();
        covering.uncovered.get_or_insert(now);
        covering.unwitnessed.get_or_insert(now);
    }

    /// A checkpoint is published whose tree was taken at `taken`; `whole` if it has every entry.
    pub(crate) fn published(&self, taken: Instant, whole: bool, witnessed: bool) {
        let mut covering = lock(&self.covering);
        covering.published = Some(Instant::now());
        let rest = (!whole).then_some(taken);
        covering.uncovered = rest;
        if witnessed {
            covering.unwitnessed = rest;
        }
    }

    pub(crate) fn covering(&self) -> Covering {
        *lock(&self.covering)
    }

    /// An authority has stamped a checkpoint at this time.
    pub(crate) fn stamped(&self, authority: &str, at: UnixMillis) {
        lock(&self.stamped).insert(authority.to_owned(), at);
    }

    pub(crate) fn stamps(&self) -> BTreeMap<String, UnixMillis> {
        lock(&self.stamped).clone()
    }
}

/// How often values were at most each of some bounds, and their sum.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    /// One for each bound and one for what is beyond; not yet added up.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    pub(crate) fn observe(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
            self.sum.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Takes down a duration, in microseconds.
    pub(crate) fn observe_time(&self, time: Duration) {
        self.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Each bound with how many values were at most that, `None` for all; and their sum.
    fn read(&self) -> (Vec<(Option<u64>, u64)>, u64) {
        let mut total = 0;
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let buckets = bounds.zip(&self.counts).map(|(bound, count)| {
            total += count.load(Ordering::Relaxed);
            (bound, total)
        });
        (buckets.collect(), self.sum.load(Ordering::Relaxed))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Microseconds: from the fastest fdatasync to what a caller gives up at.
const LATENCY_US: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// From a lone entry to what 4 MiB hold.
const ENTRIES: [u64; 8] = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384];

#[cfg(test)]
mod tests;
