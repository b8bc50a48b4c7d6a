"""Signed notes, checkpoints, cosignatures and quorums of C2SP (docs/spec/checkpoint.md, witness.md)."""

import base64
import binascii
import re

from .keys import COSIGNATURE, ECDSA, ED25519, ML_DSA, BadKey, VerifierKey, signed_all
from .merkle import sha256

# Time and signature of an ML-DSA-44 cosignature.
ML_DSA_LINE = 8 + 2420
BYTES_MAX, LINES_MAX = 1_000_000, 100
SIZE = re.compile(rb"0|[1-9][0-9]{0,19}")


class BadNote(Exception):
    """A note that is none, is not the log's, or has a forged line."""


class BadPolicy(Exception):
    """A file that is no tlog-policy."""


class Note:
    """The text and the signature lines of a signed note; nothing is verified yet."""

    def __init__(self, data):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise BadNote("no UTF-8") from None
        if any(character < " " and character != "\n" for character in text):
            raise BadNote("a control character")
        body, blank, lines = data.rpartition(b"\n\n")
        if not blank or not body or not lines.endswith(b"\n"):
            raise BadNote("no text, empty line and signature lines")
        self.text = body + b"\n"
        lines = lines.decode()[:-1].split("\n")
        if len(data) > BYTES_MAX or len(lines) > LINES_MAX:
            raise BadNote("more bytes or lines than a note may have")
        self.lines = [signature_line(line) for line in lines]


def signature_line(line):
    """Name, key ID and signature of a line."""
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not parts[1] or "+" in parts[1] or parts[1].split() != [parts[1]]:
        raise BadNote(f"no signature line: {line!r}")
    try:
        data = base64.b64decode(parts[2], validate=True)
    except (ValueError, binascii.Error):
        raise BadNote(f"no base64 in {line!r}") from None
    # The one encoding of these bytes: no stray bits at the end.
    if base64.b64encode(data).decode() != parts[2] or len(data) < 5:
        raise BadNote(f"no key ID and signature in {line!r}")
    return parts[1], data[:4], data[4:]


class Policy:
    """The auditor's witnesses: a tlog-policy file."""

    def __init__(self, data):
        self.digest = sha256(data)
        self.witnesses, groups, self.quorum = {}, {}, None
        known, members, quorums = {}, set(), []
        if any(byte < 0x20 and byte not in (0x09, 0x0A) or byte == 0x7F for byte in data):
            raise BadPolicy("a control character")
        for line in data.split(b"\n"):
            words = [word for word in re.split(rb"[ \t]+", line) if word]
            if not words or words[0].startswith(b"#"):
                continue
            if words[0] == b"log" and len(words) in (2, 3):
                self.key(words[1], (ED25519, ECDSA, ML_DSA))
            elif words[0] == b"witness" and len(words) in (3, 4):
                key = self.key(words[2], (COSIGNATURE, ML_DSA))
                twice = key.key in (each.key for each in self.witnesses.values())
                if words[1] in known or words[1] == b"none" or twice:
                    raise BadPolicy(f"witness {words[1]!r} twice")
                known[words[1]] = self.witnesses[words[1]] = key
            elif words[0] == b"group" and len(words) >= 4:
                self.group(words, known, members)
            elif words[0] == b"quorum" and len(words) == 2:
                if words[1] != b"none" and words[1] not in known:
                    raise BadPolicy(f"quorum of the unknown {words[1]!r}")
                quorums.append(words[1])
            else:
                raise BadPolicy(f"no line of a policy: {line!r}")
        if len(quorums) != 1:
            raise BadPolicy("not exactly one quorum")
        self.known, self.quorum = known, quorums[0]

    @staticmethod
    def key(word, types):
        try:
            key = VerifierKey(word.decode("utf-8"))
        except (UnicodeDecodeError, BadKey) as error:
            raise BadPolicy(str(error)) from None
        if key.type not in types:
            raise BadPolicy(f"a key of type {key.type}: {word!r}")
        return key

    @staticmethod
    def group(words, known, members):
        name, rule, names = words[1], words[2], words[3:]
        for member in names:
            if member not in known or member in members:
                raise BadPolicy(f"group {name!r}: {member!r} is unknown or a member already")
            members.add(member)
        counts = {b"all": len(names), b"any": 1}
        threshold = counts.get(rule) or (int(rule) if SIZE.fullmatch(rule) else 0)
        if name in known or name == b"none" or not 1 <= threshold <= len(names):
            raise BadPolicy(f"group {name!r} twice, or with a threshold that is none")
        known[name] = (threshold, names)

    @property
    def asks(self):
        """Whether it asks for at least one witness."""
        return self.quorum != b"none"

    def suffices(self, names, of=None):
        """Whether these witnesses satisfy the quorum."""
        of = self.quorum if of is None else of
        rule = self.known[of]
        if isinstance(rule, VerifierKey):
            return of in names
        threshold, members = rule
        return sum(self.suffices(names, member) for member in members) >= threshold

    def low(self, times):
        """The latest time such that the witnesses from it on suffice; None without quorum."""
        return self.first(times, sorted(set(times.values()), reverse=True), lambda time, at: time >= at)

    def high(self, times):
        """The earliest time such that the witnesses up to it suffice; None without quorum."""
        return self.first(times, sorted(set(times.values())), lambda time, at: time <= at)

    def first(self, times, candidates, counts):
        for at in candidates if self.asks else ():
            if self.suffices({name for name, time in times.items() if counts(time, at)}):
                return at
        return None


