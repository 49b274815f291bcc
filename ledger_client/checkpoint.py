"""Checkpoints: the log's head as a C2SP signed note, and the data block that anchors it.

A note is ``origin\\nsize\\nbase64(root)\\n``, an empty line, and one signature line per key
(c2sp.org/signed-note, c2sp.org/tlog-checkpoint). Origin and key name are the district.
Cosignatures (c2sp.org/tlog-cosignature) are further signature lines of that note: a witness's by
Ed25519, and a second one of the log's own by ML-DSA-44 (FIPS 204).
Reading and checking them stands in :mod:`.verify`; this module makes what the log itself signs,
:mod:`ledger_client.witness` what a witness signs.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from nacl.signing import SigningKey

from ledger_client.verify import (
    MLDSA,
    ORIGIN_PATTERN,
    AnchorData,
    Checkpoint,
    Head,
    NoteError,
    NoteLine,
    Witness,
    anchor_tag,
    canonical,
    key_id,
    mldsa_message,
    note_body,
    open_cosignature,
    open_mldsa,
    open_note,
    parse_body,
    parse_note,
    split_note,
)

__all__ = [
    "Checkpoint",
    "NoteError",
    "NoteLine",
    "Witness",
    "anchor_data",
    "anchor_tag",
    "full_note",
    "key_id",
    "mldsa_sign",
    "open_cosignature",
    "open_mldsa",
    "open_note",
    "parse_body",
    "parse_note",
    "sign_note",
    "split_note",
]


def sign_note(checkpoint: Checkpoint, key: SigningKey) -> str:
    """Return the signed note of a checkpoint.

    Raises:
        NoteError: the origin is not a DNS-like name, the size negative, the root not 32 bytes.
    """
    if not ORIGIN_PATTERN.fullmatch(checkpoint.origin):
        raise NoteError(f"origin {checkpoint.origin!r} is not a DNS-like name: a-z 0-9 . - only")
    if checkpoint.size < 0 or len(checkpoint.root) != 32:
        raise NoteError(f"a checkpoint needs a size >= 0 and a 32-byte root, got {checkpoint}")
    body = note_body(checkpoint)
    signature = key.sign(body.encode()).signature
    name = checkpoint.origin
    return f"{body}\n{NoteLine(name, key_id(name, bytes(key.verify_key)), signature)}\n"


def mldsa_sign(checkpoint: Checkpoint, key: MLDSA44PrivateKey) -> str:
    """Return the log's second signature line (without its newline); it says nothing about time."""
    origin = checkpoint.origin
    named = key_id(origin, key.public_key().public_bytes_raw(), MLDSA)
    return str(NoteLine(origin, named, bytes(8) + key.sign(mldsa_message(checkpoint, 0))))


def full_note(note: str, lines: Sequence[str]) -> str:
    """Return a note with further signature lines below its own."""
    return note + "".join(f"{line}\n" for line in lines)


def anchor_data(note: str, previous: Checkpoint | None) -> bytes:
    """Return the data of the block that anchors ``note`` after the checkpoint ``previous``."""
    return canonical(AnchorData(note, Head(previous.root, previous.size) if previous else None))
