"""Strict Ed25519 (libsodium) under a prefix per purpose, and key files that nobody else reads."""

from __future__ import annotations

import os
import stat
from enum import Enum
from pathlib import Path
from typing import Final

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from metering.identity import PublicKey

SIGNATURE_BYTES: Final = 64
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class SigningError(Exception):
    """Root of this module's errors: stop and ask a person."""


class KeyFileModeError(SigningError):
    """Others can read the key file: tighten its mode, and think about rotating the key."""


class KeyFileFormatError(SigningError):
    """The file holds no key: restore it from the backup or enrol with a new key."""


class Purpose(Enum):
    """What a signature is for; its prefix keeps it from standing for anything else."""

    READING = b"wattloom-reading-v1\0"
    BATCH = b"wattloom-batch-v1\0"
    RECEIPT = b"wattloom-receipt-v1\0"
    ENROL = b"wattloom-enrol-v1\0"
    ROTATE = b"wattloom-rotate-v1\0"
    OCMF = b"wattloom-ocmf-v1\0"
    WEBHOOK = b"wattloom-webhook-v1\0"
    EVENT = b"wattloom-event-v1\0"
    EPOCH = b"wattloom-epoch-v1\0"


def public_key(key: SigningKey) -> PublicKey:
    """Return the public half of a signing key."""
    return PublicKey(bytes(key.verify_key))


def sign(key: SigningKey, purpose: Purpose, payload: bytes) -> bytes:
    """Return the 64-byte signature over ``prefix || payload``."""
    return key.sign(purpose.value + payload).signature


def verify(key: PublicKey, purpose: Purpose, payload: bytes, signature: bytes) -> bool:
    """Tell whether ``signature`` is the key's over ``prefix || payload`` for this purpose."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + purpose.value + payload, key.raw)
    except BadSignatureError:
        return False
    return True


def create_key_file(path: Path, mode: int = stat.S_IRUSR | stat.S_IWUSR) -> SigningKey:
    """Generate a key and store its seed as hex in a new file of ``mode`` (0600), synced to disk.

    Raises:
        FileExistsError: the file exists; a key is never overwritten.
    """
    key = SigningKey.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(bytes(key).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def load_key_file(path: Path) -> SigningKey:
    """Read a key file of mode 0600 or 0400.

    Raises:
        KeyFileModeError: group or others have any right on the file.
        KeyFileFormatError: the content is not a seed of 64 hex digits.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & _OTHERS:
            raise KeyFileModeError(f"{path} has mode {mode:04o}: run chmod 600 {path}")
        content = file.read(100)
    try:
        return SigningKey(bytes.fromhex(content.decode("ascii").strip()))
    except ValueError as error:
        raise KeyFileFormatError(
            f"{path} holds no key: a seed of 64 hex digits is expected"
        ) from error
