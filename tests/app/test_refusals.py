"""Refusals are counted per sender and hour, in few rows, and alarms say what happened how often."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlmodel import select

from app.services import refusals
from app.services.notices import notices
from app.services.refusals import OTHERS, Event, report
from app.store.registry import Stay
from app.tables import NoticeRow, SecurityEventRow
from tests.app.doorway import District

HOUR = 3_600_000


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The wall clock, to be set."""
    now = [500_000 * HOUR]
    monkeypatch.setattr(refusals, "wall_ms", lambda: now[0])
    return now


def tell(district: District, *events: Event) -> None:
    with district.database.write() as session:
        report(session, events, district.clock.now_ms())


def rows(district: District) -> Sequence[SecurityEventRow]:
    with district.database.read() as session:
        order = SecurityEventRow.hour, SecurityEventRow.kind, SecurityEventRow.subject
        return session.exec(select(SecurityEventRow).order_by(*order)).all()


def alarms(district: District) -> list[str]:
    with district.database.read() as session:
        return list(session.exec(select(NoticeRow.text).order_by(NoticeRow.id)))


def test_one_row_counts_an_hour(district: District, wall: list[int]) -> None:
    tell(district, Event("forged", "a", 3))
    wall[0] += HOUR - 1
    tell(district, Event("forged", "a", 4), Event("bad", "a", 1), Event("forged", "a", 5))
    wall[0] += 1
    tell(district, Event("forged", "a", 6))
    found = [(row.hour, row.kind, row.times, row.count) for row in rows(district)]
    assert found == [(500_000, "bad", 1, 1), (500_000, "forged", 3, 12), (500_001, "forged", 1, 6)]
    assert (rows(district)[1].first_ms, rows(district)[1].last_ms) == (
        500_000 * HOUR,
        500_001 * HOUR - 1,
    )
    assert alarms(district) == []


def test_a_flood_of_made_up_keys_stays_small_and_hides_nobody(
    district: District, wall: list[int]
) -> None:
    assert wall
    tell(district, *(Event("unknown gateway", f"{number:064x}", 1) for number in range(500)))
    tell(district, Event("unknown gateway", f"{0:064x}", 1), Event("bad signature", "north", 2))
    kept = {(row.kind, row.subject): row.times for row in rows(district)}
    assert len(kept) == 34
    assert kept["unknown gateway", OTHERS] == 468
    assert kept["unknown gateway", f"{0:064x}"] == 2
    assert kept["bad signature", "north"] == 1
    assert sum(row.count for row in rows(district)) == 503


def test_alarms_say_what_how_often_and_who(plain_district: District, wall: list[int]) -> None:
    assert wall
    for _ in range(120):
        tell(plain_district, Event("forged batch", "unknown", 1))
    tell(plain_district, *(Event("unknown gateway", f"{n:x}" * 64, 1) for n in range(10)))
    said = alarms(plain_district)
    assert [text.partition(";")[0] for text in said] == [
        "10 or more uploads were refused within an hour (forged batch)",
        "100 or more uploads were refused within an hour (forged batch)",
        "10 or more uploads were refused within an hour (unknown gateway)",
    ]
    assert "key 00000000..., key 11111111..., key 22222222... and 7 more" in said[2]


def test_old_hours_are_forgotten(plain_district: District, wall: list[int]) -> None:
    tell(plain_district, Event("forged", "a", 1))
    wall[0] += 90 * 24 * HOUR
    tell(plain_district, Event("forged", "a", 1))
    assert len(rows(plain_district)) == 2
    wall[0] += HOUR
    tell(plain_district, Event("forged", "a", 1))
    assert [row.hour for row in rows(plain_district)] == [502_160, 502_161]


def test_double_use_names_the_meter_and_no_prosumer_is_told(plain_district: District) -> None:
    meter = plain_district.meters[0]
    plain_district.send(*meter.chain(1))
    plain_district.send(meter.sign(meter.reading(1, import_wh=5_000)))
    (text,) = alarms(plain_district)
    assert text.startswith("Meter 1WLM000001 (home) signed number 1 twice")
    assert meter.key not in text
    assert meter.key[:8] in text
    with plain_district.database.read() as session:
        assert notices(session, [Stay(meter.point, "2000-01-01T00:00:00Z", None)]) == []
        assert [notice.text for notice in notices(session, None)] == [text]
