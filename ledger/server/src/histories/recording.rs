//! Beside the line: puts published checkpoints on record, so that proven times follow from the log.
//!
//! Source: `docs/spec/history.md` section 6.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger_protocol::body::CheckpointBody;
use ledger_protocol::{Entry, Kind};
use messages::Digest;

use super::HistoriesConfig;
use crate::engine::{Appender, Published, Shared, chain};
use crate::segment::ReadError;

/// The recording thread.
pub(crate) struct Recording {
    appender: Appender,
    /// Entries before this one are known to be the log's own, or covered.
    looked: u64,
    pace: Pace,
}

impl Recording {
    /// Goes on behind a checkpoint entry of `recorded` entries, 0 if there is none.
    pub(crate) fn new(appender: Appender, config: HistoriesConfig, recorded: u64) -> Self {
        let pace = Pace::new(config.idle_checkpoint_interval, recorded, Instant::now());
        Self { appender, looked: recorded, pace }
    }

    /// Runs until the log is closed.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.appender.shared);
        let mut seen = 0;
        loop {
            let wait = self.pace.wait(seen, Instant::now());
            if !shared.wait_for(wait, |_, published| published > seen) {
                return;
            }
            let Some(published) = shared.published() else { continue };
            seen = published.size;
            if let Err(error) = self.step(&shared, &published) {
                tracing::warn!(error, size = seen, "a checkpoint is not on record yet");
                if !shared.wait_for(RETRY, |_, _| false) {
                    return;
                }
                seen = 0;
            }
        }
    }

    fn step(&mut self, shared: &Shared, published: &Published) -> Result<(), String> {
        let has_news = self.has_news(shared, published.size).map_err(|error| chain(&error))?;
        if !self.pace.is_due(published.size, has_news, Instant::now()) {
            return Ok(());
        }
        let note = Digest(openssl::sha::sha256(&published.note));
        // Whoever reads the entry finds what it names.
        shared.blobs.put(&note, &published.note).map_err(|error| error.to_string())?;
        let body = CheckpointBody { tree_size: published.size, note };
        match self.appender.append(&body) {
            Ok(true) => {}
            // Somebody else has put a later one on record; what is not covered yet comes with the next.
            Ok(false) => tracing::warn!(size = published.size, "the log did not take its own checkpoint"),
            Err(error) => return Err(chain(&error)),
        }
        self.pace.recorded(published.size, Instant::now());
        self.looked = self.looked.max(published.size);
        Ok(())
    }

    /// Whether an entry before `size` that was not looked at is not the log's own.
    fn has_news(&mut self, shared: &Shared, size: u64) -> Result<bool, ReadError> {
        self.looked = self.looked.max(shared.pruned().map_or(0, |pruned| pruned.first));
        if self.looked >= size {
            return Ok(false);
        }
        let mut news = None;
        shared.segments.read(self.looked, |index, bytes| {
            // One that does not decode is for others to complain of.
            news = Entry::decode(bytes).map_or(true, |entry| !is_own(entry.kind)).then_some(index);
            if news.is_some() || index + 1 >= size { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.looked = news.unwrap_or(size);
        Ok(news.is_some())
    }
}

/// Kinds that the log appends because of its own checkpoints.
fn is_own(kind: Kind) -> bool {
    matches!(kind, Kind::Census | Kind::Checkpoint | Kind::Timestamp)
}

/// When a published checkpoint goes on record.
#[derive(Clone, Copy, Debug)]
struct Pace {
    idle: Duration,
    /// Size of the last that did.
    last: u64,
    /// When that was.
    since: Instant,
}

impl Pace {
    fn new(idle: Duration, last: u64, now: Instant) -> Self {
        Self { idle, last, since: now }
    }

    /// Whether a checkpoint of `published` entries is due: at once if it covers something that the last did not
    /// and that is not the log's own, else after the idle interval.
    fn is_due(&self, published: u64, has_news: bool, now: Instant) -> bool {
        published > self.last && (has_news || now.duration_since(self.since) >= self.idle)
    }

    fn recorded(&mut self, size: u64, now: Instant) {
        (self.last, self.since) = (size, now);
    }

    /// How long nothing is due if no checkpoint is published.
    fn wait(&self, published: u64, now: Instant) -> Duration {
        let idle = self.idle.max(IDLE_MIN);
        if published > self.last { idle.saturating_sub(now.duration_since(self.since)) } else { idle }
    }
}

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The least time between two looks at an idle log.
const IDLE_MIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;
