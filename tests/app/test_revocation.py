"""A key revoked in advance, and the meter that follows it on its point."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlmodel import Session, col, select

from app.clock import SimulatedClock
from app.services.enrolment import EnrolmentConflictError, endorse, enrol, revoke, roster
from app.tables import ReadingRow
from metering.interval import Interval
from metering.reading import SignedReading
from metering.signing import public_key
from tests.app.doorway import MINUTE_MS, ORIGIN, START, District, Meter, key_of

CHANGE = START.next()  # 15 minutes after the start, the readings are a minute apart


@pytest.fixture
def district(district: District) -> District:
    """A district at its very start, on each engine."""
    district.clock = SimulatedClock(START.start_ms)
    return district


@pytest.fixture
def plain_district(plain_district: District) -> District:
    """The same on SQLite alone."""
    plain_district.clock = SimulatedClock(START.start_ms)
    return plain_district


class Successor(Meter):
    """Another meter on the same point, enrolled from ``CHANGE`` on."""

    @property
    def enrolment(self):
        old = super().enrolment
        return replace(old, serial="1WLM000777", valid_from=CHANGE)

    def later(self, seq: int, minute: float) -> SignedReading:
        moment = START.start_ms + int(minute * MINUTE_MS)
        return self.sign(self.reading(seq, asked_ms=moment, answered_ms=moment))


def _revoke(district: District, meter: Meter, start: Interval = CHANGE) -> None:
    with district.database.write() as session:
        revoke(session, ORIGIN, public_key(meter.signing_key), start)


def _enrol(session: Session, district: District, meter: Meter) -> None:
    signed = endorse(meter.enrolment, meter.signing_key, district.registry)
    enrol(session, ORIGIN, public_key(district.registry), signed)


def _at(district: District, minute: float) -> None:
    district.clock.advance_to(START.start_ms + int(minute * MINUTE_MS))


def _flags(district: District, key: str) -> dict[int, tuple[str, str]]:
    with district.database.read() as session:
        query = select(ReadingRow).where(ReadingRow.key == key).order_by(col(ReadingRow.seq))
        return {row.seq: (row.flags, row.quality) for row in session.exec(query)}


GOOD = ("", "measured")
QUARANTINED = ("quarantined", "questionable")


def test_a_revocation_entered_in_advance_touches_nothing_before_its_time(
    district: District,
) -> None:
    meter = district.meters[0]
    signed = meter.chain(16)
    _at(district, 2)
    _revoke(district, meter)
    for minute, expected in ((10, GOOD), (14, GOOD), (15, QUARANTINED), (40, QUARANTINED)):
        _at(district, minute)
        seq = {10: 10, 14: 11, 15: 12, 40: 13}[minute]
        (result,) = district.send(signed[seq - 1])
        assert result.status == 200
        assert result.receipt is not None
        flags, quality = _flags(district, meter.key)[seq]
        assert (flags.replace("gap", "").strip(), quality) == expected
    assert [result.status for result in district.send(*signed[14:])] == [403, 403]


@pytest.mark.parametrize(("before_ms", "expected"), [(1, GOOD), (0, QUARANTINED)])
def test_the_very_moment(
    plain_district: District, before_ms: int, expected: tuple[str, str]
) -> None:
    district = plain_district
    meter = district.meters[0]
    _revoke(district, meter)
    _at(district, 15 - before_ms / MINUTE_MS)
    assert [result.status for result in district.send(*meter.chain(1))] == [200]
    assert _flags(district, meter.key) == {1: expected}


def test_what_was_good_when_it_came_stays_so(plain_district: District) -> None:
    district = plain_district
    meter = district.meters[0]
    first, second, *_ = meter.chain(3)
    _revoke(district, meter)
    _at(district, 14)
    district.send(second)
    _at(district, 20)
    district.send(first, second)
    assert _flags(district, meter.key) == {1: QUARANTINED, 2: GOOD}


def test_a_planned_exchange(district: District) -> None:
    """Revocation and successor stand days before; each key counts in its own intervals."""
    old, new = district.meters[0], Successor(1, key_of(77), district.meters[0].point)
    _at(district, 1)
    with district.database.write() as session:
        with pytest.raises(EnrolmentConflictError, match="revoke that one"):
            _enrol(session, district, new)
        revoke(session, ORIGIN, public_key(old.signing_key), CHANGE)
        _enrol(session, district, new)
    _at(district, 14)
    assert [result.status for result in district.send(*old.chain(14))] == [200] * 14
    assert [result.status for result in district.send(new.later(1, 14))] == [403]
    _at(district, 16)
    assert [result.status for result in district.send(new.later(1, 15))] == [200]
    assert set(_flags(district, old.key).values()) == {GOOD}
    assert _flags(district, new.key) == {1: GOOD}
    with district.database.read() as session:
        for interval, key in ((START, old.key), (CHANGE, new.key)):
            seats = {row.point: row.key for row in roster(session, interval)}
            assert seats[old.point] == key


def test_a_successor_may_not_begin_before_its_predecessor_ends(plain_district: District) -> None:
    district = plain_district
    old, new = district.meters[0], Successor(1, key_of(77), district.meters[0].point)
    _revoke(district, old, CHANGE.next())
    with (
        district.database.write() as session,
        pytest.raises(EnrolmentConflictError, match="or earlier"),
    ):
        _enrol(session, district, new)
