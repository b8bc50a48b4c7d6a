//! Who gets a connection while others have theirs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Limits;

/// Counts connections, in all and by network.
#[derive(Clone)]
pub(super) struct Admission(Arc<Mutex<Counts>>);

struct Counts {
    all: usize,
    all_max: usize,
    by_network: HashMap<IpAddr, usize>,
    network_max: usize,
    refused: u64,
}

/// One admitted connection; gives its place back when dropped.
pub(super) struct Place {
    counts: Arc<Mutex<Counts>>,
    network: IpAddr,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Mutex::new(Counts {
            all: 0,
            all_max: limits.connections_max,
            by_network: HashMap::new(),
            network_max: limits.connections_per_ip_max,
            refused: 0,
        })))
    }

    /// A place for a connection from `address`, unless it or the server has all it may have.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = counts.by_network.get(&network).copied().unwrap_or(0);
        if counts.all >= counts.all_max || held >= counts.network_max {
            counts.refused += 1;
            // A flood must not become a flood of log lines: the 1st, 2nd, 4th, 8th … is told.
            if counts.refused.is_power_of_two() {
                let (refused, all) = (counts.refused, counts.all);
                tracing::warn!(refused, all, held, %network, "too many connections");
            }
            return None;
        }
        counts.all += 1;
        counts.by_network.insert(network, held + 1);
        Some(Place { counts: Arc::clone(&self.0), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        match counts.by_network.get_mut(&self.network) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                counts.by_network.remove(&self.network);
            }
        }
    }
}

/// An IPv4 address itself; of an IPv6 address its /64, since a host has all of that.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}
