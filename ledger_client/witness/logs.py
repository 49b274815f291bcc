"""Which logs a witness watches, and keys as C2SP signed-note writes them (vkeys)."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Final, Self

from ledger_client.verify import COSIGNATURE, ED25519, key_id, key_is_sound
from ledger_client.witness.errors import WitnessSettingsError

_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f]{1,255}")
_ORIGIN: Final = re.compile(r"[^\x00-\x1f\x7f]{1,255}")
_VKEY: Final = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True)
class LogKey:
    """A log's Ed25519 key (32 bytes) and the name by which its signature lines call it."""

    origin: str
    name: str
    key: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what ``ORIGIN=KEY`` says: the key as 64 hex digits, or as a vkey of its own name.

        Raises WitnessSettingsError.
        """
        # From the left: a vkey may end in signs of equality. An origin with one needs none here.
        origin, equals, key = text.partition("=")
        if not equals or not _ORIGIN.fullmatch(origin):
            raise WitnessSettingsError(f"{text!r}: write ORIGIN=KEY, the origin in plain text")
        name, found = (origin, _from_hex(key)) if len(key) == 64 else _from_vkey(key)
        if not _NAME.fullmatch(name):
            raise WitnessSettingsError(f"{name!r} cannot name a key: give the log's vkey instead")
        if not key_is_sound(found):
            raise WitnessSettingsError(f"the key of {origin} is no sound Ed25519 point")
        return cls(origin, name, found)


def check_witness_name(name: str) -> str:
    """Return a name that a signature line can carry, such as ``witness.example/w1``.

    Raises WitnessSettingsError.
    """
    if not _NAME.fullmatch(name):
        raise WitnessSettingsError(
            f"{name!r} cannot name a witness: 1 to 255 characters without spaces and plus signs"
        )
    return name


def witness_vkey(name: str, key: bytes) -> str:
    """Return a witness's public key as a vkey of signature type 4 (C2SP tlog-cosignature)."""
    named = key_id(name, key, COSIGNATURE).hex()
    return f"{name}+{named}+{b64encode(COSIGNATURE + key).decode()}"


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise WitnessSettingsError(f"{text!r} is no key: 64 hex digits, or a vkey") from error


def _from_vkey(text: str) -> tuple[str, bytes]:
    match = _VKEY.fullmatch(text)
    try:
        blob = b64decode(match[3], validate=True) if match else b""
    except ValueError:
        blob = b""
    if match is None or len(blob) != 33 or blob[:1] != ED25519:
        raise WitnessSettingsError(f"{text!r} is no key: 64 hex digits, or a vkey of Ed25519")
    if key_id(match[1], blob[1:]).hex() != match[2]:
        raise WitnessSettingsError(f"the vkey {text!r} contradicts itself: copy it again")
    return match[1], blob[1:]
