//! COSE receipts: the log's key for them, and issuing them under its latest checkpoint.

use std::io;
use std::path::{Path, PathBuf};

use ledger_tlog::checkpoint::{Checkpoint, MalformedCheckpoint};
use ledger_tlog::cose::{MalformedReceiptKey, Receipt, ReceiptNotIssued, ReceiptSigner};
use ledger_tlog::hash::{EMPTY_ROOT, Hash};
use ledger_tlog::note::{MalformedNote, Note};
use ledger_tlog::tree::{TreeError, TreeHead, consistency_proof, inclusion_proof, tree_head};
use openssl::error::ErrorStack;
use transport::secret_file;

use crate::engine::{Ledger, Shared};
use crate::folder::Folder;
use crate::{disk, entropy};

/// The key of a log's receipts, and the name they carry.
#[derive(Debug)]
pub(crate) struct Receipts {
    issuer: String,
    public_pem: String,
    signer: ReceiptSigner,
}

/// Why there is no key for receipts.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptKeyError {
    /// openssl made no key.
    #[error("cannot make a key for receipts")]
    Generate(#[source] ErrorStack),
    /// The file holds another key than P-256 or Ed25519.
    #[error("{path} holds no key for receipts", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: MalformedReceiptKey,
    },
    /// The public side could not be read or written.
    #[error("cannot read or write {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Private and public key do not belong together.
    #[error("{RECEIPT_KEY_FILE} and {RECEIPT_PUBLIC_FILE} are of different keys; restore the one that was replaced")]
    Mismatch,
    /// The file is missing although receipts may have been signed, open to others or unreadable.
    #[error("the key for receipts is not usable")]
    Read(#[source] secret_file::ReadError),
    /// The file was not written.
    #[error("the key for receipts was not written")]
    Write(#[source] secret_file::WriteError),
}

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptUnavailable {
    /// The published checkpoint is not one.
    #[error("the published checkpoint is malformed")]
    Checkpoint(#[source] MalformedCheckpoint),
    /// A receipt of consistency starts from a tree that the checkpoint extends.
    #[error(
        "no receipt leads from a tree of {old} entries to one of {tree_size}; expected 1 to {tree_size} without it"
    )]
    From {
        /// Entries of the older tree.
        old: u64,
        /// Entries under the latest checkpoint.
        tree_size: u64,
    },
    /// The latest checkpoint does not cover the entry, or covers one entry alone, for which there
    /// is no receipt: the next one will.
    #[error("no checkpoint for a receipt covers entry {index} yet")]
    NotYet {
        /// The entry.
        index: u64,
    },
    /// The published checkpoint is no note.
    #[error("the published checkpoint is no note")]
    Note(#[source] MalformedNote),
    /// The log has no such entry.
    #[error("the log has no entry {index}")]
    NoEntry {
        /// The entry.
        index: u64,
    },
    /// The proof does not lead to the checkpoint's root, or the key did not sign.
    #[error("no receipt was issued")]
    NotIssued(#[source] ReceiptNotIssued),
    /// Stored hashes could not be read.
    #[error("the hashes for a receipt cannot be read")]
    Read(#[source] TreeError<io::Error>),
}

impl Receipts {
    /// The key of the log in `folder`. A P-256 key is made where neither key nor public side are;
    /// an Ed25519 key that an operator has put there with its public side serves as well.
    pub(crate) fn open(folder: &Folder, origin: &str) -> Result<Self, ReceiptKeyError> {
        let io = |source| ReceiptKeyError::Io { path: folder.file(RECEIPT_PUBLIC_FILE), source };
        let published = folder.read(RECEIPT_PUBLIC_FILE).map_err(io)?;
        let path = folder.file(RECEIPT_KEY_FILE);
        let signer = match secret_file::read(&path) {
            Ok(pem) => ReceiptSigner::from_pem(&pem),
            Err(error) if error.is_missing() && published.is_none() => make(&path)?,
            Err(error) => return Err(ReceiptKeyError::Read(error)),
        };
        let usable = signer.and_then(|signer| Ok((signer.verifier().to_pem()?, signer)));
        let (public_pem, signer) = usable.map_err(|source| ReceiptKeyError::Malformed { path, source })?;
        match published {
            // The key's file came first: a start that was interrupted, or this one.
            None => folder.replace(RECEIPT_PUBLIC_FILE, public_pem.as_bytes()).map_err(io)?,
            Some(published) if published == public_pem.as_bytes() => {}
            Some(_) => return Err(ReceiptKeyError::Mismatch),
        }
        Ok(Self { issuer: format!("https://{origin}"), public_pem, signer })
    }

    /// What verifies the receipts: SubjectPublicKeyInfo in PEM.
    pub(crate) fn public_pem(&self) -> &str {
        &self.public_pem
    }
}

fn make(path: &Path) -> Result<Result<ReceiptSigner, MalformedReceiptKey>, ReceiptKeyError> {
    let key = entropy::p256_key().map_err(ReceiptKeyError::Generate)?;
    let pem = key.private_key_to_pem_pkcs8().map(zeroize::Zeroizing::new).map_err(ReceiptKeyError::Generate)?;
    disk::write_secret(
        path,
        || secret_file::write(path, &pem).map_err(ReceiptKeyError::Write),
        ReceiptKeyError::Write,
    )?;
    Ok(ReceiptSigner::new(key))
}

impl Ledger {
    /// A receipt that the entry `index` is in the tree of the latest checkpoint.
    ///
    /// # Errors
    /// [`ReceiptUnavailable`].
    pub fn inclusion_receipt(&self, index: u64) -> Result<Receipt, ReceiptUnavailable> {
        let shared = &self.shared;
        if index >= shared.durable_size() {
            return Err(ReceiptUnavailable::NoEntry { index });
        }
        let head = published(shared)?;
        if index >= head.tree_size || head.tree_size < 2 {
            return Err(ReceiptUnavailable::NotYet { index });
        }
        let read = |level, start, out: &mut [Hash]| shared.levels.read(level, start, out);
        let path = inclusion_proof(index, head.tree_size, read).map_err(ReceiptUnavailable::Read)?;
        let mut leaf = [EMPTY_ROOT];
        let failed = |source| ReceiptUnavailable::Read(TreeError::Read { level: 0, start: index, source });
        shared.levels.read(0, index, &mut leaf).map_err(failed)?;
        let [leaf] = leaf;
        let Receipts { issuer, signer, .. } = &shared.receipts;
        Receipt::issue_inclusion(signer, issuer, &leaf, index, &head, path).map_err(ReceiptUnavailable::NotIssued)
    }

    /// A receipt that the tree of the latest checkpoint extends the tree of the first `old` entries.
    ///
    /// # Errors
    /// [`ReceiptUnavailable`].
    pub fn consistency_receipt(&self, old: u64) -> Result<Receipt, ReceiptUnavailable> {
        let shared = &self.shared;
        let head = published(shared)?;
        if old == 0 || old >= head.tree_size {
            return Err(ReceiptUnavailable::From { old, tree_size: head.tree_size });
        }
        let read = |level, start, out: &mut [Hash]| shared.levels.read(level, start, out);
        let path = consistency_proof(old, head.tree_size, read).map_err(ReceiptUnavailable::Read)?;
        let old = tree_head(old, read).map_err(ReceiptUnavailable::Read)?;
        let Receipts { issuer, signer, .. } = &shared.receipts;
        Receipt::issue_consistency(signer, issuer, &old, &head, path).map_err(ReceiptUnavailable::NotIssued)
    }
}

/// What the latest checkpoint says: a root that is not signed in a note is not signed in a receipt.
fn published(shared: &Shared) -> Result<TreeHead, ReceiptUnavailable> {
    let Some(published) = shared.published() else {
        return Ok(TreeHead::EMPTY);
    };
    let note = Note::parse(&published.note).map_err(ReceiptUnavailable::Note)?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(ReceiptUnavailable::Checkpoint)?;
    Ok(*checkpoint.tree_head())
}

/// The private key, PKCS#8 in PEM.
pub(crate) const RECEIPT_KEY_FILE: &str = "receipt.key";

/// Its public side, SubjectPublicKeyInfo in PEM.
pub(crate) const RECEIPT_PUBLIC_FILE: &str = "receipt.pub";
