"""Trees and proofs of RFC 6962 section 2.1, and SHA-256."""

import hashlib


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def leaf_hash(data):
    return sha256(b"\x00", data)


def node_hash(left, right):
    return sha256(b"\x01", left, right)


def split(size):
    """The largest power of two below a size of at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def included(leaf, index, size, path, root):
    """Whether `path` leads from leaf number `index` to the root of a tree of `size` leaves (RFC 9162 2.1.3.2)."""
    if index >= size:
        return False
    place, last, at = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            at = node_hash(sibling, at)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            at = node_hash(at, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and at == root


def extends(old_size, old_root, new_size, new_root, path):
    """Whether `path` shows the old tree unchanged in the new one, sizes being above 0 (RFC 9162 2.1.4.2)."""
    if not 0 < old_size <= new_size:
        return False
    if old_size == new_size:
        return not path and old_root == new_root
    path = list(path)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old, new = path[0], path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root
