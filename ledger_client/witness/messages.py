"""The bytes of C2SP tlog-witness and tlog-cosignature: requests, checkpoints, cosignatures.

A witness takes any log, so that origins are any text here and extension lines may follow the root;
:mod:`ledger_client.verify` reads the district's own, stricter notes.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nacl.signing import SigningKey

from ledger_client.verify import (
    COSIGNATURE,
    ED25519,
    HASH_SIZE,
    NoteError,
    NoteLine,
    cosigned,
    key_id,
    signature_holds,
    split_note,
)
from ledger_client.witness.errors import LogSignatureError, MalformedRequestError
from ledger_client.witness.logs import LogKey

MAX_PROOF_LINES: Final = 63
MAX_SIZE: Final = 2**63 - 1
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A log's signed note: ``body`` is what its signatures cover, word for word."""

    body: str
    origin: str
    size: int
    root: bytes
    lines: tuple[NoteLine, ...]

    def signed_by(self, trusted: Iterable[LogKey]) -> str:
        """Return the note with the log's own signature line alone, checked.

        Raises LogSignatureError: no trusted key signed it, or one of its signatures is wrong.
        """
        found = None
        for log in trusted:
            for line in self.lines:
                if not line.is_of(log.name, log.key, ED25519):
                    continue
                if not signature_holds(log.key, self.body.encode(), line.signature):
                    raise LogSignatureError(f"the signature of {log.name} is wrong")
                found = found or line
        if found is None:
            raise LogSignatureError(f"no trusted key of {self.origin} signed the checkpoint")
        return f"{self.body}\n{found}\n"


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: the checkpoint, and the proof that it continues the log of ``old_size``."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: SignedCheckpoint


def write_request(old_size: int, proof: Sequence[bytes], note: str) -> bytes:
    """Return the body of ``POST /add-checkpoint``."""
    hashes = "".join(b64encode(item).decode() + "\n" for item in proof)
    return f"old {old_size}\n{hashes}\n{note}".encode()


def read_request(data: bytes) -> AddCheckpoint:
    """Return what the body of ``POST /add-checkpoint`` asks for; nothing is checked yet.

    Raises MalformedRequestError.
    """
    try:
        head, between, note = data.decode().partition("\n\n")
    except UnicodeDecodeError as error:
        raise MalformedRequestError("the body is not UTF-8") from error
    first, *hashes = head.split("\n")
    if not between or not first.startswith("old "):
        raise MalformedRequestError("send `old SIZE`, proof lines, an empty line, a checkpoint")
    if len(hashes) > MAX_PROOF_LINES:
        raise MalformedRequestError(f"a proof has at most {MAX_PROOF_LINES} lines")
    proof = tuple(map(_hash, hashes))
    return AddCheckpoint(_size(first.removeprefix("old ")), proof, read_checkpoint(note))


def read_checkpoint(note: str) -> SignedCheckpoint:
    """Return a signed checkpoint of any log (C2SP tlog-checkpoint); nothing is checked yet.

    Raises MalformedRequestError.
    """
    try:
        body, lines = split_note(note)
    except NoteError as error:
        raise MalformedRequestError(f"the checkpoint is no signed note: {error}") from error
    said = body.removesuffix("\n").split("\n")
    if len(said) < 3 or not all(said):
        raise MalformedRequestError("a checkpoint has an origin, a size and a root, a line each")
    return SignedCheckpoint(body, said[0], _size(said[1]), _hash(said[2]), lines)


def cosign(body: str, name: str, key: SigningKey, time_s: int) -> str:
    """Return a witness's signature line with its newline (``cosignature/v1``, key type 4).

    The caller has checked before that the log only grew: this is the statement that it did, and
    that no larger tree was seen by ``time_s`` (UTC seconds).
    """
    signature = key.sign(cosigned(body, time_s)).signature
    named = key_id(name, bytes(key.verify_key), COSIGNATURE)
    return f"{NoteLine(name, named, time_s.to_bytes(8, 'big') + signature)}\n"


def _size(text: str) -> int:
    if not _SIZE.fullmatch(text) or int(text) > MAX_SIZE:
        raise MalformedRequestError(f"{text!r:.40} is no size: a decimal number below 2^63")
    return int(text)


def _hash(text: str) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        data = b""
    if len(data) != HASH_SIZE or b64encode(data).decode() != text:
        raise MalformedRequestError(f"{text!r:.60} is no hash: 32 bytes in base64")
    return data
