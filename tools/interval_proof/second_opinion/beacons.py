"""Time-stamps under the beacons of quotes: docs/spec/interval-proof.md section 3, `beacon-…`."""

from . import entries, ground
from .cbor import Malformed
from .merkle import included, sha256
from .notes import BadNote
from .refused import Refused, check
from .stamps import BadToken, is_believed, the_time


def verify_beacons(found):
    """Checks tokens, then beacons; returns the lower bounds that trusted authorities give."""
    stamps, stated = found.proof.beacon_stamps, []
    if stamps is None:
        return stated
    tokens = [check_token(token, position, found.trust) for position, token in enumerate(stamps.tokens)]
    shown = {evidence.number: evidence for evidence in found.proof.evidence}
    used, last = set(), (-1, -1)
    for position, beacon in enumerate(stamps.beacons):
        place, what = (beacon.number, beacon.token), f"beacon {position}"
        of_quote = place > last and beacon.number in shown and beacon.token < len(tokens)
        check(of_quote, "beacon-quote", f"{what}: out of order, or of no quote or token")
        last = place
        used.add(beacon.token)
        (index, entry, bound) = tokens[beacon.token]
        opened = check_beacon(shown[beacon.number], beacon, index, entry, what, found)
        if bound is None:
            continue
        seconds, accuracy = bound
        stated.append({
            "quote": found.leaves[beacon.number].time, "number": beacon.number,
            "time": {"seconds": seconds, "strength": "stamped"}, "accuracy_ms": accuracy,
            "beacon_by": None if opened.high is None else {"seconds": opened.high, "strength": "witnessed"},
        })
    check(len(used) == len(tokens), "beacon-quote", "a token that is of use to no quote")
    return stated


def check_token(of, position, trust):
    """Index and entry, with the earliest second and the accuracy if the authority is trusted."""
    what = f"token {position} under the beacons"
    try:
        entry = entries.read_entry(of.entry)
        body = entries.read_body(entry, entries.TIMESTAMP)
    except Malformed as error:
        raise Refused("beacon-entry", f"{what}: {error}") from None
    check(entry.agent is None, "beacon-entry", f"{what}: on an agent's chain")
    check(body.tree_size <= of.index, "beacon-entry", f"{what}: it stamps what comes after it")
    try:
        size = ground.open_checkpoint(of.note, trust).size
    except BadNote as error:
        raise Refused("beacon-note", f"{what}: {error}") from None
    check(sha256(of.note) == body.note and size == body.tree_size, "beacon-note", what)
    check(sha256(of.token) == body.token, "beacon-token", f"{what}: another one")
    try:
        time, accuracy = the_time(of.token)
    except BadToken as error:
        raise Refused("beacon-token", f"{what}: {error}") from None
    check(time == body.gen_time, "beacon-token", f"{what}: of another time than its entry says")
    if trust.authorities is None:
        return of.index, entry, None
    try:
        if not is_believed(of.note, of.token, time // 1000, trust.authorities):
            return of.index, entry, None
    except BadToken as error:
        raise Refused("beacon-rejected", f"{what}: {error}") from None
    return of.index, entry, (max(0, time - (accuracy or 0)) // 1000, accuracy)


def check_beacon(evidence, beacon, index, entry, what, found):
    """The quote answers its nonce, and the tree of its beacon has the token's entry."""
    check(evidence.beacon is not None, "beacon-quote", f"{what}: the quote's beacon is not shown")
    quote = entries.read_entry(evidence.quote)
    asked = entries.read_body(quote, entries.QUOTE)
    answered = entries.Attest(asked.attest).extra_data == entries.nonce(quote, asked)
    check(answered, "nonce", f"leaf {evidence.number}")
    try:
        opened = ground.open_checkpoint(evidence.beacon, found.trust)
    except BadNote as error:
        raise Refused("beacon-checkpoint", f"{what}: {error}") from None
    check(opened.size == asked.beacon.tree_size, "beacon-checkpoint", f"{what}: {opened.size} entries")
    inside = included(entry.hash, index, opened.size, beacon.inclusion, opened.root)
    check(inside, "beacon-inclusion", f"{what}: number {index}")
    return opened
