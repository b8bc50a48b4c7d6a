//! The pieces of an agent's tree before, in and after an interval.

use super::opened::Piece;
use super::refused::IntervalRefused;
use crate::aggregate::Aggregate;
use crate::node::Leaf;

/// Pieces by where they lie.
#[derive(Debug)]
pub(crate) struct Zones<'a> {
    pub(crate) before: &'a [Piece],
    pub(crate) inside: &'a [Piece],
    pub(crate) after: &'a [Piece],
}

impl<'a> Zones<'a> {
    /// Each piece must lie wholly in one zone; the four leaves next to the interval's ends must be opened.
    pub(crate) fn of(pieces: &'a [Piece], from: u64, to: u64) -> Result<Self, IntervalRefused> {
        for piece in pieces {
            let Aggregate { first, last, .. } = piece.aggregate;
            let (start, end) = (piece.start, piece.start + piece.size);
            if first < from && last >= from {
                return Err(IntervalRefused::Straddles { start, end, at: from });
            }
            if first <= to && last > to {
                return Err(IntervalRefused::Straddles { start, end, at: to });
            }
        }
        let lo = pieces.partition_point(|piece| piece.aggregate.last < from);
        let hi = pieces.partition_point(|piece| piece.aggregate.last <= to);
        let (before, rest) = pieces.split_at(lo);
        let (inside, after) = rest.split_at(hi.saturating_sub(lo));
        let zones = Self { before, inside, after };
        let ends = [
            ("last before the interval", before.last()),
            ("first in the interval", inside.first()),
            ("last in the interval", inside.last()),
            ("first after the interval", after.first()),
        ];
        for (which, piece) in ends {
            if piece.is_some_and(|piece| piece.leaf.is_none()) {
                return Err(IntervalRefused::EndNotOpened { which });
            }
        }
        Ok(zones)
    }

    pub(crate) fn last_before(&self) -> Option<&Leaf> {
        self.before.last().and_then(|piece| piece.leaf.as_ref())
    }

    pub(crate) fn first_inside(&self) -> Option<&Leaf> {
        self.inside.first().and_then(|piece| piece.leaf.as_ref())
    }

    pub(crate) fn last_inside(&self) -> Option<&Leaf> {
        self.inside.last().and_then(|piece| piece.leaf.as_ref())
    }

    pub(crate) fn first_after(&self) -> Option<&Leaf> {
        self.after.first().and_then(|piece| piece.leaf.as_ref())
    }

    /// Number of leaves before the interval.
    pub(crate) fn leaves_before(&self) -> u64 {
        self.before.last().map_or(0, |piece| piece.start + piece.size)
    }

    /// What the interval comes to.
    pub(crate) fn sum(&self) -> Aggregate {
        self.inside.iter().fold(Aggregate::NONE, |sum, piece| sum.join(&piece.aggregate))
    }
}
