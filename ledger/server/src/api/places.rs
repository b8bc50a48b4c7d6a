//! What one client may have on its way, so that no client takes the queue from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts the appends that wait, by the name on the client's certificate.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<Arc<str>, Held>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    bytes: usize,
    requests: usize,
}

/// A place for one append; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    bytes: usize,
    client: Arc<str>,
    places: Places,
}

impl Places {
    /// A place for a request of so many bytes, unless the client has all it may have. A lone request
    /// always gets one.
    pub(super) fn take(&self, client: &Arc<str>, bytes: usize) -> Option<Place> {
        let mut clients = self.clients();
        let held = clients.entry(Arc::clone(client)).or_default();
        if held.requests >= REQUESTS_MAX || (held.requests > 0 && held.bytes + bytes > BYTES_MAX) {
            return None;
        }
        held.requests += 1;
        held.bytes += bytes;
        Some(Place { bytes, client: Arc::clone(client), places: self.clone() })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Arc<str>, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.places.clients();
        if let Some(held) = clients.get_mut(&self.client) {
            held.requests -= 1;
            held.bytes -= self.bytes;
            if held.requests == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

/// Appends of one client that wait at one time: a quarter of the queue, so that three clients that
/// flood it leave room for a fourth. Our own client sends four.
pub(super) const REQUESTS_MAX: usize = 256;

/// Bytes of such appends: a quarter of what the listener holds of all bodies, and 16 of the largest.
pub(super) const BYTES_MAX: usize = 128 << 20;

#[cfg(test)]
mod tests;