class Checkpoint:
    """A checkpoint that the log's key has signed, with the times of the genuine cosignatures."""

    def __init__(self, size, root, times, policy):
        self.size, self.root = size, root
        self.low = policy.low(times) if policy else None
        self.high = policy.high(times) if policy else None


def open_checkpoint(data, trust):
    """Opens a note as a checkpoint of the log; a forged line of any known key refuses all of it."""
    note = Note(data)
    jobs, claims = [], []
    known = {(trust.log.name, trust.log.id): (None, trust.log)}
    if trust.policy:
        known.update({(key.name, key.id): (name, key) for name, key in trust.policy.witnesses.items()})
    for name, key_id, signature in note.lines:
        witness, key = known.get((name, key_id), (None, None))
        if key is None:
            continue
        if key.type == ML_DSA:
            # Not verified here: counts for nothing, unless it is none at all.
            if len(signature) != ML_DSA_LINE:
                raise BadNote(f"a forged line of {name}")
            continue
        if witness is None:
            jobs.append((key.spki, key.type == ECDSA, note.text, signature))
            claims.append((None, None))
            continue
        if len(signature) != 72:
            raise BadNote(f"a forged line of {name}")
        time = int.from_bytes(signature[:8], "big")
        jobs.append((key.spki, False, b"cosignature/v1\ntime %d\n" % time + note.text, signature[8:]))
        claims.append((witness, time))
    if not all(signed_all(jobs)):
        raise BadNote("a forged line of a known key")
    if (None, None) not in claims:
        raise BadNote("not signed by the log's key")
    size, root = checkpoint_text(note.text, trust.origin)
    times = {}
    for witness, time in claims:
        # A key counts once, with its first line.
        times.setdefault(witness, time)
    times.pop(None)
    return Checkpoint(size, root, times, trust.policy)


def checkpoint_text(text, origin):
    """Size and root of a checkpoint's text: origin, size, root and extension lines that are not empty."""
    lines = text[:-1].split(b"\n")
    if len(lines) < 3 or not all(lines):
        raise BadNote("no checkpoint")
    if lines[0] != origin.encode():
        raise BadNote(f"a checkpoint of {lines[0]!r}")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (ValueError, binascii.Error):
        raise BadNote("the root is no base64") from None
    if not SIZE.fullmatch(lines[1]) or int(lines[1]) >= 2**64 or len(root) != 32 or base64.b64encode(root) != lines[2]:
        raise BadNote("no size and root")
    if lines[1] == b"0" and root != sha256():
        raise BadNote("another root than the empty tree's")
    return int(lines[1]), root
