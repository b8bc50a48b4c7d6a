"""What a proof that has passed its checks states: docs/spec/interval-proof.md sections 4, 6 and 10."""

from . import ground
from .entries import ENROL, MAINTENANCE, PASS, POLICY, RETIRE
from .history import NO_LEAVES, U64_MAX, milliseconds, missed, planned
from .notes import BadNote

WINDOWS_MAX = 16
STATUS = ("idle", "met", "missed", "retired")


def state(found):
    proof, trust = found.proof, found.trust
    total = NO_LEAVES
    for piece in found.inside:
        total = total.then(piece.aggregate)
    times = strength(found.beside, trust)
    end_time = ground.census_time(found.end, proof.end.opening.clock)
    if found.leaf_after:
        until = {"seconds": proof.end_second, "strength": times}
    else:
        until = {**end_time, "seconds": min(proof.end_second, end_time["seconds"])}
    committed = ground.committed_by(found.end_entry, found.last)
    if found.stamps:
        committed.append({"seconds": min(found.stamps), "strength": "stamped"})
    gaps = gaps_over(found, until["seconds"])
    pruned = [piece for piece in found.inside if piece.leaf is None]
    return {
        "agent": proof.agent, "slot": proof.slot, "from": proof.start_second, "to": proof.end_second, "until": until,
        "committed_by": committed, "times": times, "not_before": found.not_before,
        "quotes": total.n, "failed": total.fails, "missed": total.misses,
        "missed_at_end": missed_at_end(found, until["seconds"]), "resets": total.resets, "late": total.late,
        "before": found.leaf_before.time if found.leaf_before else None,
        "first": total.first if total.n else None, "last": total.last if total.n else None,
        "after": found.leaf_after.time if found.leaf_after else None,
        "max_gap": total.max_gap, "gap_limit": proof.gap_limit, "gaps": gaps,
        "gaps_complete": not any(piece.aggregate.max_gap > proof.gap_limit for piece in pruned),
        "failures": [piece.leaf.time for piece in found.inside if piece.leaf and piece.aggregate.fails],
        "terms": [term(entry) for entry in found.terms.entries],
        "at_end": STATUS[found.row.status], "end_clock": clock_of(proof.end.opening.clock, trust),
        "start": start(found),
        "readings": [reading(one, two, found) for one, two in zip(found.evidence, found.evidence[1:])],
        "full_entries": found.full_entries,
    }


def start(found):
    if found.start is None:
        return None
    clock = clock_of(found.proof.start.opening.clock, found.trust)
    return {"clock": clock, "enrolled": found.start_row is not None}


def clock_of(clock, trust):
    return {"seconds": clock.seconds, "strength": "witnessed" if is_of_auditor(clock, trust) else "claimed"}


def strength(leaves, trust):
    """What the times of quotes rest on, from the leaves beside the interval's ends."""
    bases = {(leaf.basis, leaf.switches) for leaf in leaves}
    if len(bases) == 1 and is_of_auditor(leaves[0], trust):
        return "witnessed"
    return "claimed"


def is_of_auditor(of, trust):
    """Whether a leaf's or clock's time rests on the auditor's own policy, asking for a witness at least."""
    return bool(trust.policy and trust.policy.asks and of.basis == trust.policy.digest)


def windows_from(terms, leaf):
    """Announced absences that count from a leaf on, in milliseconds."""
    enrolled = max((entry.seq for entry in terms.below(leaf.seq, ENROL)), default=-1)
    counting = [entry.fields for entry in terms.below(leaf.seq, MAINTENANCE) if entry.seq > enrolled]
    return [(window.start, window.end) for window in counting[-WINDOWS_MAX:]]


def policy_at(terms, leaf):
    """The policy in force where the leaf was judged, as far as it is listed."""
    folded = terms.at(leaf.terms)
    return None if folded is None else terms.policy(folded)


def missed_at_end(found, until):
    """Missed from the last leaf up to the interval's end; None where nothing shown says from or up to when."""
    pieces, terms, after = found.inside or found.before, found.terms, found.leaf_after
    bound = after.seq if after else None
    if not pieces:
        asks = any(entry.kind == POLICY and entry.fields.interval_ms for entry in terms.between(None, bound))
        return None if asks else 0
    leaf = pieces[-1].leaf
    if any(entry.kind in (ENROL, RETIRE) for entry in terms.between(leaf.seq, bound)):
        return None
    policy = policy_at(terms, after) if after else terms.policy(None)
    if policy is None:
        return 0
    return missed(leaf.time, max(until, leaf.time), policy.fields, windows_from(terms, leaf))


