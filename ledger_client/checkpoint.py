"""Checkpoints: the log's head as a C2SP signed note, and the data block that anchors it.

A note is ``origin\\nsize\\nbase64(root)\\n``, an empty line, and one signature line per key
(c2sp.org/signed-note, c2sp.org/tlog-checkpoint). Origin and key name are the district.
Reading and checking a note stands in :mod:`.verify`; this module makes them.
"""

from __future__ import annotations

from base64 import b64encode

from nacl.signing import SigningKey

from ledger_client.verify import (
    ORIGIN_PATTERN,
    AnchorData,
    Checkpoint,
    Head,
    NoteError,
    anchor_tag,
    canonical,
    key_id,
    note_body,
    open_note,
    parse_note,
)

__all__ = [
    "Checkpoint",
    "NoteError",
    "anchor_data",
    "anchor_tag",
    "key_id",
    "open_note",
    "parse_note",
    "sign_note",
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
    blob = key_id(checkpoint.origin, bytes(key.verify_key)) + signature
    return f"{body}\n\u2014 {checkpoint.origin} {b64encode(blob).decode()}\n"


def anchor_data(note: str, previous: Checkpoint | None) -> bytes:
    """Return the data of the block that anchors ``note`` after the checkpoint ``previous``."""
    return canonical(AnchorData(note, Head(previous.root, previous.size) if previous else None))
