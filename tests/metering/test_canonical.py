"""Canonical JSON against the rfc8785 package, and every spelling that must be refused."""

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from metering import canonical
from metering.canonical import NotCanonicalError, UnencodableError

LIMIT = 2**53
KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
SCALARS = st.one_of(st.none(), st.integers(1 - LIMIT, LIMIT - 1), TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)


@given(OBJECTS)
def test_agrees_with_the_reference_and_reads_back(value: dict[str, canonical.Value]) -> None:
    encoded = canonical.encode(value)
    assert encoded == rfc8785.dumps(value)
    assert canonical.decode(encoded) == value
    assert canonical.dumps(value) == encoded


@given(OBJECTS.filter(bool))
def test_any_other_spelling_is_refused(value: dict[str, canonical.Value]) -> None:
    for spelling in (
        json.dumps(value, sort_keys=True, ensure_ascii=False),
        json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n",
    ):
        with pytest.raises(NotCanonicalError):
            canonical.decode(spelling.encode())


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_canonical(data: bytes) -> None:
    try:
        value = canonical.decode(data)
    except NotCanonicalError:
        return
    assert rfc8785.dumps(value) == data


@given(OBJECTS, st.data())
def test_one_changed_byte_never_reads_as_the_same_value(
    value: dict[str, canonical.Value], data: st.DataObject
) -> None:
    encoded = bytearray(canonical.encode(value))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        other = canonical.decode(bytes(encoded))
    except NotCanonicalError:
        return
    assert other != value


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"b":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":true}',
        b'{"a":[false]}',
        b'{"a":9007199254740992}',
        b'{"a":-9007199254740992}',
        b'{"a":' + b"9" * 5_000 + b"}",
        b'{"a":"\\u0000"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":"\x01"}',
        '{"é":1}'.encode(),
        b'{"\\u0000":1}',
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b"[]",
        b'"a"',
        b"1",
        b"null",
        b"",
        b"{}{}",
        b'{"a":' + b"[" * 17 + b"]" * 17 + b"}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_refused_bytes(data: bytes) -> None:
    with pytest.raises(NotCanonicalError):
        canonical.decode(data)


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1.5},
        {"a": True},
        {"a": LIMIT},
        {"a": -LIMIT},
        {1: 1},
        {None: 1},
        {"é": 1},
        {"a": "\0"},
        {"a": "\ud800"},
        {"a": b"bytes"},
        {"a": {"b": [{1, 2}]}},
    ],
)
def test_refused_values(value: dict[str, canonical.Value]) -> None:
    with pytest.raises(UnencodableError):
        canonical.encode(value)


def test_size_is_bounded() -> None:
    data = canonical.encode({"a": "x" * 100})
    assert canonical.decode(data, max_bytes=len(data))
    with pytest.raises(NotCanonicalError, match="at most"):
        canonical.decode(data, max_bytes=len(data) - 1)


def test_the_place_is_named() -> None:
    with pytest.raises(UnencodableError, match=r"\$\.a\[1\]\.b"):
        canonical.encode({"a": [1, {"b": 2.5}]})  # type: ignore[dict-item]
