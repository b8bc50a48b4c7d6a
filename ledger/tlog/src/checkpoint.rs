//! Checkpoints: what a log says about its tree, as a signed note.
//!
//! ```text
//! <origin>
//! <tree size in decimal>
//! <root in base64>
//! <extension lines, if any>
//! ```
//!
//! Source: C2SP tlog-checkpoint.

use std::fmt;

use crate::decimal;
use crate::hash::{EMPTY_ROOT, Hash, MalformedHash};
use crate::key::{KeyId, KeyName, NoteVerifier, PosixSeconds};
use crate::note::{MalformedNote, Note, NoteRejected, VerifiedNote};
use crate::signer::{NoteSigner, SigningFailed};
use crate::tree::TreeHead;

/// The statement of a checkpoint; [`AuthenticCheckpoint`] is one that its log signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    tree_head: TreeHead,
    extensions: Vec<String>,
}

/// A checkpoint that bears the signature of the log's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticCheckpoint {
    checkpoint: Checkpoint,
    note: VerifiedNote,
}

/// A witness's word that it had seen nothing inconsistent or larger by `time`.
///
/// Says nothing about how old the checkpoint already was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cosignature<'note> {
    /// Name of the witness's key.
    pub name: &'note KeyName,
    /// ID of the witness's key.
    pub key_id: KeyId,
    /// The witness's clock.
    pub time: PosixSeconds,
}

impl Checkpoint {
    /// The statement that the log `origin` has the tree `tree_head`.
    ///
    /// # Errors
    /// [`MalformedCheckpoint::Origin`] if `origin` is empty or has control characters.
    pub fn new(origin: &str, tree_head: TreeHead) -> Result<Self, MalformedCheckpoint> {
        if origin.is_empty() || origin.contains(char::is_control) {
            return Err(MalformedCheckpoint::Origin);
        }
        Ok(Self { origin: origin.to_owned(), tree_head, extensions: Vec::new() })
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    /// [`MalformedCheckpoint`], naming the line.
    pub fn parse(text: &str) -> Result<Self, MalformedCheckpoint> {
        let text = text.strip_suffix('\n').ok_or(MalformedCheckpoint::TextEnd)?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(MalformedCheckpoint::Lines { found: text.split('\n').count() });
        };
        let tree_size = decimal::parse(size).ok_or_else(|| MalformedCheckpoint::TreeSize { found: size.to_owned() })?;
        let root = Hash::from_base64(root).map_err(|source| MalformedCheckpoint::Root { source })?;
        // The empty tree has one root only; another one could be shown to grow into anything.
        if tree_size == 0 && root != EMPTY_ROOT {
            return Err(MalformedCheckpoint::EmptyTreeRoot { found: root });
        }
        let mut checkpoint = Self::new(origin, TreeHead { tree_size, root })?;
        checkpoint.extensions = lines.map(str::to_owned).collect();
        if checkpoint.extensions.iter().any(String::is_empty) {
            return Err(MalformedCheckpoint::EmptyExtension);
        }
        Ok(checkpoint)
    }

    /// Reads and authenticates a checkpoint of the log `origin`, in this order:
    ///
    /// 1. the bytes are a note;
    /// 2. no signature under a known key, `log` or `witnesses`, is forged;
    /// 3. `log` itself signed: witnesses alone cannot vouch for a log;
    /// 4. the text is a checkpoint;
    /// 5. of this log and no other, even if the key serves several.
    ///
    /// Whether enough witnesses cosigned is for [`policy`](crate::policy) to say.
    ///
    /// # Errors
    /// [`CheckpointRejected`] with the check that failed.
    pub fn open(
        note: &[u8],
        origin: &str,
        log: &NoteVerifier,
        witnesses: &[NoteVerifier],
    ) -> Result<AuthenticCheckpoint, CheckpointRejected> {
        let note = Note::parse(note).map_err(|source| CheckpointRejected::MalformedNote { source })?;
        let known: Vec<NoteVerifier> = std::iter::once(log).chain(witnesses).cloned().collect();
        let note = note.verify(&known).map_err(|source| CheckpointRejected::Signature { source })?;
        if !note.is_signed_by(log) {
            return Err(CheckpointRejected::NotSignedByLog { log: log.name().clone() });
        }
        let checkpoint = Self::parse(note.note().text()).map_err(|source| CheckpointRejected::Malformed { source })?;
        if checkpoint.origin != origin {
            return Err(CheckpointRejected::Origin { expected: origin.to_owned(), found: checkpoint.origin });
        }
        Ok(AuthenticCheckpoint { checkpoint, note })
    }

