//! Tree heads, roots and proofs computed from stored hashes.
//!
//! Stored are the *level hashes* of tlog-tiles: hash `i` of level `l` is the Merkle tree hash of
//! the leaves `[i·256^l, (i+1)·256^l)`, for complete ranges only. Laid end to end they are one
//! flat file per level, and tile `n` of a level is its bytes `[8192·n, 8192·(n+1))`.
//!
//! Whoever holds them passes `read(level, start, out)`, which fills `out` with the hashes
//! `start..start + out.len()` of that level. One call asks for at most 128 hashes and never
//! crosses a tile, so it is one read of a file or a part of one fetched tile. A proof in a tree
//! of `n` leaves reads at most 255 hashes for each of its `log256 n` levels, and as many again
//! for the right edge.

use std::iter;

use crate::hash::{EMPTY_ROOT, Hash, node_hash};
use crate::proof::{ConsistencyProof, InclusionProof};
use crate::subtree::{ProofPath, Subtree, split};

/// Each level of stored hashes spans eight levels of the binary tree.
pub const LEVEL_HEIGHT: u8 = 8;

/// Most hashes asked of a reader at once: half a tile, the widest complete subtree that is not
/// itself a stored hash.
pub const READ_HASHES_MAX: usize = 1 << (LEVEL_HEIGHT - 1);

/// The size and root of a tree; says nothing about who vouches for it.
///
/// Source: RFC 9162 §4.10 (without time and signature).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of leaves.
    pub tree_size: u64,
    /// Merkle tree hash over them.
    pub root: Hash,
}

impl TreeHead {
    /// The head of a log without entries.
    pub const EMPTY: Self = Self { tree_size: 0, root: EMPTY_ROOT };
}

/// Why a root or proof was not computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E> {
    /// The caller asked about an empty old tree; any tree extends it and no proof exists.
    #[error("no consistency proof starts at the empty tree")]
    FromEmpty,
    /// The caller asked for what the tree does not hold.
    #[error("leaves up to {end} were asked of a tree of {tree_size}")]
    OutOfRange {
        /// Index after the last leaf asked for.
        end: u64,
        /// Leaves in the tree.
        tree_size: u64,
    },
    /// Stored hashes could not be read.
    #[error("stored hashes of level {level} from {start} on could not be read")]
    Read {
        /// Level of stored hashes.
        level: u8,
        /// First hash of the failed read.
        start: u64,
        /// The reader's own error.
        source: E,
    },
}

/// The head of the tree over the first `tree_size` leaves.
///
/// # Errors
/// [`TreeError::Read`] if `read` fails.
pub fn tree_head<E>(
    tree_size: u64,
    read: impl FnMut(u8, u64, &mut [Hash]) -> Result<(), E>,
) -> Result<TreeHead, TreeError<E>> {
    let root = subtree_hash(Subtree::prefix(tree_size), read)?;
    Ok(TreeHead { tree_size, root })
}

/// The Merkle tree hash of `subtree`; the caller knows that the stored leaves reach that far.
///
/// # Errors
/// [`TreeError::Read`] if `read` fails.
pub fn subtree_hash<E>(
    subtree: Subtree,
    mut read: impl FnMut(u8, u64, &mut [Hash]) -> Result<(), E>,
) -> Result<Hash, TreeError<E>> {
    hash_of(subtree, &mut read)
}

/// Proves that leaf `index` is in the tree of `tree_size` leaves.
///
/// # Errors
/// [`TreeError::OutOfRange`] if it is not; [`TreeError::Read`] if `read` fails.
pub fn inclusion_proof<E>(
    index: u64,
    tree_size: u64,
    mut read: impl FnMut(u8, u64, &mut [Hash]) -> Result<(), E>,
) -> Result<InclusionProof, TreeError<E>> {
    let out_of_range = TreeError::OutOfRange { end: index.saturating_add(1), tree_size };
    let leaf = match Subtree::new(index, index.saturating_add(1)) {
        Ok(leaf) if index < tree_size => leaf,
        _ => return Err(out_of_range),
    };
    hashes_of(ProofPath::new(leaf, tree_size), &mut read).map(InclusionProof::new)
}

