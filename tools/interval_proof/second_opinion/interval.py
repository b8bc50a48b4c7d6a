"""Verification of the proof about one machine: docs/spec/interval-proof.md sections 3 and 5, in their order."""

from . import entries, form, ground
from .beacons import verify_beacons
from .cbor import Malformed
from .history import id_hash
from .merkle import included, sha256
from .refused import Refused, check
from .stamps import verify_stamps
from .statement import state
from .tree import MalformedTree, Tree


class Verified:
    """A proof that has passed its checks, with all that is stated from."""


def verify(data, agent, trust):
    """The statement of a proof about `agent`, as JSON's values."""
    proof = form.read(data, form.interval_proof)
    version = 1 if proof.beacon_stamps is None else 2
    check(proof.version == version, "version", f"{proof.version}; expected {version}")
    check(proof.agent == agent, "agent", f"{proof.agent}; expected {agent}")
    check(proof.start_second <= proof.end_second, "interval", "ends before it begins")
    found = Verified()
    found.proof, found.trust = proof, trust
    found.last, found.end, found.start = ground.checkpoints(proof, trust)
    found.end_entry, found.row = census(proof.end, found.end, found.last, proof, "end")
    check(found.row is not None, "census-row", "the slot is nobody's at the end")
    found.start_row = census(proof.start, found.start, found.last, proof, "start")[1] if proof.start else None
    check_tree(found)
    check_terms(found)
    check_evidence(found)
    found.stamps = verify_stamps(proof, trust)
    found.not_before = verify_beacons(found)
    found.full_entries = check_full(found)
    return state(found)


def census(part, of, last, proof, which):
    entry, body = ground.census_entry(part, of, last, which)
    row = ground.opening(part.opening, proof.slot, body, which)
    if row is not None:
        check(row.agent == id_hash(proof.agent), "census-row", f"at the {which}: another agent's")
    return entry, row


def check_tree(found):
    """The opened tree against both rows; then the pieces before, inside and after the interval."""
    proof = found.proof
    counted = found.start_row.aggregate.n if found.start_row else 0
    try:
        tree = Tree(proof.agent, proof.tree, found.row.aggregate.n)
    except MalformedTree as error:
        raise Refused("tree", str(error)) from None
    check(tree.splits_at(counted), "tree", f"the boundary behind leaf {counted} is not opened")
    whole = tree.aggregate.bytes() == found.row.aggregate.bytes() and tree.root == found.row.root
    check(whole, "tree-root", "of the end")
    check(counted <= tree.aggregate.n, "tree-root", "the start has more leaves than the end")
    if found.start_row:
        aggregate, root = tree.prefix(counted)
        same = aggregate.bytes() == found.start_row.aggregate.bytes() and root == found.start_row.root
        check(same, "tree-root", "of the start")
    found.before, found.inside, found.after = [], [], []
    for piece in tree.pieces:
        of = piece.aggregate
        if of.last < proof.start_second:
            found.before.append(piece)
        elif proof.start_second <= of.first and of.last <= proof.end_second:
            found.inside.append(piece)
        elif of.first > proof.end_second:
            found.after.append(piece)
        else:
            raise Refused("straddles", f"leaves {piece.start} to {piece.end}")
    beside = [found.before[-1:], found.inside[:1], found.inside[-1:], found.after[:1]]
    found.beside = [piece.leaf for pieces in beside for piece in pieces]
    check(None not in found.beside, "end-not-opened", "a piece beside an end is no leaf")
    found.leaf_before = found.before[-1].leaf if found.before else None
    found.leaf_after = found.after[0].leaf if found.after else None
    found.leaves = {piece.start: piece.leaf for piece in tree.pieces if piece.leaf}
    before = found.before[-1].end if found.before else 0
    check(counted <= before, "start-too-late", f"{counted} counted at the start, {before} before the interval")


