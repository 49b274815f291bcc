"""A month of the demo district: border readings through the real door, every interval closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import Session, col, func, select

from app.demo.district import lindenhof
from app.services.founding import Founding
from app.tables import IntervalRow, SettlementLine, StatementRow, TradeRow
from metering.interval import LENGTH_MS
from metering.loadcurves import NetCurve
from tests.app.district_kit import GRACE_MS, Kit
from tests.conftest import LONG

INTERVALS = 2_976 if LONG else 12  # 31 days, or three hours around noon
PEOPLE = tuple(person.id for person in lindenhof().participant)


class MonthKit(Kit):
    """The people, roofs and tariff of Lindenhof, each with a meter of the kit."""

    def _founding(self) -> Founding:
        story = lindenhof()
        people = [
            replace(
                person,
                points=[
                    replace(
                        point,
                        gsrn=self.homes[person.id].point,
                        serial=self.homes[person.id].serial,
                        profile="simulated",
                    )
                    for point in person.points
                ],
            )
            for person in story.participants()
        ]
        return replace(story.founding(seed=1), participants=people)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """The district after all its intervals, paid once a day."""
    folder: Path = tmp_path_factory.mktemp("month")
    district = MonthKit(
        folder,
        f"sqlite:///{folder / 'district.db'}",
        names=PEOPLE,
        changes={"settle_every": 96 if LONG else 4},
        start=lindenhof().first_interval,
    )
    curves = {
        person.id: NetCurve(
            [part for line in person.parts for part in line.parts()], serial=person.meter.serial
        )
        for person in lindenhof().participant
    }
    try:
        for number in range(INTERVALS + 1):
            at_ms = district.start.start_ms + number * LENGTH_MS
            district.clock.advance_to(at_ms)
            for name, curve in curves.items():
                district.homes[name].import_wh = curve.import_milli_wh(at_ms) // 1000
                district.homes[name].export_wh = curve.export_milli_wh(at_ms) // 1000
            district.read()
            district.clock.advance_to(at_ms + GRACE_MS)
            district.worker.run_due()
        yield district
    finally:
        district.close()


def _sum(district: Kit, column: object, *where: object) -> int:
    def ask(session: Session) -> int:
        return session.exec(select(func.coalesce(func.sum(column), 0)).where(*where)).one()

    return int(district.ask(ask))


def test_every_interval_is_closed(month: Kit) -> None:
    rows = month.rows(IntervalRow)
    sealed = [row for row in rows if row.state in ("sealed", "final")]
    assert len(sealed) == INTERVALS
    assert not [row.key for row in sealed if row.fallback]
    assert [row.state for row in rows if row not in sealed] == ["open"]
    assert not month.notices("alarm")


def test_nothing_is_lost(month: Kit) -> None:
    month.check()
    bought = _sum(month, SettlementLine.wh, SettlementLine.kind == "local-buy")
    sold = _sum(month, SettlementLine.wh, SettlementLine.kind == "local-sell")
    assert bought == sold == _sum(month, TradeRow.wh)
    assert bought > 1_000 * INTERVALS / 12


def test_buyers_and_sellers_both_gain(month: Kit) -> None:
    """Nobody is worse off than on the normal tariff in any interval; both sides gain in sum."""
    worst = month.ask(
        lambda session: session.exec(select(func.min(StatementRow.saving_micro))).one()
    )
    # Each component of a bill rounds once: no more than a few micro-euros may be lost by that.
    assert worst > -10
    for kind in ("local-buy", "local-sell"):
        traders = month.ask(
            lambda session, kind=kind: session.exec(
                select(SettlementLine.participant)
                .where(SettlementLine.kind == kind)
                .group_by(SettlementLine.participant)
            ).all()
        )
        gains = [
            _sum(month, StatementRow.saving_micro, col(StatementRow.participant) == name)
            for name in traders
        ]
        assert traders
        assert min(gains) > 0, (kind, gains)
