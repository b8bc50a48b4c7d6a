"""Aggregates, sums and hashes of docs/spec/history.md."""

import struct

from .merkle import sha256

ZERO = bytes(32)
EMPTY_ROOT = sha256()
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1
RETIRED, MET, MISSED = 3, 1, 2


class Disorder(Exception):
    """Leaves whose times go back."""


class Aggregate:
    """What leaves in a row come to: 56 bytes."""

    LAYOUT = struct.Struct(">6Q2I")

    def __init__(self, n, first, last, max_gap, fails, misses, resets, late):
        self.n, self.first, self.last, self.max_gap = n, first, last, max_gap
        self.fails, self.misses, self.resets, self.late = fails, misses, resets, late

    @classmethod
    def read(cls, data):
        return cls(*cls.LAYOUT.unpack(data))

    def bytes(self):
        return self.LAYOUT.pack(self.n, self.first, self.last, self.max_gap, self.fails, self.misses, self.resets,
                                self.late)

    def then(self, right):
        """Of these leaves and those of `right` after them."""
        if not self.n:
            return right
        if not right.n:
            return self
        if right.first < self.last:
            raise Disorder(f"{right.first} after {self.last}")
        return Aggregate(
            min(self.n + right.n, U64_MAX), self.first, right.last,
            max(self.max_gap, right.max_gap, right.first - self.last),
            min(self.fails + right.fails, U64_MAX), min(self.misses + right.misses, U64_MAX),
            min(self.resets + right.resets, U32_MAX), min(self.late + right.late, U32_MAX))


NO_LEAVES = Aggregate(0, 0, 0, 0, 0, 0, 0, 0)


def id_hash(agent):
    return sha256(agent.encode())


def agent_leaf(agent, seq, aggregate, verdict, terms, basis, switches):
    return sha256(b"\x10", id_hash(agent), struct.pack(">Q", seq), aggregate.bytes(), verdict, terms, basis,
                  struct.pack(">I", switches))


def agent_node(aggregate, left, right):
    return sha256(b"\x11", aggregate.bytes(), left, right)


def head(agent_hash, aggregate, root, terms):
    return sha256(b"\x12", agent_hash, aggregate.bytes(), root, terms)


def terms_after(terms, entry_hash):
    return sha256(b"\x16", terms, entry_hash)


class Sums:
    """F: what rows of a census come to, 68 bytes."""

    LAYOUT = struct.Struct(">3I7Q")
    NAMES = ("agents", "due", "missed", "oldest", "worst_gap", "quotes", "fails", "misses", "resets", "late")
    # These never fall from one census to the next.
    COUNTS = NAMES[5:]

    def __init__(self, *values):
        self.__dict__.update(zip(self.NAMES, values))

    @classmethod
    def read(cls, data):
        return cls(*cls.LAYOUT.unpack(data))

    @classmethod
    def of_row(cls, row):
        enrolled, of = row.status != RETIRED, row.aggregate
        return cls(int(enrolled), int(row.status in (MET, MISSED)), int(row.status == MISSED),
                   of.last if enrolled and of.n else U64_MAX, of.max_gap, of.n, of.fails, of.misses, of.resets, of.late)

    def values(self):
        return [getattr(self, name) for name in self.NAMES]

    def bytes(self):
        return self.LAYOUT.pack(*self.values())

    def plus(self, other):
        mine, theirs = self.values(), other.values()
        limits = [U32_MAX] * 3 + [U64_MAX] * 7
        added = [min(one + two, most) for one, two, most in zip(mine, theirs, limits)]
        added[3], added[4] = min(mine[3], theirs[3]), max(mine[4], theirs[4])
        return Sums(*added)


def census_leaf(row):
    return sha256(b"\x13", struct.pack(">I", row.slot), row.agent, bytes([row.status]),
                  struct.pack(">Q", row.last_index), row.aggregate.bytes(), head(row.agent, row.aggregate, row.root, row.terms))


def census_node(sums, left, right):
    return sha256(b"\x15", sums.bytes(), left, right)


def census_root(prefix_size, epoch, clock, slots, sums, top):
    return sha256(b"\x17", struct.pack(">QQQ", prefix_size, epoch, clock.seconds), clock.basis,
                  struct.pack(">I", slots), sums, top)


def opens(opening, slot, body):
    """Whether an opening of the slot leads to the census entry of this body."""
    if slot < opening.slots:
        row = opening.row
        # The smallest power of two that holds all slots has so many bits.
        levels = (opening.slots - 1).bit_length()
        if row is None or row.slot != slot or opening.top is not None or len(opening.path) != levels:
            return False
        sums, at = Sums.of_row(row), census_leaf(row)
        for level, (other_sums, other) in enumerate(opening.path):
            is_right = slot >> level & 1
            sums = sums.plus(other_sums)
            at = census_node(sums, other, at) if is_right else census_node(sums, at, other)
        sums = sums.bytes()
    else:
        if opening.row is not None or opening.path or opening.top is None:
            return False
        sums, at = body.sums, opening.top
    root = census_root(body.prefix_size, opening.epoch, opening.clock, opening.slots, sums, at)
    return sums == body.sums and root == body.root and opening.epoch == body.epoch


def missed(start, end, policy, windows):
    """How many quotes were missed between two times in seconds, under a policy and with windows that count."""
    if policy is None or policy.interval_ms == 0:
        return 0
    start, end = milliseconds(start), milliseconds(end)
    unplanned = end - start - planned(start, end, windows)
    return max(0, unplanned - policy.tolerance_ms) // policy.interval_ms


def milliseconds(seconds):
    return min(1000 * seconds, U64_MAX)


def planned(start, end, windows):
    """Milliseconds between two times that lie in the union of windows."""
    total, at = 0, start
    for begin, until in sorted(windows):
        begin, until = max(begin, at), min(until, end)
        if begin < until:
            total, at = total + until - begin, until
    return total
