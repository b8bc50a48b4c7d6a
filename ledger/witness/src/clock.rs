//! The one place that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use ledger_tlog::key::PosixSeconds;

/// The system's clock; 0 before 1970, which no earlier cosignature lets pass.
pub(crate) fn now() -> PosixSeconds {
    PosixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
