//! The one place that reads the clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use messages::UnixMillis;

/// The system's clock, except that it never goes back.
#[derive(Debug)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    /// A clock that is not before `start`, the time of the log's last entry.
    pub(crate) fn starting_at(start: UnixMillis) -> Self {
        Self(AtomicU64::new(start.0))
    }

    pub(crate) fn now(&self) -> UnixMillis {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        UnixMillis(self.0.fetch_max(now, Ordering::Relaxed).max(now))
    }
}
