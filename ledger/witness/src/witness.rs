//! The witness at work: one log's requests one after the other, each durable before its answer.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ledger_tlog::key::NoteVerifier;
use ledger_tlog::signer::{Cosigner, SigningFailed};

use crate::clock;
use crate::decision::{Recorded, Refusal, authenticate, decide};
use crate::logs::{Log, Logs};
use crate::request::{AddCheckpoint, MalformedRequest};
use crate::store::{self, Store, StoreError};

/// A witness with its key, its logs and its records.
#[derive(Debug)]
pub struct Witness {
    cosigner: Cosigner,
    /// By the hexadecimal SHA-256 of the origin, as files and addresses name logs.
    slots: HashMap<String, Slot>,
    store: Store,
}

#[derive(Debug)]
struct Slot {
    log: Log,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// What is on the disk.
    Known(Option<Recorded>),
    /// A write failed: what is on the disk is unknown until the next start reads it.
    Unknown,
}

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
pub enum AddFailed {
    /// The body is no request.
    #[error("the request is malformed")]
    Malformed(#[source] MalformedRequest),
    /// The checkpoint is not to be cosigned.
    #[error("the checkpoint is not cosigned")]
    Refused(#[source] Refusal),
    /// openssl refused.
    #[error("the cosignature was not made")]
    Signing(#[source] SigningFailed),
    /// An earlier write for this log failed; only a restart, which reads the disk, can tell.
    #[error("an earlier record of this log was not written; the witness must be restarted")]
    Unknown,
    /// The record could not be made durable; nothing is answered.
    #[error("the record was not written")]
    Write(#[source] io::Error),
}

impl Witness {
    /// Takes up the witness in the folder `data` and reads what it has cosigned for `logs`.
    ///
    /// # Errors
    /// [`StoreError`], as when another process has it or a record is damaged.
    pub fn open(data: &Path, cosigner: Cosigner, logs: Logs) -> Result<Self, StoreError> {
        let store = Store::open(data)?;
        let mut slots = HashMap::new();
        for log in logs {
            let recorded = store.load(log.origin(), cosigner.verifier())?;
            let size = recorded.as_ref().map_or(0, |recorded| recorded.tree_head().tree_size);
            tracing::info!(origin = log.origin(), keys = log.keys().len(), size, "witnessing");
            let state = Mutex::new(State::Known(recorded));
            slots.insert(store::name(log.origin()), Slot { log, state });
        }
        Ok(Self { cosigner, slots, store })
    }

    /// The public side of its key.
    #[must_use]
    pub const fn verifier(&self) -> &NoteVerifier {
        self.cosigner.verifier()
    }

    /// Answers an `add-checkpoint` body with signature lines, after the new state is durable.
    /// Blocks on the disk and on other requests for the same log.
    ///
    /// # Errors
    /// [`AddFailed`]. Nothing has changed then, except after [`AddFailed::Write`], where the log's
    /// state is unknown until the next start.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<String, AddFailed> {
        let request = AddCheckpoint::parse(body).map_err(AddFailed::Malformed)?;
        let unknown = || AddFailed::Refused(Refusal::UnknownLog { origin: request.origin().to_owned() });
        let slot = self.slots.get(&store::name(request.origin())).ok_or_else(unknown)?;
        // Signatures first: only the log itself can make others wait.
        let authentic = authenticate(&slot.log, request).map_err(AddFailed::Refused)?;
        let mut state = lock(&slot.state);
        let State::Known(recorded) = &*state else {
            return Err(AddFailed::Unknown);
        };
        let evidence = authentic.clone();
        let permit = decide(recorded.as_ref(), authentic, clock::now()).map_err(|refusal| {
            if let Refusal::Forked { .. } = refusal {
                let note = evidence.note().to_string();
                tracing::error!(origin = slot.log.origin(), %refusal, note, "a log is caught with two histories");
            }
            AddFailed::Refused(refusal)
        })?;
        let (recorded, answer) = permit.cosign(&self.cosigner).map_err(AddFailed::Signing)?;
        if let Err(error) = self.store.save(slot.log.origin(), &recorded) {
            *state = State::Unknown;
            tracing::error!(origin = slot.log.origin(), %error, "a record was not written; restart the witness");
            return Err(AddFailed::Write(error));
        }
        tracing::debug!(origin = slot.log.origin(), size = recorded.tree_head().tree_size, "cosigned");
        *state = State::Known(Some(recorded));
        Ok(answer)
    }

    /// The latest cosigned checkpoint of the log whose origin has this SHA-256, in hexadecimal.
    #[must_use]
    pub fn latest(&self, origin_sha256: &str) -> Option<Vec<u8>> {
        match &*lock(&self.slots.get(origin_sha256)?.state) {
            State::Known(recorded) => recorded.as_ref().map(|recorded| recorded.note().to_bytes()),
            State::Unknown => None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
