//! COSE receipts: a log's proofs signed in the form that COSE and SCITT tools read.
//!
//! ```text
//! 18([ << { 1: alg, 4: kid, 15: { 1: issuer }, 395: 1 } >>,       / protected; 395 vds: RFC9162_SHA256 /
//!      { 396: { -1: [ << [tree_size, leaf_index, [+ hash]] >> ] } },  / vdp; -1 inclusion, -2 consistency /
//!      nil,                                                          / the payload is the root, detached /
//!      signature ])
//! ```
//!
//! A receipt is written in deterministic CBOR (RFC 8949 §4.2.1). It is read in any order of the
//! maps, with headers of others' in them, but with definite lengths and shortest numbers, and with
//! exactly one proof.
//!
//! The list of hashes has at least one element, so there is no receipt for a tree of one leaf and
//! none of consistency between equal sizes.
//!
//! Source: RFC 9942, RFC 9052 §4.4, RFC 9597. The project's own choices: `docs/spec/receipts.md`.

mod cbor;
mod key;
mod read;

use crate::hash::Hash;
use crate::proof::{
    ConsistencyError, ConsistencyProof, InclusionError, InclusionProof, root_from_inclusion, roots_from_consistency,
    verify_consistency, verify_inclusion,
};
use crate::subtree::Subtree;
use crate::tree::TreeHead;

pub use self::cbor::MalformedCbor;
use self::cbor::{ARRAY, BYTES, MAP, NEGATIVE, NIL, TAG, TEXT, UNSIGNED, push_bytes, push_head};
pub use self::key::{Algorithm, MalformedReceiptKey, ReceiptSigner, ReceiptSigningFailed, ReceiptVerifier};
pub use self::read::MalformedReceipt;

/// Most bytes of a receipt: 64 hashes of 34 bytes, and three times as much for headers of others'.
pub const RECEIPT_BYTES_MAX: usize = 8 * 1024;

/// The media type of a receipt.
pub const RECEIPT_MEDIA_TYPE: &str = "application/cose";

/// COSE_Sign1.
const TAG_SIGN1: u64 = 18;
/// Header label: the algorithm.
const LABEL_ALG: i64 = 1;
/// Header label: labels that must be understood.
const LABEL_CRIT: i64 = 2;
/// Header label: the key's identifier.
const LABEL_KID: i64 = 4;
/// Header label: CWT claims.
const LABEL_CWT: i64 = 15;
/// CWT claim: the issuer.
const CLAIM_ISS: i64 = 1;
/// Header label: the verifiable data structure.
const LABEL_VDS: i64 = 395;
/// Header label: the verifiable data structure's proofs.
const LABEL_VDP: i64 = 396;
/// The verifiable data structure RFC9162_SHA256.
const VDS_RFC9162_SHA256: i64 = 1;
/// Proofs of inclusion within the proofs.
const PROOF_INCLUSION: i64 = -1;
/// Proofs of consistency within the proofs.
const PROOF_CONSISTENCY: i64 = -2;

/// A well-formed receipt; see [`Receipt::verify_inclusion`] and [`Receipt::verify_consistency`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    algorithm: Algorithm,
    issuer: Option<String>,
    key_id: Option<Vec<u8>>,
    proof: ReceiptProof,
    /// The bytes that were signed.
    protected: Vec<u8>,
    signature: Vec<u8>,
}

/// What a receipt proves. Its numbers are not signed themselves; see [`Receipt`]'s verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptProof {
    /// A newer tree extends an older one.
    Consistency {
        /// Leaves of the older tree.
        old_size: u64,
        /// Leaves of the newer tree, whose root is signed.
        new_size: u64,
        /// From the one to the other.
        path: ConsistencyProof,
    },
    /// A leaf is in a tree.
    Inclusion {
        /// Leaves of the tree, whose root is signed.
        tree_size: u64,
        /// The leaf.
        leaf_index: u64,
        /// From the leaf to the root.
        path: InclusionProof,
    },
}

/// Why a receipt was not issued.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptNotIssued {
    /// The proof does not connect the two trees.
    #[error("the consistency proof for the receipt does not lead to the trees' roots")]
    Consistency {
        /// What is wrong with it.
        source: ConsistencyError,
    },
    /// The proof does not connect leaf and tree.
    #[error("the inclusion proof for the receipt does not lead to the tree's root")]
    Inclusion {
        /// What is wrong with it.
        source: InclusionError,
    },
    /// RFC 9942 has no form for a proof without hashes.
    #[error("a receipt needs a proof of at least one hash: none is issued for a tree of one leaf or for equal sizes")]
    NoHashes,
    /// The key did not sign.
    #[error("the receipt could not be signed")]
    Signature {
        /// Why not.
        source: ReceiptSigningFailed,
    },
}

