"""A year of the demo district in days or hours at a time, and what happens to its people in it.

Every border reading goes through the real door, in batches of many intervals; the worker does all
else. Two plans tell one story: ``long_plan`` from 27 March 2026 to the end of March 2027, and
``short_plan``, ten hours around a month's border.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import event
from sqlmodel import select

from app.demo.district import lindenhof
from app.jobs.forecast import Forecaster
from app.jobs.statements import issue
from app.services.certificates import accounts
from app.services.certificates.accounts import Choice
from app.services.corrections import values
from app.services.corrections.values import Authorised
from app.services.disputes import service
from app.services.disputes.lines import stated
from app.services.founding import Founding
from app.services.registry import changes
from app.services.registry.wanted import Change, Newcomer
from app.services.tariffs import versions
from app.store import intervals
from app.tables import (
    CorrectionRow,
    IntervalRow,
    MonthlyStatementRow,
)
from app.worker import Worker
from market.certificate_bundle import Action
from market.money import Price
from market.registry import Role
from market.tariffs import Component, Fixed, Part, Payee, TariffVersion
from metering.batch import MAX_READINGS
from metering.interval import LENGTH_MS, Interval, to_ms
from metering.loadcurves import NetCurve
from tests.app.certificate_kit import GreenKit
from tests.app.district_kit import GRACE_MS
from tests.app.test_month import PEOPLE, MonthKit

ZONE = ZoneInfo("Europe/Berlin")
USUAL, BY_CLOCK = "lindenhof-2026", "heat-pump-2026"
ISSUER = {"issuer_name": "Lindenhof eG", "issuer_address": "Am Lindenhof 1, 99999 Lindenhof"}
EURO = 1_000_000


def dearer(name: str) -> TariffVersion:
    """A tariff of the demo with a higher levy, and a base price that nobody had before."""
    held = lindenhof().tariffs()[name]
    levy = Component(Part.LEVY, Payee.LEVY, "Levy of the year", Fixed(Price(11_003)))
    base = Component(Part.STANDING, Payee.GRID, "Metering", Fixed(Price(41_096)))
    return replace(held, components=(*held.components, levy, base))


class Gap(NamedTuple):
    """A meter gives no border reading from ``first`` to ``last``, both included."""

    name: str
    first: Interval
    last: Interval


@dataclass(frozen=True)
class Plan:
    """When what happens. Events are entered before the stretch that holds their moment."""

    stretches: Sequence[tuple[Interval, int]]  # first interval, how many: metered in one go
    whole: Sequence[str]  # months of which every interval since the founding is lived
    gaps: Sequence[Gap]
    move: Interval  # home-2 moves out, Ada moves in
    switch: Interval  # home-3 changes its supplier
    tariffs: Sequence[tuple[Interval, str]]  # dearer from the midnight after
    mended: Interval  # home-1's meter counted too little in it
    mending: Interval  # when that is known: its statement is disputed, corrected, answered
    claiming: Interval  # when home-5 claims what it holds
    late: Interval  # the school fed in less in it, certified and sold as it was
    closing: Interval  # when that is known: the window of ``late`` is closed
    issues: Sequence[tuple[Interval, str]]  # months issued by command
    changes: Mapping[str, object]  # of the settings
    shift_ms: int = 0  # how much later the sun's and people's day is than the clock's


def local(text: str) -> Interval:
    """The interval that begins at a local time."""
    return Interval.containing_ms(to_ms(datetime.fromisoformat(text).replace(tzinfo=ZONE)))


def days(first: date, after: date) -> Iterator[date]:
    for number in range((after - first).days):
        yield first + timedelta(days=number)


def stretch(day: date) -> tuple[Interval, int]:
    """A local day: 92, 96 or 100 intervals."""
    first, after = (local(each.isoformat()) for each in (day, day + timedelta(days=1)))
    return first, (after.start_ms - first.start_ms) // LENGTH_MS


def is_lived(day: date) -> bool:
    """March and April 2026 wholly; then the first and last day of a month, and days of events."""
    events = ("2026-05-14", "2026-06-15", "2026-10-25", "2027-03-28")
    return (
        day < date(2026, 5, 1)
        or day.day == 1
        or (day + timedelta(days=1)).day == 1
        or day.isoformat() in events
    )


def long_plan(*, every_day: bool) -> Plan:
    """A year and five days. Without ``every_day`` the district sleeps where nothing happens."""
    year = days(date(2026, 3, 27), date(2027, 4, 1))
    return Plan(
        stretches=[stretch(day) for day in year if every_day or is_lived(day)],
        whole=("2026-03", "2026-04"),
        gaps=(
            Gap("bakery", local("2026-04-10T08:00"), local("2026-04-10T10:45")),
            Gap("school", local("2026-10-25T01:30"), local("2026-10-25T03:15")),
        ),
        move=local("2026-05-14T12:30"),
        switch=local("2026-06-15"),
        tariffs=(
            (local("2026-06-30"), USUAL),
            (local("2026-12-31"), BY_CLOCK),
        ),
        mended=local("2026-04-20T12:00"),
        mending=local("2026-05-14"),
        claiming=local("2026-05-14"),
        late=local("2026-04-02T12:00"),
        closing=local("2026-05-31"),
        issues=(),
        changes={"statement_days": 1, "settle_every": 96, **ISSUER},
    )


def short_plan() -> Plan:
    """From 22:00 on 31 March to 03:00: the sun stands high at midnight, every window is short."""
    start = local("2026-03-31T22:00")

    def at(number: int) -> Interval:
        return Interval.containing_ms(start.start_ms + number * LENGTH_MS)

    return Plan(
        stretches=[(at(number), 4) for number in range(0, 20, 4)],
        whole=("2026-03",),
        gaps=(Gap("bakery", at(3), at(5)),),
        move=at(6),
        switch=at(8),
        tariffs=((at(4), USUAL), (at(5), BY_CLOCK)),
        mended=at(1),
        mending=at(12),
        claiming=at(16),
        late=at(2),
        closing=at(12),
        issues=((at(8), "2026-03"),),
        changes={"statement_days": 0, "settle_every": 4, "correction_days": 0, **ISSUER},
        shift_ms=12 * 4 * LENGTH_MS,
    )


class NoForecasts(Forecaster):
    """A year's forecasts have tests of their own."""

    def run(self) -> None:
        """Do nothing."""


