"""Who is who: metering points (GSRN), district names, and public keys worth trusting.

Pure arithmetic, so that the market can name points and parties without a crypto library.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_P: Final = 2**255 - 19  # the field of edwards25519 (RFC 8032, section 5.1)
_D: Final = -121665 * pow(121666, -1, _P) % _P
_HEX32: Final = re.compile(r"[0-9a-f]{64}")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DISTRICT: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_DISTRICT: Final = 253


class IdentityError(ValueError):
    """Root of this module's errors: reject the name or key for good."""


class GsrnError(IdentityError):
    """Not a metering point's number: ask for the number on the grid operator's letter."""


class DistrictNameError(IdentityError):
    """Not a district name: choose a DNS-like one."""


class PublicKeyError(IdentityError):
    """Not a usable Ed25519 public key: have the device generate a new key."""


@lru_cache(maxsize=65_536)
def check_gsrn(text: str) -> str:
    """Return ``text`` if it is a GSRN: 18 digits with the check digit of GS1.

    Raises:
        GsrnError: another length, other characters, or a wrong check digit.
    """
    if len(text) != 18 or not (text.isascii() and text.isdigit()):
        raise GsrnError(f"{text[:40]!r} is not a GSRN: 18 digits are expected")
    expected = gsrn_check_digit(text[:17])
    if text[17] != expected:
        raise GsrnError(
            f"{text} is not a GSRN: its check digit should be {expected}, look for a typing error"
        )
    return text


def gsrn_check_digit(body: str) -> str:
    """Return the check digit of 17 digits (GS1 General Specifications, section 7.9.1)."""
    weighted = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(body))
    return str(-weighted % 10)


@lru_cache(maxsize=1_024)
def check_district(name: str) -> str:
    """Return ``name`` if it is DNS-like: lowercase labels of letters, digits and hyphens.

    Raises:
        DistrictNameError: anything else, or more than 253 characters.
    """
    if len(name) > _MAX_DISTRICT or not _DISTRICT.fullmatch(name):
        raise DistrictNameError(
            f"{name[:40]!r} is not a district name: write lowercase labels joined by dots, "
            "such as lindenhof.example"
        )
    return name


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key of 32 bytes: a canonical point of large order.

    A key of small order would accept one signature for many messages, so it proves nothing.

    Raises:
        PublicKeyError: wrong length, not a canonical point of the curve, or of small order.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise PublicKeyError(f"{len(self.raw)} bytes: an Ed25519 public key has 32")
        y = int.from_bytes(self.raw, "little") % 2**255
        if y >= _P or not _on_curve(y):
            raise PublicKeyError(f"{self.raw.hex()} is not a point of edwards25519")
        if _small_order(y):
            raise PublicKeyError(f"{self.raw.hex()} is a key of small order: generate another")

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Return the key written as 64 lowercase hex digits."""
        if not _HEX32.fullmatch(text):
            raise PublicKeyError(f"{text[:80]!r} is not a key: 64 lowercase hex digits expected")
        return cls(bytes.fromhex(text))

    @classmethod
    def enrolled(cls, text: str) -> PublicKey:
        """Return a key that was parsed when it was enrolled, without its arithmetic again.

        That takes twice as long as a signature's check. Never for a key that somebody sent.
        """
        key = object.__new__(cls)
        object.__setattr__(key, "raw", bytes.fromhex(text))
        return key

    @property
    def hex(self) -> str:
        """The key as 64 lowercase hex digits."""
        return self.raw.hex()

    def __str__(self) -> str:
        return self.hex


def _on_curve(y: int) -> bool:
    """Tell whether x^2 = (y^2 - 1) / (d y^2 + 1) has a root; u/v is a square when u*v is one."""
    u, v = y * y - 1, _D * y * y + 1
    return pow(u * v, (_P - 1) // 2, _P) in (0, 1)


def _small_order(y: int) -> bool:
    """Tell whether the point's order divides 8.

    Orders 1 and 2 have y = 1 and -1, order 4 has y = 0. A point of order 8 doubles to y = 0,
    that is y^2 = -x^2, which on the curve -x^2 + y^2 = 1 + d x^2 y^2 means d y^4 + 2 y^2 = 1.
    """
    square = y * y
    return y * (square - 1) * (_D * square * square + 2 * square - 1) % _P == 0
