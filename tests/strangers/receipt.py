"""Verifies a COSE receipt with cwt alone: receipt.py RECEIPT ENTRY PUBLIC-KEY.

cwt checks the signature and its structure; walking the Merkle path (RFC 9162 §2.1.3.2) takes the
fifteen lines below.
"""

import hashlib
import sys

import cbor2
from cwt import COSE, COSEKey

VDS, VDP, INCLUSION, RFC9162_SHA256 = 395, 396, -1, 1


def root_of(entry, index, size, path):
    def node(left, right):
        return hashlib.sha256(b"\1" + left + right).digest()

    if not 0 <= index < size or any(len(hash_) != 32 for hash_ in path):
        raise ValueError("index, size and path do not fit")
    first, last, root = index, size - 1, hashlib.sha256(b"\0" + entry).digest()
    for hash_ in path:
        if last == 0:
            raise ValueError("the path is too long")
        if first & 1 or first == last:
            root = node(hash_, root)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            root = node(root, hash_)
        first, last = first >> 1, last >> 1
    if last:
        raise ValueError("the path is too short")
    return root


def verify(receipt, entry, pem):
    tag = cbor2.loads(receipt)
    protected, unprotected, payload, _ = tag.value
    if tag.tag != 18 or payload is not None or cbor2.loads(protected)[VDS] != RFC9162_SHA256:
        raise ValueError("not a receipt of an RFC 9162 log with a detached payload")
    (proof,) = unprotected[VDP][INCLUSION]
    size, index, path = cbor2.loads(proof)
    root = root_of(entry, index, size, path)
    key = COSEKey.from_pem(pem, kid=cbor2.loads(protected)[4])
    COSE.new().decode(receipt, key, detached_payload=root)
    return root


def main():
    receipt, entry, pem = (open(path, "rb").read() for path in sys.argv[1:4])
    try:
        root = verify(receipt, entry, pem)
    except Exception as error:  # whatever a library raises is a refusal
        print(f"refused: {error!r}", file=sys.stderr)
        return 1
    print(root.hex())
    return 0


if __name__ == "__main__":
    sys.exit(main())