class YearKit(MonthKit, GreenKit):
    """Lindenhof with three tariffs and a story."""

    plan: Plan

    @classmethod
    def open(cls, folder: Path, plan: Plan) -> YearKit:
        kit = cls(
            folder,
            f"sqlite:///{folder / 'district.db'}",
            names=PEOPLE,
            changes=dict(plan.changes),
            start=plan.stretches[0][0],
        )
        kit.plan = plan
        kit.worker = Worker(kit.house, forecaster=NoForecasts(kit.house))
        kit._curves = {
            person.id: NetCurve(
                [part for line in person.parts for part in line.parts()], serial=person.meter.serial
            )
            for person in lindenhof().participant
        }
        return kit

    def _founding(self) -> Founding:
        """Lindenhof with the means for a year, so that nobody's credit is used up."""
        founding = super()._founding()
        people = [replace(each, top_up_micro=5_000 * EURO) for each in founding.participants]
        return replace(founding, participants=people, first=self.start)

    # --- Time ------------------------------------------------------------------------------------

    def live_through(self, seen: Callable[[Interval], None] = lambda _: None) -> None:
        """Live all stretches; ``seen`` is told the end of each."""
        events = sorted(self._story(), key=lambda each: each[0].start_ms)
        for first, count in self.plan.stretches:
            if self.clock.now_ms() < first.start_ms:
                self._sleep_until(first)
            end_ms = first.start_ms + count * LENGTH_MS
            while events and events[0][0].start_ms < end_ms:
                events.pop(0)[1]()
            self._read_through(first, count)
            self.clock.advance_to(end_ms + GRACE_MS)
            self.worker.run_due()
            seen(Interval.containing_ms(end_ms))

    def _sleep_until(self, first: Interval) -> None:
        """Let no interval be metered up to ``first``: they are closed and hold nothing."""
        with self.database.write() as session:
            newest = Interval.parse(intervals.newest(session) or "")
            if newest.start_ms >= first.start_ms:
                return
            intervals.ensure_through(session, first.previous().start_ms, self.settings.rule)
            session.flush()
            for row in session.exec(select(IntervalRow).where(IntervalRow.state == "open")):
                row.state, row.anchor = "final", "confirmed"
        self.clock.advance_to(first.start_ms)

    def _read_through(self, first: Interval, count: int) -> None:
        """Read every border after the first's start; that one, too, where no reading is of it."""
        begun = self._read_to == first.start_ms
        signed = [
            self.sign(name, at_ms)
            for at_ms in self._borders(first, count, begun=begun)
            for name in self._heard(at_ms)
        ]
        for done in range(0, len(signed), MAX_READINGS):
            assert set(self.send(signed[done : done + MAX_READINGS])) == {200}
        self._read_to = first.start_ms + count * LENGTH_MS

    _read_to = 0
    _curves: Mapping[str, NetCurve]

    def _borders(self, first: Interval, count: int, *, begun: bool) -> Iterator[int]:
        for number in range(int(begun), count + 1):
            at_ms = first.start_ms + number * LENGTH_MS
            self.clock.advance_to(at_ms)
            for name, curve in self._curves.items():
                home, sun_ms = self.homes[name], at_ms - self.plan.shift_ms
                home.import_wh = curve.import_milli_wh(sun_ms) // 1000
                home.export_wh = curve.export_milli_wh(sun_ms) // 1000
            yield at_ms

    def _heard(self, at_ms: int) -> Iterator[str]:
        for name in self.homes:
            if not any(
                gap.name == name and gap.first.start_ms <= at_ms <= gap.last.start_ms
                for gap in self.plan.gaps
            ):
                yield name

    # --- The story -------------------------------------------------------------------------------

    def _story(self) -> Iterator[tuple[Interval, Callable[[], None]]]:
        plan = self.plan
        yield plan.move, self._move
        yield plan.switch, self._switch
        for moment, name in plan.tariffs:
            yield moment, lambda name=name: self._reprice(name)
        yield plan.claiming, self._claim
        yield plan.mending, self._mend
        yield plan.closing, self._correct_late
        for moment, month in plan.issues:
            yield moment, lambda month=month: self._issue(month)

    def _move(self) -> None:
        ada = Newcomer.of("ada", "Ada Esch", "Lindenhof 2\n10115 Berlin")
        point = self.homes["home-2"].point
        change = Change([point], self.plan.move, {Role.PARTICIPANT: "ada"}, newcomer=ada)
        changes.enter(self.house, change, "manager")

    def _switch(self) -> None:
        names = {"stadtwerke": "Stadtwerke Musterstadt"}
        point = self.homes["home-3"].point
        change = Change([point], self.plan.switch, {Role.SUPPLIER: "stadtwerke"}, names=names)
        changes.enter(self.house, change, "manager")

    def _reprice(self, name: str) -> None:
        begin = versions.next_day(self.house)
        versions.add(self.house, name, dearer(name), begin, preview=False)

    def _issue(self, month: str) -> None:
        issue(self.house, month, "command")

    def _claim(self) -> None:
        assert accounts.act(self.house, "home-5", Action.CLAIM, Choice(), None) > 0

    def _enter(self, name: str, key: str, import_wh: int, export_wh: int) -> None:
        row = f"point,interval,import_wh,export_wh\n{self.homes[name].point},{key},"
        content = f"{row}{import_wh},{export_wh}\n".encode()
        file = Authorised("values.csv", content, "the meter was at fault", "administrator")
        assert len(values.enter(self.house, file).drafts) == 1

    def _mend(self) -> None:
        """Home-1 disputes a line; a value that it was billed too little for answers it."""
        key, point = self.plan.mended.key, self.homes["home-1"].point
        month = self.plan.mended.start.astimezone(ZONE).strftime("%Y-%m")
        (statement,) = self.rows(
            MonthlyStatementRow,
            MonthlyStatementRow.participant == "home-1",
            MonthlyStatementRow.month == month,
        )
        line = next(
            ref for ref, each in stated(statement).items() if each.kind == "residual-import"
        )
        asked = service.open_dispute(self.house, "home-1", statement.number, line, "So little?")
        slot = self.slot(key, "home-1")
        self._enter("home-1", key, slot.import_wh + 333, slot.export_wh)
        (row,) = self.rows(CorrectionRow, CorrectionRow.point == point)
        remedy = f"{key}/{point}/{row.version}"
        service.answer(self.house, asked.id or 0, "corrected", "It was more.", "manager", remedy)

    def _correct_late(self) -> None:
        """The school fed in a third of what its meter said, when all of that was certified."""
        key = self.plan.late.key
        assert self.state(key) == "final"
        slot = self.slot(key, "school")
        assert slot.export_wh > 1_000
        self._enter("school", key, slot.import_wh, slot.export_wh // 3)

    # --- What work a question makes --------------------------------------------------------------

    def scans(self, living: Callable[[], None], tables: Collection[str]) -> set[str]:
        """Live, and return which of ``tables`` some query read from end to end, and the query.

        What asks for one row (LIMIT) stops at the first.
        """
        with _heard(self.database.engine) as asked:
            living()
        found = set()
        with self.database.engine.connect() as connection:
            for text, values in asked.items():
                steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all()
                read = {str(step[3]).split()[1] for step in steps if step[3].startswith("SCAN")}
                found |= {f"{table}: {text}" for table in read & set(tables)}
        return found

    def work_of(self, question: Callable[[], object]) -> int:
        """How many hundreds of SQLite's instructions a question takes: no clock, no noise."""
        with _counted(self.database.engine) as hundreds:
            question()
        return hundreds[0]


@contextmanager
def _heard(engine: Any) -> Iterator[dict[str, Any]]:
    """Yield every query of the time being, with the values of its first asking."""
    asked: dict[str, Any] = {}

    def hear(_connection: Any, _cursor: Any, text: str, values: Any, _: Any, many: bool) -> None:
        if text.startswith(("SELECT", "WITH", "UPDATE", "DELETE")) and "LIMIT" not in text:
            asked.setdefault(text, values[0] if many else values)

    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", hear)


@contextmanager
def _counted(engine: Any) -> Iterator[list[int]]:
    hundreds = [0]

    def count() -> int:
        hundreds[0] += 1
        return 0

    def begin(connection: Any, *_: object) -> None:
        connection.set_progress_handler(count, 100)

    def end(connection: Any, *_: object) -> None:
        connection.set_progress_handler(None, 0)

    event.listen(engine, "checkout", begin)
    event.listen(engine, "checkin", end)
    try:
        yield hundreds
    finally:
        event.remove(engine, "checkout", begin)
        event.remove(engine, "checkin", end)
