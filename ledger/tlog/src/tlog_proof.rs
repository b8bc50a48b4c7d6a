//! Offline proofs that an entry is in a log: index, inclusion proof and checkpoint in one text.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 77
//! QNdqIoNzKG4A/+PCeTMSs+bkIliKKdavIWor5ZWl1R4=
//! <more hashes, leaf side first>
//!
//! <the checkpoint, verbatim>
//! ```
//!
//! Source: C2SP tlog-proof.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{AuthenticCheckpoint, Checkpoint, CheckpointRejected};
use crate::decimal;
use crate::hash::{Hash, MalformedHash};
use crate::key::NoteVerifier;
use crate::note::{MalformedNote, NOTE_BYTES_MAX, Note};
use crate::policy::{QuorumMissed, WitnessQuorum};
use crate::proof::{InclusionError, InclusionProof, verify_inclusion};

/// Most bytes of a proof: the largest note, and as much again for the extra data, in which an
/// application may place an entry of 65,535 bytes.
pub const TLOG_PROOF_BYTES_MAX: usize = 2 * NOTE_BYTES_MAX;

/// Most hashes: one for each level of a tree of 64-bit size.
pub const TLOG_PROOF_HASHES_MAX: usize = 64;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A well-formed proof; see [`TlogProof::verify`]. Stored with the suffix `.tlog-proof`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Data of the application, authenticated by nothing.
    pub extra: Option<Vec<u8>>,
    /// Index of the entry.
    pub index: u64,
    /// From the entry's leaf to the root of the checkpoint.
    pub inclusion: InclusionProof,
    /// The checkpoint.
    pub note: Note,
}

impl TlogProof {
    /// Reads a proof; the rest after the empty line is the checkpoint's note.
    ///
    /// # Errors
    /// [`MalformedTlogProof`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedTlogProof> {
        if bytes.len() > TLOG_PROOF_BYTES_MAX {
            return Err(MalformedTlogProof::TooLong { found: bytes.len() });
        }
        let text = str::from_utf8(bytes).map_err(|source| MalformedTlogProof::Utf8 { source })?;
        let (head, note) = text.split_once("\n\n").ok_or(MalformedTlogProof::NoCheckpoint)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(MalformedTlogProof::Header);
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            None => None,
            Some(line) => Some(parse_extra(line)?),
        };
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(decimal::parse)
            .ok_or(MalformedTlogProof::Index)?;
        let hashes = lines
            .enumerate()
            .map(|(position, line)| match Hash::from_base64(line) {
                _ if position >= TLOG_PROOF_HASHES_MAX => Err(MalformedTlogProof::TooManyHashes),
                Ok(hash) => Ok(hash),
                Err(source) => Err(MalformedTlogProof::Hash { position, source }),
            })
            .collect::<Result<_, _>>()?;
        let note = Note::parse(note.as_bytes()).map_err(|source| MalformedTlogProof::Checkpoint { source })?;
        Ok(Self { extra, index, inclusion: InclusionProof::new(hashes), note })
    }

    /// Verifies that the leaf with hash `leaf` is in the log `origin`, in this order:
    ///
    /// 1. the checkpoint is of this log and signed by `log`;
    /// 2. enough of the witnesses of `quorum` cosigned it;
    /// 3. the leaf is at the proof's index in the checkpoint's tree.
    ///
    /// The caller has computed `leaf` from the entry in question: the proof names no entry.
    ///
    /// # Errors
    /// [`TlogProofRejected`] with the check that failed.
    pub fn verify(
        &self,
        leaf: &Hash,
        origin: &str,
        log: &NoteVerifier,
        quorum: &WitnessQuorum,
    ) -> Result<AuthenticCheckpoint, TlogProofRejected> {
        let witnesses: Vec<NoteVerifier> = quorum.witnesses().cloned().collect();
        let checkpoint = Checkpoint::open(&self.note.to_bytes(), origin, log, &witnesses)
            .map_err(|source| TlogProofRejected::Checkpoint { source })?;
        quorum.check(&checkpoint).map_err(|source| TlogProofRejected::Quorum { source })?;
        verify_inclusion(leaf, self.index, checkpoint.tree_head(), &self.inclusion)
            .map_err(|source| TlogProofRejected::Inclusion { source })?;
        Ok(checkpoint)
    }
}

/// The proof as it is stored.
impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in self.inclusion.hashes() {
            writeln!(f, "{}", hash.to_base64())?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// Why bytes are not a proof.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MalformedTlogProof {
    /// What follows the empty line is not a note.
    #[error("the checkpoint of a proof is not a signed note")]
    Checkpoint {
        /// What is wrong with it.
        source: MalformedNote,
    },
    /// The extra data are not base64.
    #[error("the extra line of a proof is not standard base64 with padding")]
    Extra {
        /// What the decoder saw.
        source: base64::DecodeError,
    },
    /// A line of the inclusion proof is not a hash.
    #[error("hash {position} of a proof is malformed")]
    Hash {
        /// Which, from 0.
        position: usize,
        /// What is wrong with it.
        source: MalformedHash,
    },
    /// The first line is another.
    #[error("a proof begins with the line {HEADER}")]
    Header,
    /// No index where it should be.
    #[error("a proof has no index line with a decimal without leading zeros")]
    Index,
    /// No empty line.
    #[error("a proof has no checkpoint after an empty line")]
    NoCheckpoint,
    /// More bytes than any proof needs.
    #[error("a proof has {found} bytes, at most {TLOG_PROOF_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes given.
        found: usize,
    },
    /// More hashes than any tree has levels.
    #[error("a proof has more than {TLOG_PROOF_HASHES_MAX} hashes")]
    TooManyHashes,
    /// Not UTF-8.
    #[error("a proof is not UTF-8")]
    Utf8 {
        /// Where it stops being UTF-8.
        source: std::str::Utf8Error,
    },
}

/// Why a well-formed proof is not believed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TlogProofRejected {
    /// The checkpoint is not the log's.
    #[error("the checkpoint of the proof is not believed")]
    Checkpoint {
        /// Why not.
        source: CheckpointRejected,
    },
    /// The entry is not where the proof says.
    #[error("the entry is not in the tree of the checkpoint")]
    Inclusion {
        /// Why not.
        source: InclusionError,
    },
    /// Too few witnesses.
    #[error("the checkpoint of the proof is not cosigned as the policy demands")]
    Quorum {
        /// What is missing.
        source: QuorumMissed,
    },
}

fn parse_extra(line: &str) -> Result<Vec<u8>, MalformedTlogProof> {
    let encoded = line.strip_prefix("extra ").unwrap_or_default();
    STANDARD.decode(encoded).map_err(|source| MalformedTlogProof::Extra { source })
}

#[cfg(test)]
mod tests;
