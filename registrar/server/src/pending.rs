//! Credentials that were handed out and not yet activated. In memory only: after a restart an agent registers again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use messages::AgentId;
use registrar_protocol::{AuthTag, Contact, Identity};

#[cfg(test)]
mod tests;

/// All pending registrations, one per id: the latest.
#[derive(Debug)]
pub(crate) struct PendingTable {
    limits: PendingLimits,
    rows: Mutex<Rows>,
}

/// How much may be pending.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PendingLimits {
    /// The sum of the pending registrations' bodies, in bytes. Registrations have about 4.4 KiB: ten thousand machines
    /// that boot together, and half as many again.
    pub bytes_max: usize,
    /// The same from one network (IPv4 address or IPv6 /64). A sixteenth, about a thousand machines.
    pub network_bytes_max: usize,
    /// How long an activation may take. A TPM takes up to some seconds; an agent that lost the answer tries again for a
    /// while.
    pub lifetime: Duration,
}

impl Default for PendingLimits {
    fn default() -> Self {
        Self { bytes_max: 64 << 20, network_bytes_max: 4 << 20, lifetime: Duration::from_secs(300) }
    }
}

#[derive(Debug, Default)]
struct Rows {
    by_id: HashMap<AgentId, Pending>,
    bytes: usize,
    bytes_by_network: HashMap<IpAddr, usize>,
}

/// One registration whose credential was handed out.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// What the TPM must come back with.
    pub(crate) tag: Arc<AuthTag>,
    /// What was registered; `None` once it has been activated, when the tag only answers a repeated activation.
    pub(crate) registration: Option<Arc<Registration>>,
    /// Bytes it counts for.
    weight: usize,
    network: IpAddr,
    deadline: Instant,
}

/// What becomes active with an activation.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) contact: Contact,
    pub(crate) identity: Identity,
}

/// Why no more registrations can be pending.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TableFull {
    #[error("too many registrations wait for their activation")]
    All,
    #[error("too many registrations from this network wait for their activation")]
    Network,
}

impl PendingTable {
    pub(crate) fn new(limits: PendingLimits) -> Self {
        Self { limits, rows: Mutex::default() }
    }

    /// Adds a registration in place of any other of the id, which can then no longer be activated.
    pub(crate) fn insert(
        &self,
        id: AgentId,
        tag: AuthTag,
        registration: Registration,
        weight: usize,
        from: IpAddr,
        now: Instant,
    ) -> Result<(), TableFull> {
        let network = network(from);
        let mut rows = self.rows();
        let replaced = rows.remove(&id);
        if self.excess(&rows, network, weight).is_some() {
            rows.remove_expired(now);
        }
        if let Some(full) = self.excess(&rows, network, weight) {
            // Whoever is refused changes nothing for the one who was there before.
            if let Some(replaced) = replaced {
                rows.insert(id, replaced);
            }
            return Err(full);
        }
        let deadline = now + self.limits.lifetime;
        let registration = Some(Arc::new(registration));
        rows.insert(id, Pending { tag: Arc::new(tag), registration, weight, network, deadline });
        Ok(())
    }

    /// Takes the id's registration out: whatever is done with it, it is done once.
    pub(crate) fn take(&self, id: &AgentId, now: Instant) -> Option<Pending> {
        self.rows().remove(id).filter(|pending| now < pending.deadline)
    }

    /// Puts back what was taken, unless the id has been registered again meanwhile.
    pub(crate) fn put_back(&self, id: AgentId, pending: Pending) {
        let mut rows = self.rows();
        if !rows.by_id.contains_key(&id) {
            rows.insert(id, pending);
        }
    }

    /// Forgets the id's registration.
    pub(crate) fn forget(&self, id: &AgentId) {
        self.rows().remove(id);
    }

    fn excess(&self, rows: &Rows, network: IpAddr, weight: usize) -> Option<TableFull> {
        let held = rows.bytes_by_network.get(&network).copied().unwrap_or(0);
        if rows.bytes.saturating_add(weight) > self.limits.bytes_max {
            return Some(TableFull::All);
        }
        (held.saturating_add(weight) > self.limits.network_bytes_max).then_some(TableFull::Network)
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// The same once activated: the registration is done with, the tag answers a repetition.
    pub(crate) fn activated(self) -> Self {
        Self { registration: None, ..self }
    }
}

impl Rows {
    fn insert(&mut self, id: AgentId, pending: Pending) {
        self.bytes = self.bytes.saturating_add(pending.weight);
        let held = self.bytes_by_network.entry(pending.network).or_default();
        *held = held.saturating_add(pending.weight);
        self.by_id.insert(id, pending);
    }

    fn remove(&mut self, id: &AgentId) -> Option<Pending> {
        let pending = self.by_id.remove(id)?;
        self.bytes = self.bytes.saturating_sub(pending.weight);
        if let Some(held) = self.bytes_by_network.get_mut(&pending.network) {
            *held = held.saturating_sub(pending.weight);
            if *held == 0 {
                self.bytes_by_network.remove(&pending.network);
            }
        }
        Some(pending)
    }

    fn remove_expired(&mut self, now: Instant) {
        let expired = self.by_id.iter().filter(|(_, pending)| pending.deadline <= now);
        let expired: Vec<AgentId> = expired.map(|(id, _)| id.clone()).collect();
        for id in &expired {
            self.remove(id);
        }
    }
}

/// An IPv4 address itself; of an IPv6 address its /64, since a host has all of that.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}
