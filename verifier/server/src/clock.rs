//! The only place that reads a clock.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use messages::UnixMillis;

/// Wall-clock time that never goes backward.
///
/// It runs at least as fast as the monotonic clock and follows the wall clock's jumps forward, so
/// that no clock step can make evidence look younger than it is.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<(Instant, UnixMillis)>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new((Instant::now(), wall())))
    }

    pub(crate) fn now(&self) -> UnixMillis {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = last.0.elapsed().as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let now = last.1.plus_ms(elapsed).max(wall());
        // Moved on by whole milliseconds only, so that many short steps do not lose their parts.
        if now > last.1 {
            *last = (last.0 + Duration::from_millis(elapsed), now);
        }
        now
    }

    /// The same in seconds since 1970, as certificates count.
    pub(crate) fn now_s(&self) -> i64 {
        i64::try_from(self.now().0 / 1_000).unwrap_or(i64::MAX)
    }
}

/// Local time in C `asctime` form, as revocation messages carry it.
pub(crate) fn asctime() -> String {
    chrono::Local::now().format("%a %b %e %H:%M:%S %Y").to_string()
}

fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
