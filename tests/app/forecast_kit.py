"""Weeks of made-up measurements behind a small district, and a forecaster that looks at them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from sqlalchemy import Table, insert
from sqlmodel import SQLModel, select

from app.jobs.forecast import Forecaster
from app.store import people
from app.tables import EnrolmentRow, IntervalRow, SlotRow
from metering.interval import Interval
from optimizer.forecast import engine
from optimizer.forecast.sky import clear_sky
from tests.app.district_kit import START, Kit

BERLIN = ZoneInfo("Europe/Berlin")
HOMES = ("solar", "flat", "shop", "school", "bakery", "office")


def table_of(row: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(row.__tablename__)]


def district(folder: Path, url: str, names: Sequence[str] = HOMES, **changes: object) -> Kit:
    """A district that opened a day before its clock stands (11:00 in Berlin on a Tuesday)."""
    return Kit(folder, url, names, dict(changes))


def import_wh(number: int, interval: Interval) -> int:
    """What home ``number`` draws: known by weekday and quarter, so that the baseline is exact."""
    local = interval.start.astimezone(BERLIN)
    return 100 * number + 10 * local.weekday() + local.hour + local.minute // 15


def export_wh(number: int, interval: Interval) -> int:
    """The first home feeds in from 06:00 to 18:00 UTC, most at noon."""
    hour = interval.start.hour
    return 150 * (6 - abs(hour - 12)) if number == 1 and 6 < hour < 18 else 0


def quarters(first: Interval, end: Interval) -> Iterator[Interval]:
    while first < end:
        yield first
        first = first.next()


def measure(kit: Kit, first: Interval, end: Interval, **changes: object) -> None:
    """Write every home's slots from ``first`` until before ``end``, as if they had been metered.

    ``changes`` are columns that differ, in all of them.
    """
    keys = list(quarters(first, end))
    with kit.database.write() as session:
        seats = dict(session.exec(select(EnrolmentRow.point, EnrolmentRow.id)).all())
        known = set(session.exec(select(IntervalRow.key)))
        rows = [
            {"key": key.key, "state": "final", "rule": "mid-market"}
            for key in keys
            if key.key not in known
        ]
        connection = session.connection()
        if rows:
            connection.execute(insert(table_of(IntervalRow)), rows)
        connection.execute(
            insert(table_of(SlotRow)),
            [
                {
                    "interval": key.key,
                    "point": home.point,
                    "position": home.number - 1,
                    "enrolment": seats[home.point],
                    "tariff": "",
                    "estimated": False,
                    "import_wh": import_wh(home.number, key),
                    "export_wh": export_wh(home.number, key),
                    "salt": bytes(32),
                    "count": 0,
                    "readings_root": bytes(32),
                    "leaf": bytes(32),
                    **changes,
                }
                for key in keys
                for home in kit.homes.values()
            ],
        )
        people.district(session).metered_through = keys[-1].key


def weeks_back(interval: Interval, weeks: int) -> Interval:
    return Interval(interval.start - timedelta(weeks=weeks))


@cache
def _furnished(names: Sequence[str]) -> Path:
    """A folder to copy, since founding and a week of slots take longer than most tests."""
    folder = Path(tempfile.mkdtemp(prefix="wattloom-week-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    kit = district(folder, f"sqlite:///{folder / 'district.db'}", names)
    measure(kit, weeks_back(START, 1), START)
    kit.close()
    return folder


def week(folder: Path, names: Sequence[str] = HOMES, **changes: object) -> Kit:
    """A district on SQLite with a week of measurements behind it."""
    copy = shutil.copytree(_furnished(tuple(names)), folder / "week")
    return district(copy, f"sqlite:///{copy / 'district.db'}", names, **changes)


def forecaster(kit: Kit) -> Forecaster:
    return Forecaster(kit.house)


def sky_at_hand(patch: pytest.MonkeyPatch) -> None:
    """Work the clear sky out in this process: the same figures, without a process per run."""
    patch.setattr(
        engine,
        "ask_clear_sky",
        lambda first_ms, count, *place: np.array(clear_sky(first_ms, count, *map(float, place))),
    )
