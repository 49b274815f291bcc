"""A state machine of money and paper: in any order, everything that is said of it holds.

A small real district, its meters' readings through the door, and the worker. It begins three
quarter-hours before a month's end; a jump over most of July leads to the next one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from app.commands.audit_month import judge
from app.commands.month_export import export_month
from app.jobs import statements as job
from app.services.certificates.accounts import Choice, act
from app.services.corrections import values
from app.services.corrections.values import Authorised, ValuesError
from app.services.disputes import service
from app.services.disputes.lines import stated
from app.services.disputes.service import DisputeError
from app.services.registry import changes
from app.services.registry.wanted import Change, Newcomer
from app.services.statements.issuing import IssueError
from app.services.tariffs import prices, versions
from app.services.tariffs.prices import PriceImportError
from app.services.tariffs.versions import TariffRefusedError
from app.store import intervals, registry
from app.tables import (
    BuildingRow,
    CorrectionRow,
    DisputeRow,
    IntervalRow,
    MonthlyStatementRow,
    ParticipantRow,
    SettledRow,
    SupplierRow,
)
from market.certificate import CertificateError
from market.certificate_bundle import Action
from market.money import Price
from market.registry import RegistryError, Role
from market.tariffs import (
    Component,
    Fees,
    Fixed,
    Part,
    Payee,
    Rate,
    Spot,
    TariffVersion,
    Window,
    Windows,
)
from metering.interval import LENGTH_MS, Interval
from metering.reading import SignedReading
from tests.app import money_checks
from tests.app.certificate_kit import GreenKit
from tests.conftest import LONG

Step = tuple[str, dict[str, Any]]
START = Interval.parse("2026-06-30T21:15:00Z")  # three quarter-hours before the local month's end
BORDERS = [Interval.parse(f"2026-0{day}T21:15:00Z") for day in ("7-31", "8-31")]  # the next ones
NAMES = ("solar", "flat", "shop", "roof")
HOMES = NAMES[:3]
WEEK = tuple(range(7))
MONTHS = ("2026-06", "2026-07", "2026-08")

EVERYBODY = (*HOMES, "ada", "ben")
REFUSED = (
    CertificateError,
    DisputeError,
    IssueError,
    PriceImportError,
    RegistryError,
    TariffRefusedError,
    ValuesError,
)


def version(energy: Rate, fee: Rate, feed_in: int, *more: Component, vat: int) -> TariffVersion:
    return TariffVersion(
        vat,
        (
            Component(Part.ENERGY, Payee.SUPPLIER, "Energy", energy),
            Component(Part.GRID_FEE, Payee.GRID, "Grid fee", fee),
            Component(Part.LEVY, Payee.LEVY, "Levy", Fixed(Price(13_337))),
            Component(Part.FEED_IN, Payee.SUPPLIER, "Feed-in", Fixed(Price(feed_in))),
            *more,
        ),
    )


def fees(*micro: int) -> Fees:
    return Fees(*(Price(each) for each in micro))


LEVELS = Windows(
    (
        Window(WEEK, 0, 1410, fees(10_001, 20_003, 30_007, 90_011)),
        Window(WEEK, 1410, 1440, fees(7_001, 8_003, 40_009, 77_777)),
    )
)
STANDING = Component(Part.STANDING, Payee.SUPPLIER, "Basic price", Fixed(Price(333_333)))
CAPACITY = Component(Part.CAPACITY, Payee.GRID, "Capacity", Fixed(Price(4_567_891)))
TAX = Component(Part.TAX, Payee.TAX, "Tax", Fixed(Price(20_500)))
FLAT_FEE = Fixed(fees(40_000, 40_000, 40_000, 90_000))
VERSIONS = (
    version(Fixed(Price(211_113)), LEVELS, 79_999, STANDING, TAX, CAPACITY, vat=190_000),
    version(Spot(Price(90_001), Price(250_003)), FLAT_FEE, 60_001, STANDING, vat=250_000),
    version(Fixed(Price(300_001)), FLAT_FEE, 82_003, TAX, vat=0),
)

WH = st.sampled_from([0, 0, 1, 37, 250, 700, 1_001, 3_333, 9_999])
ENERGIES = st.fixed_dictionaries({name: st.tuples(WH, WH) for name in HOMES})
HOW = st.fixed_dictionaries(
    {name: st.sampled_from(["reads", "reads", "reads", "silent", "spools"]) for name in NAMES}
)
ANY = st.integers(0, 10**6)  # chooses one of what there is


class MoneyKit(GreenKit):
    """A district whose meters may also keep readings back, and that knows what really flowed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.true_export_wh: Counter[tuple[str, str]] = Counter()
        self.spools: dict[str, list[SignedReading]] = defaultdict(list)
        self.worked_ms = 0  # when the worker was there last

    def pass_quarter(self, energies: Mapping[str, tuple[int, int]], how: Mapping[str, str]) -> None:
        """Let the quarter-hour that runs end; each meter reads, is silent or keeps it back."""
        interval = Interval.containing_ms(self.clock.now_ms())
        for name, (import_wh, export_wh) in energies.items():
            self.homes[name].use(import_wh, export_wh)
            self.true_export_wh[interval.key, name] += export_wh
        self.clock.advance_to(interval.end_ms)
        for name in self.homes:
            if how.get(name, "reads") != "silent":
                self.spools[name].append(self.sign(name, interval.end_ms))
            if how.get(name, "reads") == "reads":
                self.hand_in(name)

    def hand_in(self, name: str) -> None:
        if readings := self.spools.pop(name, []):
            assert set(self.send(readings)) == {200}

    def work(self) -> None:
        self.settle()
        self.worked_ms = self.clock.now_ms()

    def jump(self, to: Interval) -> None:
        """Let a month pass up to its last quarter-hours, as if nobody had had a meter meanwhile."""
        self.pass_quarter({}, {})
        with self.database.write() as session:
            intervals.ensure_through(session, self.clock.now_ms() - LENGTH_MS, "mid-market")
            session.flush()
            registry.project(session, "", to.key)
            session.add(IntervalRow(key=to.key, state="open", rule="mid-market"))
        self.clock.advance_to(to.start_ms)
        self.read()
        self.work()


