//! The one place that reads the clock.

use messages::UnixMillis;

/// Now, by this machine's clock.
pub(crate) fn now() -> UnixMillis {
    let ms = chrono::Utc::now().timestamp_millis();
    UnixMillis(u64::try_from(ms).unwrap_or_default())
}
