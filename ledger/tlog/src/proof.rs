//! Inclusion and consistency proofs, and their verification.
//!
//! Nothing here authenticates a tree head; see [`Checkpoint::open`](crate::checkpoint::Checkpoint::open).

use crate::hash::{EMPTY_ROOT, Hash, node_hash};
use crate::subtree::{ProofPath, Subtree};
use crate::tree::TreeHead;

/// The hashes beside the way from a leaf to the root, leaf side first.
///
/// At most 64 for any 64-bit tree size; the exact number follows from index and size and is
/// checked on use.
///
/// Source: RFC 9162 §2.1.3.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InclusionProof(Vec<Hash>);

impl InclusionProof {
    /// Takes hashes as received, unchecked.
    #[must_use]
    pub const fn new(hashes: Vec<Hash>) -> Self {
        Self(hashes)
    }

    /// The hashes, leaf side first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.0
    }

    /// The hashes, leaf side first.
    #[must_use]
    pub fn into_hashes(self) -> Vec<Hash> {
        self.0
    }
}

/// The hashes that rebuild an old root and a new one, lowest subtree first.
///
/// At most 64 for any 64-bit tree size; the exact number follows from the sizes and is checked
/// on use.
///
/// Source: RFC 9162 §2.1.4.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsistencyProof(Vec<Hash>);

impl ConsistencyProof {
    /// Takes hashes as received, unchecked.
    #[must_use]
    pub const fn new(hashes: Vec<Hash>) -> Self {
        Self(hashes)
    }

    /// The hashes, lowest subtree first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.0
    }

    /// The hashes, lowest subtree first.
    #[must_use]
    pub fn into_hashes(self) -> Vec<Hash> {
        self.0
    }
}

/// Why an inclusion proof shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InclusionError {
    /// The tree does not reach the leaf.
    #[error("leaf {index} is not among the leaves [{start}, {end})")]
    IndexOutOfRange {
        /// The leaf asked about.
        index: u64,
        /// First leaf of the tree or subtree.
        start: u64,
        /// Index after its last leaf.
        end: u64,
    },
    /// The proof has another number of hashes than index and size demand.
    #[error("the inclusion proof has {found} hashes, expected {expected}")]
    Length {
        /// Hashes that index and size demand.
        expected: usize,
        /// Hashes in the proof.
        found: usize,
    },
    /// Leaf and proof belong to another root.
    #[error("leaf and proof lead to the root {computed}, expected {expected}")]
    Root {
        /// The tree head's root.
        expected: Hash,
        /// The root that came out.
        computed: Hash,
    },
}

/// Why a consistency proof shows nothing.
///
/// For subtrees "old" means the subtree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsistencyError {
    /// The old tree is empty: every tree extends it and no proof can say more.
    #[error("the old tree is empty, which proves nothing")]
    FromEmpty,
    /// Both sizes are the same but the roots are not: the log has two histories.
    #[error("two trees of {tree_size} leaves have different roots, {old} and {new}")]
    Forked {
        /// The common size.
        tree_size: u64,
        /// Root of the one.
        old: Hash,
        /// Root of the other.
        new: Hash,
    },
    /// The proof has another number of hashes than the sizes demand.
    #[error("the consistency proof has {found} hashes, expected {expected}")]
    Length {
        /// Hashes that the sizes demand.
        expected: usize,
        /// Hashes in the proof.
        found: usize,
    },
    /// The new root does not come out: the trees differ, or the proof is for another one.
    #[error("the proof leads to the new root {computed}, expected {expected}")]
    NewRoot {
        /// The new tree head's root.
        expected: Hash,
        /// The root that came out.
        computed: Hash,
    },
    /// The old root does not come out.
    #[error("the proof leads to the old root {computed}, expected {expected}")]
    OldRoot {
        /// The old tree head's root.
        expected: Hash,
        /// The root that came out.
        computed: Hash,
    },
    /// The new tree is smaller than the old one.
    #[error("the old tree ends at leaf {old}, beyond the new tree of {new}")]
    Shrunk {
        /// Index after the last leaf of the old tree.
        old: u64,
        /// Leaves in the new tree.
        new: u64,
    },
}

