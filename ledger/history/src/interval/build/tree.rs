//! An agent's tree, read from the store as far as it is needed.

use std::collections::{BTreeSet, HashMap};

use crate::aggregate::Aggregate;
use crate::interval::build::NotProven;
use crate::interval::opened::{write_leaf, write_opened, write_pruned};
use crate::interval::store::Store;
use crate::node::{Leaf, Node, agent_hash};

/// Nodes of one level in one read.
const TILE: u64 = 256;
/// Levels of the binary tree in a tile.
const TILE_HEIGHT: u32 = 8;

/// A tree of a known number of leaves.
pub(super) struct StoredTree<'a, S> {
    store: &'a S,
    slot: u32,
    agent: messages::Digest,
    leaves: u64,
    /// Tiles by level and number: complete subtrees of each height inside.
    tiles: HashMap<(u8, u64), Vec<Vec<Node>>>,
    /// Leaves of tiles of level 0.
    read: HashMap<u64, Vec<Leaf>>,
}

impl<'a, S: Store> StoredTree<'a, S> {
    pub(super) fn new(store: &'a S, slot: u32, agent: &messages::AgentId, leaves: u64) -> Self {
        let agent = agent_hash(agent);
        Self { store, slot, agent, leaves, tiles: HashMap::new(), read: HashMap::new() }
    }

    pub(super) fn leaves(&self) -> u64 {
        self.leaves
    }

    pub(super) fn leaf(&mut self, number: u64) -> Result<Leaf, NotProven<S::Error>> {
        let tile = number / TILE;
        self.load_leaves(tile)?;
        let leaf = self.read.get(&tile).and_then(|leaves| leaves.get(position(number % TILE)));
        leaf.copied().ok_or(NotProven::Contradiction { what: "a leaf of the agent's tree is missing" })
    }

    /// Number of leaves with a time before `second`.
    ///
    /// Times never go back along a tree, so the last of a run tells of all of it: one tile is read for each level.
    pub(super) fn count_before(&mut self, second: u64) -> Result<u64, NotProven<S::Error>> {
        let (mut start, mut size) = (0, self.leaves);
        while size > 1 {
            let half = split(size);
            if self.node(start, half)?.aggregate.last < second {
                (start, size) = (start + half, size - half);
            } else {
                size = half;
            }
        }
        let before = size == 1 && self.leaf(start)?.aggregate.first < second;
        Ok(start + u64::from(before))
    }

    /// Leaves in `low..high` that come more than `limit` after the leaf before, which is in it too; the first `most`.
    pub(super) fn gaps(
        &mut self,
        low: u64,
        high: u64,
        limit: u64,
        most: usize,
    ) -> Result<Vec<u64>, NotProven<S::Error>> {
        let mut found = Vec::new();
        self.seek_gaps((0, self.leaves), (low, high), limit, most, &mut found)?;
        Ok(found)
    }

    fn seek_gaps(
        &mut self,
        (start, size): (u64, u64),
        span: (u64, u64),
        limit: u64,
        most: usize,
        found: &mut Vec<u64>,
    ) -> Result<(), NotProven<S::Error>> {
        let outside = start >= span.1 || start + size <= span.0;
        if size < 2 || outside || found.len() >= most || self.node(start, size)?.aggregate.max_gap <= limit {
            return Ok(());
        }
        let half = split(size);
        let (left, right) = (self.node(start, half)?, self.node(start + half, size - half)?);
        self.seek_gaps((start, half), span, limit, most, found)?;
        let at = start + half;
        let joint = right.aggregate.first.saturating_sub(left.aggregate.last) > limit;
        if joint && span.0 < at && at < span.1 && found.len() < most {
            found.push(at);
        }
        self.seek_gaps((at, size - half), span, limit, most, found)
    }

    /// The first `most` leaves in `low..high` for which `marked` holds; it holds for a run if it does for a leaf of it.
    pub(super) fn marked(
        &mut self,
        low: u64,
        high: u64,
        marked: impl Fn(&Aggregate) -> bool + Copy,
        most: usize,
    ) -> Result<Vec<u64>, NotProven<S::Error>> {
        let mut found = Vec::new();
        let mut todo = vec![(0, self.leaves)];
        while let Some((start, size)) = todo.pop() {
            let outside = start >= high || start + size <= low;
            if outside || found.len() >= most || !marked(&self.node(start, size)?.aggregate) {
                continue;
            }
            if size == 1 {
                found.push(start);
                continue;
            }
            let half = split(size);
            todo.push((start + half, size - half));
            todo.push((start, half));
        }
        Ok(found)
    }

