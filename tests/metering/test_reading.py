"""The reading's bytes: fixed example, round trip, and strict parsing under fuzz."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from metering import canonical
from metering.identity import PublicKey, gsrn_check_digit
from metering.interval import Interval
from metering.reading import (
    FIRST_PREV,
    Clock,
    Enrolment,
    LeafError,
    MalformedEnrolmentError,
    MalformedReadingError,
    Measurement,
    Quality,
    Reading,
    leaf,
    leaf_hash,
    link,
)
from tests.conftest import LONG

GSRN = "70705750000000001" + gsrn_check_digit("70705750000000001")
KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"  # RFC 8032, test 1
HASH = "ab" * 32
EXAMPLE = (
    '{"answered_ms":1782205200150,"asked_ms":1782205200100,"clock":"S",'
    '"district":"lindenhof.example","epoch":1,"export_wh":null,"import_wh":123456,'
    f'"key":"{KEY}","meter":"SDM-1","point":"{GSRN}","power_w":-1200,"prev":"{FIRST_PREV}",'
    f'"quality":"measured","raw":"{HASH}","resolution_wh":1,"seq":1}}'
).encode()

WHOLE = st.integers(0, 2**53 - 1)
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)


def ordered(asked_ms: int, answered_ms: int, **more: Any) -> Reading:
    """Build a reading whose window runs forwards."""
    return Reading(
        asked_ms=min(asked_ms, answered_ms), answered_ms=max(asked_ms, answered_ms), **more
    )


READINGS = st.builds(
    ordered,
    district=st.just("lindenhof.example"),
    point=st.text("0123456789", min_size=17, max_size=17).map(lambda b: b + gsrn_check_digit(b)),
    meter=st.text(
        st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(' "\\/'),
        min_size=1,
        max_size=64,
    ),
    key=HASHES,
    epoch=st.integers(1, 2**53 - 1),
    seq=st.integers(1, 2**53 - 1),
    asked_ms=WHOLE,
    answered_ms=WHOLE,
    clock=st.sampled_from(Clock),
    import_wh=st.none() | WHOLE,
    export_wh=st.none() | WHOLE,
    resolution_wh=WHOLE,
    power_w=st.none() | st.integers(1 - 2**53, 2**53 - 1),
    quality=st.sampled_from(Quality),
    raw=HASHES,
    prev=HASHES,
    beacon=st.none() | HASHES,
)


def fields() -> dict[str, Any]:
    return dict(json.loads(EXAMPLE))


def test_the_example_of_the_protocol() -> None:
    reading = Reading.from_payload(EXAMPLE)
    assert (reading.seq, reading.import_wh, reading.export_wh) == (1, 123456, None)
    assert reading.clock is Clock.SYNCHRONISED
    assert reading.quality is Quality.MEASURED
    assert reading.to_payload() == EXAMPLE


@settings(max_examples=4_000 if LONG else 100)
@given(READINGS)
def test_round_trip_in_canonical_bytes(reading: Reading) -> None:
    payload = reading.to_payload()
    assert Reading.from_payload(payload) == reading
    held = {name: value for name, value in dataclasses.asdict(reading).items() if value is not None}
    absent = {"import_wh", "export_wh", "power_w"} - held.keys()
    assert payload == rfc8785.dumps(held | dict.fromkeys(absent))
    assert canonical.decode(payload) == held | dict.fromkeys(absent)


@pytest.mark.parametrize("beacon", ["00", None, "AB" * 32, 7])
def test_a_beacon_is_a_hash_or_left_out(beacon: object) -> None:
    payload = json.dumps(fields() | {"beacon": beacon}, sort_keys=True, separators=(",", ":"))
    with pytest.raises(MalformedReadingError):
        Reading.from_payload(payload.encode())


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=70),
    st.just([]), st.just({}), st.just(HASH), st.just(GSRN), st.just(2**53), st.just(-1),
)  # fmt: skip


@settings(max_examples=500)
@given(st.sampled_from(sorted(fields())), JUNK)
def test_any_other_value_is_refused_or_is_that_value(name: str, junk: object) -> None:
    changed = {**fields(), name: junk}
    payload = json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        reading = Reading.from_payload(payload.encode(errors="surrogatepass"))
    except MalformedReadingError:
        return
    assert reading.to_payload().decode() == payload
    assert type(junk) is not bool
    assert type(junk) is not float


@given(st.integers(0, len(EXAMPLE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_another_reading(place: int, change: int) -> None:
    data = bytearray(EXAMPLE)
    data[place] ^= change
    try:
        reading = Reading.from_payload(bytes(data))
    except MalformedReadingError:
        return
    assert reading.to_payload() == bytes(data)
    assert reading != Reading.from_payload(EXAMPLE)


@given(st.binary(max_size=80))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedReadingError):
        Reading.from_payload(data)


CASES: list[tuple[str, object]] = [
    ("seq", 0), ("seq", -1), ("seq", True), ("seq", 1.0), ("seq", "1"), ("seq", 2**53),
    ("epoch", 0), ("epoch", None), ("asked_ms", -1), ("asked_ms", None), ("answered_ms", 2**53),
    ("answered_ms", 1782205200099), ("asked_ms", 1782205200151),
    ("import_wh", -1), ("import_wh", False), ("import_wh", 2**64), ("export_wh", "0"),
    ("power_w", 2**53), ("power_w", True), ("power_w", 0.5), ("resolution_wh", -1),
    ("clock", "s"), ("clock", "X"), ("clock", None), ("clock", []), ("quality", "Measured"),
    ("quality", 1), ("raw", "AB" * 32), ("raw", "ab" * 31), ("raw", None), ("prev", ""),
    ("key", KEY + "\n"), ("key", 5), ("district", "Lindenhof"), ("district", 1),
    ("point", GSRN[:17]), ("point", 1), ("meter", ""), ("meter", "x" * 65), ("meter", "a\0"),
    ("meter", "a\n"), ("meter", 5),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), CASES)
def test_refused_values(name: str, value: object) -> None:
    payload = json.dumps({**fields(), name: value}, sort_keys=True, separators=(",", ":"))
    with pytest.raises(MalformedReadingError):
        Reading.from_payload(payload.encode())


@pytest.mark.parametrize("name", sorted(fields()))
def test_missing_unknown_and_duplicate_keys_are_refused(name: str) -> None:
    def dump(pairs: dict[str, object]) -> bytes:
        return json.dumps(pairs, sort_keys=True, separators=(",", ":")).encode()

    less = {key: value for key, value in fields().items() if key != name}
    for payload in (
        dump(less),
        dump({**fields(), name + "x": 1}),
        dump({**less, name + "x": 1}),
        EXAMPLE[:-1] + b',"' + name.encode() + b'":1}',
        EXAMPLE + b" ",
        EXAMPLE.replace(b":", b": ", 1),
    ):
        with pytest.raises(MalformedReadingError):
            Reading.from_payload(payload)


def test_a_long_payload_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(MalformedReadingError, match="at most"):
        Reading.from_payload(b'{"a":"' + b"x" * 5_000 + b'"}')


def test_a_measurement_that_no_reading_can_carry_is_refused_at_birth() -> None:
    def measured(import_wh: int) -> Measurement:
        return Measurement(
            1, 2, Clock.SYNCHRONISED, import_wh, None, 1, None, Quality.MEASURED, HASH
        )

    assert measured(2**53 - 1).import_wh == 2**53 - 1
    for wrong in (-1, 2**53, 2**64 - 1):
        with pytest.raises(MalformedReadingError, match="import_wh"):
            measured(wrong)


def test_a_window_that_runs_backwards_is_refused_before_it_is_signed() -> None:
    with pytest.raises(MalformedReadingError, match="clock was set back"):
        Measurement(2, 1, Clock.SYNCHRONISED, 5, None, 1, None, Quality.MEASURED, HASH)


def test_leaf_and_link_are_the_hashes_of_the_protocol() -> None:
    salt, signature = b"\x01" * 32, b"\x02" * 64
    expected = b"wattloom-leaf-reading-v1\0" + salt + EXAMPLE + signature
    assert leaf(salt, EXAMPLE, signature) == expected
    assert leaf_hash(salt, EXAMPLE, signature) == hashlib.sha256(b"\0" + expected).digest()
    assert link(EXAMPLE, signature) == hashlib.sha256(EXAMPLE + signature).hexdigest()
    for wrong in ((salt[:31], signature), (salt, signature + b"\0")):
        with pytest.raises(LeafError):
            leaf(wrong[0], EXAMPLE, wrong[1])


def test_only_a_known_clock_settles() -> None:
    assert {c.value for c in Clock if c.settleable} == {"S", "I"}


def enrolment() -> Enrolment:
    return Enrolment(
        district="lindenhof.example", point=GSRN, serial="SDM-1", profile="eastron_sdm630",
        key=PublicKey.parse(KEY), epoch=1, valid_from=Interval.parse("2026-06-23T09:00:00Z"),
    )  # fmt: skip


def test_enrolment_in_canonical_bytes() -> None:
    payload = enrolment().to_payload()
    assert (
        payload
        == (
            f'{{"district":"lindenhof.example","epoch":1,"key":"{KEY}","point":"{GSRN}",'
            '"profile":"eastron_sdm630","serial":"SDM-1","valid_from":"2026-06-23T09:00:00Z"}'
        ).encode()
    )
    assert Enrolment.from_payload(payload) == enrolment()


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.pop("key"),
        lambda f: f.update(more=1),
        lambda f: f.update(epoch=0),
        lambda f: f.update(epoch="1"),
        lambda f: f.update(key="00" * 32),
        lambda f: f.update(key="01" + "00" * 31),
        lambda f: f.update(point="1" * 18),
        lambda f: f.update(district="A"),
        lambda f: f.update(serial=""),
        lambda f: f.update(serial=7),
        lambda f: f.update(profile="\x7f"),
        lambda f: f.update(valid_from="2026-06-23T09:01:00Z"),
        lambda f: f.update(valid_from="2026-06-23"),
    ],
)
def test_refused_enrolments(change: Callable[[dict[str, Any]], object]) -> None:
    changed = json.loads(enrolment().to_payload())
    change(changed)
    with pytest.raises(MalformedEnrolmentError):
        Enrolment.from_payload(rfc8785.dumps(changed))


def test_reading_of_an_enrolled_meter() -> None:
    measurement = Measurement(
        1782205200100, 1782205200150, Clock.SYNCHRONISED, 123456, None, 1, -1200,
        Quality.MEASURED, HASH,
    )  # fmt: skip
    assert Reading.of(enrolment(), measurement, 1, FIRST_PREV).to_payload() == EXAMPLE