/// Verifies that the leaf with hash `leaf` is at `index` in the tree of `head`.
///
/// # Errors
/// As [`root_from_inclusion`], and [`InclusionError::Root`] if another root comes out.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    head: &TreeHead,
    proof: &InclusionProof,
) -> Result<(), InclusionError> {
    let computed = root_from_inclusion(leaf, index, head.tree_size, proof)?;
    expect_root(head.root, computed)
}

/// The root that leaf and proof imply; whether it is the right one is the caller's to decide.
///
/// Source: RFC 9162 §2.1.3.2.
///
/// # Errors
/// [`InclusionError::IndexOutOfRange`] if `index` is not below `tree_size`;
/// [`InclusionError::Length`] if the proof is too short or too long.
pub fn root_from_inclusion(
    leaf: &Hash,
    index: u64,
    tree_size: u64,
    proof: &InclusionProof,
) -> Result<Hash, InclusionError> {
    root_in_subtree(leaf, index, Subtree::prefix(tree_size), proof)
}

/// Verifies that the leaf with hash `leaf` is at `index` in the subtree with hash `root`.
///
/// The index counts from the start of the log. Nothing is said here about the subtree being
/// part of any tree; see [`verify_subtree_consistency`].
///
/// Source: draft-ietf-plants-merkle-tree-certs §4.3.
///
/// # Errors
/// As [`root_from_inclusion`], and [`InclusionError::Root`] if another root comes out.
pub fn verify_subtree_inclusion(
    leaf: &Hash,
    index: u64,
    subtree: Subtree,
    root: &Hash,
    proof: &InclusionProof,
) -> Result<(), InclusionError> {
    let computed = root_in_subtree(leaf, index, subtree, proof)?;
    expect_root(*root, computed)
}

/// Verifies that `proof` shows the first `old.tree_size` leaves unchanged in `new`.
///
/// Equal sizes take an empty proof. Neither tree head is authenticated here.
///
/// Source: RFC 9162 §2.1.4.2.
///
/// # Errors
/// [`ConsistencyError::FromEmpty`] if `old` has no leaves; [`ConsistencyError::Shrunk`] if `new`
/// is smaller; [`ConsistencyError::Length`] for a proof too short or too long;
/// [`ConsistencyError::Forked`] if sizes are equal and roots are not;
/// [`ConsistencyError::OldRoot`] or [`ConsistencyError::NewRoot`] for the side whose root does
/// not come out.
pub fn verify_consistency(old: &TreeHead, new: &TreeHead, proof: &ConsistencyProof) -> Result<(), ConsistencyError> {
    // RFC 9162 leaves it open; callers that start from nothing must decide so themselves.
    if old.tree_size == 0 {
        return Err(ConsistencyError::FromEmpty);
    }
    verify_subtree_consistency(Subtree::prefix(old.tree_size), &old.root, new, proof)
}

/// Verifies that the subtree with hash `subtree_root` is part of the tree of `head`.
///
/// An empty subtree takes an empty proof and has [`EMPTY_ROOT`]; it says nothing about `head`.
///
/// Source: draft-ietf-plants-merkle-tree-certs §4.4.3.
///
/// # Errors
/// As [`verify_consistency`], except [`ConsistencyError::FromEmpty`].
pub fn verify_subtree_consistency(
    subtree: Subtree,
    subtree_root: &Hash,
    head: &TreeHead,
    proof: &ConsistencyProof,
) -> Result<(), ConsistencyError> {
    let implied = roots_from_consistency(subtree, subtree_root, head.tree_size, proof)?;
    if implied.old != *subtree_root {
        return Err(ConsistencyError::OldRoot { expected: *subtree_root, computed: implied.old });
    }
    match implied.new {
        Some(computed) if computed != head.root => Err(if subtree == Subtree::prefix(head.tree_size) {
            let (old, new) = (*subtree_root, head.root);
            ConsistencyError::Forked { tree_size: head.tree_size, old, new }
        } else {
            ConsistencyError::NewRoot { expected: head.root, computed }
        }),
        _ => Ok(()),
    }
}

