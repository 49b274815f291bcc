"""A year of the demo district's money: tariffs, moves, gaps, corrections, statements, certificates.

``make test`` lives the same story in five hours around a month's border. With ``WATTLOOM_LONG`` it
takes a year and five days, of which March and April 2026, both DST nights, and the first and last
day of every month are lived; in between the district sleeps: those intervals are closed and empty.
``WATTLOOM_LONG=1 WATTLOOM_YEAR=1`` lives all 35,516 of them: the better part of an hour.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlmodel import Session, col, func, select

from app.commands.audit_month import judge
from app.commands.month_export import export_month
from app.jobs.statements import issue, issue_shown
from app.services.balance.desk import BalanceDesk
from app.services.bank_reconcile import reconcile
from app.services.statements.desk import StatementDesk
from app.store import journal
from app.tables import (
    BillLineRow,
    CertifiedRow,
    CorrectionRow,
    DisputeRow,
    IntervalRow,
    JournalEntry,
    LinkRow,
    MonthlyStatementRow,
    PostingRow,
    RollupRow,
    SettledRow,
    SlotRow,
)
from market.settlement import Kind, creditor
from metering.interval import LENGTH_MS, Interval
from tests.app.settled_sums import check_sums
from tests.app.year_kit import PEOPLE, ZONE, Plan, YearKit, long_plan, short_plan
from tests.conftest import LONG

EVERY_DAY = os.environ.get("WATTLOOM_YEAR") == "1"
LOCAL = ("local-buy", "local-sell")
GROWING = [
    "interval",
    "slot",
    "reading",
    "market_order",
    "trade",
    "interval_statement",
    "settlement_line",
    "journal_entry",
    "posting",
    "settled",
    "rollup",
    "certificate",
    "certificate_event",
    "certified",
    "log_entry",
    "log_node",
]
MICRO_PER_CENT = 10_000


@dataclass
class Year:
    """The district after its year, and what a month's pages took when that month was the newest."""

    kit: YearKit
    plan: Plan
    work: dict[str, int] = field(default_factory=dict)  # by month, when it had been issued
    scans: set[str] = field(default_factory=set)  # tables that grow, read from end to end

    def live(self) -> None:
        """Live the year, and look at what runs and at the bank's account at its end."""
        self.kit.live_through(self.look)
        if LONG:  # the last month ends with the last interval
            issue(self.kit.house, "2027-03", "command")
        StatementDesk(self.kit.house, frozenset(PEOPLE), issue_shown).own("school")
        reconcile(self.kit.house)

    def look(self, end: Interval) -> None:
        """Ask for the pages of the first month that is issued, once."""
        del end
        months = self.kit.ask(
            lambda session: session.exec(select(MonthlyStatementRow.month).distinct()).all()
        )
        if months and not self.work:
            self.work[min(months)] = self.pages(min(months))

    def pages(self, month: str) -> int:
        """The work of a month's list of statements, of one of them, and of its balance."""
        house = self.kit.house
        desk = StatementDesk(house, frozenset(PEOPLE), issue_shown)
        (number,) = self.kit.ask(
            lambda session: session.exec(
                select(MonthlyStatementRow.number).where(
                    MonthlyStatementRow.month == month, MonthlyStatementRow.participant == "school"
                )
            ).all()
        )

        def ask() -> None:
            desk.month(month)
            desk.one("school", number)
            BalanceDesk(house).page([], "month", month, "", operator=True)

        return self.kit.work_of(ask)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Year]:
    """The district at the end, with every statement issued that can be."""
    plan = long_plan(every_day=EVERY_DAY) if LONG else short_plan()
    kit = YearKit.open(tmp_path_factory.mktemp("year"), plan)
    lived = Year(kit, plan)
    try:
        lived.scans = kit.scans(lived.live, GROWING)
        yield lived
    finally:
        kit.close()


def documents(kit: YearKit) -> list[dict]:
    return [json.loads(row.payload) for row in kit.rows(MonthlyStatementRow)]


def sums(kit: YearKit, *query: object) -> dict[str, int]:
    """The rows of a query of name and sum."""
    return dict(kit.ask(lambda session: session.exec(*query).all()))


def test_every_interval_is_closed_and_nothing_is_lost(year: Year) -> None:
    kit, plan = year.kit, year.plan
    first, last = plan.stretches[0][0], plan.stretches[-1]
    end_ms = last[0].start_ms + last[1] * LENGTH_MS
    states = Counter(row.state for row in kit.rows(IntervalRow))
    assert states.pop("open") == 1
    assert states.keys() <= {"sealed", "final"}
    assert states.total() == (end_ms - first.start_ms) // LENGTH_MS
    if LONG:
        assert states.total() == 370 * 96 - 4 + 4 - 4
    lived = sum(count for _, count in plan.stretches)
    assert lived == kit.ask(
        lambda session: session.exec(select(func.count(func.distinct(SlotRow.interval)))).one()
    )
    assert not kit.notices("alarm")
    assert not kit.rows(IntervalRow, col(IntervalRow.fallback).is_(True))
    kit.check()


