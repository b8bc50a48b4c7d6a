"""Verifier keys of C2SP signed-note, and signatures by the `openssl` command."""

import atexit
import base64
import binascii
import concurrent.futures
import functools
import itertools
import os
import shutil
import subprocess
import tempfile

from .merkle import sha256

ED25519, ECDSA, COSIGNATURE, ML_DSA = 1, 2, 4, 6
# SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410).
ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")


class BadKey(Exception):
    """A verifier key that cannot be used."""


class OpenSslMissing(Exception):
    """The `openssl` command cannot be run."""


class VerifierKey:
    """`<name>+<8 hex digits>+<base64 of type ‖ public key>`."""

    def __init__(self, text):
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            self.id, data = bytes.fromhex(key_id), base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            raise BadKey(f"{text}: not <name>+<8 hex digits>+<base64>") from None
        spaced = any(character.isspace() for character in name)
        if base64.b64encode(data).decode() != encoded or not name or spaced or len(key_id) != 8 or not data:
            raise BadKey(f"{text}: not <name>+<8 hex digits>+<base64>")
        self.name, self.type, self.key = name, data[0], data[1:]
        sizes = {ED25519: 32, COSIGNATURE: 32, ML_DSA: 1312}
        if self.type in sizes and len(self.key) != sizes[self.type]:
            raise BadKey(f"{text}: a key of {len(self.key)} bytes")
        # C2SP: the ID of an ECDSA key is taken over its SubjectPublicKeyInfo alone.
        named = self.key if self.type == ECDSA else name.encode() + b"\n" + data
        if sha256(named)[:4] != self.id:
            raise BadKey(f"{text}: the ID is not the key's")

    @property
    def spki(self):
        return self.key if self.type == ECDSA else ED25519_SPKI + self.key


@functools.cache
def scratch():
    """A folder for the command's input, removed at the end."""
    folder = tempfile.mkdtemp(prefix="interval-proof-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


NUMBERS = itertools.count()


def put(data):
    path = os.path.join(scratch(), str(next(NUMBERS)))
    with open(path, "wb") as file:
        file.write(data)
    return path


@functools.cache
def key_file(spki):
    return put(spki)


def openssl(*arguments):
    """Whether the command succeeds."""
    try:
        done = subprocess.run(["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise OpenSslMissing(str(error)) from error
    return done.returncode == 0


@functools.cache
def signed(spki, is_ecdsa, message, signature):
    """Whether this is the key's signature over the message."""
    files = message_file, signature_file = put(message), put(signature)
    try:
        if is_ecdsa:
            return openssl("dgst", "-sha256", "-keyform", "DER", "-verify", key_file(spki), "-signature",
                           signature_file, message_file)
        return openssl("pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", key_file(spki), "-rawin", "-in",
                       message_file, "-sigfile", signature_file)
    finally:
        for file in files:
            os.unlink(file)


def signed_all(jobs):
    """Whether each of these (spki, is_ecdsa, message, signature) is good; several commands run at a time."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(lambda job: signed(*job), jobs))
