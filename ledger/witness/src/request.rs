//! What a log asks of a witness: the body of `add-checkpoint`.
//!
//! ```text
//! old 20852014
//! PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
//! jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
//!
//! example.com/log
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — example.com/log Az3grlgt…
//! ```
//!
//! Source: C2SP tlog-witness §add-checkpoint.

use ledger_tlog::hash::{Hash, MalformedHash};
use ledger_tlog::note::{MalformedNote, Note};
use ledger_tlog::proof::ConsistencyProof;

/// Most hashes of a proof: one for each level of the largest tree that is not a single leaf.
///
/// Source: C2SP tlog-witness §add-checkpoint.
pub const PROOF_HASHES_MAX: usize = 63;

/// Most bytes of a body. A line with a hash has 45 bytes, 63 of them and the first line less than
/// 3 KiB; a checkpoint with the 16 signatures that readers must accept, all ML-DSA-44 with 3.3 KiB
/// each, 53 KiB. This is twice the sum, rounded up to a power of two.
pub const REQUEST_BYTES_MAX: usize = 128 << 10;

/// A well-formed request; whether anyone may ask this is [`decision`](crate::decision)'s to say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddCheckpoint {
    /// The size from which on the log shows growth: what it believes the witness holds.
    pub old_size: u64,
    /// From `old_size` to the checkpoint's size, unchecked.
    pub proof: ConsistencyProof,
    /// The checkpoint, its signatures and even its form unchecked.
    pub note: Note,
}

impl AddCheckpoint {
    /// Reads a body.
    ///
    /// # Errors
    /// [`MalformedRequest`], naming the part.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedRequest> {
        let split = body.windows(2).position(|pair| pair == b"\n\n").ok_or(MalformedRequest::NoCheckpoint)?;
        let (head, rest) = body.split_at(split);
        let note = rest.strip_prefix(b"\n\n").unwrap_or_default();
        let head = str::from_utf8(head).map_err(|_| MalformedRequest::OldSize)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old_size = old.and_then(decimal).ok_or(MalformedRequest::OldSize)?;
        // Counted before anything is decoded.
        let count = lines.clone().count();
        if count > PROOF_HASHES_MAX {
            return Err(MalformedRequest::ProofTooLong { found: count });
        }
        let hashes = (1..).zip(lines).map(|(number, line)| {
            Hash::from_base64(line).map_err(|source| MalformedRequest::ProofHash { number, source })
        });
        let proof = ConsistencyProof::new(hashes.collect::<Result<_, _>>()?);
        let note = Note::parse(note).map_err(|source| MalformedRequest::Note { source })?;
        Ok(Self { old_size, proof, note })
    }

    /// The log that the checkpoint claims to be of. Never empty for a checkpoint.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.note.text().split('\n').next().unwrap_or_default()
    }
}

/// Why a body is no request.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MalformedRequest {
    /// No empty line ends the proof.
    #[error("the request has no empty line with a checkpoint after it")]
    NoCheckpoint,
    /// The checkpoint is no signed note.
    #[error("the checkpoint of the request is no signed note")]
    Note {
        /// What is wrong with it.
        source: MalformedNote,
    },
    /// The first line is another.
    #[error("the request does not begin with \"old \" and a decimal without leading zeros")]
    OldSize,
    /// A line of the proof is no hash.
    #[error("line {number} of the consistency proof is no hash")]
    ProofHash {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        source: MalformedHash,
    },
    /// More lines than any proof has.
    #[error("the consistency proof has {found} hashes, at most {PROOF_HASHES_MAX} are allowed")]
    ProofTooLong {
        /// Lines given.
        found: usize,
    },
}

fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

#[cfg(test)]
#[path = "request/tests.rs"]
mod tests;