def check_terms(found):
    terms = found.terms = ground.Terms(found.proof.terms, found.proof.agent)
    terms.ends_at(found.row.terms)
    leaves = [found.leaf_before] + [piece.leaf for piece in found.inside] + [found.leaf_after]
    at, first = 0, None
    for leaf in leaves:
        if leaf is None:
            continue
        while at < len(terms.values) and terms.values[at] != leaf.terms:
            at += 1
        check(at < len(terms.values), "terms-of-leaf", f"leaf {leaf.number}")
        if first is None:
            first = at
            shown = terms.begins or any(entry.kind == entries.POLICY for entry in terms.entries[:first])
            check(shown, "terms-short", "the policy at the begin is not shown")
    check(terms.begins or first is not None, "terms-short", "no leaf is under the terms")


def check_evidence(found):
    """Quotes and verdicts of opened leaves."""
    numbers = [evidence.number for evidence in found.proof.evidence]
    for leaf in (found.leaf_before, found.leaf_after):
        check(leaf is None or leaf.number in numbers, "evidence-missing", "of a leaf beside the interval")
    found.evidence, last = [], -1
    for evidence in found.proof.evidence:
        grows = evidence.number in found.leaves and evidence.number > last
        check(grows, "evidence-missing", f"{evidence.number} is no opened leaf, or out of order")
        last = evidence.number
        found.evidence.append(check_pair(evidence, found))


def check_pair(evidence, found):
    """One leaf's verdict and quote: verdict, result, inclusion, quote, nonce, beacon."""
    leaf, agent = found.leaves[evidence.number], found.proof.agent
    what = f"leaf {leaf.number}"
    try:
        verdict = entries.read_entry(evidence.verdict)
        body = entries.read_body(verdict, entries.VERDICT)
    except Malformed as error:
        raise Refused("evidence-other", f"verdict of {what}: {error}") from None
    check(verdict.hash == leaf.verdict and verdict.agent == agent, "evidence-other", f"verdict of {what}")
    check((leaf.aggregate.fails == 0) == (body.result == entries.PASS), "evidence-result", what)
    inside = included(verdict.hash, evidence.index, found.last.size, evidence.inclusion, found.last.root)
    check(inside, "evidence-inclusion", f"{what}: number {evidence.index}")
    try:
        quote = entries.read_entry(evidence.quote)
        asked = entries.read_body(quote, entries.QUOTE)
    except Malformed as error:
        raise Refused("evidence-other", f"quote of {what}: {error}") from None
    same = quote.hash == body.quote and quote.agent == agent and quote.seq == leaf.seq
    check(same, "evidence-other", f"quote of {what}")
    attest = entries.Attest(asked.attest)
    if body.result == entries.PASS:
        check(attest.extra_data == entries.nonce(quote, asked), "nonce", what)
    if evidence.beacon is not None:
        check(sha256(evidence.beacon) == asked.beacon.note_digest, "evidence-other", f"beacon of {what}")
    return leaf, body, attest, asked.beacon.tree_size, evidence.beacon


def check_full(found):
    """The entries of a full proof make exactly the leaves inside; returns how many there are."""
    if not found.proof.entries:
        return 0
    leaves = [piece.leaf for piece in found.inside]
    check(None not in leaves, "full-leaf", "a piece inside is no leaf")
    before, opened, made = None, None, 0
    for position, data in enumerate(found.proof.entries):
        try:
            entry = entries.read_entry(data)
            closes = entry.kind == entries.VERDICT and opened is not None
            verdict = entries.read_body(entry, entries.VERDICT) if closes else None
        except Malformed as error:
            raise Refused("full-chain", f"entry {position}: {error}") from None
        follows = before is None or (entry.seq == before.seq + 1 and entry.prev == before.hash)
        check(entry.agent == found.proof.agent and follows, "full-chain", f"entry {position}")
        before = entry
        if entry.kind == entries.QUOTE:
            opened = entry
        elif verdict:
            check(made < len(leaves), "full-chain", f"entry {position}: a leaf too many")
            leaf, quote, opened = leaves[made], opened, None
            same = leaf.verdict == entry.hash and leaf.seq == quote.seq and verdict.quote == quote.hash
            same = same and (leaf.aggregate.fails == 0) == (verdict.result == entries.PASS)
            check(same, "full-leaf", f"leaf {leaf.number}")
            made += 1
    check(made == len(leaves), "full-leaf", f"{made} leaves; expected {len(leaves)}")
    return len(found.proof.entries)