/// Why a well-formed receipt is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptRejected {
    /// The key is for another algorithm than the receipt names.
    #[error("the receipt is signed with {found:?}, the key is for {expected:?}")]
    Algorithm {
        /// The key's.
        expected: Algorithm,
        /// The receipt's.
        found: Algorithm,
    },
    /// The proof's hashes do not fit its numbers, or it does not start from the older root.
    #[error("the receipt's consistency proof shows nothing")]
    Consistency {
        /// What is wrong with it.
        source: ConsistencyError,
    },
    /// The proof's hashes do not fit its numbers.
    #[error("the receipt's inclusion proof shows nothing")]
    Inclusion {
        /// What is wrong with it.
        source: InclusionError,
    },
    /// Another kind of proof than was asked for.
    #[error("the receipt is not one of {expected}")]
    Kind {
        /// What was asked for.
        expected: &'static str,
    },
    /// The signature is not the key's over the root that leaf (or older root) and proof give.
    #[error("the receipt is not signed by this key over the root {root}")]
    Signature {
        /// The root that came out.
        root: Hash,
    },
}

impl Receipt {
    /// Reads a receipt.
    ///
    /// # Errors
    /// [`MalformedReceipt`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedReceipt> {
        read::receipt(bytes)
    }

    /// Signs that the leaf with hash `leaf` is at `index` in the tree of `head`.
    ///
    /// The proof is verified first. The caller has made sure that the log's checkpoint vouches for
    /// `head`: a receipt is as binding as one.
    ///
    /// # Errors
    /// [`ReceiptNotIssued`].
    pub fn issue_inclusion(
        signer: &ReceiptSigner,
        issuer: &str,
        leaf: &Hash,
        index: u64,
        head: &TreeHead,
        path: InclusionProof,
    ) -> Result<Self, ReceiptNotIssued> {
        if path.hashes().is_empty() {
            return Err(ReceiptNotIssued::NoHashes);
        }
        verify_inclusion(leaf, index, head, &path).map_err(|source| ReceiptNotIssued::Inclusion { source })?;
        let proof = ReceiptProof::Inclusion { tree_size: head.tree_size, leaf_index: index, path };
        Self::sign(signer, issuer, proof, &head.root)
    }

    /// Signs that the tree of `new` extends the tree of `old`; otherwise as
    /// [`Receipt::issue_inclusion`].
    ///
    /// # Errors
    /// [`ReceiptNotIssued`].
    pub fn issue_consistency(
        signer: &ReceiptSigner,
        issuer: &str,
        old: &TreeHead,
        new: &TreeHead,
        path: ConsistencyProof,
    ) -> Result<Self, ReceiptNotIssued> {
        if path.hashes().is_empty() {
            return Err(ReceiptNotIssued::NoHashes);
        }
        verify_consistency(old, new, &path).map_err(|source| ReceiptNotIssued::Consistency { source })?;
        let proof = ReceiptProof::Consistency { old_size: old.tree_size, new_size: new.tree_size, path };
        Self::sign(signer, issuer, proof, &new.root)
    }

    fn sign(signer: &ReceiptSigner, issuer: &str, proof: ReceiptProof, root: &Hash) -> Result<Self, ReceiptNotIssued> {
        let verifier = signer.verifier();
        let protected = protected(verifier.algorithm(), verifier.key_id(), issuer);
        let signature = signer.sign(&to_be_signed(&protected, root));
        let signature = signature.map_err(|source| ReceiptNotIssued::Signature { source })?;
        Ok(Self {
            algorithm: verifier.algorithm(),
            issuer: Some(issuer.to_owned()),
            key_id: Some(verifier.key_id().as_bytes().to_vec()),
            proof,
            protected,
            signature,
        })
    }

    /// The receipt's bytes. The protected headers stand as they were signed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (label, numbers, hashes) = match &self.proof {
            ReceiptProof::Consistency { old_size, new_size, path } => {
                (PROOF_CONSISTENCY, [*old_size, *new_size], path.hashes())
            }
            ReceiptProof::Inclusion { tree_size, leaf_index, path } => {
                (PROOF_INCLUSION, [*tree_size, *leaf_index], path.hashes())
            }
        };
        let mut proof = Vec::new();
        push_head(&mut proof, ARRAY, 3);
        for number in numbers {
            push_head(&mut proof, UNSIGNED, number);
        }
        push_head(&mut proof, ARRAY, hashes.len() as u64);
        for hash in hashes {
            push_bytes(&mut proof, hash.as_bytes());
        }
        let mut out = Vec::new();
        push_head(&mut out, TAG, TAG_SIGN1);
        push_head(&mut out, ARRAY, 4);
        push_bytes(&mut out, &self.protected);
        push_head(&mut out, MAP, 1);
        push_label(&mut out, LABEL_VDP);
        push_head(&mut out, MAP, 1);
        push_label(&mut out, label);
        push_head(&mut out, ARRAY, 1);
        push_bytes(&mut out, &proof);
        out.push(NIL);
        push_bytes(&mut out, &self.signature);
        out
    }

    /// What it proves.
    #[must_use]
    pub const fn proof(&self) -> &ReceiptProof {
        &self.proof
    }

    /// Who says to have issued it; signed, but a name is worth what the key is.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// A hint which key to try.
    #[must_use]
    pub fn key_id(&self) -> Option<&[u8]> {
        self.key_id.as_deref()
    }

    /// The algorithm of its signature.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Verifies that the leaf with hash `leaf` is in a tree whose root `key` has signed; returns
    /// that root. In this order: it is a receipt of inclusion; the path has the length that index
    /// and size demand; the signature is `key`'s over the root that leaf and path give.
    ///
    /// Only the root is signed: index and tree size are vouched for as far as another pair would
    /// give another path (leaf 0 has the same path in trees of 5 and of 8 leaves). Who needs them
    /// compares the root with a checkpoint of that size.
    ///
    /// # Errors
    /// [`ReceiptRejected`] with the check that failed.
    pub fn verify_inclusion(&self, leaf: &Hash, key: &ReceiptVerifier) -> Result<Hash, ReceiptRejected> {
        let ReceiptProof::Inclusion { tree_size, leaf_index, path } = &self.proof else {
            return Err(ReceiptRejected::Kind { expected: "inclusion" });
        };
        let root = root_from_inclusion(leaf, *leaf_index, *tree_size, path);
        let root = root.map_err(|source| ReceiptRejected::Inclusion { source })?;
        self.verify_signature(root, key)
    }

    /// Verifies that a tree whose root `key` has signed extends the tree of `old`; returns the
    /// newer root. In this order: it is a receipt of consistency, from the size of `old`; the path
    /// has the length that the sizes demand and starts at the root of `old`; the signature is
    /// `key`'s over the newer root.
    ///
    /// What [`Receipt::verify_inclusion`] says of index and size holds for the newer size.
    ///
    /// # Errors
    /// [`ReceiptRejected`] with the check that failed.
    pub fn verify_consistency(&self, old: &TreeHead, key: &ReceiptVerifier) -> Result<Hash, ReceiptRejected> {
        let ReceiptProof::Consistency { old_size, new_size, path } = &self.proof else {
            return Err(ReceiptRejected::Kind { expected: "consistency" });
        };
        let rejected = |source| ReceiptRejected::Consistency { source };
        if *old_size != old.tree_size {
            return Err(ReceiptRejected::Kind { expected: "consistency from the older tree's size" });
        }
        if old.tree_size == 0 {
            return Err(rejected(ConsistencyError::FromEmpty));
        }
        let implied = roots_from_consistency(Subtree::prefix(old.tree_size), &old.root, *new_size, path);
        let implied = implied.map_err(rejected)?;
        if implied.old != old.root {
            return Err(rejected(ConsistencyError::OldRoot { expected: old.root, computed: implied.old }));
        }
        let root = implied.new.ok_or_else(|| rejected(ConsistencyError::FromEmpty))?;
        self.verify_signature(root, key)
    }

    fn verify_signature(&self, root: Hash, key: &ReceiptVerifier) -> Result<Hash, ReceiptRejected> {
        if self.algorithm != key.algorithm() {
            return Err(ReceiptRejected::Algorithm { expected: key.algorithm(), found: self.algorithm });
        }
        if key.verify(&to_be_signed(&self.protected, &root), &self.signature) {
            Ok(root)
        } else {
            Err(ReceiptRejected::Signature { root })
        }
    }
}

