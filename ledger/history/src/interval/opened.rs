//! An agent's tree, opened where it must be, as bytes in pre-order.
//!
//! ```text
//! opened = 00                                                    both children follow
//!        / 01 ‖ A ‖ left ‖ right                                 an interior node, its children as hashes
//!        / 02 ‖ u64 seq ‖ A ‖ verdict ‖ terms ‖ basis ‖ u32 switches     a leaf
//! ```
//!
//! The shape follows from the number of leaves: a subtree of one leaf is a leaf, any other is not.

use messages::Digest;

use crate::aggregate::{AGGREGATE_BYTES, Aggregate, NotInOrder};
use crate::node::{Leaf, Node, node_hash};

const OPENED: u8 = 0;
const PRUNED: u8 = 1;
const LEAF: u8 = 2;

/// A part of the tree that is shown whole, or as its sums only.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// Number of its first leaf.
    pub(crate) start: u64,
    /// Number of its leaves.
    pub(crate) size: u64,
    pub(crate) aggregate: Aggregate,
    /// The leaf, if it is one.
    pub(crate) leaf: Option<Leaf>,
}

/// Why the bytes are no such tree.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MalformedTree {
    /// The aggregate does not fit the subtree.
    #[error("leaves {start} to {end} have an aggregate of {found} quotes, or one that no leaf can have")]
    Aggregate {
        /// First leaf.
        start: u64,
        /// After the last leaf.
        end: u64,
        /// Quotes stated.
        found: u64,
    },
    /// The bytes end, or go on.
    #[error("the opened tree does not end where its shape demands")]
    Length,
    /// Two runs overlap in time.
    #[error("leaves {start} to {end} are out of order")]
    Order {
        /// First leaf.
        start: u64,
        /// After the last leaf.
        end: u64,
        /// Where.
        source: NotInOrder,
    },
    /// A record of another kind than the shape allows.
    #[error("leaves {start} to {end} begin with the byte {found}")]
    Record {
        /// First leaf.
        start: u64,
        /// After the last leaf.
        end: u64,
        /// The byte.
        found: u8,
    },
    /// A subtree reaches over the number of leaves at the start.
    #[error("leaves {start} to {end} are not opened at leaf {at}")]
    NotOpened {
        /// First leaf.
        start: u64,
        /// After the last leaf.
        end: u64,
        /// Where it should have been.
        at: u64,
    },
}

/// What an opened tree shows.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The whole.
    pub(crate) root: Node,
    /// The tree of the first `prefix` leaves, if asked for and not empty.
    pub(crate) prefix: Option<Node>,
    /// All of it, in order.
    pub(crate) pieces: Vec<Piece>,
}

impl Opened {
    /// An opened leaf by its number.
    pub(crate) fn leaf(&self, number: u64) -> Option<&Leaf> {
        let at = self.pieces.binary_search_by_key(&number, |piece| piece.start).ok()?;
        self.pieces.get(at)?.leaf.as_ref()
    }
}

/// Reads the tree of `size` leaves (at least 1) of the agent, and with it that of its first `prefix` leaves.
pub(crate) fn read(bytes: &[u8], agent: &Digest, size: u64, prefix: u64) -> Result<Opened, MalformedTree> {
    let mut reader = TreeReader { rest: bytes, agent, prefix, pieces: Vec::new() };
    let (root, prefix) = reader.subtree(0, size)?;
    if !reader.rest.is_empty() {
        return Err(MalformedTree::Length);
    }
    Ok(Opened { root, prefix, pieces: reader.pieces })
}

struct TreeReader<'a> {
    rest: &'a [u8],
    agent: &'a Digest,
    prefix: u64,
    pieces: Vec<Piece>,
}