def test_the_story_happened(year: Year) -> None:
    kit = year.kit
    gaps = kit.rows(CorrectionRow, CorrectionRow.source == "readings")
    assert {row.participant for row in gaps} == {gap.name for gap in year.plan.gaps}
    values = kit.rows(CorrectionRow, CorrectionRow.source == "values")
    assert {row.participant: row.note is not None for row in values}["school"]
    assert [row.state for row in kit.rows(DisputeRow)] == ["corrected"]
    short = [row for row in kit.rows(CertifiedRow) if row.shortfall_wh]
    assert [row.interval for row in short] == [year.plan.late.key]
    assert sum(row.deducted_wh for row in kit.rows(CertifiedRow)) + kit.debt() > 0
    moved = {row.target for row in kit.rows(LinkRow, LinkRow.role == "participant")}
    assert moved == {*PEOPLE, "ada"}
    told = documents(kit)
    final = [each for each in told if each["final"]]
    assert [(each["participant"]) for each in final] == ["home-2"]
    kinds = {line["kind"] for each in told for s in each["sections"] for line in s["lines"]}
    assert {"tax", "standing", "capacity", "residual-import", *LOCAL} <= kinds
    assert ("residual-export" in kinds) == LONG  # in one night all is sold to neighbours


def test_sums_are_those_of_settled_rows(year: Year) -> None:
    """Roll-ups and bills by hand, and bills against the journal; per participant, no less."""
    kit = year.kit
    kit.ask(lambda session: check_sums(session, ZONE))


def test_statements_are_the_journal_to_the_micro_euro(year: Year) -> None:
    kit = year.kit
    issued = documents(kit)
    held = kit.ask(lambda session: journal.balances(session, ""))
    assert sum(held.values()) == 0
    assert held.get("rounding", 0) == sum(each["rounding_micro"] for each in issued)
    stated = {(row.month, row.participant) for row in kit.rows(MonthlyStatementRow)}
    waiting = [row for row in kit.rows(BillLineRow) if (row.month, row.participant) not in stated]
    assert bool(waiting) != LONG
    owed = Counter[str]()  # by account
    for each in issued:
        owed[f"receivable:{each['participant']}"] -= each["due_cents"] * MICRO_PER_CENT
        lines = [*each["corrections"], *(line for s in each["sections"] for line in s["lines"])]
        for line in lines:
            if line["kind"] not in LOCAL:
                owed[line["account"]] -= line["micro"]
    for row in waiting:
        if row.kind not in LOCAL:
            owed[f"receivable:{row.participant}"] += row.micro
            owed[creditor(Kind(row.kind), row.supplier)] -= row.micro
    for account in (
        "supplier",
        "supplier:gruenkraft",
        "supplier:stadtwerke",
        "grid",
        "levy",
        "tax",
    ):
        assert held[account] == owed[account], account
    for who in (*PEOPLE, "ada"):
        assert held.get(f"receivable:{who}", 0) == owed[f"receivable:{who}"], who


def test_nobody_is_worse_off_than_on_the_normal_tariff(year: Year) -> None:
    kit = year.kit
    worst = kit.ask(
        lambda session: session.exec(
            select(func.min(SettledRow.saving_micro)).where(SettledRow.version == 0)
        ).one()
    )
    assert worst > -10  # roundings
    saved = sums(
        kit,
        select(RollupRow.participant, func.sum(RollupRow.saving_micro))
        .where(RollupRow.span == "month")
        .group_by(RollupRow.participant),
    )
    assert saved.keys() == {*PEOPLE, "ada"}
    assert min(saved.values()) >= 0, saved
    assert sum(saved.values()) > 0
    told = Counter[str]()
    for each in documents(kit):
        told[each["participant"]] += each["saving"]["month_micro"]
    if LONG:
        late = {row.participant for row in kit.rows(CorrectionRow)}
        assert {who: told[who] for who in saved if who not in late} == {
            who: micro for who, micro in saved.items() if who not in late
        }


def test_certificates_hold_what_meters_said(year: Year) -> None:
    year.kit.check_certificates()
    claimed = [b for b in year.kit.bundles() if b.account == "home-5" and b.status == "Claimed"]
    assert sum(each.wh for each in claimed) > 0


def test_the_auditor_agrees(year: Year, tmp_path: Path) -> None:
    """A month with a night that lacks an hour or around midnight, and (long) one of corrections."""
    kit, keys = year.kit, tmp_path / "keys.json"
    keys.write_bytes(kit.keys())
    for month in year.plan.whole:
        export_month(kit.house, month, tmp_path / month, force=False)
        verdict, differences = judge(month, tmp_path / month, keys)
        assert (verdict.code, differences) == (0, []), verdict


def test_a_months_pages_read_no_more_at_the_end_of_the_year(year: Year) -> None:
    ((month, then),) = year.work.items()
    now = year.pages(month)
    assert then > 0
    # The sums of twelve months are read, never the year's quarters: those alone would be thousands.
    assert now < then + 1_000, (month, then, now)


def test_nothing_reads_from_end_to_end_what_grows_by_the_interval(year: Year) -> None:
    assert year.scans == set()


def test_each_entry_of_the_journal_sums_to_nothing(year: Year) -> None:
    def odd(session: Session) -> list[str]:
        return list(
            session.exec(
                select(JournalEntry.ref)
                .join(PostingRow, col(PostingRow.entry) == JournalEntry.id)
                .group_by(JournalEntry.ref)
                .having(func.sum(PostingRow.micro) != 0)
            ).all()
        )

    assert year.kit.ask(odd) == []
