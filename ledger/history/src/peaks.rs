//! The growing right edge of an agent's tree.

use crate::aggregate::Aggregate;
use crate::node::{NO_LEAVES, Node};

/// Levels of the binary tree between two that a store keeps.
pub(crate) const LEVEL_HEIGHT: u32 = 8;

/// Appends leaf `number` to a tree whose complete subtrees are `peaks`, largest first, and hands
/// those that a store keeps to `store(level, index, node)`: level `l` is of `256^l` leaves each, from 1 on.
pub(crate) fn append(peaks: &mut Vec<Node>, number: u64, leaf: Node, mut store: impl FnMut(u8, u64, Node)) {
    let mut carry = leaf;
    for height in 1..=number.trailing_ones() {
        let Some(left) = peaks.pop() else { break };
        carry = Node::over(&left, &carry);
        if height % LEVEL_HEIGHT == 0 {
            let level = u8::try_from(height / LEVEL_HEIGHT).unwrap_or(u8::MAX);
            store(level, number >> height, carry);
        }
    }
    peaks.push(carry);
}

/// The whole tree.
pub(crate) fn root(peaks: &[Node]) -> Node {
    let joined = peaks.iter().rev().copied().reduce(|right, left| Node::over(&left, &right));
    joined.unwrap_or(Node { aggregate: Aggregate::NONE, hash: NO_LEAVES })
}