impl TreeReader<'_> {
    /// The subtree of leaves `start..start + size`, and what of it belongs to the prefix.
    ///
    /// Recurses at most 64 deep: each step halves a number of 64 bits.
    fn subtree(&mut self, start: u64, size: u64) -> Result<(Node, Option<Node>), MalformedTree> {
        let end = start.checked_add(size).ok_or(MalformedTree::Length)?;
        let [tag] = self.take()?;
        match (tag, size) {
            (LEAF, 1) => {
                let leaf = self.leaf()?;
                let node = leaf.node(self.agent);
                self.piece(start, size, leaf.aggregate, Some(leaf))?;
                Ok((node, (start < self.prefix).then_some(node)))
            }
            (PRUNED, 2..) => {
                let aggregate = Aggregate::from_bytes(&self.take()?);
                let (left, right) = (Digest(self.take()?), Digest(self.take()?));
                let node = Node { aggregate, hash: node_hash(&aggregate, &left, &right) };
                self.piece(start, size, aggregate, None)?;
                if start < self.prefix && self.prefix < end {
                    return Err(MalformedTree::NotOpened { start, end, at: self.prefix });
                }
                Ok((node, (end <= self.prefix).then_some(node)))
            }
            (OPENED, 2..) => {
                let half = 1u64 << (size - 1).ilog2();
                let (left, left_prefix) = self.subtree(start, half)?;
                let (right, right_prefix) = self.subtree(start + half, size - half)?;
                left.aggregate.combine(&right.aggregate).map_err(|source| MalformedTree::Order {
                    start,
                    end,
                    source,
                })?;
                let node = Node::over(&left, &right);
                let prefix = match (left_prefix, right_prefix) {
                    (Some(left), Some(right)) => Some(Node::over(&left, &right)),
                    (left, _) => left,
                };
                Ok((node, prefix))
            }
            (found, _) => Err(MalformedTree::Record { start, end, found }),
        }
    }

    fn leaf(&mut self) -> Result<Leaf, MalformedTree> {
        Ok(Leaf {
            seq: u64::from_be_bytes(self.take()?),
            aggregate: Aggregate::from_bytes(&self.take()?),
            verdict: Digest(self.take()?),
            terms: Digest(self.take()?),
            basis: Digest(self.take()?),
            switches: u32::from_be_bytes(self.take()?),
            quote_index: 0,
            verdict_index: 0,
        })
    }

    /// An aggregate is only as true as the log's; but one that no leaves can have is refused here.
    fn piece(&mut self, start: u64, size: u64, of: Aggregate, leaf: Option<Leaf>) -> Result<(), MalformedTree> {
        let one = of.first == of.last && of.max_gap == 0;
        let fits = of.quotes == size
            && of.first <= of.last
            && of.max_gap <= of.last - of.first
            && of.fails <= size
            && u64::from(of.resets) <= size
            && u64::from(of.late) <= size
            && (leaf.is_none() || one);
        if !fits {
            return Err(MalformedTree::Aggregate { start, end: start + size, found: of.quotes });
        }
        self.pieces.push(Piece { start, size, aggregate: of, leaf });
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], MalformedTree> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(MalformedTree::Length)?;
        self.rest = rest;
        Ok(*taken)
    }
}

pub(crate) fn write_opened(out: &mut Vec<u8>) {
    out.push(OPENED);
}

pub(crate) fn write_pruned(out: &mut Vec<u8>, aggregate: &Aggregate, left: &Digest, right: &Digest) {
    out.reserve(1 + AGGREGATE_BYTES + 64);
    out.push(PRUNED);
    out.extend_from_slice(&aggregate.to_bytes());
    out.extend_from_slice(left.as_bytes());
    out.extend_from_slice(right.as_bytes());
}

pub(crate) fn write_leaf(out: &mut Vec<u8>, leaf: &Leaf) {
    out.push(LEAF);
    let bytes = leaf.to_bytes();
    // Without the two indices at the end, which are not hashed.
    out.extend_from_slice(bytes.split_last_chunk::<16>().map_or(&[], |(hashed, _)| hashed));
}

#[cfg(test)]
mod tests;
