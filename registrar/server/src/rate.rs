//! How often one network may use the public routes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::pending::network;

#[cfg(test)]
mod tests;

/// A bucket of tokens per network (IPv4 address or IPv6 /64); each request takes one.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    limits: RateLimits,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    by_network: HashMap<IpAddr, Bucket>,
    /// When full buckets were last forgotten: that walks over all of them, so it is not done for every request.
    swept: Option<Instant>,
}

/// How often one network may register or activate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimits {
    /// Requests at once: a thousand machines behind one address translator that boot together take two each.
    pub burst: u32,
    /// Requests per second after that. A registration costs about a millisecond of one core, so a hostile network
    /// takes at most a thirtieth of it.
    pub per_second: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { burst: 2_048, per_second: 32 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Requests left, in thousandths.
    millitokens: u64,
    since: Instant,
}

impl RateLimiter {
    pub(crate) fn new(limits: RateLimits) -> Self {
        Self { limits, buckets: Mutex::default() }
    }

    /// Takes a token of the network of `address`.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = u64::from(self.limits.burst) * 1_000;
        let mut network = network(address);
        if !buckets.has_room_for(network) {
            buckets.sweep(now, |bucket| bucket.refilled(self.limits, now) < full);
            // Still too many: the newcomers share one bucket, so the table stays bounded.
            if !buckets.has_room_for(network) {
                network = IpAddr::from([0, 0, 0, 0]);
            }
        }
        let bucket = buckets.by_network.entry(network).or_insert(Bucket { millitokens: full, since: now });
        *bucket = Bucket { millitokens: bucket.refilled(self.limits, now), since: now };
        if bucket.millitokens >= 1_000 {
            bucket.millitokens -= 1_000;
            return Ok(());
        }
        let missing = 1_000 - bucket.millitokens;
        Err(Duration::from_millis(missing.div_ceil(u64::from(self.limits.per_second.max(1)))))
    }
}

impl Buckets {
    fn has_room_for(&self, network: IpAddr) -> bool {
        self.by_network.len() < NETWORKS_MAX || self.by_network.contains_key(&network)
    }

    fn sweep(&mut self, now: Instant, keep: impl Fn(&Bucket) -> bool) {
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_INTERVAL) {
            self.by_network.retain(|_, bucket| keep(bucket));
            self.swept = Some(now);
        }
    }
}

impl Bucket {
    fn refilled(&self, limits: RateLimits, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.since).as_millis();
        let elapsed_ms = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let gained = elapsed_ms.saturating_mul(u64::from(limits.per_second));
        self.millitokens.saturating_add(gained).min(u64::from(limits.burst) * 1_000)
    }
}

/// Networks remembered at one time: 65,536 buckets are about 5 MB.
const NETWORKS_MAX: usize = 65_536;
/// Walking over all networks takes about a millisecond.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
