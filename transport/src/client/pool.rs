//! Connections that wait for their next request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::Target;

/// The sending side of a connection.
pub(super) type Sender = SendRequest<Full<Bytes>>;

/// Kept connections by where they lead, the one used last on top.
#[derive(Default)]
pub(super) struct Pool(Mutex<Kept>);

/// A kept connection, ready for a request.
pub(super) struct Checkout {
    pub(super) sender: Sender,
}

#[derive(Default)]
struct Kept {
    by_target: HashMap<Target, Vec<Idle>>,
    swept: Option<Instant>,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

impl Pool {
    /// A connection to `target` that is open as far as we know; the others, if any, stay.
    pub(super) async fn take(&self, target: &Target) -> Option<Checkout> {
        loop {
            let Idle { mut sender, since } = self.pop(target)?;
            let fresh = since.elapsed() < IDLE_TIMEOUT && !sender.is_closed();
            if fresh && sender.ready().await.is_ok() {
                return Some(Checkout { sender });
            }
        }
    }

    fn pop(&self, target: &Target) -> Option<Idle> {
        self.kept().by_target.get_mut(target)?.pop()
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(super) fn keep(&self, target: &Target, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let now = Instant::now();
        let mut kept = self.kept();
        kept.sweep(now);
        let idle = kept.by_target.entry(target.clone()).or_default();
        if idle.len() < IDLE_PER_TARGET_MAX {
            idle.push(Idle { sender, since: now });
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Lets go of what is too old or closed, now and then.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now - swept < SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        self.by_target.retain(|_, idle| {
            idle.retain(|idle| !idle.sender.is_closed() && now - idle.since < IDLE_TIMEOUT);
            !idle.is_empty()
        });
    }
}

/// How long a connection is kept: shorter than the 75 s our servers keep theirs, so that a
/// request seldom meets a closing door.
const IDLE_TIMEOUT: Duration = Duration::from_secs(65);

/// Connections kept to one place: a verifier's batches to the ledger and its other calls side by
/// side. What more are opened under load are closed after use.
const IDLE_PER_TARGET_MAX: usize = 32;

/// How often old connections are looked for: ten thousand take about a millisecond.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
