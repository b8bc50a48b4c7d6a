//! The growing right edge of a tree: append leaves, know the root at any time.

use crate::hash::{EMPTY_ROOT, Hash, node_hash};
use crate::subtree::Subtree;
use crate::tree::{LEVEL_HEIGHT, TreeError, TreeHead, complete_hash, complete_pieces};

/// One complete subtree per bit of a 64-bit size.
const PEAKS: usize = 64;

/// The hashes of the complete subtrees that make up a tree, one per set bit of its size.
///
/// Appending costs two hashes on average and allocates nothing; the root costs one hash per set
/// bit. Holds 2 KiB whatever the size.
#[derive(Clone, PartialEq, Eq)]
pub struct Frontier {
    tree_size: u64,
    /// `peaks[h]` is meaningful when bit `h` of the size is set.
    peaks: [Hash; PEAKS],
}

impl Frontier {
    /// The frontier of a log without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self { tree_size: 0, peaks: [EMPTY_ROOT; PEAKS] }
    }

    /// Takes up a tree of `tree_size` leaves from its stored hashes; see
    /// [`tree`](crate::tree) for `read`.
    ///
    /// # Errors
    /// [`TreeError::Read`] if `read` fails.
    pub fn restore<E>(
        tree_size: u64,
        mut read: impl FnMut(u8, u64, &mut [Hash]) -> Result<(), E>,
    ) -> Result<Self, TreeError<E>> {
        let mut frontier = Self { tree_size, ..Self::new() };
        for (height, index) in complete_pieces(Subtree::prefix(tree_size)) {
            let hash = complete_hash(height, index, &mut read)?;
            frontier.set_peak(usize::from(height), hash);
        }
        Ok(frontier)
    }

    /// Appends a leaf and hands every stored hash that became complete to
    /// `store(level, index, hash)`: the leaf itself at level 0, every 256th leaf one of level 1,
    /// and so on. Each level's indices come in order without gaps.
    pub fn append(&mut self, leaf: Hash, mut store: impl FnMut(u8, u64, Hash)) {
        store(0, self.tree_size, leaf);
        let full = self.tree_size.trailing_ones() as usize;
        let mut carry = leaf;
        for (height, peak) in (1u8..).zip(self.peaks.iter().take(full)) {
            carry = node_hash(peak, &carry);
            if height % LEVEL_HEIGHT == 0 {
                store(height / LEVEL_HEIGHT, self.tree_size >> height, carry);
            }
        }
        self.set_peak(full, carry);
        self.tree_size += 1;
    }

    /// Number of leaves.
    #[must_use]
    pub const fn tree_size(&self) -> u64 {
        self.tree_size
    }

    /// The head of the tree as it is now.
    #[must_use]
    pub fn tree_head(&self) -> TreeHead {
        let root = (0..PEAKS)
            .zip(&self.peaks)
            .filter(|(height, _)| self.tree_size >> height & 1 == 1)
            .fold(None, |right: Option<Hash>, (_, peak)| Some(right.map_or(*peak, |right| node_hash(peak, &right))));
        TreeHead { tree_size: self.tree_size, root: root.unwrap_or(EMPTY_ROOT) }
    }

    fn set_peak(&mut self, height: usize, hash: Hash) {
        if let Some(peak) = self.peaks.get_mut(height) {
            *peak = hash;
        }
    }
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Frontier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head = self.tree_head();
        f.debug_struct("Frontier").field("tree_size", &head.tree_size).field("root", &head.root).finish()
    }
}
