//! The only place where this crate reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock seconds since 1970, for the validity of certificates; 0 if the clock is set before that.
pub(crate) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A time that never goes back, for expiry and rates.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}
