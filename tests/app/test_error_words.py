"""Errors repeat little of what was sent, and nothing of what Python says about it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.ingest import UnknownGatewayError
from metering import canonical
from metering.batch import Batch, BatchError
from metering.canonical import CanonicalError, shown
from metering.reading import MalformedReadingError, Reading, SignedReading
from metering.signing import Purpose, sign
from tests.app.doorway import GATEWAY, District

LONGEST = 500
INTERNALS = re.compile(r"sys\.|recursion|codec|Traceback|NoneType|0x[0-9a-f]{6}|\bint\(")


def check(error: object) -> None:
    words = str(error)
    assert len(words) <= LONGEST
    assert words.isprintable()
    assert not INTERNALS.search(words), words


@given(value=st.one_of(st.text(), st.integers(), st.none(), st.lists(st.integers())))
def test_a_value_is_shown_short_and_printable(value: object) -> None:
    assert shown(value).isprintable()
    assert 0 < len(shown(value)) <= 80


DEEP = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
BODIES: dict[str, tuple[bytes, str]] = {
    "digits": (b'{"a":' + b"9" * 5_000 + b"}", "a number has too many digits"),
    "depth": (DEEP.encode(), "nested too deeply"),
    "bytes": (b'{"a":"\xff"}', "byte 6 does not belong there"),
    "cut short": (b'{"a":', "at line 1, column 6"),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_that_are_no_json(name: str) -> None:
    body, says = BODIES[name]
    with pytest.raises(BatchError, match=says) as caught:
        Batch.from_body(body)
    check(caught.value)
    with pytest.raises(CanonicalError, match=says) as refused:
        canonical.decode(body)
    check(refused.value)


VALUES = [
    "x" * 1_500,
    "\x1b[31m" * 200,
    10**1_400,
    -1,
    2**53,
    [],
    [[[]]],
    {"a": {}},
    None,
    "\u202e",
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
@pytest.mark.parametrize("name", [*Reading.__dataclass_fields__, "x" * 300, "\x07"])
def test_readings_with_one_wrong_value(plain_district: District, name: str, value: object) -> None:
    meter = plain_district.meters[0]
    fields = json.loads(meter.reading(1).to_payload()) | {name: value}
    payload = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    item = SignedReading(payload, sign(meter.signing_key, Purpose.READING, payload))
    (result,) = plain_district.send(item)
    if result.status != 200:  # null is a value of some fields
        check(result.error)


def test_the_upper_bound_of_a_number_is_told(plain_district: District) -> None:
    with pytest.raises(MalformedReadingError, match=r"seq 9007199254740992: .* to 2\*\*53 - 1"):
        replace(plain_district.meters[0].reading(1), seq=2**53)


STRANGE: dict[str, Callable[[District], Batch]] = {
    "district": lambda d: Batch.pack(
        d.meters[0].chain(1), d.gateway, ".".join(["a" * 60] * 4), GATEWAY, 0
    ),
    "gateway": lambda d: Batch.pack(
        d.meters[0].chain(1), d.gateway, d.settings.origin, "g" * 64, 0
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_batches(plain_district: District, name: str) -> None:
    with pytest.raises(UnknownGatewayError) as caught:
        plain_district.door.receive(STRANGE[name](plain_district))
    check(caught.value)
