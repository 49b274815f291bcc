"""Bech32 text form of Ed25519 addresses (TIP-31, BIP-173)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger_client.stardust.codec import ID_LENGTH, StardustError
from ledger_client.stardust.output import ED25519_ADDRESS_TYPE, encode_address

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6
_MAX_LENGTH = 90


class AddressTextError(StardustError):
    """The text is not an address of this network: ask the person for another."""


def _polymod(values: Iterable[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum


def _expand(hrp: str) -> list[int]:
    codes = hrp.encode()
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def _regroup(values: Iterable[int], width: int, target: int) -> tuple[list[int], int, int]:
    """Regroup ``width``-bit values into ``target``-bit ones; also return the bits left over."""
    pending = bits = 0
    groups = []
    for value in values:
        pending = pending << width | value
        bits += width
        while bits >= target:
            bits -= target
            groups.append(pending >> bits)
            pending &= (1 << bits) - 1
    return groups, pending, bits


def encode_bech32(hrp: str, data: bytes) -> str:
    """Return ``data`` as Bech32 text under the human-readable part ``hrp``."""
    groups, pending, bits = _regroup(data, 8, 5)
    if bits:
        groups.append(pending << (5 - bits))
    check = _polymod([*_expand(hrp), *groups, *([0] * _CHECKSUM_LENGTH)]) ^ 1
    tail = [check >> 5 * (_CHECKSUM_LENGTH - 1 - i) & 31 for i in range(_CHECKSUM_LENGTH)]
    return hrp + "1" + "".join(_ALPHABET[group] for group in groups + tail)


def _symbols(text: str) -> Sequence[int]:
    values = [_ALPHABET.find(symbol) for symbol in text]
    if -1 in values:
        raise AddressTextError(f"address: {text[values.index(-1)]!r} is no Bech32 symbol")
    return values


def decode_bech32(text: str) -> tuple[str, bytes]:
    """Return (human-readable part, data); refuses mixed case, bad checksums and padding."""
    if text not in {text.lower(), text.upper()}:
        raise AddressTextError("address: upper and lower case are mixed; copy it again")
    hrp, separator, rest = text.lower().rpartition("1")
    printable = all(33 <= ord(symbol) <= 126 for symbol in hrp)
    if not (separator and hrp and printable) or len(text) > _MAX_LENGTH:
        raise AddressTextError("address: no prefix before a '1', or over 90 symbols")
    values = _symbols(rest)
    if len(values) < _CHECKSUM_LENGTH or _polymod([*_expand(hrp), *values]) != 1:
        raise AddressTextError("address: the checksum is wrong; a symbol was mistyped")
    groups, padding, bits = _regroup(values[:-_CHECKSUM_LENGTH], 5, 8)
    if bits >= 5 or padding:
        raise AddressTextError("address: padding bits are set")
    return hrp, bytes(groups)


def encode_address_text(hrp: str, address: bytes) -> str:
    """Return the text of an Ed25519 address given its 32-byte hash."""
    return encode_bech32(hrp, encode_address(address))


def decode_address_text(hrp: str, text: str) -> bytes:
    """Return the 32-byte hash of an Ed25519 address of the network with ``hrp``."""
    found, data = decode_bech32(text)
    if found != hrp:
        raise AddressTextError(f"address: prefix {found!r} is of another network, not {hrp!r}")
    if len(data) != 1 + ID_LENGTH or data[0] != ED25519_ADDRESS_TYPE:
        raise AddressTextError("address: not an Ed25519 address")
    return data[1:]