/// Proves that the tree of `old_size` leaves is a prefix of the tree of `new_size`.
///
/// # Errors
/// [`TreeError::FromEmpty`] if `old_size` is 0; [`TreeError::OutOfRange`] if it exceeds
/// `new_size`; [`TreeError::Read`] if `read` fails.
pub fn consistency_proof<E>(
    old_size: u64,
    new_size: u64,
    read: impl FnMut(u8, u64, &mut [Hash]) -> Result<(), E>,
) -> Result<ConsistencyProof, TreeError<E>> {
    subtree_consistency_proof(Subtree::prefix(old_size), new_size, read)
}

/// Proves that `subtree` is part of the tree of `tree_size` leaves.
///
/// # Errors
/// [`TreeError::FromEmpty`] for an empty subtree; [`TreeError::OutOfRange`] if it ends outside
/// the tree; [`TreeError::Read`] if `read` fails.
pub fn subtree_consistency_proof<E>(
    subtree: Subtree,
    tree_size: u64,
    mut read: impl FnMut(u8, u64, &mut [Hash]) -> Result<(), E>,
) -> Result<ConsistencyProof, TreeError<E>> {
    if subtree.is_empty() {
        return Err(TreeError::FromEmpty);
    }
    if subtree.end() > tree_size {
        return Err(TreeError::OutOfRange { end: subtree.end(), tree_size });
    }
    hashes_of(ProofPath::new(subtree, tree_size), &mut read).map(ConsistencyProof::new)
}

/// The Merkle tree hash of hashes held in memory, in RFC 6962's shape.
#[must_use]
pub fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => EMPTY_ROOT,
        [only] => *only,
        many => {
            let middle = usize::try_from(split(many.len() as u64)).unwrap_or(many.len());
            let (left, right) = many.split_at(middle);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// The hash of the complete subtree `index` among those of `2^height` leaves.
pub(crate) fn complete_hash<E>(
    height: u8,
    index: u64,
    read: &mut impl FnMut(u8, u64, &mut [Hash]) -> Result<(), E>,
) -> Result<Hash, TreeError<E>> {
    let level = height / LEVEL_HEIGHT;
    let within = height % LEVEL_HEIGHT;
    let start = index << within;
    let mut buffer = [EMPTY_ROOT; READ_HASHES_MAX];
    let (hashes, _) = buffer.split_at_mut(1 << within);
    read(level, start, hashes).map_err(|source| TreeError::Read { level, start, source })?;
    Ok(root_of(hashes))
}

/// Heights and indices of the complete subtrees that make up `subtree`, from the right.
pub(crate) fn complete_pieces(subtree: Subtree) -> impl Iterator<Item = (u8, u64)> {
    let mut end = subtree.end();
    let start = subtree.start();
    iter::from_fn(move || {
        let size = end - start;
        if size == 0 {
            return None;
        }
        // Fits: a u64 has at most 63 trailing zeros when it is not zero.
        let height = u8::try_from(size.trailing_zeros()).unwrap_or(u8::MAX);
        end -= 1 << height;
        Some((height, end >> height))
    })
}

fn hash_of<E>(
    subtree: Subtree,
    read: &mut impl FnMut(u8, u64, &mut [Hash]) -> Result<(), E>,
) -> Result<Hash, TreeError<E>> {
    let mut right: Option<Hash> = None;
    for (height, index) in complete_pieces(subtree) {
        let left = complete_hash(height, index, read)?;
        right = Some(right.map_or(left, |right| node_hash(&left, &right)));
    }
    Ok(right.unwrap_or(EMPTY_ROOT))
}

/// The proof's hashes, leaf side first.
fn hashes_of<E>(
    path: ProofPath,
    read: &mut impl FnMut(u8, u64, &mut [Hash]) -> Result<(), E>,
) -> Result<Vec<Hash>, TreeError<E>> {
    let mut hashes = path.map(|subtree| hash_of(subtree, read)).collect::<Result<Vec<_>, _>>()?;
    hashes.reverse();
    Ok(hashes)
}

#[cfg(test)]
mod tests;