def gaps_over(found, until):
    """Gaps longer than the limit between neighbouring pieces, and to `until` if no leaf is after."""
    limit, terms, gaps = found.proof.gap_limit, found.terms, []

    def note(piece, end, leaf_after):
        begin = piece.aggregate.last
        windows = windows_from(terms, piece.leaf) if piece.leaf else []
        policy = policy_at(terms, leaf_after) if leaf_after and not leaf_after.aggregate.late else None
        gaps.append({
            "from": begin, "to": None if piece is last else end, "seconds": end - begin,
            "slack_ms": policy.fields.tolerance_ms if policy else None,
            "planned_ms": planned(milliseconds(begin), milliseconds(end), windows)})

    pieces = found.before[-1:] + found.inside + found.after[:1]
    last = pieces[-1] if pieces and not found.after else None
    for piece, following in zip(pieces, pieces[1:]):
        if following.aggregate.first - piece.aggregate.last > limit:
            note(piece, following.aggregate.first, following.leaf)
    if last and until > last.aggregate.last and until - last.aggregate.last > limit:
        note(last, until, None)
    return gaps


def term(entry):
    """An entry that governs the agent, as JSON's values."""
    of = entry.fields
    kinds = {
        ENROL: lambda: {"kind": "enrol", "slot": of.slot, "binding": of.binding.hex(),
                        "ek_certificate": of.ek_certificate, "registrar": of.registrar},
        POLICY: lambda: {"kind": "policy", "interval_ms": of.interval_ms, "tolerance_ms": of.tolerance_ms,
                         "hash_algs": of.hash_algs, "enc_algs": of.enc_algs, "sign_algs": of.sign_algs,
                         "labels": labels(of),
                         "policies": [{"role": each.role, "digest": each.digest.hex()} for each in of.policies],
                         "binding": of.binding.hex()},
        RETIRE: lambda: {"kind": "retire", "actor": of.actor, "reason": of.reason},
        MAINTENANCE: lambda: {"kind": "maintenance", "from_ms": of.start, "to_ms": of.end, "reason": of.reason,
                              "actor": of.actor},
    }
    return {"seq": entry.seq, "recorded_ms": entry.recorded, **kinds[entry.kind]()}


def labels(policy):
    return [{"name": label.name, "value": label.value} for label in policy.labels]


def reading(one, two, found):
    """What is covered between two quotes."""
    (leaf_one, verdict_one, attest_one, *_), (leaf_two, verdict_two, attest_two, *_) = one, two
    broken, drift, one_boot = [], None, False
    if verdict_one.result != PASS or verdict_two.result != PASS:
        broken.append("failed")
    # An enrolment with another binding counts, whatever the later verdict says of its own.
    between = found.terms.between(leaf_one.seq, leaf_two.seq)
    bindings = [verdict_two.binding, *(entry.fields.binding for entry in between if entry.kind == ENROL)]
    if any(binding != verdict_one.binding for binding in bindings):
        broken.append("other-tpm")
    elif attest_one.clock is None or attest_two.clock is None:
        broken.append("no-clock")
    else:
        clock_one, reset_one, restart_one, safe_one = attest_one.clock
        clock_two, reset_two, restart_two, safe_two = attest_two.clock
        one_boot = (reset_one, restart_one) == (reset_two, restart_two)
        if reset_one != reset_two:
            broken.append("reset")
        elif restart_one != restart_two:
            broken.append("restarted")
        if (safe_one, safe_two) != (1, 1):
            broken.append("unsafe")
        if one_boot:
            if clock_two <= clock_one:
                broken.append("clock-stood")
            drift = drift_between(bounds(one, found), bounds(two, found), max(0, clock_two - clock_one))
    lists = verdict_one.ima_state.count, verdict_two.ima_state.count
    if one_boot and 0 < lists[1] < lists[0]:
        broken.append("list-restarted")
    return {"from": leaf_one.time, "to": leaf_two.time, "broken": broken, "measured": all(lists) and not broken,
            "drift": drift}


def bounds(pair, found):
    """Not before and not after which second the quote was made, as far as that is proven."""
    leaf, _, _, tree_size, beacon = pair
    of_auditor = is_of_auditor(leaf, found.trust)
    lows = [leaf.time] if of_auditor else []
    if beacon is not None and found.trust.policy:
        try:
            opened = ground.open_checkpoint(beacon, found.trust)
            low = opened.low if opened.size == tree_size else None
        except BadNote:
            low = None
        lows += [] if low is None else [low]
    policy = policy_at(found.terms, leaf)
    not_after = None
    if of_auditor and not leaf.aggregate.late and policy:
        not_after = min(leaf.time + -(-policy.fields.tolerance_ms // 1000), U64_MAX)
    return max(lows, default=None), not_after


def drift_between(one, two, counted):
    """The finding that the TPM counted another time than has gone by, if it is one; in milliseconds."""
    (from_low, from_high), (to_low, to_high) = one, two
    least = milliseconds(max(0, to_low - from_high)) if to_low is not None and from_high is not None else 0
    most = milliseconds(max(0, to_high - from_low)) if to_high is not None and from_low is not None else None
    slow = counted < least - least // 1000 * 150 - 2000
    fast = most is not None and counted > most + most // 1000 * 150 + 2000
    return {"counted_ms": counted, "at_least_ms": least, "at_most_ms": most} if slow or fast else None
