//! What a witness cosigns: only what extends everything it has cosigned before.
//!
//! Nothing here reads a clock or a file: [`decide`] takes what is recorded and what time it is,
//! and what it permits is cosigned and made durable by the caller before anybody is answered.

use ledger_tlog::checkpoint::{Checkpoint, MalformedCheckpoint};
use ledger_tlog::hash::Hash;
use ledger_tlog::key::{NoteVerifier, PosixSeconds};
use ledger_tlog::note::{MalformedNote, Note, NoteRejected};
use ledger_tlog::proof::{ConsistencyError, ConsistencyProof, verify_consistency};
use ledger_tlog::signer::{Cosigner, SigningFailed};
use ledger_tlog::tree::TreeHead;

use crate::logs::Log;
use crate::request::AddCheckpoint;

/// The latest checkpoint of a log that a witness has cosigned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    note: Note,
    time: PosixSeconds,
    tree_head: TreeHead,
}

impl Recorded {
    /// Reads back what was recorded: `note` with the cosignature of `witness`, of the log `origin`.
    ///
    /// # Errors
    /// [`RecordFlaw`] for anything but what this witness wrote.
    pub fn parse(note: &[u8], witness: &NoteVerifier, origin: &str) -> Result<Self, RecordFlaw> {
        let note = Note::parse(note).map_err(|source| RecordFlaw::Note { source })?;
        let verified =
            note.verify(std::slice::from_ref(witness)).map_err(|source| RecordFlaw::Cosignature { source })?;
        let time = verified.signatures().iter().find_map(|signature| signature.time).ok_or(RecordFlaw::NoTime)?;
        let note = verified.note().clone();
        let checkpoint = Checkpoint::parse(note.text()).map_err(|source| RecordFlaw::Checkpoint { source })?;
        if checkpoint.origin() != origin {
            return Err(RecordFlaw::Origin { expected: origin.to_owned(), found: checkpoint.origin().to_owned() });
        }
        Ok(Self { note, time, tree_head: *checkpoint.tree_head() })
    }

    /// The checkpoint with the log's signatures and the witness's cosignature.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// When it was cosigned last.
    #[must_use]
    pub const fn time(&self) -> PosixSeconds {
        self.time
    }

    /// Size and root.
    #[must_use]
    pub const fn tree_head(&self) -> &TreeHead {
        &self.tree_head
    }
}

/// A request for a checkpoint that its log has signed.
#[derive(Clone, Debug)]
pub struct Authentic {
    note: Note,
    old_size: u64,
    proof: ConsistencyProof,
    tree_head: TreeHead,
}

impl Authentic {
    /// The checkpoint with the log's own signatures: proof against the log if it says two things.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }
}

/// A checkpoint that may be cosigned, and at what time.
#[derive(Debug)]
#[must_use = "nothing is cosigned yet"]
pub struct Permit {
    note: Note,
    time: PosixSeconds,
    tree_head: TreeHead,
}

impl Permit {
    /// Cosigns. Returns the new record, to be durable before the answer leaves, and the answer:
    /// the signature line with its newline.
    ///
    /// # Errors
    /// [`SigningFailed`] if openssl refuses.
    pub fn cosign(self, cosigner: &Cosigner) -> Result<(Recorded, String), SigningFailed> {
        let Self { mut note, time, tree_head } = self;
        note.cosign(cosigner, time)?;
        let answer = note.signatures().last().map(|line| format!("{line}\n")).unwrap_or_default();
        Ok((Recorded { note, time, tree_head }, answer))
    }
}

/// Checks that the log itself says what is asked to be cosigned, in this order: no signature under
/// one of its keys is forged and one is genuine; the text is a checkpoint.
///
/// Signature lines of others are dropped: what is recorded and shown is the log's word alone.
/// The request's origin is the log's; the caller found `log` by it.
///
/// # Errors
/// [`Refusal::Signature`], [`Refusal::EmptyRoot`] or [`Refusal::Checkpoint`].
pub fn authenticate(log: &Log, request: AddCheckpoint) -> Result<Authentic, Refusal> {
    let AddCheckpoint { old_size, proof, note } = request;
    let verified = note.verify(log.keys()).map_err(|source| Refusal::Signature { source })?;
    let note = verified.note();
    let checkpoint = Checkpoint::parse(note.text()).map_err(|source| match source {
        MalformedCheckpoint::EmptyTreeRoot { found } => Refusal::EmptyRoot { found },
        source => Refusal::Checkpoint { source },
    })?;
    let mut stripped = Note::new(note.text().to_owned()).map_err(|source| Refusal::Text { source })?;
    let ours = |name, id| log.keys().iter().any(|key| key.name() == name && key.id() == id);
    stripped.add_signatures(note.signatures().iter().filter(|line| ours(&line.name, line.key_id)).cloned());
    Ok(Authentic { note: stripped, old_size, proof, tree_head: *checkpoint.tree_head() })
}

