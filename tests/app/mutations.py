"""What may become of a signed batch on its way, or in the hands of somebody who means harm."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from metering.reading import SignedReading
from metering.signing import Purpose, sign
from tests.app.doorway import District

BODY_LIMIT = 2**20
NUMBERS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1e2", b"1.0", b"-0", b"-1", b"01",
    b"9007199254740991", b"9007199254740992", b"9223372036854775808", b"9" * 5_000, b"true",
    b"null", b'"1"', b'" 1 "', b"[]", b"{}", b"0x10", b"1_000", "١".encode(),
)  # fmt: skip
STRINGS = (
    b'""', b'"\\ud800"', b'"\\u0000"', b'"\x00"', b'"\xff"', b'"\\uD83D"',
    b'"' + b"a" * 100_000 + b'"', b"'a'", b'"\\x41"', b'"\n"', '"\u202e"'.encode(), b"7", b"null",
)  # fmt: skip
NAMES = {
    b"import_wh": (b"import_kwh", b"import_mwh", b"IMPORT_WH", b"import_Wh", b"import_wh\\u0000"),
    b"power_w": (b"power_kw", b"power", b"power_w "),
    b"answered_ms": (b"answered_s", b"answered_us"),
    b"payload": (b"Payload", b"payload_", b"\\u0070ayload", b"__proto__"),
    b"signature": (b"Signature", b"sig", b"signature\\u0000"),
    b"header": (b"Header", b"head"),
    b"readings": (b"reading", b"Readings", b"readings[]"),
    b"seq": (b"Seq", b"epoch", b"sequence"),
}
Mutate = Callable[[bytes, Random], bytes]


def _flip(data: bytes, chance: Random) -> bytes:
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 8, 64))):
        found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def _slice(data: bytes, chance: Random) -> tuple[int, int]:
    start = chance.randrange(len(data))
    return start, min(len(data), start + chance.choice((1, 2, 16, 200, 5_000)))


def _drop(data: bytes, chance: Random) -> bytes:
    start, end = _slice(data, chance)
    return data[:start] + data[end:]


def _repeat(data: bytes, chance: Random) -> bytes:
    start, end = _slice(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 1, 3, 50)) + data[end:]


def _move(data: bytes, chance: Random) -> bytes:
    start, end = _slice(data, chance)
    rest = data[:start] + data[end:]
    at = chance.randrange(len(rest) + 1)
    return rest[:at] + data[start:end] + rest[at:]


def _insert(data: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.randbytes(chance.choice((1, 1, 4, 300))) + data[at:]


def _truncate(data: bytes, chance: Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _one_of(pattern: bytes, others: tuple[bytes, ...]) -> Mutate:
    def mutate(data: bytes, chance: Random) -> bytes:
        found = list(re.finditer(pattern, data))
        if not found:
            return _flip(data, chance)
        place = chance.choice(found)
        return data[: place.start()] + chance.choice(others) + data[place.end() :]

    return mutate


def _rename(data: bytes, chance: Random) -> bytes:
    name = chance.choice([each for each in NAMES if each in data] or [b""])
    return data.replace(name, chance.choice(NAMES[name]), 1) if name else _flip(data, chance)


def _double_a_field(data: bytes, chance: Random) -> bytes:
    found = list(re.finditer(rb'\\?"[a-z_]+\\?":[^,{}\[\]]+,', data))
    if not found:
        return _flip(data, chance)
    place = chance.choice(found)
    return data[: place.end()] + place[0] + data[place.end() :]


def _nest(data: bytes, chance: Random) -> bytes:
    deep = chance.choice((20, 1_000, 100_000))
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
    at = chance.choice([place.start() for place in re.finditer(rb"\[|\d+|\"", data)] or [0])
    return data[:at] + opening * deep + b"1" + closing * deep + data[at:]


RAW: Mapping[str, Mutate] = {
    "bits flipped": _flip,
    "bytes dropped": _drop,
    "bytes repeated": _repeat,
    "bytes moved": _move,
    "bytes inserted": _insert,
    "cut short": _truncate,
    "another number": _one_of(rb"(?<=:)-?\d+", NUMBERS),
    "another text": _one_of(rb'"[^"]*"', STRINGS),
    "another name": _rename,
    "a field twice": _double_a_field,
    "nested": _nest,
}
ENVELOPE: Mapping[str, Mutate] = {
    **RAW,
    "twice": lambda data, _: data * 2,
    "compressed": lambda data, _: gzip.compress(data),
    "UTF-16": lambda data, _: data.decode().encode("utf-16"),
    "a byte order mark": lambda data, _: b"\xef\xbb\xbf" + data,
    "in a list": lambda data, _: b"[" + data + b"]",
    "too long": lambda data, _: data + b" " * BODY_LIMIT,
    "nothing": lambda _data, _: b"",
    "noise": lambda data, chance: chance.randbytes(len(data)),
}


def _items(change: Callable[[list[Any], Random], object]) -> Mutate:
    """A change of the list of readings, in an envelope that is otherwise well-formed."""

    def mutate(data: bytes, chance: Random) -> bytes:
        document = json.loads(data)
        change(document["readings"], chance)
        return json.dumps(document).encode()

    return mutate


def _swap_signatures(items: list[Any], _: Random) -> None:
    items[0]["signature"], items[-1]["signature"] = items[-1]["signature"], items[0]["signature"]


def _header(name: str, value: Callable[[Any], object]) -> Mutate:
    """Another value in the header, which is spelled well and signed as it was."""

    def mutate(data: bytes, _: Random) -> bytes:
        document = json.loads(data)
        header = json.loads(document["header"])
        header[name] = value(header[name])
        document["header"] = json.dumps(header, separators=(",", ":"), sort_keys=True)
        return json.dumps(document).encode()

    return mutate


STRUCTURED: Mapping[str, Mutate] = {
    "items in another order": _items(lambda items, chance: chance.shuffle(items)),
    "an item twice": _items(lambda items, chance: items.append(chance.choice(items))),
    "an item gone": _items(lambda items, _: items.pop()),
    "no items": _items(lambda items, _: items.clear()),
    "1,001 items": _items(lambda items, _: items.extend(items[:1] * 1_000)),
    "an item of nulls": _items(lambda items, _: items.append({"payload": None, "signature": None})),
    "an item with more": _items(lambda items, _: items[0].update(more=1)),
    "signatures swapped": _items(_swap_signatures),
    "another count": _header("count", lambda value: value + 1),
    "another digest": _header("digest", lambda value: value[::-1]),
    "another district": _header("district", lambda _: "elsewhere.example"),
    "another gateway": _header("gateway", lambda value: value + "x"),
    "another key": _header("key", lambda value: value[::-1]),
    "a later upload": _header("uploaded_ms", lambda value: value + 1),
}
BODIES: Mapping[str, Mutate] = {**ENVELOPE, **STRUCTURED}


# --- Single readings, in a batch that the gateway signs -------------------------------------------

Forge = Callable[[District, SignedReading, bytes], bytes]
"""Returns a signature for a mutated payload."""

FORGED: Mapping[str, Forge] = {
    "its old signature": lambda _district, old, _payload: old.signature,
    "the gateway's key": lambda district, _, payload: sign(
        district.gateway, Purpose.READING, payload
    ),
    "another meter's key": lambda district, old, payload: sign(
        next(
            meter.signing_key for meter in district.meters if meter.key.encode() not in old.payload
        ),
        Purpose.READING,
        payload,
    ),
    "the right key for another purpose": lambda district, _, payload: sign(
        district.meters[0].signing_key, Purpose.BATCH, payload
    ),
    "no signature": lambda _district, _old, _payload: bytes(64),
}


def mutated_reading(
    district: District, old: SignedReading, name: str, forged: str, chance: Random
) -> SignedReading:
    """A reading with other bytes (as far as they are UTF-8) and a signature that is none."""
    payload = RAW[name](old.payload, chance)[:3_000].decode(errors="replace").encode()
    return SignedReading(payload, FORGED[forged](district, old, payload))