/// The two roots that a consistency proof implies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImpliedRoots {
    /// Root of the old tree or subtree.
    pub old: Hash,
    /// Root of the new tree; an empty subtree implies none.
    pub new: Option<Hash>,
}

/// The roots that `proof` implies for `subtree` and for the tree of `tree_size` leaves.
///
/// `known` is the subtree's hash. It enters the computation only when the subtree is itself a
/// node of the tree (such as an old size that is a power of two) and the proof therefore does
/// not repeat it; otherwise both roots come from the proof alone.
///
/// # Errors
/// [`ConsistencyError::Shrunk`] if the subtree ends outside the tree;
/// [`ConsistencyError::Length`] for a proof too short or too long.
pub fn roots_from_consistency(
    subtree: Subtree,
    known: &Hash,
    tree_size: u64,
    proof: &ConsistencyProof,
) -> Result<ImpliedRoots, ConsistencyError> {
    if subtree.end() > tree_size {
        return Err(ConsistencyError::Shrunk { old: subtree.end(), new: tree_size });
    }
    let length = |expected| ConsistencyError::Length { expected, found: proof.0.len() };
    if subtree.is_empty() {
        let implied = ImpliedRoots { old: EMPTY_ROOT, new: None };
        return if proof.0.is_empty() { Ok(implied) } else { Err(length(0)) };
    }
    let expected = ProofPath::new(subtree, tree_size).count();
    if proof.0.len() != expected {
        return Err(length(expected));
    }

    let mut first = subtree.start();
    let mut last = subtree.end() - 1;
    let mut tree_last = tree_size - 1;
    let whole = last == tree_last;
    while first != last && (whole || last & 1 == 1) {
        (first, last, tree_last) = (first >> 1, last >> 1, tree_last >> 1);
    }
    let mut hashes = proof.0.iter();
    let seed = if first == last { Some(known) } else { hashes.next() };
    let mut old = *seed.ok_or_else(|| length(expected))?;
    let mut new = old;
    for hash in hashes {
        if last & 1 == 1 || last == tree_last {
            if first < last {
                old = node_hash(hash, &old);
            }
            new = node_hash(hash, &new);
            while last & 1 == 0 && last != 0 {
                (first, last, tree_last) = (first >> 1, last >> 1, tree_last >> 1);
            }
        } else {
            new = node_hash(&new, hash);
        }
        (first, last, tree_last) = (first >> 1, last >> 1, tree_last >> 1);
    }
    Ok(ImpliedRoots { old, new: Some(new) })
}

fn root_in_subtree(leaf: &Hash, index: u64, subtree: Subtree, proof: &InclusionProof) -> Result<Hash, InclusionError> {
    if index < subtree.start() || index >= subtree.end() {
        let (start, end) = (subtree.start(), subtree.end());
        return Err(InclusionError::IndexOutOfRange { index, start, end });
    }
    let mut node = index - subtree.start();
    let mut last = subtree.size() - 1;
    let expected = inclusion_length(node, last);
    if proof.0.len() != expected {
        return Err(InclusionError::Length { expected, found: proof.0.len() });
    }
    let mut root = *leaf;
    for hash in &proof.0 {
        if node & 1 == 1 || node == last {
            root = node_hash(hash, &root);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            root = node_hash(&root, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    Ok(root)
}

/// Hashes in the proof of leaf `index` in a tree whose last leaf is `last`: one for every level
/// below where the ways to the two part, above it one for every left sibling.
fn inclusion_length(index: u64, last: u64) -> usize {
    let inner = u64::BITS - (index ^ last).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    (inner + border) as usize
}

fn expect_root(expected: Hash, computed: Hash) -> Result<(), InclusionError> {
    if expected == computed { Ok(()) } else { Err(InclusionError::Root { expected, computed }) }
}

#[cfg(test)]
mod tests;