/// Decides about a checkpoint, in this order:
///
/// 1. the old size is not beyond the new one;
/// 2. the old size is the recorded one (0 if nothing is), whatever the caller believes: of two
///    racing requests the second fails here, also when it would be the smaller one;
/// 3. the same size has the same root, or the log has two histories;
/// 4. the proof leads from the recorded root to the new one (nothing to prove from size 0);
/// 5. the clock is not before the last cosignature: a time once stated is not taken back.
///
/// # Errors
/// [`Refusal`] with the check that failed.
pub fn decide(recorded: Option<&Recorded>, request: Authentic, now: PosixSeconds) -> Result<Permit, Refusal> {
    let Authentic { note, old_size, proof, tree_head } = request;
    if old_size > tree_head.tree_size {
        return Err(Refusal::OldBeyondNew { old: old_size, new: tree_head.tree_size });
    }
    let held = recorded.map_or(TreeHead::EMPTY, |recorded| recorded.tree_head);
    if old_size != held.tree_size {
        return Err(Refusal::OtherSize { recorded: held.tree_size });
    }
    if tree_head.tree_size == held.tree_size && tree_head.root != held.root {
        return Err(Refusal::Forked { size: held.tree_size, recorded: held.root, found: tree_head.root });
    }
    if held.tree_size == 0 {
        let found = proof.hashes().len();
        if found > 0 {
            return Err(Refusal::ProofFromNothing { found });
        }
    } else {
        verify_consistency(&held, &tree_head, &proof).map_err(|source| Refusal::Inconsistent { source })?;
    }
    if let Some(recorded) = recorded
        && now < recorded.time
    {
        return Err(Refusal::ClockBehind { last: recorded.time, now });
    }
    Ok(Permit { note, time: now, tree_head })
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The signed text is no checkpoint.
    #[error("the signed text is no checkpoint")]
    Checkpoint {
        /// What is wrong with it.
        source: MalformedCheckpoint,
    },
    /// The witness's own clock has gone back; it waits until it has caught up.
    #[error("the clock of this witness says {}, its last cosignature {}", now.0, last.0)]
    ClockBehind {
        /// When it cosigned last.
        last: PosixSeconds,
        /// The time now.
        now: PosixSeconds,
    },
    /// Size 0 with a root that is not that of the empty tree.
    #[error("the checkpoint has size 0 and the root {found}, which is not that of the empty tree")]
    EmptyRoot {
        /// The root given.
        found: Hash,
    },
    /// The log has signed two roots for one size.
    #[error("this log has signed two trees of {size} entries: {recorded}, which this witness cosigned, and {found}")]
    Forked {
        /// The size.
        size: u64,
        /// The root cosigned.
        recorded: Hash,
        /// The root given.
        found: Hash,
    },
    /// The proof does not lead from what was cosigned last to the checkpoint.
    #[error("the checkpoint is not shown to extend the one cosigned last")]
    Inconsistent {
        /// What the proof shows.
        source: ConsistencyError,
    },
    /// The request contradicts itself.
    #[error("the old size {old} is beyond the checkpoint's size {new}")]
    OldBeyondNew {
        /// The old size.
        old: u64,
        /// The checkpoint's.
        new: u64,
    },
    /// The witness holds another size than the log believes.
    #[error("this witness has cosigned {recorded} entries of this log last")]
    OtherSize {
        /// The size it holds, 0 for none.
        recorded: u64,
    },
    /// A proof from the empty tree, which proves nothing.
    #[error("the proof from size 0 has {found} hashes, expected none")]
    ProofFromNothing {
        /// Hashes given.
        found: usize,
    },
    /// No key trusted for the log has signed, or a signature under one is forged.
    #[error("the checkpoint is not signed with a key trusted for this log")]
    Signature {
        /// Which and why.
        source: NoteRejected,
    },
    /// The text cannot be cosigned.
    #[error("the checkpoint's text cannot be cosigned")]
    Text {
        /// Why not.
        source: MalformedNote,
    },
    /// The origin is not one of the logs this witness knows.
    #[error("this witness does not know the log {origin:?}")]
    UnknownLog {
        /// The origin given.
        origin: String,
    },
}

/// Why bytes are not a record of this witness.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecordFlaw {
    /// The text is no checkpoint.
    #[error("its text is no checkpoint")]
    Checkpoint {
        /// What is wrong with it.
        source: MalformedCheckpoint,
    },
    /// This witness has not cosigned it.
    #[error("it is not cosigned with this witness's key")]
    Cosignature {
        /// Which and why.
        source: NoteRejected,
    },
    /// The cosignature has no time.
    #[error("its cosignature has no time")]
    NoTime,
    /// The bytes are no note.
    #[error("it is no signed note")]
    Note {
        /// What is wrong with it.
        source: MalformedNote,
    },
    /// It is another log's.
    #[error("it is a checkpoint of {found:?}, expected {expected:?}")]
    Origin {
        /// The log asked for.
        expected: String,
        /// The log it is of.
        found: String,
    },
}

#[cfg(test)]
mod tests;
