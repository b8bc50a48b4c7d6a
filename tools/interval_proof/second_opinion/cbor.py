"""Deterministic CBOR as docs/spec/entry.md narrows it, and the shapes of what is read with it.

A shape is a function from a decoded item to the value wanted; it raises Malformed for any other item.
"""

import re

LEVELS_MAX = 16
U64_MAX = 2**64 - 1
ID = re.compile(r"[A-Za-z0-9_.-]{1,80}\Z")


class Malformed(Exception):
    """Bytes that are not the one encoding of one item of the shape asked for."""


class Reader:
    """Reads one item; anything but its only encoding is refused."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count):
        end = self.at + count
        if end > len(self.data):
            raise Malformed(f"ends at byte {len(self.data)}, inside an item")
        taken = self.data[self.at:end]
        self.at = end
        return taken

    def argument(self, low):
        if low < 24:
            return low
        if low > 27:
            raise Malformed(f"indefinite length or reserved head before byte {self.at}")
        size = 1 << (low - 24)
        value = int.from_bytes(self.take(size), "big")
        # The shortest form: what fits in the next smaller one is refused.
        if value < (24 if size == 1 else 1 << (4 * size)):
            raise Malformed(f"a number longer than it need be before byte {self.at}")
        return value

    def item(self, level=1):
        head = self.take(1)[0]
        major, low = head >> 5, head & 31
        if major == 7:
            if low in (20, 21, 22):
                return {20: False, 21: True, 22: None}[low]
            raise Malformed(f"a float or simple value at byte {self.at - 1}")
        if major == 6:
            raise Malformed(f"a tag at byte {self.at - 1}")
        value = self.argument(low)
        if major == 0:
            return value
        if major == 1:
            return -1 - value
        if major == 2:
            return bytes(self.take(value))
        if major == 3:
            try:
                return str(self.take(value), "utf-8")
            except UnicodeDecodeError:
                raise Malformed(f"text that is no UTF-8 before byte {self.at}") from None
        if level > LEVELS_MAX:
            raise Malformed(f"more than {LEVELS_MAX} levels at byte {self.at}")
        if major == 4:
            return [self.item(level + 1) for _ in range(value)]
        return self.map(value, level)

    def map(self, count, level):
        found, before = {}, None
        for _ in range(count):
            begin = self.at
            key = self.item(level + 1)
            encoded = self.data[begin:self.at]
            if before is not None and encoded <= before:
                raise Malformed(f"map keys out of order at byte {begin}")
            before = encoded
            found[encoded] = (key, self.item(level + 1))
        return found


def decode(data, shape):
    """Reads bytes that are one item of this shape, to the last byte."""
    reader = Reader(data)
    item = reader.item()
    if reader.at != len(data):
        raise Malformed(f"{len(data) - reader.at} bytes after the item")
    return shape(item)


def any_item(item):
    return item


def uint(item, most=U64_MAX):
    if type(item) is not int or not 0 <= item <= most:
        raise Malformed(f"expected a number of at most {most}")
    return item


def u32(item):
    return uint(item, 2**32 - 1)


def up_to(most):
    return lambda item: uint(item, most)


def bstr(item):
    if type(item) is not bytes:
        raise Malformed("expected a byte string")
    return item


def sized(size):
    def shape(item):
        if len(bstr(item)) != size:
            raise Malformed(f"{len(item)} bytes; expected {size}")
        return item
    return shape


digest = sized(32)


def tstr(item):
    if type(item) is not str:
        raise Malformed("expected text")
    return item


def agent_id(item):
    if not ID.match(tstr(item)):
        raise Malformed("no agent id")
    return item


def nullable(shape):
    return lambda item: None if item is None else shape(item)


def array_of(shape):
    def read(item):
        if type(item) is not list:
            raise Malformed("expected an array")
        return [shape(each) for each in item]
    return read


def some_of(shape):
    """An array of one at least."""
    def read(item):
        if item == []:
            raise Malformed("expected one element at least")
        return array_of(shape)(item)
    return read


def record(**fields):
    """An array of these items in this order, as an object with these names."""
    names, shapes = list(fields), list(fields.values())

    def read(item):
        if type(item) is not list or len(item) != len(shapes):
            raise Malformed(f"expected an array of {len(shapes)}: {', '.join(names)}")
        return Record(zip(names, (shape(each) for shape, each in zip(shapes, item))))
    return read


class Record:
    """Named values."""

    def __init__(self, pairs):
        self.__dict__.update(pairs)
