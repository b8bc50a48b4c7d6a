//! Where long appraisals are made: on threads of their own, a few at a time, so that no agent waits for another's list;
//! and how much of such lists is held for all agents together.

use std::{panic, sync::Arc, thread};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use verifier_protocol::appraisal::Lists;

/// The threads for long appraisals.
#[derive(Clone, Debug)]
pub(crate) struct Appraisers {
    /// One permit for each appraisal that may run; the others wait for one in the order they came.
    free: Arc<Semaphore>,
    /// One permit for each [`ROOM_UNIT_BYTES`] of long lists that may be held; given in the order it was asked for, so
    /// that no agent's list is overtaken for ever.
    room: Arc<Semaphore>,
    /// All permits there are of it.
    units: u32,
}

/// Room for the lists of one round, from before they are judged until they are recorded; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    permit: OwnedSemaphorePermit,
    /// Whether there is no more: the largest lists are held alone, however little is configured.
    is_all: bool,
}

impl Room {
    /// Whether so many bytes may be held in it.
    pub(crate) fn holds(&self, bytes: usize) -> bool {
        self.is_all || units(bytes) as usize <= self.permit.num_permits()
    }
}

/// The verifier stops; nothing was made of the evidence.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the verifier is being stopped")]
pub(crate) struct Stopping;

impl Appraisers {
    /// As many at a time as there are cores, but for one that serves all other agents; at most `bytes_max` of lists are
    /// held, or one agent's that are larger.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::at_once(cores.saturating_sub(1).max(1), bytes_max)
    }

    fn at_once(count: usize, bytes_max: usize) -> Self {
        let units = units(bytes_max).max(1);
        Self { free: Arc::new(Semaphore::new(count)), room: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Room for lists of so many bytes, if there is any now and nobody waits for it.
    pub(crate) fn room_now(&self, bytes: usize) -> Option<Room> {
        let permit = Arc::clone(&self.room).try_acquire_many_owned(units(bytes).min(self.units)).ok()?;
        Some(self.of(permit))
    }

    /// Room for lists of so many bytes, in the order it was asked for. Whoever waits holds no list meanwhile: what
    /// waits is bounded by the agents, each of which has one round, and takes no memory to speak of.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room, Stopping> {
        let permit = Arc::clone(&self.room).acquire_many_owned(units(bytes).min(self.units)).await;
        permit.map(|permit| self.of(permit)).map_err(|_| Stopping)
    }

    fn of(&self, permit: OwnedSemaphorePermit) -> Room {
        let is_all = permit.num_permits() == self.units as usize;
        Room { permit, is_all }
    }

    /// Makes an appraisal on a thread of its own. What waits is bounded by the room for its lists.
    ///
    /// One that is no longer waited for still ends, and keeps its place and its room until then.
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

/// The bytes of lists that would hold up other agents if they were judged on the same thread; `None` for short ones.
pub(crate) fn long_bytes(lists: &Lists) -> Option<usize> {
    let ima = lists.ima.present().map_or(0, |list| list.text.len());
    let boot_log = lists.boot_log.present().map_or(0, Vec::len);
    Some(ima.saturating_add(boot_log)).filter(|bytes| *bytes > SHORT_BYTES_MAX)
}

/// Whole units, the last one begun.
fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(ROOM_UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// Bytes of long lists that are held for all agents together, unless the configuration says otherwise: a quarter of the
/// gigabyte that a verifier of ten thousand agents may take. Fifteen first lists of 100,000 entries fit in.
pub const LONG_LISTS_BYTES_MAX: usize = 256 << 20;
/// What a list is rounded up to: a hundredth of a percent of the room.
const ROOM_UNIT_BYTES: usize = 16 << 10;

/// At 2,000,000 lines a second of 200 bytes each, or as much of a boot log's replay: a third of a millisecond, as long
/// as ten signatures take. Going to another thread and back takes a few hundredths.
pub(crate) const SHORT_BYTES_MAX: usize = 128 << 10;

#[cfg(test)]
mod tests;
