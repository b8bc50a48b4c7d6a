"""Makes broken copies of what strangers must refuse.

broken.py log GOOD LOG-KEY OUT          exported logs, one folder each
broken.py receipt GOOD ENTRY KEY OUT    receipts, each with its entry and key
broken.py stamp GOOD NOTE OUT           time-stamps, each with its note

Where a checkpoint must be believed and still be wrong, it is signed again with the log's own key:
that is what a log can do that cheats.
"""

import base64
import pathlib
import shutil
import sys

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key


def flipped(content, at):
    content = bytearray(content)
    content[at] ^= 1
    return bytes(content)


def exchanged(content, one, other, length):
    content = bytearray(content)
    content[one : one + length], content[other : other + length] = (
        content[other : other + length],
        content[one : one + length],
    )
    return bytes(content)


def log(good, key, out):
    note = (good / "checkpoint").read_text()
    text, lines = note.split("\n\n")
    origin, size, root = text.split("\n")
    # The log's own key comes first; lines of its other keys follow.
    mark, name, signed = lines.splitlines()[0].split(" ")
    key_id = base64.b64decode(signed)[:4]

    def note_of(text, signature):
        return f"{text}\n{mark} {name} {base64.b64encode(key_id + signature).decode()}\n".encode()

    def signed_again(size, root):
        text = f"{origin}\n{size}\n{root}\n"
        return note_of(text, load_pem_private_key(key.read_bytes(), None).sign(text.encode()))

    def write(case, path, change):
        target = out / case
        shutil.copytree(good, target)
        (target / path).write_bytes(change((good / path).read_bytes()))

    last = int(size) % 256
    assert last, "the log must end in a partial tile"
    partial = f"{int(size) // 256:03}.p/{last}"
    write("wrong-signature", "checkpoint", lambda _: note_of(text + "\n", flipped(base64.b64decode(signed)[4:], 9)))
    other = base64.b64encode(flipped(base64.b64decode(root), 0)).decode()
    write("wrong-root", "checkpoint", lambda _: signed_again(size, other))
    write("root-not-signed", "checkpoint", lambda note: note.replace(root.encode(), other.encode()))
    write("stale-size", "checkpoint", lambda _: signed_again(int(size) - 1, root))
    # The tiles of the size that the checkpoint claims, so that no missing file gives it away.
    for path in [f"tile/entries/{partial}", f"tile/0/{partial}"]:
        content = (good / path).read_bytes()
        cut = content[: -2 - int.from_bytes(last_entry(content, last), "big")] if "entries" in path else content[:-32]
        (out / "stale-size" / path).with_name(str(last - 1)).write_bytes(cut)
    write("altered-leaf", "tile/entries/000", lambda bundle: flipped(bundle, 400))
    write("altered-last-leaf", f"tile/entries/{partial}", lambda bundle: flipped(bundle, -1))
    write("swapped-hashes", "tile/0/000", lambda tile: exchanged(tile, 32 * 70, 32 * 71, 32))
    write("altered-level", "tile/1/000.p/" + str(int(size) // 256), lambda tile: flipped(tile, 3))
    write("cut-tile", f"tile/0/{partial}", lambda tile: tile[:-32])


def last_entry(bundle, count):
    """The length before the last of a bundle's entries."""
    at = 0
    for _ in range(count - 1):
        at += 2 + int.from_bytes(bundle[at : at + 2], "big")
    return bundle[at : at + 2]


def receipt(good, entry, key, out):
    tag, content, pem = cbor2.loads(good.read_bytes()), entry.read_bytes(), key.read_bytes()
    protected, unprotected, _, signature = tag.value
    size, index, path = cbor2.loads(unprotected[396][-1][0])

    def write(case, proof=None, signature=signature, content=content, pem=pem, protected=protected):
        proof = cbor2.dumps(proof or [size, index, path])
        value = [protected, {396: {-1: [proof]}}, None, signature]
        target = out / case
        target.mkdir(parents=True)
        (target / "receipt").write_bytes(cbor2.dumps(cbor2.CBORTag(18, value)))
        (target / "entry").write_bytes(content)
        (target / "key").write_bytes(pem)

    write("wrong-signature", signature=flipped(signature, 5))
    write("altered-leaf", content=flipped(content, 20))
    write("swapped-hashes", proof=[size, index, [path[1], path[0], *path[2:]]])
    write("wrong-root", proof=[size, index, [*path[:-1], flipped(path[-1], 0)]])
    write("stale-size", proof=[index + 1, index, path])
    write("other-index", proof=[size, index ^ 1, path])
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    write("other-key", pem=other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    write("other-issuer", protected=protected.replace(b"https://", b"http5://"))


def stamp(good, note, out):
    response, content = good.read_bytes(), note.read_bytes()

    def write(case, response=response, content=content):
        target = out / case
        target.mkdir(parents=True)
        (target / "response").write_bytes(response)
        (target / "note").write_bytes(content)

    size = content.split(b"\n")[1]
    write("wrong-signature", response=flipped(response, -5))
    write("wrong-root", content=flipped(content, content.index(size) + len(size) + 4))
    write("stale-size", content=content.replace(size, str(int(size) - 1).encode(), 1))
    write("altered-cosignature", content=flipped(content, -9))
    # genTime, in the statement that is signed.
    year = response.index(b"\x18\x0f20")
    write("other-time", response=response[: year + 2] + b"2031" + response[year + 6 :])
    write("cut-token", response=response[:-1])


def main():
    kind, *paths = sys.argv[1:]
    {"log": log, "receipt": receipt, "stamp": stamp}[kind](*map(pathlib.Path, paths))


if __name__ == "__main__":
    main()
