"""Batches: what was packed comes out, and nothing else gets in."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from metering.batch import (
    MAX_BODY_BYTES,
    Batch,
    BatchError,
    BatchHeader,
    BatchTooLargeError,
    ForgedBatchError,
    MalformedBatchError,
    fitting,
)
from metering.reading import SignedReading
from metering.signing import Purpose, public_key, sign

KEY = SigningKey(b"\x09" * 32)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ITEMS = st.lists(
    st.builds(SignedReading, TEXTS.map(str.encode), st.binary(min_size=64, max_size=64)),
    min_size=1,
    max_size=8,
)


def pack(readings: list[SignedReading]) -> Batch:
    return Batch.pack(readings, KEY, "lindenhof.example", "gw-1", 1_782_205_200_000)


@given(ITEMS)
def test_round_trip(readings: list[SignedReading]) -> None:
    batch = Batch.from_body(pack(readings).to_body())
    assert list(batch.readings) == readings
    header = batch.check()
    joined = b"".join(reading.payload + reading.signature for reading in readings)
    assert header == BatchHeader(
        len(readings), hashlib.sha256(joined).hexdigest(), "lindenhof.example", "gw-1",
        public_key(KEY), 1_782_205_200_000,
    )  # fmt: skip


@given(ITEMS, st.data())
def test_swapped_dropped_or_changed_items_are_forged(
    readings: list[SignedReading], data: st.DataObject
) -> None:
    batch = pack(readings)
    place = data.draw(st.integers(0, len(readings) - 1))
    changed = SignedReading(readings[place].payload + b"!", readings[place].signature)
    for items in (
        readings[:place] + readings[place + 1 :],
        [*readings, readings[place]],
        [*readings[:place], changed, *readings[place + 1 :]],
    ):
        with pytest.raises(ForgedBatchError, match="count or digest"):
            Batch(batch.header, batch.header_signature, tuple(items)).check()


@given(ITEMS, st.data())
def test_any_body_is_refused_or_the_same_batch(
    readings: list[SignedReading], data: st.DataObject
) -> None:
    body = bytearray(pack(readings).to_body())
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        batch = Batch.from_body(bytes(body))
        batch.check()
    except BatchError:
        return
    assert batch == pack(readings)


def test_another_purpose_or_key_is_forged() -> None:
    batch = pack([SignedReading(b"{}", b"\1" * 64)])
    for signature in (
        sign(KEY, Purpose.READING, batch.header),
        sign(SigningKey(b"\x08" * 32), Purpose.BATCH, batch.header),
    ):
        with pytest.raises(ForgedBatchError, match="signature"):
            Batch(batch.header, signature, batch.readings).check()


def test_a_count_that_differs_from_the_items_is_forged_even_when_signed() -> None:
    batch = pack([SignedReading(b"{}", b"\1" * 64)])
    header = batch.header.replace(b'"count":1', b'"count":2')
    with pytest.raises(ForgedBatchError, match="count or digest"):
        Batch(header, sign(KEY, Purpose.BATCH, header), batch.readings).check()


CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda b: b.pop("header"),
    lambda b: b.update(more=1),
    lambda b: b.update(header=1),
    lambda b: b.update(header="\ud800"),
    lambda b: b.update(header_signature="00" * 63),
    lambda b: b.update(header_signature="AB" * 64),
    lambda b: b.update(readings={}),
    lambda b: b.update(readings=[1]),
    lambda b: b["readings"][0].pop("payload"),
    lambda b: b["readings"][0].update(more=1),
    lambda b: b["readings"][0].update(payload=None),
    lambda b: b["readings"][0].update(signature=5),
    lambda b: b["readings"].append(1.5),
    lambda b: b["readings"].append(float("nan")),
]


@pytest.mark.parametrize("change", CHANGES)
def test_malformed_bodies(change: Callable[[dict[str, Any]], object]) -> None:
    body = json.loads(pack([SignedReading(b"{}", b"\1" * 64)]).to_body())
    change(body)
    with pytest.raises(MalformedBatchError):
        Batch.from_body(json.dumps(body).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":1,"a":1}'])
def test_bodies_that_are_no_batch(body: bytes) -> None:
    with pytest.raises(MalformedBatchError):
        Batch.from_body(body)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.update(count=0),
        lambda h: h.update(count=1_001),
        lambda h: h.update(count=True),
        lambda h: h.update(digest="AB" * 32),
        lambda h: h.update(district="A"),
        lambda h: h.update(gateway=""),
        lambda h: h.update(gateway=7),
        lambda h: h.update(key="01" + "00" * 31),
        lambda h: h.update(uploaded_ms=-1),
        lambda h: h.update(more=1),
        lambda h: h.pop("key"),
    ],
)
def test_malformed_headers(change: Callable[[dict[str, Any]], object]) -> None:
    header = json.loads(pack([SignedReading(b"{}", b"\1" * 64)]).header)
    change(header)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(MalformedBatchError):
        BatchHeader.from_payload(text)


def test_limits_of_a_thousand_and_a_mebibyte() -> None:
    small = SignedReading(b"{}", b"\1" * 64)
    assert len(Batch.from_body(pack([small] * 1_000).to_body()).readings) == 1_000
    with pytest.raises(MalformedBatchError, match="1001"):
        pack([small] * 1_001)
    body = json.loads(pack([small]).to_body())
    body["readings"] *= 1_001
    with pytest.raises(BatchTooLargeError, match="1001 readings"):
        Batch.from_body(json.dumps(body).encode())
    with pytest.raises(BatchTooLargeError):
        Batch.from_body(b" " * (MAX_BODY_BYTES + 1))
    big = SignedReading(b"x" * MAX_BODY_BYTES, b"\1" * 64)
    with pytest.raises(BatchTooLargeError):
        pack([big]).to_body()


@given(st.lists(TEXTS.map(lambda t: t * 300), max_size=60))
def test_what_fits_really_fits(payloads: list[str]) -> None:
    readings = [SignedReading(p.encode(), b"\1" * 64) for p in payloads] * 10
    count = fitting(readings)
    if count:
        assert len(pack(readings[:count]).to_body()) <= MAX_BODY_BYTES
    if count < len(readings):
        items = [{"payload": r.payload.decode(), "signature": "0" * 128} for r in readings]
        one_more = json.dumps(items[: count + 1], ensure_ascii=False, separators=(",", ":"))
        assert len(one_more.encode()) > MAX_BODY_BYTES - 1_024
