"""The summary counts refused readings, not the events that tell of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlmodel import func, select

from app.services.summary import rejected
from app.tables import SecurityEventRow
from metering.batch import Batch, BatchError
from metering.reading import SignedReading
from tests.app.doorway import GATEWAY, ORIGIN, District, Meter, gsrn, key_of

Send = Callable[[District, list[SignedReading]], Batch]


def _stranger(count: int) -> list[SignedReading]:
    return Meter(7, key_of(50), gsrn(7)).chain(count)


CASES: dict[str, tuple[Send, int, int]] = {
    # readings refused, events written
    "all good": (lambda d, good: d.batch(*good), 0, 0),
    "three of a stranger": (lambda d, good: d.batch(*good, *_stranger(3)), 3, 1),
    "two kinds": (
        lambda d, good: d.batch(*_stranger(3), replace(good[0], signature=bytes(64))), 4, 2),
    "another district's batch": (
        lambda d, good: Batch.pack(good, d.gateway, "elsewhere.example", GATEWAY, 0), 5, 1),
    "an unknown gateway's batch": (
        lambda d, good: Batch.pack(good, key_of(60), ORIGIN, GATEWAY, 0), 5, 1),
    "a forged batch": (
        lambda d, good: replace(d.batch(*good), readings=d.batch(*good).readings[:2]), 2, 1),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_rejected_readings(plain_district: District, case: str) -> None:
    make, readings, events = CASES[case]
    _send(plain_district, make)
    assert _figures(plain_district) == (readings, events)


def test_they_add_up_on_every_database(district: District) -> None:
    for make, _, _ in CASES.values():
        _send(district, make)
    assert _figures(district) == tuple(sum(case[n] for case in CASES.values()) for n in (1, 2))


def _send(district: District, make: Send) -> None:
    with suppress(BatchError):
        district.door.receive(make(district, district.meters[0].chain(5)))


def _figures(district: District) -> tuple[int, int]:
    with district.database.read() as session:
        events = session.exec(select(func.coalesce(func.sum(SecurityEventRow.times), 0))).one()
        return rejected(session), events