    /// The tree opened down to `leaves`, and at the boundary after the first `cut` leaves.
    pub(super) fn opened(&mut self, leaves: &BTreeSet<u64>, cut: u64) -> Result<Vec<u8>, NotProven<S::Error>> {
        let mut out = Vec::new();
        self.open(0, self.leaves, leaves, cut, &mut out)?;
        Ok(out)
    }

    fn open(
        &mut self,
        start: u64,
        size: u64,
        leaves: &BTreeSet<u64>,
        cut: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), NotProven<S::Error>> {
        if size == 1 {
            write_leaf(out, &self.leaf(start)?);
            return Ok(());
        }
        let half = split(size);
        let wanted = leaves.range(start..start + size).next().is_some() || (start < cut && cut < start + size);
        if wanted {
            write_opened(out);
            self.open(start, half, leaves, cut, out)?;
            return self.open(start + half, size - half, leaves, cut, out);
        }
        let (left, right) = (self.node(start, half)?, self.node(start + half, size - half)?);
        write_pruned(out, &left.aggregate.join(&right.aggregate), &left.hash, &right.hash);
        Ok(())
    }

    /// The subtree of `size` leaves (at least 1) from `start` on, as the recursion of the shape reaches it.
    fn node(&mut self, start: u64, size: u64) -> Result<Node, NotProven<S::Error>> {
        if !size.is_power_of_two() {
            let half = split(size);
            let (left, right) = (self.node(start, half)?, self.node(start + half, size - half)?);
            return Ok(Node::over(&left, &right));
        }
        let height = size.trailing_zeros();
        let level = u8::try_from(height / TILE_HEIGHT).unwrap_or(u8::MAX);
        let number = start >> (u32::from(level) * TILE_HEIGHT);
        let within = height % TILE_HEIGHT;
        let tile = (level, number / TILE);
        if !self.tiles.contains_key(&tile) {
            let heights = self.load(tile)?;
            self.tiles.insert(tile, heights);
        }
        let heights = self.tiles.get(&tile).and_then(|heights| heights.get(position(u64::from(within))));
        let node = heights.and_then(|nodes| nodes.get(position((number % TILE) >> within)));
        node.copied().ok_or(NotProven::Contradiction { what: "a node of the agent's tree is missing" })
    }

    fn load(&mut self, (level, tile): (u8, u64)) -> Result<Vec<Vec<Node>>, NotProven<S::Error>> {
        let mut nodes: Vec<Node> = if level == 0 {
            self.load_leaves(tile)?;
            let leaves = self.read.get(&tile).map_or(&[][..], Vec::as_slice);
            leaves.iter().map(|leaf| leaf.node(&self.agent)).collect()
        } else {
            let all = self.leaves >> (u32::from(level) * TILE_HEIGHT);
            let count = all.saturating_sub(tile * TILE).min(TILE);
            self.store.nodes(self.slot, level, tile * TILE, count).map_err(NotProven::Store)?
        };
        let mut heights = Vec::new();
        while !nodes.is_empty() {
            let above = nodes.chunks_exact(2).filter_map(|pair| match pair {
                [left, right] => Some(Node::over(left, right)),
                _ => None,
            });
            let above = above.collect();
            heights.push(std::mem::replace(&mut nodes, above));
        }
        Ok(heights)
    }

    fn load_leaves(&mut self, tile: u64) -> Result<(), NotProven<S::Error>> {
        if !self.read.contains_key(&tile) {
            let count = self.leaves.saturating_sub(tile * TILE).min(TILE);
            let leaves = self.store.leaves(self.slot, tile * TILE, count).map_err(NotProven::Store)?;
            self.read.insert(tile, leaves);
        }
        Ok(())
    }
}

/// Where RFC 6962 splits a tree of at least 2 leaves.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// A number below 256 as a position.
fn position(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
