"""The trial balance of a district that trades: sums, months, moments, and whose accounts show."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import cast

import pytest

from app.services.books.chart import group_of, rank
from app.services.books.desk import BooksDesk
from app.store import journal
from market.journal import entry_of
from tests.app.district_kit import TOP_UP, Kit
from web.ports import NotFoundError, RefusedError
from web.ports.books import Turnover

EUROS = 1_000_000


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    folder = tmp_path_factory.mktemp("books")
    kit = Kit(folder, f"sqlite:///{folder / 'district.db'}")
    kit.live(solar=(0, 900), flat=(300, 0), shop=(100, 0))
    kit.live(solar=(0, 500), flat=(300, 0), shop=(0, 0))
    with kit.database.write() as session:  # in May and in July, and on no chart
        for ref, at_ms, moves in (
            ("may", 1_780_000_000_000, [("wallet:solar", 7), ("bank", -7)]),
            ("july", 1_784_000_000_000, [("wallet:solar", 5), ("=odd", -5)]),
        ):
            journal.book(session, entry_of(ref, "test", moves), interval=None, booked_ms=at_ms)
    yield kit
    kit.close()


@pytest.fixture(scope="module")
def desk(kit: Kit) -> BooksDesk:
    return BooksDesk(kit.house, frozenset({"solar"}))


def test_a_month_holds_what_the_journal_does(kit: Kit, desk: BooksDesk) -> None:
    trial = desk.trial("", "")
    assert trial.period.month == "2026-06"
    assert list(trial.period.months) == ["2026-07", "2026-06", "2026-05"]
    assert (trial.total.opening_micro, trial.total.closing_micro) == (0, 0)
    assert trial.total.debit_micro == trial.total.credit_micro > 3 * TOP_UP
    found = {line.key: line for line in trial.lines}
    assert found["bank"].turnover == Turnover(-7, 3 * TOP_UP, 0)
    assert found["wallet"].turnover.opening_micro == 7
    assert found["wallet"].turnover.closing_micro == 3 * TOP_UP + 7
    assert (found["wallet"].accounts, found["bank"].folded) == (3, False)
    later = desk.trial("2026-07", "")
    assert [line.turnover.opening_micro for line in later.lines] == [
        *(line.turnover.closing_micro for line in trial.lines),
        0,
    ]
    balances = kit.ask(lambda session: journal.balances(session, ""))
    assert sum(balances.values()) == 0
    whole = {line.key: line.turnover.closing_micro for line in later.lines}
    due = dict.fromkeys(whole, 0)
    for account, micro in balances.items():
        due[group_of(account).key] += micro
    assert whole == due
    assert later.lines[-1].title == "=odd"


def test_a_moment_cuts_a_month(desk: BooksDesk) -> None:
    """The founding was booked at 09:00 UTC, the first quarter-hour settled at 09:20."""
    before = desk.trial("", "2026-06-23T11:00")
    assert before.total == Turnover()
    after = desk.trial("", "2026-06-23T11:01")
    assert [line.key for line in after.lines] == ["wallet", "bank"]
    assert after.total.credit_micro == 3 * TOP_UP
    assert desk.trial("", "2026-06-23T09:01+00:00").total == after.total
    assert desk.trial("", "2026-06-30T23:59").total == desk.trial("2026-06", "").total


@pytest.mark.parametrize(
    ("month", "at", "field"),
    [("x", "", "month"), ("", "x", "at"), ("", "0001-01-01T00:00", "at"), ("2026-00", "", "month")],
)
def test_what_is_no_time_is_refused(desk: BooksDesk, month: str, at: str, field: str) -> None:
    with pytest.raises(RefusedError) as refused:
        desk.trial(month, at)
    assert refused.value.field == field


def test_a_manager_opens_the_accounts_of_those_managed(desk: BooksDesk) -> None:
    wallets = desk.group("wallet", "2026-06", 9)
    assert [(line.account, line.name) for line in wallets.lines] == [("wallet:solar", "Solar")]
    assert (wallets.others, wallets.page, wallets.pages) == (2, 1, 1)
    one, rest = wallets.lines[0].turnover, wallets.others_turnover
    whole = next(line for line in desk.trial("2026-06", "").lines if line.key == "wallet")
    assert one + rest == whole.turnover
    page = desk.account("wallet:solar", "2026-06", None)
    assert page.turnover == one
    assert [(entry.kind, (entry.micro or 0) > 0) for entry in page.entries] == [
        ("local", True),
        ("local", True),
        ("top-up", True),
    ]
    assert sum(entry.micro or 0 for entry in page.entries) == one.credit_micro - one.debit_micro
    assert page.parts is not None
    assert page.parts.difference_micro == 12  # what this test booked past the ledger
    older = desk.account("wallet:solar", "2026-06", page.entries[0].entry)
    assert older.entries == page.entries[1:]
    for account in ("wallet:flat", "receivable:shop", "wallet:none", "", "none"):
        with pytest.raises(NotFoundError):
            desk.account(account, "2026-06", None)
    with pytest.raises(NotFoundError):
        desk.group("none", "2026-06", 1)


def test_pages_of_entries_follow_on_each_other(
    desk: BooksDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = desk.account("grid", "2026-06", None).entries
    monkeypatch.setattr("app.services.books.desk._PAGE", 1)
    first = desk.account("grid", "2026-06", None)
    assert len(whole) == 2
    assert list(first.entries) == whole[:1]
    second = desk.account("grid", "2026-06", cast("int", first.older))
    assert (list(second.entries), second.older) == (whole[1:], None)
    assert desk.account("grid", "2026-07", None).entries == []


def test_entries_of_a_few_strangers_tell_no_amounts(kit: Kit, desk: BooksDesk) -> None:
    whole = BooksDesk(kit.house, frozenset(kit.names)).account("grid", "2026-06", None)
    assert all(entry.ref and entry.micro for entry in whole.entries)
    mine = desk.account("grid", "2026-06", None)
    assert mine.turnover == whole.turnover
    assert [(entry.ref, entry.interval, entry.micro) for entry in mine.entries] == [
        ("", None, None)
    ] * 2
    bank = desk.account("bank", "2026-06", None)  # as the treasury shows it
    assert all(entry.micro for entry in bank.entries)


def test_the_file_has_a_row_for_each_account_that_shows(desk: BooksDesk) -> None:
    head, *rows, last = csv.reader(
        io.StringIO(desk.csv("2026-07", "").decode("utf-8-sig")), delimiter=";"
    )
    assert head[3:] == ["opening_micro", "debit_micro", "credit_micro", "closing_micro"]
    named = {row[1] for row in rows}
    assert {"wallet:solar", "bank", "'=odd"} <= named
    assert not {"wallet:flat", "receivable:flat"} & named
    assert ["wallet", "", "2 others"] in [row[:3] for row in rows]
    assert last == ["sum", "", "", "0", "5", "5", "0"]
    for place in range(3, 7):
        assert sum(int(row[place]) for row in rows) == int(last[place])


def test_the_chart_begins_with_people_and_ends_with_what_it_does_not_name() -> None:
    accounts = ["x", "rounding", "supplier:s2", "bank", "wallet:a", "supplier", "paid-out:b"]
    groups = sorted({group_of(account) for account in accounts}, key=rank)
    assert [group.key for group in groups] == [
        "wallet",
        "paid-out",
        "supplier",
        "bank",
        "rounding",
        "x",
    ]
