"""Takes the ECDSA P-256 line of a note apart for openssl, and makes broken ones of it.

ecdsa.py split NOTE VKEY OUT    OUT/text, OUT/signature (DER) and OUT/key (SubjectPublicKeyInfo, DER)
ecdsa.py break GOOD OUT         folders like GOOD, each with something wrong

Source: C2SP signed-note. The key ID is not looked at before the signature is: it only helps to find the line.
"""

import base64
import hashlib
import pathlib
import shutil
import subprocess
import sys


def split(note, vkey, out):
    name, key_id, encoded = vkey.split("+", 2)
    kind, key = base64.b64decode(encoded)[:1], base64.b64decode(encoded)[1:]
    assert kind == b"\x02", "an ECDSA key has type 2"
    assert hashlib.sha256(key).hexdigest()[:8] == key_id, "the ID is the hash of the key"
    text, lines = pathlib.Path(note).read_text().rsplit("\n\n", 1)
    found = [line.split(" ") for line in lines.splitlines()]
    blobs = [base64.b64decode(blob) for _, owner, blob in found if owner == name]
    [signature] = [blob[4:] for blob in blobs if blob[:4].hex() == key_id]
    out = pathlib.Path(out)
    out.mkdir(parents=True)
    for file, content in [("text", (text + "\n").encode()), ("signature", signature), ("key", key)]:
        (out / file).write_bytes(content)


def break_it(good, out):
    def broken(name):
        folder = pathlib.Path(out) / name
        shutil.copytree(good, folder)
        return folder

    def edit(name, file, change):
        path = broken(name) / file
        path.write_bytes(change(path.read_bytes()))

    def flip(position):
        return lambda content: content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]

    edit("altered-signature", "signature", flip(-5 % 70))
    edit("cut-signature", "signature", lambda content: content[:-1])
    edit("altered-root", "text", flip(-5 % len((pathlib.Path(good) / "text").read_bytes())))
    edit("stale-size", "text", lambda text: text.replace(text.split(b"\n")[1], b"1", 1))
    edit("extended-text", "text", lambda text: text + b"more\n")
    other = subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"], check=True, capture_output=True
    ).stdout
    public = subprocess.run(
        ["openssl", "pkey", "-pubout", "-outform", "DER"], input=other, check=True, capture_output=True
    ).stdout
    edit("other-key", "key", lambda _: public)


if sys.argv[1] == "split":
    split(*sys.argv[2:])
else:
    break_it(*sys.argv[2:])
