//! Beside the line: signs checkpoints of what is durable.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ledger_protocol::CheckpointGuard;
use ledger_tlog::proof::ConsistencyProof;
use ledger_tlog::tree::{TreeHead, consistency_proof};
use messages::Digest;

use super::{Published, Shared, chain};
use crate::checkpoints::PUBLIC_FILE;
use crate::folder::Folder;
use crate::identity::Identity;
use crate::lock::CheckpointLock;
use crate::witnessing::Witnessing;

/// The signing thread.
pub(super) struct Signing {
    pub(super) guard: CheckpointGuard,
    pub(super) identity: Identity,
    pub(super) interval: Duration,
    pub(super) lock: Box<dyn CheckpointLock>,
    pub(super) root: Folder,
    pub(super) shared: Arc<Shared>,
    /// The note that the lock holds; empty if nothing was signed.
    pub(super) signed: Vec<u8>,
    pub(super) witnessing: Option<Witnessing>,
}

impl Signing {
    /// Signs when entries have come: at once after a quiet time, then once per interval, and a
    /// last time at the end. Nothing is signed because of a checkpoint.
    pub(super) fn run(mut self) {
        let mut last: Option<Instant> = None;
        while let Some((head, stopping)) = self.wait(last) {
            last = Some(Instant::now());
            if let Err(reason) = self.sign(head) {
                self.shared.fail(reason);
                break;
            }
            if stopping {
                break;
            }
        }
        self.shared.coverage.end();
    }

    /// Waits for something to sign and for its time; `None` when nothing will come.
    fn wait(&self, last: Option<Instant>) -> Option<(TreeHead, bool)> {
        let signed = self.guard.last().tree_size;
        let mut due: Option<Instant> = None;
        let mut progress = self.shared.progress();
        loop {
            if self.shared.failure.get().is_some() {
                return None;
            }
            let news = progress.head.tree_size > signed;
            if progress.stopping {
                return news.then_some((progress.head, true));
            }
            let now = Instant::now();
            if news {
                let due = *due.get_or_insert_with(|| {
                    let prompt = now + PROMPT;
                    last.map_or(prompt, |last| prompt.max(last + self.interval))
                });
                if due <= now {
                    return Some((progress.head, false));
                }
                let waited = self.shared.progressed.wait_timeout(progress, due - now);
                progress = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                progress = self.shared.progressed.wait(progress).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Signs the tree `head` and makes it known, in the one order that a crash cannot turn into
    /// two histories: the entries are durable, the guard permits, sign, lock, have it cosigned,
    /// lock again with the cosignatures, keep, publish. What is published never changes.
    fn sign(&mut self, head: TreeHead) -> Result<(), String> {
        let taken = Instant::now();
        let proof = self.proof(head)?;
        let now = self.shared.clock.now();
        let checkpoint = self.guard.next(head, &proof, now).map_err(|error| chain(&error))?;
        let unwitnessed = self.identity.sign(&checkpoint, now).map_err(|error| chain(&error))?;
        let mut note = unwitnessed.to_bytes();
        self.swap(&self.signed, &note)?;
        let mut witnessed = false;
        if let Some(witnessing) = &self.witnessing {
            let cosigned = witnessing.cosign(head, &unwitnessed).map_err(|error| chain(&error))?;
            // A crash from here on publishes these very bytes at the next start.
            self.swap(&note, &cosigned.note)?;
            (note, witnessed) = (cosigned.note, cosigned.witnessed);
        }
        let size = head.tree_size;
        publish(&self.shared, &self.root, size, &note).map_err(|error| chain(&*error))?;
        self.shared.make_progress(|progress| {
            progress.published = Some(Published { note: Arc::from(note.as_slice()), size });
        });
        self.shared.coverage.published(size, witnessed);
        self.shared.metrics.published(taken, size == self.shared.durable_size(), witnessed);
        tracing::debug!(size, witnessed, root = %head.root, "checkpoint signed");
        self.signed = note;
        Ok(())
    }

    /// Moves the lock on. A failure ends the process: whoever has the lock goes on.
    fn swap(&self, expected: &[u8], new: &[u8]) -> Result<(), String> {
        self.lock.swap(expected, new).map_err(|error| {
            self.shared.lock_lost.notify_one();
            chain(&error)
        })
    }

    fn proof(&self, head: TreeHead) -> Result<ConsistencyProof, String> {
        let signed = self.guard.last().tree_size;
        if signed == 0 {
            return Ok(ConsistencyProof::default());
        }
        let read = |level, start, out: &mut [_]| self.shared.levels.read(level, start, out);
        consistency_proof(signed, head.tree_size, read).map_err(|error| chain(&error))
    }
}

/// Keeps a checkpoint for ever, makes it known to the sequencer, then to everyone.
fn publish(
    shared: &Shared,
    root: &Folder,
    size: u64,
    note: &[u8],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    shared.checkpoints.keep(size, note)?;
    shared.index.add_checkpoint(size, &Digest(openssl::sha::sha256(note)))?;
    root.replace(PUBLIC_FILE, note)?;
    Ok(())
}

/// How long to gather entries before the first checkpoint after a quiet time.
const PROMPT: Duration = Duration::from_millis(20);
