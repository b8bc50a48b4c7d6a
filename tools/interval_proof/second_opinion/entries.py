"""Entries of the log, docs/spec/entry.md."""

import base64
import struct

from .cbor import (Malformed, agent_id, any_item, array_of, bstr, decode, digest, nullable, record, sized, tstr, uint,
                   up_to)
from .merkle import leaf_hash, sha256

ENROL, QUOTE, VERDICT, TIMESTAMP, CENSUS, POLICY, RETIRE, MAINTENANCE = 1, 2, 3, 6, 7, 8, 10, 13
BYTES_MAX = 65_535
PASS = 0

ENTRY = record(
    version=up_to(1), kind=uint, agent=nullable(agent_id), seq=uint, prev=digest, recorded=uint, body=any_item)

ENROL_BODY = record(slot=uint, binding=digest, ek_certificate=up_to(1), registrar=tstr)
QUOTE_BODY = record(
    beacon=record(tree_size=uint, note_digest=digest), salt=digest, attest=bstr, signature=bstr,
    pcrs=array_of(record(alg=uint, values=array_of(record(index=uint, digest=bstr)))),
    ima=record(start=uint, count=uint, delta=nullable(digest)), boot_log=nullable(digest))
VERDICT_BODY = record(
    quote=digest, result=up_to(2),
    findings=array_of(record(component=tstr, event=tstr, severity=uint, text=tstr)),
    policies=array_of(digest), binding=digest, appraiser=tstr, ima_state=record(count=uint, running=bstr))
TIMESTAMP_BODY = record(tree_size=uint, note=digest, token=digest, tsa=tstr, gen_time=uint)
CENSUS_BODY = record(prefix_size=uint, sums=sized(68), root=digest, epoch=uint)
AGENT_POLICY = record(
    scope=up_to(0), interval_ms=uint, tolerance_ms=uint, hash_algs=array_of(tstr), enc_algs=array_of(tstr),
    sign_algs=array_of(tstr), labels=array_of(record(name=tstr, value=tstr)),
    policies=array_of(record(role=tstr, digest=digest)), binding=digest)
RETIRE_BODY = record(actor=tstr, reason=tstr)
MAINTENANCE_BODY = record(start=uint, end=uint, reason=tstr, actor=tstr)

BODIES = {ENROL: ENROL_BODY, QUOTE: QUOTE_BODY, VERDICT: VERDICT_BODY, TIMESTAMP: TIMESTAMP_BODY, CENSUS: CENSUS_BODY,
          POLICY: AGENT_POLICY, RETIRE: RETIRE_BODY, MAINTENANCE: MAINTENANCE_BODY}
TERMS = (ENROL, POLICY, RETIRE, MAINTENANCE)


def read_entry(data):
    """An entry with its leaf hash; the body stays as it came."""
    if len(data) > BYTES_MAX:
        raise Malformed(f"an entry of {len(data)} bytes; at most {BYTES_MAX}")
    entry = decode(data, ENTRY)
    if entry.version != 1:
        raise Malformed(f"an entry of version {entry.version}")
    entry.hash = leaf_hash(data)
    return entry


def read_body(entry, *kinds):
    """The body of an entry of one of these kinds."""
    if entry.kind not in kinds:
        raise Malformed(f"an entry of kind {entry.kind}; expected {kinds}")
    return BODIES[entry.kind](entry.body)


def nonce(quote, body):
    """What the quote's extraData must be."""
    full = sha256(b"attestry/nonce/v1\x00", body.beacon.note_digest, sha256(quote.agent.encode()),
                  struct.pack(">Q", quote.seq), quote.prev, body.salt)
    return base64.b32encode(full[:20]).lower()


class Attest:
    """What is read from a TPMS_ATTEST of a quote: extraData, and clock and counters as far as they are there."""

    def __init__(self, data):
        self.extra_data = self.clock = None
        if data[:6] != bytes.fromhex("ff5443478018"):
            return
        at, fields = 6, []
        for _ in range(2):
            if len(data) < at + 2:
                return
            size = int.from_bytes(data[at:at + 2], "big")
            if len(data) < at + 2 + size:
                return
            fields.append(data[at + 2:at + 2 + size])
            at += 2 + size
        self.extra_data = fields[1]
        if len(data) >= at + 17:
            # u64 clock in milliseconds, u32 resetCount, u32 restartCount, u8 safe
            self.clock = struct.unpack_from(">QIIB", data, at)