/// `{ 1: alg, 4: kid, 15: { 1: issuer }, 395: 1 }`, in the order of deterministic CBOR.
fn protected(algorithm: Algorithm, key_id: &Hash, issuer: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_head(&mut out, MAP, 4);
    push_label(&mut out, LABEL_ALG);
    push_label(&mut out, algorithm.number());
    push_label(&mut out, LABEL_KID);
    push_bytes(&mut out, key_id.as_bytes());
    push_label(&mut out, LABEL_CWT);
    push_head(&mut out, MAP, 1);
    push_label(&mut out, CLAIM_ISS);
    push_head(&mut out, TEXT, issuer.len() as u64);
    out.extend_from_slice(issuer.as_bytes());
    push_label(&mut out, LABEL_VDS);
    push_label(&mut out, VDS_RFC9162_SHA256);
    out
}

/// `["Signature1", protected, h'', root]`. Source: RFC 9052 §4.4.
fn to_be_signed(protected: &[u8], root: &Hash) -> Vec<u8> {
    const CONTEXT: &str = "Signature1";
    let mut out = Vec::new();
    push_head(&mut out, ARRAY, 4);
    push_head(&mut out, TEXT, CONTEXT.len() as u64);
    out.extend_from_slice(CONTEXT.as_bytes());
    push_bytes(&mut out, protected);
    push_head(&mut out, BYTES, 0);
    push_bytes(&mut out, root.as_bytes());
    out
}

/// An integer of either sign.
fn push_label(out: &mut Vec<u8>, label: i64) {
    match u64::try_from(label) {
        Ok(number) => push_head(out, UNSIGNED, number),
        Err(_) => push_head(out, NEGATIVE, label.unsigned_abs() - 1),
    }
}

#[cfg(test)]
mod tests;
