"""What both forms of proof stand on: checkpoints, their consistency, and census entries."""

from . import entries
from .cbor import Malformed
from .history import ZERO, opens, terms_after
from .merkle import extends, included
from .notes import BadNote, open_checkpoint
from .refused import Refused, check


class Trust:
    """What the auditor takes from elsewhere: the log's name and key, witnesses, authorities."""

    def __init__(self, origin, log, policy=None, authorities=None):
        self.origin, self.log, self.policy, self.authorities = origin, log, policy, authorities


def checkpoint(data, which, trust):
    try:
        return open_checkpoint(data, trust)
    except BadNote as error:
        raise Refused("checkpoint", f"of {which}: {error}") from None


def consistency(older, newer, path, which):
    holds = extends(older.size, older.root, newer.size, newer.root, path)
    check(holds, "consistency", f"{which}: {older.size} to {newer.size} entries")


def checkpoints(proof, trust):
    """Those of the last note, the end and the start, each checked against the one after it."""
    last = checkpoint(proof.note, "note", trust)
    end = checkpoint(proof.end.note, "end", trust)
    consistency(end, last, proof.end_to_note, "end to note")
    if proof.start is None:
        check(not proof.start_to_end, "consistency", "from a start that is not there")
        return last, end, None
    start = checkpoint(proof.start.note, "start", trust)
    consistency(start, end, proof.start_to_end, "start to end")
    return last, end, start


def census_entry(part, of, last, which):
    """The entry of a census and its body, in the log and of the size of its checkpoint."""
    try:
        entry = entries.read_entry(part.entry)
        body = entries.read_body(entry, entries.CENSUS)
    except Malformed as error:
        raise Refused("census-entry", f"at the {which}: {error}") from None
    check(entry.agent is None, "census-entry", f"at the {which}: on an agent's chain")
    inside = included(entry.hash, part.index, last.size, part.inclusion, last.root)
    check(inside, "census-inclusion", f"at the {which}: number {part.index}")
    check(of.size == body.prefix_size, "census-size", f"at the {which}: {of.size}; expected {body.prefix_size}")
    return entry, body


def opening(of, slot, body, which):
    check(opens(of, slot, body), "census-opening", f"at the {which}: slot {slot}")
    return of.row


def census_time(of, clock):
    """The time of a census: witnessed by its checkpoint, or its own clock's."""
    if of.low is not None:
        return {"seconds": of.low, "strength": "witnessed"}
    return {"seconds": clock.seconds, "strength": "claimed"}


def committed_by(entry, last):
    """By when the end's census was in the log, in each strength without time-stamps."""
    times = [{"seconds": entry.recorded // 1000, "strength": "claimed"}]
    if last.high is not None:
        times.append({"seconds": last.high, "strength": "witnessed"})
    return times


class Terms:
    """The entries that govern an agent, and the values of their hash chain: `before` and one after each entry."""

    def __init__(self, part, agent):
        self.entries, self.values, seq = [], [part.before], -1
        for position, data in enumerate(part.entries):
            try:
                entry = entries.read_entry(data)
                entry.fields = entries.read_body(entry, *entries.TERMS)
            except Malformed as error:
                raise Refused("terms-entry", f"entry {position}: {error}") from None
            follows = entry.agent == agent and entry.seq > seq
            check(follows, "terms-entry", f"entry {position}: of another chain or order")
            if position == 0 and part.before == ZERO:
                check(entry.kind == entries.ENROL and entry.seq == 0, "terms-entry", "no enrolment first")
            seq = entry.seq
            self.entries.append(entry)
            self.values.append(terms_after(self.values[-1], entry.hash))
        self.begins = part.before == ZERO

    def ends_at(self, expected):
        check(self.values[-1] == expected, "terms-end", "the chain leads elsewhere than the row")

    def at(self, value):
        """How many entries are folded where the chain has this value; None if it never has."""
        return self.values.index(value) if value in self.values else None

    def policy(self, count):
        """The last policy among the first `count` entries, unless an enrolment or retirement is behind it."""
        governing = [entry for entry in self.entries[:count] if entry.kind != entries.MAINTENANCE]
        return governing[-1] if governing and governing[-1].kind == entries.POLICY else None

    def between(self, after, bound):
        """Entries with a seq above `after` and below `bound`, each None for no limit."""
        return [entry for entry in self.below(bound, *entries.TERMS) if after is None or entry.seq > after]

    def below(self, bound, *kinds):
        """Entries of these kinds with a seq below `bound`, or all of them."""
        return [entry for entry in self.entries if entry.kind in kinds and (bound is None or entry.seq < bound)]
