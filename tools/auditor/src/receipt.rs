//! Checking a COSE receipt (RFC 9942) offline: what it proves, with a key and a checkpoint from elsewhere.

use ledger_tlog::{
    checkpoint::{Checkpoint, CheckpointRejected},
    cose::{MalformedReceipt, Receipt, ReceiptProof, ReceiptRejected, ReceiptVerifier},
    hash::{Hash, leaf_hash},
    key::NoteVerifier,
    tree::TreeHead,
};
use serde::Serialize;

/// What the auditor brings to a receipt.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptQuestion<'a> {
    /// The log's key for receipts.
    pub key: &'a ReceiptVerifier,
    /// The log's key for checkpoints, if any are given.
    pub log_key: Option<&'a NoteVerifier>,
    /// What the receipt must be about.
    pub subject: Subject<'a>,
    /// A checkpoint of the tree whose root is signed: it makes size and index certain.
    pub checkpoint: Option<&'a [u8]>,
}

/// What a receipt is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An entry, by its bytes.
    Entry(&'a [u8]),
    /// An older checkpoint that the log says it extends.
    Older(&'a [u8]),
}

/// A receipt that is believed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ReceiptReport {
    /// `inclusion` or `consistency`.
    pub kind: &'static str,
    /// Place of the entry; only as certain as `tree_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Entries of the older tree, as its checkpoint says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_size: Option<u64>,
    /// Entries of the tree whose root is signed.
    pub tree_size: u64,
    /// Whether a checkpoint confirms the size: receipts sign a root alone.
    pub size_confirmed: bool,
    /// The root that is signed.
    pub root: String,
    /// Who issued it, by its own word.
    pub issuer: Option<String>,
    /// Thumbprint of the key that verifies it.
    pub key_id: String,
}

/// Why a receipt is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptProblem {
    /// A checkpoint is not this log's.
    #[error("the {which} is not believed")]
    Checkpoint {
        /// Which.
        which: &'static str,
        /// Why not.
        source: CheckpointRejected,
    },
    /// The bytes are no receipt.
    #[error("the file holds no receipt")]
    Malformed(#[source] MalformedReceipt),
    /// A checkpoint came without a key to open it with.
    #[error("a checkpoint was given without the log's key; name it with --log-key")]
    NoLogKey,
    /// The receipt is about another tree than the checkpoint.
    #[error("the receipt's tree has {receipt} entries, the {which} {checkpoint}")]
    OtherSize {
        /// Which checkpoint.
        which: &'static str,
        /// Its size.
        checkpoint: u64,
        /// The receipt's.
        receipt: u64,
    },
    /// The receipt's root is not the checkpoint's.
    #[error("the receipt is over the root {receipt}, the checkpoint has {checkpoint}")]
    OtherRoot {
        /// The checkpoint's.
        checkpoint: Hash,
        /// The receipt's.
        receipt: Hash,
    },
    /// Signature or proof do not hold.
    #[error("the receipt does not hold")]
    Rejected(#[source] ReceiptRejected),
}

impl ReceiptProblem {
    /// Whether something is false, and not merely missing.
    #[must_use]
    pub const fn is_false(&self) -> bool {
        !matches!(self, Self::NoLogKey)
    }
}

/// Checks a receipt, in this order: 1. it is one; 2. its proof leads from the entry, or from the older checkpoint, to a
/// root that `key` signed; 3. that is the root and the size of the checkpoint given, if one is.
///
/// # Errors
/// [`ReceiptProblem`].
pub fn check(receipt: &[u8], question: &ReceiptQuestion<'_>) -> Result<ReceiptReport, ReceiptProblem> {
    let receipt = Receipt::parse(receipt).map_err(ReceiptProblem::Malformed)?;
    let (root, old_size) = match question.subject {
        Subject::Entry(entry) => (receipt.verify_inclusion(&leaf_hash(entry), question.key), None),
        Subject::Older(note) => {
            let old = open(note, "older checkpoint", question)?;
            (receipt.verify_consistency(&old, question.key), Some(old.tree_size))
        }
    };
    let root = root.map_err(ReceiptProblem::Rejected)?;
    let (kind, index, tree_size) = match receipt.proof() {
        ReceiptProof::Inclusion { tree_size, leaf_index, .. } => ("inclusion", Some(*leaf_index), *tree_size),
        ReceiptProof::Consistency { new_size, .. } => ("consistency", None, *new_size),
    };
    if let Some(note) = question.checkpoint {
        let head = open(note, "checkpoint", question)?;
        if head.root != root {
            return Err(ReceiptProblem::OtherRoot { checkpoint: head.root, receipt: root });
        }
        if head.tree_size != tree_size {
            let (which, checkpoint) = ("checkpoint", head.tree_size);
            return Err(ReceiptProblem::OtherSize { which, checkpoint, receipt: tree_size });
        }
    }
    Ok(ReceiptReport {
        kind,
        index,
        old_size,
        tree_size,
        size_confirmed: question.checkpoint.is_some(),
        root: root.to_string(),
        issuer: receipt.issuer().map(str::to_owned),
        key_id: question.key.key_id().to_string(),
    })
}

fn open(note: &[u8], which: &'static str, question: &ReceiptQuestion<'_>) -> Result<TreeHead, ReceiptProblem> {
    let key = question.log_key.ok_or(ReceiptProblem::NoLogKey)?;
    let opened = Checkpoint::open(note, key.name().as_str(), key, &[])
        .map_err(|source| ReceiptProblem::Checkpoint { which, source })?;
    Ok(*opened.tree_head())
}
