//! The system's clock, read here and nowhere else.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use messages::UnixMillis;

/// Now; 0 if the clock stands before 1970.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A moment to measure from.
pub(crate) fn moment() -> Instant {
    Instant::now()
}
