//! RFC 6962 §2.1 word for word, and stored hashes in memory, to test against.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::convert::Infallible;

use crate::frontier::Frontier;
use crate::hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};

/// Leaf hashes of the entries `0`, `1`, … in decimal.
pub(crate) fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash(index.to_string().as_bytes())).collect()
}

/// MTH(D[n]).
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let k = split(leaves.len());
            node_hash(&root(&leaves[..k]), &root(&leaves[k..]))
        }
    }
}

/// PATH(m, D[n]).
pub(crate) fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (mut path, sibling) =
        if m < k { (path(m, &leaves[..k]), &leaves[k..]) } else { (path(m - k, &leaves[k..]), &leaves[..k]) };
    path.push(root(sibling));
    path
}

/// PROOF(m, D[n]).
pub(crate) fn proof(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    subtree_proof(0, m, leaves, true)
}

/// SUBTREE_SUBPROOF(start, end, D[n], b) of draft-ietf-plants-merkle-tree-certs §4.4.1, of which
/// SUBPROOF(m, D[n], b) is the case `start` = 0.
pub(crate) fn subtree_proof(start: usize, end: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    let n = leaves.len();
    if (start, end) == (0, n) {
        return if known { Vec::new() } else { vec![root(leaves)] };
    }
    let k = split(n);
    let (mut proof, sibling) = if end <= k {
        (subtree_proof(start, end, &leaves[..k], known), &leaves[k..])
    } else if k <= start {
        (subtree_proof(start - k, end - k, &leaves[k..], known), &leaves[..k])
    } else {
        (subtree_proof(0, end - k, &leaves[k..], false), &leaves[..k])
    };
    proof.push(root(sibling));
    proof
}

/// Stored hashes of every level, as a log's flat files hold them.
#[derive(Default)]
pub(crate) struct Levels(Vec<Vec<Hash>>);

impl Levels {
    /// Fills the levels through a [`Frontier`].
    pub(crate) fn of(leaves: &[Hash]) -> Self {
        let mut levels = Self::default();
        let mut frontier = Frontier::new();
        for leaf in leaves {
            frontier.append(*leaf, |level, index, hash| levels.store(level, index, hash));
        }
        levels
    }

    pub(crate) fn store(&mut self, level: u8, index: u64, hash: Hash) {
        let level = usize::from(level);
        self.0.resize_with(self.0.len().max(level + 1), Vec::new);
        assert_eq!(self.0[level].len() as u64, index, "level {level} is stored in order");
        self.0[level].push(hash);
    }

    pub(crate) fn level(&self, level: usize) -> &[Hash] {
        self.0.get(level).map_or(&[], Vec::as_slice)
    }

    /// The reader that [`tree`](crate::tree) wants; panics beyond what is stored or across tiles.
    pub(crate) fn read(&self) -> impl FnMut(u8, u64, &mut [Hash]) -> Result<(), Infallible> + Copy {
        |level, start, out: &mut [Hash]| {
            let start = usize::try_from(start).unwrap();
            let end = start + out.len();
            assert!(out.len() <= crate::tree::READ_HASHES_MAX);
            assert_eq!(start / 256, (end - 1) / 256, "a read stays within its tile");
            out.copy_from_slice(&self.0[usize::from(level)][start..end]);
            Ok(())
        }
    }
}

/// Largest power of two below `n`.
fn split(n: usize) -> usize {
    let mut k = 1;
    while 2 * k < n {
        k *= 2;
    }
    k
}
