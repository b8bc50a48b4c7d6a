//! What the log may sign: only what extends everything it has signed before.

use ledger_tlog::checkpoint::{Checkpoint, MalformedCheckpoint};
use ledger_tlog::proof::{ConsistencyError, ConsistencyProof, verify_consistency};
use ledger_tlog::tree::TreeHead;
use messages::UnixMillis;

/// Stands between the tree and the signing key.
///
/// Two inconsistent checkpoints under one key end a log for good. So the root that was signed
/// last is recomputed from the tree as it is now, each time, by a consistency proof.
#[derive(Clone, Debug)]
pub struct CheckpointGuard {
    last: TreeHead,
    origin: String,
    signed_at: UnixMillis,
}

/// Why a tree head is not signed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CheckpointRefused {
    /// The clock has gone back.
    #[error("the clock says {now}; the last checkpoint was signed at {last}")]
    Clock {
        /// When the last one was signed.
        last: UnixMillis,
        /// The time now.
        now: UnixMillis,
    },
    /// The tree does not contain the one that was signed last.
    #[error("the tree does not extend the checkpoint of size {size} that was signed last")]
    Inconsistent {
        /// Its size.
        size: u64,
        /// What the proof shows.
        source: ConsistencyError,
    },
    /// There is nothing new to sign.
    #[error("the tree has {found} entries; expected more than the {last} that are signed")]
    NotGrown {
        /// Entries signed.
        last: u64,
        /// Entries now.
        found: u64,
    },
}

impl CheckpointGuard {
    /// Guards a log whose latest checkpoint is `last`, [`TreeHead::EMPTY`] if there is none.
    ///
    /// # Errors
    /// [`MalformedCheckpoint::Origin`] if no checkpoint can carry `origin`.
    pub fn new(origin: &str, last: TreeHead, signed_at: UnixMillis) -> Result<Self, MalformedCheckpoint> {
        Checkpoint::new(origin, last)?;
        Ok(Self { last, origin: origin.to_owned(), signed_at })
    }

    /// The tree head that was signed last.
    #[must_use]
    pub const fn last(&self) -> &TreeHead {
        &self.last
    }

    /// Permits the next checkpoint, in this order: the tree has grown; time has not gone back;
    /// `proof` shows that the tree extends what was signed last (an empty proof after nothing).
    ///
    /// From here on the checkpoint counts as signed, whether the signing succeeds or not.
    ///
    /// # Errors
    /// [`CheckpointRefused`] with the check that failed.
    ///
    /// # Panics
    /// Never: the origin was checked.
    pub fn next(
        &mut self,
        head: TreeHead,
        proof: &ConsistencyProof,
        now: UnixMillis,
    ) -> Result<Checkpoint, CheckpointRefused> {
        let size = self.last.tree_size;
        if head.tree_size <= size {
            return Err(CheckpointRefused::NotGrown { last: size, found: head.tree_size });
        }
        if now < self.signed_at {
            return Err(CheckpointRefused::Clock { last: self.signed_at, now });
        }
        if size > 0 {
            verify_consistency(&self.last, &head, proof)
                .map_err(|source| CheckpointRefused::Inconsistent { size, source })?;
        }
        let checkpoint = Checkpoint::new(&self.origin, head).expect("invariant: the origin was checked");
        self.last = head;
        self.signed_at = now;
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests;
