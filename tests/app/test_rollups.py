"""Settled rows, roll-ups and bill lines through the jobs: sums, corrections, backfill, odd days."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import Session, SQLModel, delete, select

from app.jobs.clear import clear_interval
from app.jobs.meter import meter
from app.jobs.settle import settle_interval
from app.services import settled
from app.services.summary import energies, savings
from app.store import intervals
from app.tables import (
    BillLineRow,
    MonthlyStatementRow,
    RollupRow,
    SettledRow,
    StatementRow,
    StatementRunRow,
)
from metering.interval import LENGTH_MS, Interval
from tests.app.district_kit import GRACE_MS, Kit, key
from tests.app.settled_sums import check_sums

TRADE = {"solar": (0, 900), "flat": (300, 0), "shop": (700, 0)}
BERLIN = ZoneInfo("Europe/Berlin")


def dump(session: Session, *tables: type[SQLModel]) -> list[list[dict[str, object]]]:
    found = []
    for table in tables:
        rows = [row.model_dump() for row in session.exec(select(table))]
        found.append(sorted(rows, key=str))
    return found


@pytest.fixture
def told(database_url: str, tmp_path: Path) -> Kit:
    """Four quarter-hours: a trade, a gap of the shop's over two, and its correction."""
    kit = Kit(tmp_path, database_url)
    kit.live(**TRADE)
    kit.live(silent=["shop"], **TRADE)
    kit.live(**TRADE)
    kit.live(**TRADE)
    return kit


def test_sums_follow_settlement_and_corrections_and_come_back(told: Kit) -> None:
    kit = told
    assert set(kit.corrections("shop")) == {key(1), key(2)}
    kit.ask(lambda session: check_sums(session, BERLIN))
    (row,) = kit.rows(RollupRow, RollupRow.span == "month", RollupRow.participant == "shop")
    assert (row.start, row.intervals, row.estimated) == ("2026-06", 4, 0)
    assert (row.import_wh, row.peak_import_wh) == (4 * 700, 700)
    # The front page's figures: what was added up over all slots and statements before.
    figures = kit.ask(energies)
    assert figures.import_wh == 4 * (300 + 700)
    assert figures.export_wh == 4 * 900
    assert figures.traded_wh == sum(kit.interval(key(number)).traded_wh for number in range(4))
    first = {row.participant: 0 for row in kit.rows(StatementRow)}
    for row in kit.rows(StatementRow):
        first[row.participant] += row.saving_micro
    assert dict(kit.ask(savings)) == first  # a made-good estimate saves nothing either way

    tables = (SettledRow, RollupRow, BillLineRow)
    before = kit.ask(lambda session: dump(session, *tables))
    with kit.database.write() as session:
        for table in tables:
            session.exec(delete(table))
    assert settled.ensure(kit.database, BERLIN) == 4
    assert kit.ask(lambda session: dump(session, *tables)) == before
    assert settled.ensure(kit.database, BERLIN) == 0
    assert kit.ask(lambda session: dump(session, *tables)) == before
    kit.check()
    kit.close()


def issue(session: Session, month: str) -> None:
    """A statement of a month, as far as bills look at it."""
    run = StatementRunRow(month=month, issued_ms=0, root=b"", log_index=0, issued_by="test")
    session.add(run)
    session.flush()
    session.add(
        MonthlyStatementRow(
            number=f"{month}-1", run=run.id or 0, position=0, month=month, participant="flat",
            final=False, payload=b"{}", salt=b"", due_micro=0,
        )
    )  # fmt: skip
    session.flush()


def test_a_line_stands_on_the_first_bill_that_is_open(tmp_path: Path) -> None:
    kit = Kit(tmp_path, f"sqlite:///{tmp_path / 'district.db'}")
    with kit.database.write() as session:
        for month, expected in (("2026-11", "2026-10"), ("2026-10", "2026-12")):
            issue(session, month)
            assert settled.bill_month(session, "flat", "2026-10") == expected
        months = settled.bill_months(session, ["flat", "shop"], "2026-10")
        assert months == {"flat": "2026-12", "shop": "2026-10"}
    kit.close()


# --- Days of 92 and 100 quarter-hours ------------------------------------------------------------

# start (00:00 local), quarters: the day, its intervals and Wh drawn; the hours around the change
NIGHTS = """
2026-10-24T22:00:00Z  20 | 2026-10-25  20  6000 | 2026-10-25T00 4 1200, 2026-10-25T01 4 1200
2027-03-27T23:00:00Z  12 | 2027-03-28  12  3600 | 2027-03-28T00 4 1200, 2027-03-28T01 4 1200
"""
DAYS = """
2026-10-24T22:00:00Z 100 | 2026-10-25 100 30000 | 2026-10-25T00 4 1200, 2026-10-25T22 4 1200
2027-03-27T23:00:00Z  92 | 2027-03-28  92 27600 | 2027-03-28T00 4 1200, 2027-03-28T21 4 1200
"""


def settle_quarters(kit: Kit, count: int) -> Sequence[str]:
    """Let quarter-hours pass, and take them through metering, clearing and settling alone."""
    keys = [kit.quarter(solar=(0, 900), flat=(300, 0)) for _ in range(count)]
    kit.clock.advance_to(kit.clock.now_ms() + GRACE_MS)
    with kit.database.write() as session:
        intervals.ensure_through(session, kit.clock.now_ms() - LENGTH_MS, kit.settings.rule)
        session.flush()
        for each in keys:
            intervals.get(session, each).state = "closed"
    for each in keys:
        for step in (meter, clear_interval, settle_interval):
            step(kit.house, each)
    return keys


@pytest.mark.parametrize(
    "case",
    [
        *NIGHTS.strip().splitlines(),
        *(pytest.param(day, marks=pytest.mark.long) for day in DAYS.strip().splitlines()),
    ],
)
def test_days_of_oslo(tmp_path: Path, case: str) -> None:
    began, day, hours = (part.split() for part in case.split("|"))
    kit = Kit(
        tmp_path,
        f"sqlite:///{tmp_path / 'district.db'}",
        names=("solar", "flat"),
        changes={"zone": "Europe/Oslo", "settle_every": 96},
        start=Interval.parse(began[0]),
    )
    settle_quarters(kit, int(began[1]))
    rows = kit.rows(RollupRow, RollupRow.participant == "flat")
    told = {(row.span, row.start): [str(row.intervals), str(row.import_wh)] for row in rows}
    assert [start for span, start in told if span == "day"] == [day[0]]
    assert told["day", day[0]] == told["month", day[0][:7]] == day[1:]
    for hour in " ".join(hours).split(","):
        start, *figures = hour.split()
        assert told["hour", f"{start}:00:00Z"] == figures
    assert len(told) == int(began[1]) // 4 + 2
    kit.ask(lambda session: check_sums(session, ZoneInfo("Europe/Oslo")))
    kit.close()
