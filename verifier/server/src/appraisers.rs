//! Where long appraisals are made: on threads of their own, a few at a time, so that no agent waits for another's list.

use std::{panic, sync::Arc, thread};

use tokio::sync::Semaphore;
use verifier_protocol::appraisal::Lists;

/// The threads for long appraisals.
#[derive(Clone, Debug)]
pub(crate) struct Appraisers {
    /// One permit for each appraisal that may run; the others wait for one in the order they came.
    free: Arc<Semaphore>,
}

/// The verifier stops; nothing was made of the evidence.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the verifier is being stopped")]
pub(crate) struct Stopping;

impl Appraisers {
    /// As many at a time as there are cores, but for one that serves all other agents.
    pub(crate) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::at_once(cores.saturating_sub(1).max(1))
    }

    fn at_once(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)) }
    }

    /// Makes an appraisal on a thread of its own. What waits is bounded by the agents, each of which has one round.
    ///
    /// One that is no longer waited for still ends, and keeps its place until then.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        appraisal: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stopping> {
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| Stopping)?;
        let made = tokio::task::spawn_blocking(move || {
            let made = appraisal();
            drop(permit);
            made
        });
        made.await.map_err(|error| match error.try_into_panic() {
            Ok(cause) => panic::resume_unwind(cause),
            Err(_) => Stopping,
        })
    }
}

/// Whether judging these lists would hold up other agents on the same thread.
pub(crate) fn are_long(lists: &Lists) -> bool {
    let ima = lists.ima.present().map_or(0, |list| list.text.len());
    let boot_log = lists.boot_log.present().map_or(0, Vec::len);
    ima.saturating_add(boot_log) > SHORT_BYTES_MAX
}

/// At 2,000,000 lines a second of 200 bytes each, or as much of a boot log's replay: a third of a millisecond, as long
/// as ten signatures take. Going to another thread and back takes a few hundredths.
const SHORT_BYTES_MAX: usize = 128 << 10;

#[cfg(test)]
mod tests;