def found(folder: Path) -> MoneyKit:
    """Found a district with two suppliers, a building, and a roof behind the solar home's meter."""
    kit = MoneyKit(
        folder,
        f"sqlite:///{folder / 'district.db'}",
        names=NAMES,
        green=("flat",),
        behind={"roof": "production"},
        start=START,
        changes={"statement_days": 0, "settle_every": 2},
    )
    with kit.database.write() as session:
        session.add(SupplierRow(id="s2", name="Second"))
        session.add(BuildingRow(feeder="f", id="b", name="Courtyard"))
        session.get_one(ParticipantRow, "solar").vat_liable = True
    for name in ("solar", "flat"):
        kit.move_to(name, "building", "b")
    kit.add_device("solar", "production", "roof")
    return kit


def action(what: str, /, **arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(what), st.fixed_dictionaries(arguments))


HOME = st.sampled_from(HOMES)
WHO = st.sampled_from(EVERYBODY)
LATER_BY = st.integers(0, 2)  # quarter-hours
ACTIONS = st.one_of(
    action("correct", which=ANY, import_wh=WH, export_wh=WH),
    action("correct", which=ANY, import_wh=WH, export_wh=WH),
    action("move", name=HOME, to=WHO, later=LATER_BY),
    action("move", name=HOME, to=WHO, later=LATER_BY),
    action(
        "switch",
        name=HOME,
        what=st.sampled_from(["supplier ", "supplier s2", "building ", "building b"]),
        later=LATER_BY,
    ),
    action("undo", name=HOME, later=LATER_BY),
    action("reprice", name=st.sampled_from(["t", "u"]), which=st.sampled_from(VERSIONS)),
    action("assign", name=HOME, tariff=st.sampled_from(["t", "u"])),
    action("import_prices", micro=st.lists(st.integers(-200_000, 400_000), min_size=4, max_size=8)),
    action("close_month", month=st.sampled_from(MONTHS), only=st.none() | WHO),
    action("close_month", month=st.sampled_from(MONTHS), only=st.none()),
    action("dispute", which=ANY),
    action("answer", which=ANY, decision=st.sampled_from(["corrected", "refused", "withdrawn"])),
    action(
        "use_certificates",
        account=WHO,
        what=st.sampled_from(Action),
        wh=st.none() | st.integers(1, 700),
        to=HOME,
    ),
    action("hand_in", name=st.sampled_from(NAMES)),
    action("jump"),
    action("work_again"),
)


