"""What a reading costs: tree, canonical JSON, signature, each beside what it could be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Protocol

import pytest
import rfc8785
from nacl.signing import SigningKey

from ledger_client import merkle
from metering import canonical
from metering.signing import Purpose, public_key, sign, verify

LEAVES = [hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(10_000)]
PAYLOAD: dict[str, canonical.Value] = {
    "answered_ms": 1_782_205_200_150,
    "clock": "S",
    "district": "lindenhof.wattloom.example",
    "export_wh": None,
    "import_wh": 123_456,
    "meter": "SDM-1",
    "power_w": -1_200,
    "prev": "ab" * 32,
    "seq": 1,
}
TEXT = canonical.encode(PAYLOAD)
KEY = SigningKey(bytes(range(32)))


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture that is used here."""

    def __call__(self, function: Callable[..., object], *arguments: object) -> object: ...


def _root_as_specified(leaf_hashes: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if len(leaf_hashes) == 1:
        return leaf_hashes[0]
    half = 1 << (len(leaf_hashes) - 1).bit_length() - 1
    left, right = _root_as_specified(leaf_hashes[:half]), _root_as_specified(leaf_hashes[half:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@pytest.mark.benchmark(group="root of a tree of 10,000 leaves")
@pytest.mark.parametrize("root", [merkle.root, _root_as_specified], ids=["ours", "specification"])
def test_root(benchmark: Benchmark, root: Callable[[list[bytes]], bytes]) -> None:
    assert benchmark(root, LEAVES) == _root_as_specified(LEAVES)


@pytest.mark.benchmark(group="canonical JSON of a reading")
@pytest.mark.parametrize("encode", [canonical.encode, rfc8785.dumps], ids=["ours", "rfc8785"])
def test_encode(benchmark: Benchmark, encode: Callable[[object], bytes]) -> None:
    assert benchmark(encode, PAYLOAD) == TEXT


@pytest.mark.benchmark(group="a reading's text, parsed")
@pytest.mark.parametrize("decode", [canonical.decode, json.loads], ids=["strictly", "anyhow"])
def test_decode(benchmark: Benchmark, decode: Callable[[bytes], object]) -> None:
    assert benchmark(decode, TEXT) == PAYLOAD


@pytest.mark.benchmark(group="a reading's signature")
def test_sign(benchmark: Benchmark) -> None:
    assert benchmark(sign, KEY, Purpose.READING, TEXT) == sign(KEY, Purpose.READING, TEXT)


@pytest.mark.benchmark(group="a reading's signature")
def test_verify(benchmark: Benchmark) -> None:
    signature = sign(KEY, Purpose.READING, TEXT)
    assert benchmark(verify, public_key(KEY), Purpose.READING, TEXT, signature) is True
