"""RFC 3161 tokens: read here for their time and imprint, verified by `openssl ts` and `openssl cms`."""

import datetime
import hashlib
import os
import re

from .keys import openssl, put
from .refused import Refused, check

SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
TST_INFO = bytes.fromhex("2a864886f70d0109100104")
INTEGER, OCTETS, OID, TIME, SEQUENCE, SET = 0x02, 0x04, 0x06, 0x18, 0x30, 0x31
# SHA-2 with 256, 384 and 512 bits.
IMPRINTS = {bytes.fromhex("608648016503040201"): "sha256", bytes.fromhex("608648016503040202"): "sha384",
            bytes.fromhex("608648016503040203"): "sha512"}
GEN_TIME = re.compile(rb"(\d{14})(?:\.(\d*[1-9]))?Z")


class BadToken(Exception):
    """DER that is no TimeStampToken."""


def items(data):
    """Tags and contents of DER items in a row."""
    found, at = [], 0
    while at < len(data):
        if len(data) < at + 2:
            raise BadToken("ends inside a head")
        tag, size, at = data[at], data[at + 1], at + 2
        if size >= 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[at:at + count], "big")
            if not 1 <= count <= 4 or len(data) < at + count or size < 0x80 or data[at] == 0:
                raise BadToken("a length that is not DER's")
            at += count
        if len(data) < at + size:
            raise BadToken("ends inside an item")
        found.append((tag, data[at:at + size]))
        at += size
    return found


def inner(item, tag):
    if item[0] != tag:
        raise BadToken(f"tag {item[0]:#x}; expected {tag:#x}")
    return items(item[1])


def tst_info(token):
    """The items of the TSTInfo in a token of one signer."""
    try:
        (whole,) = items(token)
        kind, content = inner(whole, SEQUENCE)
        (signed,) = inner(content, 0xA0)
        fields = inner(signed, SEQUENCE)
        info_kind, info = inner(fields[2], SEQUENCE)
        (octets,) = inner(info, 0xA0)
        (info,) = items(octets[1])
        info = inner(info, SEQUENCE)
        version, _imprint, _time = info[0], info[2], info[4]
        (_signer,) = inner(fields[-1], SET)
    except (ValueError, IndexError):
        raise BadToken("no TimeStampToken of one signer") from None
    kinds = (kind, info_kind) == ((OID, SIGNED_DATA), (OID, TST_INFO))
    if not kinds or octets[0] != OCTETS or version != (INTEGER, b"\x01"):
        raise BadToken("no TimeStampToken")
    return info


def the_time(token):
    """genTime in milliseconds, and the accuracy in milliseconds upwards; None if the token states none."""
    info = tst_info(token)
    gen_time = info[4]
    matched = GEN_TIME.fullmatch(gen_time[1])
    if gen_time[0] != TIME or not matched:
        raise BadToken("no genTime")
    try:
        seconds = datetime.datetime.strptime(matched[1].decode(), "%Y%m%d%H%M%S").replace(tzinfo=datetime.UTC)
    except ValueError:
        raise BadToken("no genTime") from None
    fraction = int((matched[2] or b"").ljust(3, b"0")[:3])
    accuracy = accuracy_ms(info[5]) if len(info) > 5 and info[5][0] == SEQUENCE else None
    return int(seconds.timestamp()) * 1000 + fraction, accuracy


def accuracy_ms(item):
    parts = {tag: int.from_bytes(value, "big") for tag, value in inner(item, SEQUENCE)}
    return parts.get(INTEGER, 0) * 1000 + parts.get(0x80, 0) + -(-parts.get(0x81, 0) // 1000)


def verify_stamps(proof, trust):
    """Checks all tokens; returns the upper bounds in seconds of those over the last checkpoint."""
    notes = (proof.start.note if proof.start else None, proof.end.note, proof.note)
    bounds = []
    for position, stamp in enumerate(proof.stamps):
        note = notes[stamp.note]
        check(note is not None, "stamp-note", f"time-stamp {position}: over a note that is not there")
        try:
            time, accuracy = the_time(stamp.token)
        except BadToken as error:
            raise Refused("stamp-form", f"time-stamp {position}: {error}") from None
        if trust.authorities is None:
            continue
        try:
            believed = is_believed(note, stamp.token, time // 1000, trust.authorities)
        except BadToken as error:
            raise Refused("stamp-rejected", f"time-stamp {position}: {error}") from None
        if believed and stamp.note == 2:
            bounds.append(-(-(time + (accuracy or 0)) // 1000))
    return bounds


def is_believed(note, token, time, roots):
    """Whether the token over the note is of a trusted authority; BadToken if nobody has signed it over that note."""
    files = data, token_file, out = put(note), put(token), put(b"")
    try:
        if openssl("ts", "-verify", "-data", data, "-in", token_file, "-token_in", "-CAfile", roots, "-attime", str(time)):
            return True
        # Of another authority: signed by the certificate that it brings, whoever that is of.
        signed = openssl("cms", "-verify", "-inform", "DER", "-in", token_file, "-noverify", "-binary", "-out", out)
    finally:
        for file in files:
            os.unlink(file)
    if not signed or not is_over(note, token):
        raise BadToken("nobody has signed it over that note")
    return False


def is_over(note, token):
    """Whether the digest that a well-formed token stamps is the note's."""
    try:
        algorithm, digest = inner(tst_info(token)[2], SEQUENCE)
        name = IMPRINTS.get(inner(algorithm, SEQUENCE)[0][1])
    except (ValueError, IndexError):
        return False
    return name is not None and digest == (OCTETS, hashlib.new(name, note).digest())