class Money(RuleBasedStateMachine):
    """Meters tell or do not, people move and argue, the manager corrects and closes months."""

    done: ClassVar[Counter[str]] = Counter()  # over all examples; what was refused apart

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.kit = found(self.folder)
        self.kit.read()
        self.kit.work()

    def teardown(self) -> None:
        try:
            self._finish()
        finally:
            self.kit.close()
            shutil.rmtree(self.folder)

    @contextmanager
    def _tried(self, what: str) -> Iterator[None]:
        """Do something that may be refused, with nothing written."""
        try:
            yield
        except REFUSED:
            self.done[f"{what} refused"] += 1
        else:
            self.done[what] += 1

    # --- Meters --------------------------------------------------------------------------------

    @rule(
        actions=st.lists(ACTIONS, max_size=4),
        energies=ENERGIES,
        output=WH,
        how=st.just({}) | HOW,
    )
    def quarter(
        self,
        actions: Sequence[Step],
        energies: Mapping[str, tuple[int, int]],
        output: int,
        how: Mapping[str, str],
    ) -> None:
        """People do some things, and a quarter-hour passes."""
        for name, arguments in actions:
            getattr(self, name)(**arguments)
            if LONG:
                money_checks.check(self.kit)
        self.kit.pass_quarter({**energies, "roof": (0, output)}, how)
        self.kit.work()
        self.done.update(how.values())

    def hand_in(self, name: str) -> None:
        self.done["late"] += bool(self.kit.spools.get(name))
        self.kit.hand_in(name)
        self.kit.work()

    def work_again(self) -> None:
        self.kit.work()
        before = len(self.kit.postings())
        self.kit.work()
        assert len(self.kit.postings()) == before

    def jump(self) -> None:
        """Go on to the end of the next month, where there is one."""
        now_ms = self.kit.clock.now_ms()
        for border in [each for each in BORDERS if each.start_ms > now_ms][:1]:
            self.kit.jump(border)
            self.done[f"jump {border.key[:7]}"] += 1

    # --- Corrections ---------------------------------------------------------------------------

    def correct(self, which: int, import_wh: int, export_wh: int) -> None:
        """Enter authorised values of a settled interval, whether they are estimates or not."""
        rows = self.kit.rows(SettledRow)
        if not rows:
            return
        row = rows[which % len(rows)]
        text = "point,interval,import_wh,export_wh\n"
        text += f"{row.point},{row.interval},{import_wh},{export_wh}\n"
        file = Authorised("v.csv", text.encode(), "read again", "administrator")
        final = self.kit.state(row.interval) == "final"
        with self._tried("correct final" if final else "correct"):
            values.enter(self.kit.house, file)

    # --- People --------------------------------------------------------------------------------

    def _begin(self, later: int) -> Interval:
        begin = Interval.containing_ms(self.kit.clock.now_ms())
        return Interval.containing_ms(begin.start_ms + later * LENGTH_MS)

    def move(self, name: str, to: str, later: int) -> None:
        known = {row.id for row in self.kit.rows(ParticipantRow)}
        newcomer = None if to in known else Newcomer.of(to, to.title(), "1 Lane")
        change = Change(
            [self.kit.homes[name].point], self._begin(later), {Role.PARTICIPANT: to}, newcomer
        )
        with self._tried("move"):
            changes.enter(self.kit.house, change, "manager")

    def switch(self, name: str, what: str, later: int) -> None:
        role, to = what.split(" ")
        change = Change([self.kit.homes[name].point], self._begin(later), {Role(role): to})
        with self._tried(f"switch {role}"):
            changes.enter(self.kit.house, change, "manager")

    def undo(self, name: str, later: int) -> None:
        with self._tried("undo"):
            changes.undo(
                self.kit.house, [self.kit.homes[name].point], self._begin(later), "manager"
            )

    # --- Tariffs -------------------------------------------------------------------------------

    def reprice(self, which: TariffVersion, name: str) -> None:
        first = versions.next_day(self.kit.house)
        with self._tried("version"):
            versions.add(self.kit.house, name, which, first, preview=False)

    def assign(self, name: str, tariff: str) -> None:
        first, points = versions.next_day(self.kit.house), [self.kit.homes[name].point]
        with self._tried("assign"):
            versions.assign(self.kit.house, tariff, points, first, "manager", preview=False)

    def import_prices(self, micro: list[int]) -> None:
        begin, file = self._begin(0), self.folder / "spot.csv"
        starts = [Interval.containing_ms(begin.start_ms + n * LENGTH_MS).key for n in range(9)]
        rows = (f"{start},{each}\n" for start, each in zip(starts, micro, strict=False))
        file.write_text("start,micro_per_kwh\n" + "".join(rows))
        with self._tried("prices"):
            prices.enter(self.kit.house, file, "spot")

    # --- Paper ---------------------------------------------------------------------------------

    def close_month(self, month: str, only: str | None) -> None:
        with self._tried(f"issue {month}"):
            job.issue(self.kit.house, month, "manager", only=only)

    def dispute(self, which: int) -> None:
        rows = self.kit.rows(MonthlyStatementRow)
        lines = [(row, ref) for row in rows for ref in stated(row)]
        if lines:
            row, ref = lines[which % len(lines)]
            with self._tried("dispute"):
                service.open_dispute(self.kit.house, row.participant, row.number, ref, "Why?")

    def answer(self, which: int, decision: str) -> None:
        rows = self.kit.rows(DisputeRow)
        if not rows:
            return
        row = rows[which % len(rows)]
        house, number = self.kit.house, row.id or 0
        with self._tried(decision):
            if decision == "withdrawn":
                service.withdraw(house, row.participant, number)
            elif decision == "refused":
                service.answer(house, number, "refused", "It was read", "manager")
            else:
                service.answer(house, number, "corrected", "Sorry", "manager", self._remedy(row))

    def _remedy(self, row: DisputeRow) -> str:
        own = self.kit.rows(CorrectionRow, CorrectionRow.participant == row.participant)
        return next((f"{each.interval}/{each.point}/{each.version}" for each in own), "none")

    def use_certificates(self, account: str, what: Action, wh: int | None, to: str) -> None:
        other = to if what is Action.TRANSFER else ""
        with self._tried(f"certificates {what}"):
            act(self.kit.house, account, what, Choice(), wh, other)

    # --- What holds ----------------------------------------------------------------------------

    @invariant()
    def everything_holds(self) -> None:
        money_checks.check(self.kit)

    def _finish(self) -> None:
        """June gets its statements, and all that were issued are derived from evidence again."""
        if self.kit.clock.now_ms() < BORDERS[0].start_ms:
            self.jump()
        self.close_month("2026-06", None)
        money_checks.check(self.kit)
        self.kit.pass_quarter({}, {})
        self.kit.work()
        keys = self.folder / "keys.json"
        keys.write_bytes(self.kit.keys())
        for month in MONTHS:
            rows = self.kit.rows(MonthlyStatementRow, MonthlyStatementRow.month == month)
            if rows:
                export_month(self.kit.house, month, self.folder / month, force=False)
                verdict, differences = judge(month, self.folder / month, keys)
                assert verdict.code == 0, verdict
                issued = {row.number for row in rows}
                wrong = [each for each in differences if each.statement in issued]
                assert wrong == [], wrong
                self.done[f"audit {month}"] += 1


USUAL = "reads silent spools correct move jump+2026-07 issue+2026-06 audit+2026-06"


def test_money_and_paper_at_random() -> None:
    Money.done.clear()
    run_state_machine_as_test(
        Money,
        settings=settings(
            max_examples=40 if LONG else 4,
            stateful_step_count=12 if LONG else 5,
            deadline=None,
            phases=[Phase.generate, Phase.explicit],  # what fails is told whole: it is short
        ),
    )
    assert {each.replace("+", " ") for each in USUAL.split()} <= (+Money.done).keys()