    /// The log's name for itself, a schema-less URL by convention.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Size and root.
    #[must_use]
    pub const fn tree_head(&self) -> &TreeHead {
        &self.tree_head
    }

    /// Lines after the root. Not covered by every kind of cosignature: of no use for claims.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// The checkpoint as a note with the log's signature.
    ///
    /// The key's name should equal the origin. Signing a second, inconsistent tree head breaks
    /// the log for good; the caller has made sure that this one extends all earlier ones.
    ///
    /// # Errors
    /// [`CheckpointNotSigned`].
    pub fn sign(&self, signer: &NoteSigner) -> Result<Note, CheckpointNotSigned> {
        let mut note = Note::new(self.to_string()).map_err(|source| CheckpointNotSigned::Text { source })?;
        note.sign(signer).map_err(|source| CheckpointNotSigned::Signature { source })?;
        Ok(note)
    }
}

/// The text of the note.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = &self.tree_head;
        writeln!(f, "{}\n{}\n{}", self.origin, head.tree_size, head.root.to_base64())?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl AuthenticCheckpoint {
    /// What the log states.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Size and root, authentic.
    #[must_use]
    pub const fn tree_head(&self) -> &TreeHead {
        &self.checkpoint.tree_head
    }

    /// The note with all its lines and the genuine signatures among them.
    #[must_use]
    pub const fn note(&self) -> &VerifiedNote {
        &self.note
    }

    /// SHA-256 of the note's bytes, by which entries and nonces name this very note.
    #[must_use]
    pub fn note_digest(&self) -> Hash {
        self.note.note().digest()
    }

    /// The genuine cosignatures by the witnesses given to [`Checkpoint::open`].
    pub fn cosignatures(&self) -> impl Iterator<Item = Cosignature<'_>> {
        self.note.signatures().iter().filter_map(|signature| {
            let (name, key_id) = (&signature.name, signature.key_id);
            signature.time.map(|time| Cosignature { name, key_id, time })
        })
    }
}

/// Why a note's text is not a checkpoint.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MalformedCheckpoint {
    /// An extension line is empty.
    #[error("an extension line of a checkpoint is empty")]
    EmptyExtension,
    /// Size 0 with a root that is not that of the empty tree.
    #[error("a checkpoint of size 0 has the root {found}, expected {EMPTY_ROOT}")]
    EmptyTreeRoot {
        /// The root given.
        found: Hash,
    },
    /// Fewer than origin, size and root.
    #[error("a checkpoint has {found} lines, at least 3 are needed: origin, size, root")]
    Lines {
        /// Lines given.
        found: usize,
    },
    /// The origin is empty or has control characters.
    #[error("the origin of a checkpoint is empty or has a control character")]
    Origin,
    /// The root is not a hash.
    #[error("the root of a checkpoint is not a hash")]
    Root {
        /// What is wrong with it.
        source: MalformedHash,
    },
    /// The text does not end with a newline.
    #[error("a checkpoint does not end with a newline")]
    TextEnd,
    /// The size is not a canonical decimal of 64 bits.
    #[error("the size of a checkpoint is {found:?}, expected a decimal without leading zeros")]
    TreeSize {
        /// The line given.
        found: String,
    },
}

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CheckpointRejected {
    /// The signed text is not a checkpoint.
    #[error("the signed text is not a checkpoint")]
    Malformed {
        /// What is wrong with it.
        source: MalformedCheckpoint,
    },
    /// The bytes are not a note.
    #[error("the checkpoint is not a signed note")]
    MalformedNote {
        /// What is wrong with it.
        source: MalformedNote,
    },
    /// Only witnesses signed.
    #[error("the checkpoint is not signed by the log {log}")]
    NotSignedByLog {
        /// Name of the log's key.
        log: KeyName,
    },
    /// The checkpoint is another log's.
    #[error("the checkpoint is of the log {found:?}, expected {expected:?}")]
    Origin {
        /// The log asked for.
        expected: String,
        /// The log that states it.
        found: String,
    },
    /// A signature is forged, or none is known.
    #[error("the signatures of the checkpoint are not believed")]
    Signature {
        /// Which and why.
        source: NoteRejected,
    },
}

/// Why a checkpoint was not signed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointNotSigned {
    /// openssl refused.
    #[error("the checkpoint could not be signed")]
    Signature {
        /// What openssl said.
        source: SigningFailed,
    },
    /// No note can hold the text.
    #[error("the checkpoint cannot be a note")]
    Text {
        /// Why not.
        source: MalformedNote,
    },
}

#[cfg(test)]
mod tests;
