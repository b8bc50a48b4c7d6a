"""The opened tree of an interval proof: docs/spec/interval-proof.md section 2."""

import struct

from .history import EMPTY_ROOT, NO_LEAVES, Aggregate, Disorder, agent_leaf, agent_node
from .merkle import split

OPENED, PRUNED, LEAF = 0, 1, 2


class MalformedTree(Exception):
    """Records that are not the tree of so many leaves."""


class Piece:
    """A pruned subtree or a leaf: leaves `start` to `end`."""

    def __init__(self, start, end, aggregate, node_hash, leaf=None):
        self.start, self.end, self.aggregate, self.hash, self.leaf = start, end, aggregate, node_hash, leaf


class Leaf:
    """What a leaf commits to."""

    def __init__(self, number, seq, aggregate, verdict, terms, basis, switches):
        self.number, self.seq, self.aggregate, self.time = number, seq, aggregate, aggregate.first
        self.verdict, self.terms, self.basis, self.switches = verdict, terms, basis, switches


class Tree:
    """The pieces of an opened tree in order, with aggregate and hash of the whole."""

    def __init__(self, agent, data, leaves):
        self.agent, self.data, self.at, self.pieces = agent, data, 0, []
        self.aggregate, self.root = self.node(0, leaves) if leaves else (NO_LEAVES, EMPTY_ROOT)
        if self.at != len(data):
            raise MalformedTree(f"{len(data) - self.at} bytes after the last record")

    def take(self, count):
        taken = self.data[self.at:self.at + count]
        if len(taken) != count:
            raise MalformedTree("the records end early")
        self.at += count
        return taken

    def node(self, start, count):
        kind = self.take(1)[0]
        if kind == OPENED and count > 1:
            half = split(count)
            left, left_hash = self.node(start, half)
            right, right_hash = self.node(start + half, count - half)
            try:
                aggregate = left.then(right)
            except Disorder as error:
                raise MalformedTree(str(error)) from None
            return aggregate, agent_node(aggregate, left_hash, right_hash)
        if kind == PRUNED and count > 1:
            aggregate = self.aggregate_of(count)
            node_hash = agent_node(aggregate, self.take(32), self.take(32))
            self.pieces.append(Piece(start, start + count, aggregate, node_hash))
            return aggregate, node_hash
        if kind == LEAF and count == 1:
            (seq,) = struct.unpack(">Q", self.take(8))
            aggregate = self.aggregate_of(1)
            verdict, terms, basis = self.take(32), self.take(32), self.take(32)
            (switches,) = struct.unpack(">I", self.take(4))
            node_hash = agent_leaf(self.agent, seq, aggregate, verdict, terms, basis, switches)
            leaf = Leaf(start, seq, aggregate, verdict, terms, basis, switches)
            self.pieces.append(Piece(start, start + 1, aggregate, node_hash, leaf))
            return aggregate, node_hash
        raise MalformedTree(f"a record of kind {kind} for {count} leaves")

    def aggregate_of(self, count):
        """Reads an aggregate that can be that of so many leaves."""
        of = Aggregate.read(self.take(56))
        ordered = of.first <= of.last and of.max_gap <= of.last - of.first
        counted = of.n == count and max(of.fails, of.resets, of.late) <= count
        if not ordered or not counted or (count == 1 and of.first != of.last):
            raise MalformedTree(f"sums that {count} leaves cannot have")
        return of

    def splits_at(self, boundary):
        """Whether no piece has leaves on both sides of the boundary."""
        return not any(piece.start < boundary < piece.end for piece in self.pieces)

    def prefix(self, count):
        """Aggregate and root of the first `count` leaves, at a boundary that splits no piece."""
        if count == 0:
            return NO_LEAVES, EMPTY_ROOT
        whole = {(piece.start, piece.end): (piece.aggregate, piece.hash) for piece in self.pieces}
        return combine(whole, 0, count)


def combine(whole, start, end):
    """Aggregate and hash of leaves `start` to `end` from pieces that lie within."""
    if (start, end) in whole:
        return whole[start, end]
    if end - start == 1:
        raise MalformedTree(f"leaf {start} is not there")
    half = start + split(end - start)
    left, left_hash = combine(whole, start, half)
    right, right_hash = combine(whole, half, end)
    aggregate = left.then(right)
    return aggregate, agent_node(aggregate, left_hash, right_hash)
