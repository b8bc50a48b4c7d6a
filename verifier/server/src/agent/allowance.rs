//! How much of the ledger's disk one agent may fill with lists that it alone makes up.

use messages::{UnixMillis, ledger::BLOB_BYTES_MAX};

/// Bytes of measurement lists that an agent may still have kept: a bucket that refills.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListAllowance {
    bytes: u64,
    since: UnixMillis,
}

impl ListAllowance {
    pub(super) const fn full(now: UnixMillis) -> Self {
        Self { bytes: BYTES_MAX, since: now }
    }

    /// Whether `bytes` more may be kept at `now`. They count once they are [spent](Self::spend).
    pub(super) fn has(&mut self, bytes: usize, now: UnixMillis) -> bool {
        let gained = now.ms_since(self.since).saturating_mul(BYTES_PER_HOUR) / HOUR_MS;
        // Parts of a byte are lost only when there is at least one whole: often asked is not seldom refilled.
        if gained > 0 {
            *self = Self { bytes: self.bytes.saturating_add(gained).min(BYTES_MAX), since: now };
        }
        bytes as u64 <= self.bytes
    }

    /// Counts what has been kept: what the ledger did not take costs nothing.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }
}

/// Two of the largest blobs: the boot log and the whole IMA list that come with a first quote.
const BYTES_MAX: u64 = 2 * BLOB_BYTES_MAX as u64;
/// One of the largest: 160,000 IMA entries of 200 bytes, or a reboot with all its lists.
const BYTES_PER_HOUR: u64 = BLOB_BYTES_MAX as u64;
const HOUR_MS: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    impl ListAllowance {
        fn take(&mut self, bytes: usize, now: UnixMillis) -> bool {
            let has = self.has(bytes, now);
            if has {
                self.spend(bytes);
            }
            has
        }
    }

    #[test]
    fn two_full_lists_are_kept_at_once_and_then_one_an_hour() {
        let mut allowance = ListAllowance::full(UnixMillis(0));
        assert!(allowance.take(BLOB_BYTES_MAX, UnixMillis(0)));
        assert!(allowance.take(BLOB_BYTES_MAX, UnixMillis(0)));
        assert!(!allowance.take(1, UnixMillis(0)), "no third");
        assert!(!allowance.take(BLOB_BYTES_MAX, UnixMillis(HOUR_MS - 1)));
        assert!(allowance.take(BLOB_BYTES_MAX, UnixMillis(HOUR_MS + 1)));
        assert!(!allowance.take(1_000, UnixMillis(HOUR_MS + 1)));
        assert!(!allowance.take(3 * BLOB_BYTES_MAX, UnixMillis(1_000 * HOUR_MS)), "never more than two");
        assert!(allowance.take(2 * BLOB_BYTES_MAX, UnixMillis(1_000 * HOUR_MS)));
    }

    #[test]
    fn asking_every_second_refills_as_waiting_does() {
        let mut allowance = ListAllowance::full(UnixMillis(0));
        assert!(allowance.take(2 * BLOB_BYTES_MAX, UnixMillis(0)));
        for second in 1..3_600 {
            assert!(!allowance.take(BLOB_BYTES_MAX, UnixMillis(second * 1_000)));
        }
        assert!(allowance.take(BLOB_BYTES_MAX - 4_000, UnixMillis(HOUR_MS)));
    }
}
