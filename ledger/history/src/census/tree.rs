//! The perfect tree over the slots, kept so that a change costs its path.

use messages::Digest;

use super::sums::{SUMS_BYTES, Sums};
use crate::node::{fill, sha256};

/// A subtree: its sums and its hash.
pub(crate) type Branch = (Sums, Digest);

/// All nodes, level 0 the slots; each level has half of the one below.
#[derive(Clone, Debug, Default)]
pub(crate) struct CensusTree {
    levels: Vec<Vec<Branch>>,
    /// Slots in use.
    slots: usize,
}

impl CensusTree {
    /// Sets leaves, in ascending order of slots; new ones come right after the last.
    pub(crate) fn update(&mut self, leaves: impl Iterator<Item = (u32, Sums, Digest)>) {
        let mut touched: Vec<usize> = Vec::new();
        for (slot, sums, hash) in leaves {
            let slot = usize::try_from(slot).unwrap_or(usize::MAX);
            if slot == self.slots {
                self.grow(&mut touched);
            }
            if let Some(leaf) = self.levels.first_mut().and_then(|level| level.get_mut(slot)) {
                *leaf = (sums, hash);
                touched.push(slot);
            }
        }
        touched.sort_unstable();
        self.rehash(touched);
    }

    /// The whole tree; without slots the one empty leaf.
    pub(crate) fn top(&self) -> Branch {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_else(|| empty(0))
    }

    /// What stands beside the way from a slot to the top, lowest first.
    pub(crate) fn path(&self, slot: u32) -> Vec<Branch> {
        let mut at = usize::try_from(slot).unwrap_or(usize::MAX);
        let below_top = self.levels.len().saturating_sub(1);
        let beside = self.levels.iter().take(below_top).map(|level| {
            let sibling = level.get(at ^ 1).copied();
            at /= 2;
            sibling.unwrap_or_else(|| empty(0))
        });
        beside.collect()
    }

    /// Makes room for one slot more.
    fn grow(&mut self, touched: &mut Vec<usize>) {
        self.slots += 1;
        let width = self.slots.next_power_of_two();
        let known = self.levels.first().map_or(0, Vec::len);
        if width == known {
            return;
        }
        let leaves = self.levels.first_mut().map(std::mem::take).unwrap_or_default();
        let added = (leaves.len()..width).map(|slot| empty(u32::try_from(slot).unwrap_or(u32::MAX)));
        let leaves: Vec<Branch> = leaves.into_iter().chain(added).collect();
        self.levels = vec![leaves];
        let mut below = width;
        while below > 1 {
            below /= 2;
            self.levels.push(vec![(Sums::NONE, Digest::ZERO); below]);
        }
        // Every pair of leaves once: all above is new.
        *touched = (0..width).step_by(2).collect();
    }

    fn rehash(&mut self, mut touched: Vec<usize>) {
        for height in 1..self.levels.len() {
            for at in &mut touched {
                *at /= 2;
            }
            touched.dedup();
            let (below, above) = self.levels.split_at_mut(height);
            let (Some(below), Some(level)) = (below.last(), above.first_mut()) else { return };
            for at in &touched {
                if let (Some([left, right]), Some(node)) = (below.get(2 * at..2 * at + 2), level.get_mut(*at)) {
                    *node = over(left, right);
                }
            }
        }
    }
}

/// The branch over two.
pub(crate) fn over(left: &Branch, right: &Branch) -> Branch {
    let sums = left.0.combine(&right.0);
    let mut bytes = [CENSUS_NODE; 1 + SUMS_BYTES + 64];
    fill(&mut bytes, &[&sums.to_bytes(), left.1.as_bytes(), right.1.as_bytes()]);
    (sums, sha256(&bytes))
}

/// A slot that nobody has.
pub(crate) fn empty(slot: u32) -> Branch {
    let mut bytes = [EMPTY_SLOT; 5];
    fill(&mut bytes, &[&slot.to_be_bytes()]);
    (Sums::NONE, sha256(&bytes))
}

const EMPTY_SLOT: u8 = 0x14;
const CENSUS_NODE: u8 = 0x15;
