"""Reading and writing of the little-endian binary layout that all Stardust objects share."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise

ID_LENGTH = 32
"""Length of a block id, transaction id, milestone id, address hash or public key, in bytes."""
SIGNATURE_LENGTH = 64
MAX_U32 = 2**32 - 1
MAX_U64 = 2**64 - 1


class StardustError(ValueError):
    """Something does not follow the format: refuse it for good."""


class StardustSyntaxError(StardustError):
    """Bytes or values break a syntactic rule of a TIP: reject them, do not send them again."""


def blake2b_256(data: bytes) -> bytes:
    """Return BLAKE2b with a 32-byte digest (RFC 7693), the hash of all Stardust ids."""
    return blake2b(data, digest_size=32).digest()


def network_id(network: str) -> int:
    """Return the id of a network: the first 8 bytes of its name's hash, little-endian (TIP-20)."""
    return int.from_bytes(blake2b_256(network.encode())[:8], "little")


def require(condition: object, message: str) -> None:
    """Raise :class:`StardustSyntaxError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise StardustSyntaxError(message)


def require_length(value: bytes, length: int, field: str) -> None:
    """Refuse a fixed-size field of another size."""
    require(len(value) == length, f"{field}: {len(value)} bytes, must be {length}")


def require_sorted_unique(items: Sequence[bytes], field: str) -> None:
    """Refuse a list that is not in strictly rising lexicographical order."""
    for before, after in pairwise(items):
        require(before < after, f"{field}: must be sorted and unique at {after.hex()}")


def u8(value: int) -> bytes:
    """Encode an unsigned byte."""
    return struct.pack("<B", value)


def u16(value: int) -> bytes:
    """Encode an unsigned 16-bit integer, little-endian."""
    return struct.pack("<H", value)


def u32(value: int) -> bytes:
    """Encode an unsigned 32-bit integer, little-endian."""
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    """Encode an unsigned 64-bit integer, little-endian."""
    return struct.pack("<Q", value)


class Reader:
    """A cursor over bytes that refuses to read past the end or to leave bytes over.

    ``what`` names the object in error messages.
    """

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    @property
    def position(self) -> int:
        """The number of bytes read so far."""
        return self._at

    def since(self, start: int) -> bytes:
        """Return the bytes read since position ``start``."""
        return self._data[start : self._at]

    def take(self, length: int, field: str) -> bytes:
        """Read exactly ``length`` bytes."""
        end = self._at + length
        if end > len(self._data):
            left = len(self._data) - self._at
            raise StardustSyntaxError(
                f"{self._what}: {field} needs {length} bytes at offset {self._at}, {left} are left"
            )
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, length: int, field: str) -> int:
        """Read an unsigned little-endian integer of ``length`` bytes."""
        return int.from_bytes(self.take(length, field), "little")

    def constant(self, value: int, length: int, field: str) -> None:
        """Read an integer that must be ``value``."""
        got = self.number(length, field)
        require(got == value, f"{self._what}: {field} is {got}, must be {value}")

    def count(self, low: int, high: int, length: int, field: str) -> int:
        """Read a count of ``length`` bytes within ``low..high``."""
        got = self.number(length, field)
        require(low <= got <= high, f"{self._what}: {field} is {got}, must be {low} to {high}")
        return got

    def blob(self, prefix_length: int, field: str) -> bytes:
        """Read bytes that follow their own length."""
        return self.take(self.number(prefix_length, f"length of {field}"), field)

    def done(self) -> None:
        """Refuse trailing bytes."""
        left = len(self._data) - self._at
        require(left == 0, f"{self._what}: {left} trailing bytes at offset {self._at}")
