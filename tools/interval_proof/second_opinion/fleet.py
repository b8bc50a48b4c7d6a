"""Verification of the proof about all machines: docs/spec/interval-proof.md section 9, in the order given there."""

from . import form, ground
from .entries import POLICY
from .history import MISSED, ZERO, Sums, census_root, id_hash
from .refused import check
from .statement import STATUS, labels

NAMES = ("quotes", "failed", "missed", "resets", "late")


def verify(data, trust):
    """The statement of a fleet proof, as JSON's values."""
    proof = form.read(data, form.FLEET_PROOF)
    check(proof.version == 1, "version", f"{proof.version}; expected 1")
    check(proof.start_second <= proof.end_second, "interval", "ends before it begins")
    last = ground.checkpoint(proof.note, "note", trust)
    end = ground.checkpoint(proof.end.note, "end", trust)
    ground.consistency(end, last, proof.end_to_note, "end to note")
    end_entry, end_body = census(proof.end, end, last, "end")
    start, start_body, counts = None, None, [0] * len(NAMES)
    if proof.start is None:
        check(not proof.start_to_end, "consistency", "from a start that is not there")
    else:
        start = ground.checkpoint(proof.start.note, "start", trust)
        ground.consistency(start, end, proof.start_to_end, "start to end")
        start_body = census(proof.start, start, last, "start")[1]
        check(proof.start.clock.seconds < proof.start_second, "start-too-late", "the census is not before the interval")
        counts = of_sums(Sums.read(start_body.sums))
    sums = Sums.read(end_body.sums)
    total = difference(of_sums(sums), counts, "all machines")
    machines, rest, others_missed, slot = [], total, sums.missed, -1
    for machine in proof.machines:
        check(machine.slot > slot, "machine-order", f"slot {machine.slot}")
        slot = machine.slot
        stated, counts, is_missed = one(machine, start_body, end_body)
        machines.append(stated)
        rest = difference(rest, counts, "the machines not shown")
        others_missed -= is_missed
        check(others_missed >= 0, "sums-fell", "more machines shown than missed at the end")
    return {
        "from": proof.start_second, "to": proof.end_second,
        "start": ground.census_time(start, proof.start.clock) if start else None,
        "end": ground.census_time(end, proof.end.clock), "committed_by": ground.committed_by(end_entry, last),
        "slots": proof.end.slots, "sums": all_sums(sums), "total": named(total), "machines": machines,
        "others": proof.end.slots - len(machines), "rest": named(rest), "others_missed": others_missed,
        "labels_complete": len(machines) == proof.end.slots and all(
            machine["labels"] is not None and machine["labels_before"] is not None for machine in machines),
    }


def census(part, of, last, which):
    entry, body = ground.census_entry(part, of, last, which)
    root = census_root(body.prefix_size, body.epoch, part.clock, part.slots, body.sums, part.top)
    check(root == body.root, "census-root", f"at the {which}")
    return entry, body


def one(machine, start_body, end_body):
    """One machine that is shown: its statement, its counts, and whether it is missed at the end."""
    what, owner = f"slot {machine.slot}", id_hash(machine.agent)
    row = ground.opening(machine.end, machine.slot, end_body, "end")
    check(row is not None and row.agent == owner, "census-row", f"{what} at the end")
    check((machine.start is None) == (start_body is None), "census-row", f"{what}: opened at the start or not")
    before, counts = None, [0] * len(NAMES)
    if start_body is not None:
        before = ground.opening(machine.start, machine.slot, start_body, "start")
        check(before is None or before.agent == owner, "census-row", f"{what} at the start")
        counts = of_sums(Sums.of_row(before)) if before else counts
    total = difference(of_sums(Sums.of_row(row)), counts, what)
    stated_labels, labels_before = None, None
    if machine.terms is not None:
        terms = ground.Terms(machine.terms, machine.agent)
        terms.ends_at(row.terms)
        lists = [labels(entry.fields) for entry in terms.below(None, POLICY)]
        stated_labels = lists[-1] if lists else []
        labels_before = earlier_labels(terms, lists, before)
    stated = {
        "agent": machine.agent, "slot": machine.slot, "known_at_start": before is not None,
        "at_end": STATUS[row.status], "last": row.aggregate.last if row.aggregate.n else None,
        "max_gap": row.aggregate.max_gap, "total": named(total), "labels": stated_labels,
        "labels_before": labels_before,
    }
    return stated, total, row.status == MISSED


def earlier_labels(terms, lists, before):
    """Of the policies before the last, from the one in force at the start on; None if the terms begin behind it."""
    folded = terms.at(before.terms if before else ZERO)
    if folded is None:
        return None
    until_start = sum(entry.kind == POLICY for entry in terms.entries[:folded])
    if not until_start and not terms.begins:
        return None
    return lists[max(0, until_start - 1):-1]


def of_sums(sums):
    return [getattr(sums, name) for name in Sums.COUNTS]


def difference(more, less, what):
    fell = [one - two for one, two in zip(more, less)]
    check(all(count >= 0 for count in fell), "sums-fell", what)
    return fell


def named(counts):
    return dict(zip(NAMES, counts))


def all_sums(sums):
    """F as JSON's values; `oldest` is null if no machine in the fleet has a quote."""
    values = dict(zip(Sums.NAMES, sums.values()))
    values["oldest"] = None if sums.oldest == 2**64 - 1 else sums.oldest
    return values
