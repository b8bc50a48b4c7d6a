//! Subtrees of the log's tree and the way from one to the root.

/// The leaves `[start, end)`, laid so that their Merkle tree hash is meaningful in every later tree.
///
/// `start` is a multiple of the smallest power of two that is not below `end - start`. Prefixes
/// of the log, single leaves and everything a proof names are subtrees. A subtree with
/// `start == end` holds no leaves and its hash is [`EMPTY_ROOT`](crate::hash::EMPTY_ROOT).
///
/// Source: draft-ietf-plants-merkle-tree-certs §4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    start: u64,
    end: u64,
}

impl Subtree {
    /// Checks the alignment of `[start, end)`.
    ///
    /// # Errors
    /// [`InvalidSubtree`] if `start` exceeds `end` or is not aligned to the size.
    pub fn new(start: u64, end: u64) -> Result<Self, InvalidSubtree> {
        let invalid = InvalidSubtree { start, end };
        let size = end.checked_sub(start).ok_or(invalid.clone())?;
        // Above 2^63 leaves no power of two is left in 64 bits: only the start 0 is a multiple.
        let aligned = match size.checked_next_power_of_two() {
            Some(power) => start.is_multiple_of(power),
            None => start == 0,
        };
        if aligned { Ok(Self { start, end }) } else { Err(invalid) }
    }

    /// The first `tree_size` leaves.
    #[must_use]
    pub const fn prefix(tree_size: u64) -> Self {
        Self { start: 0, end: tree_size }
    }

    /// Index of the first leaf.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Index after the last leaf.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.end - self.start
    }

    /// True when there is no leaf in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// The range is not a subtree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{start}, {end}) is not a subtree: the start must be a multiple of the size rounded up to a power of two")]
pub struct InvalidSubtree {
    /// First leaf asked for.
    pub start: u64,
    /// Index after the last leaf asked for.
    pub end: u64,
}

/// The subtrees whose hashes prove that `[start, end)` lies in a tree, from the root downward.
///
/// One walk serves inclusion (a subtree of one leaf) and consistency (a prefix, or any subtree):
/// at each node the half that is not followed goes into the proof; when the node's left half is
/// part of the subtree and the right half is cut, the walk goes on right and ends with the piece
/// of the subtree itself, because its hash is then not the one the verifier knows.
///
/// Source: RFC 9162 §2.1.3.1 and §2.1.4.1; draft-ietf-plants-merkle-tree-certs §4.4.1.
#[derive(Debug, Clone)]
pub(crate) struct ProofPath {
    node: Subtree,
    target: Subtree,
    tail: Tail,
}

/// How a [`ProofPath`] ends once the walk has reached its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// The verifier knows the target's hash: nothing is added.
    Known,
    /// The target was cut: its last piece is added.
    Piece,
    /// The piece was added.
    Done,
}

impl ProofPath {
    /// `target` must not be empty and must end within the tree.
    pub(crate) const fn new(target: Subtree, tree_size: u64) -> Self {
        Self { node: Subtree::prefix(tree_size), target, tail: Tail::Known }
    }
}

impl Iterator for ProofPath {
    type Item = Subtree;

    fn next(&mut self) -> Option<Subtree> {
        if self.node == self.target {
            return match self.tail {
                Tail::Piece => {
                    self.tail = Tail::Done;
                    Some(self.target)
                }
                Tail::Known | Tail::Done => None,
            };
        }
        let middle = self.node.start + split(self.node.size());
        let left = Subtree { start: self.node.start, end: middle };
        let right = Subtree { start: middle, end: self.node.end };
        if self.target.end <= middle {
            self.node = left;
            return Some(right);
        }
        self.node = right;
        if self.target.start < middle {
            self.target.start = middle;
            self.tail = Tail::Piece;
        }
        Some(left)
    }
}

/// The largest power of two below `size`, where RFC 6962 splits a tree; `size` is at least 2.
pub(crate) const fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}
