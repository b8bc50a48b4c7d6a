"""The bytes of interval and fleet proofs: docs/spec/interval-proof.md sections 1 and 9."""

from .cbor import (Malformed, Record, agent_id, array_of, bstr, decode, digest, nullable, record, sized, some_of, u32,
                   uint, up_to)
from .history import Aggregate, Sums
from .refused import Refused


def aggregate(item):
    return Aggregate.read(sized(Aggregate.LAYOUT.size)(item))


def step(item):
    of = record(sums=sized(Sums.LAYOUT.size), hash=digest)(item)
    return Sums.read(of.sums), of.hash


ROW = record(slot=u32, agent=digest, status=up_to(3), last_index=uint, aggregate=aggregate, root=digest, terms=digest)
CLOCK = record(seconds=uint, basis=digest)
OPENING = record(epoch=uint, clock=CLOCK, slots=u32, row=nullable(ROW), path=array_of(step), top=nullable(digest))
CENSUS_PART = record(index=uint, entry=bstr, inclusion=array_of(digest), opening=OPENING, note=bstr)
TERMS = record(before=digest, entries=array_of(bstr))
EVIDENCE = record(number=uint, index=uint, verdict=bstr, inclusion=array_of(digest), quote=bstr, beacon=nullable(bstr))
INTERVAL_PARTS = dict(
    version=uint, agent=agent_id, slot=u32, start_second=uint, end_second=uint, gap_limit=uint,
    start=nullable(CENSUS_PART), end=CENSUS_PART, tree=bstr, terms=TERMS, evidence=array_of(EVIDENCE), note=bstr,
    start_to_end=array_of(digest), end_to_note=array_of(digest),
    stamps=array_of(record(note=up_to(2), token=bstr)), entries=array_of(bstr))
BEACON_STAMPS = record(
    tokens=some_of(record(index=uint, entry=bstr, note=bstr, token=bstr)),
    beacons=some_of(record(number=uint, token=uint, inclusion=array_of(digest))))
VERSION_1, VERSION_2 = record(**INTERVAL_PARTS), record(**INTERVAL_PARTS, beacon_stamps=BEACON_STAMPS)


def interval_proof(item):
    """One item more if there are time-stamps under beacons."""
    if type(item) is list and len(item) == len(INTERVAL_PARTS) + 1:
        return VERSION_2(item)
    proof = VERSION_1(item)
    proof.beacon_stamps = None
    return proof


FLEET_CENSUS = record(index=uint, entry=bstr, inclusion=array_of(digest), note=bstr, clock=CLOCK, slots=u32, top=digest)
MACHINE = record(slot=u32, agent=agent_id, start=nullable(OPENING), end=OPENING, terms=nullable(TERMS))
FLEET_PROOF = record(
    version=uint, start_second=uint, end_second=uint, start=nullable(FLEET_CENSUS), end=FLEET_CENSUS, note=bstr,
    start_to_end=array_of(digest), end_to_note=array_of(digest), machines=array_of(MACHINE))


def read(data, shape) -> Record:
    """Reads a proof's bytes; nothing in it is believed yet."""
    try:
        return decode(data, shape)
    except Malformed as error:
        raise Refused("form", str(error)) from None
