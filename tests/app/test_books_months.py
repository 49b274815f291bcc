"""Sums per account and month are those of the postings, whatever is booked; and nothing is undone.

Item 8 of what toy markets get wrong: whole micro-euros, one rounding, a residual that is seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, delete, select

from app.db import Database
from app.store import journal, months
from app.tables import AccountMonthRow, DistrictRow, JournalEntry, PostingRow
from market.journal import Entry, entry_of
from tests.app.schema import lay_tables
from tests.conftest import LONG

OSLO = ZoneInfo("Europe/Oslo")
ACCOUNTS = ("bank", "grid", "receivable:a", "rounding", "supplier", "wallet:a", "wallet:b")
# Around the ends of two local months; the clock goes back on 2026-10-25.
TIMES = ("2026-10-31T22:59", "2026-10-31T23:00", "2026-11-30T22:59", "2026-11-30T23:00")


def ms(moment: str) -> int:
    return int(datetime.fromisoformat(f"{moment}+00:00").timestamp()) * 1000


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    lay_tables(database)
    with database.write() as session:
        session.add(
            DistrictRow(
                origin="books", name="Books", zone="Europe/Oslo", simulated=True, clock_ms=0, seed=1
            )
        )
    yield database
    database.close()


def oracle(session: Session) -> dict[tuple[str, str], tuple[int, int]]:
    """The sums as the postings give them, one by one."""
    debit: Counter[tuple[str, str]] = Counter()
    credit: Counter[tuple[str, str]] = Counter()
    rows = session.exec(
        select(JournalEntry.booked_ms, PostingRow.account, PostingRow.micro).join(
            PostingRow, PostingRow.entry == JournalEntry.id
        )
    )
    for booked_ms, account, micro in rows:
        local = datetime.fromtimestamp(booked_ms / 1000, UTC).astimezone(OSLO)
        at = f"{local.year:04d}-{local.month:02d}", account
        debit[at] -= min(micro, 0)
        credit[at] += max(micro, 0)
    return {at: (debit[at], credit[at]) for at in debit.keys() | credit.keys()}


def kept(session: Session) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (row.month, row.account): (row.debit_micro, row.credit_micro)
        for row in session.exec(select(AccountMonthRow).execution_options(populate_existing=True))
    }


def entry(number: int, moves: Sequence[tuple[str, int]]) -> Entry:
    left = -sum(micro for _, micro in moves)
    return entry_of(f"ref-{number}", "test", [*moves, ("rounding", left)])


amounts = st.integers(-(10**12), 10**12)
movements = st.lists(st.tuples(st.sampled_from(ACCOUNTS), amounts), max_size=5)
books = st.lists(st.tuples(st.sampled_from(TIMES), st.lists(movements, max_size=3)), max_size=6)


@settings(
    max_examples=1000 if LONG else 8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(books)
def test_the_sums_are_those_of_the_postings(
    database: Database, booked: list[tuple[str, list[list[tuple[str, int]]]]]
) -> None:
    with database.write() as session:
        number = 0
        for moment, batch in booked:
            entries = [entry(number + place, moves) for place, moves in enumerate(batch)]
            number += len(batch)
            journal.book_all(session, entries, interval=None, booked_ms=ms(moment))
            assert journal.total(session) == 0
        found = oracle(session)
        assert kept(session) == found
        assert sum(credit - debit for debit, credit in found.values()) == 0
        for month in ("2026-10", "2026-11", "2026-12"):
            opening = months.before(session, month)
            assert sum(opening.values()) == 0
            due = Counter(
                {
                    account: sum(
                        credit - debit
                        for (at, who), (debit, credit) in found.items()
                        if who == account and at < month
                    )
                    for account in opening
                }
            )
            assert opening == due
        session.connection().execute(delete(AccountMonthRow))
        for _ in range(2):  # a folder from before the sums were kept; and once more
            months.ensure(session)
            assert kept(session) == found
        session.rollback()  # so that the next example finds an empty journal


MONEY = [("wallet:a", 5_000_000), ("bank", -5_000_000)]


def book(database: Database, number: int, moment: str = TIMES[0]) -> None:
    with database.write() as session:
        journal.book(session, entry(number, MONEY), interval=None, booked_ms=ms(moment))


def test_an_older_journal_gets_its_sums_before_the_next_entry_counts(database: Database) -> None:
    book(database, 1)
    with database.write() as session:
        session.connection().execute(delete(AccountMonthRow))
    book(database, 2, TIMES[1])
    with database.read() as session:
        assert kept(session) == oracle(session)
        assert months.known(session) == ["2026-10", "2026-11"]


def test_a_moment_counts_what_was_booked_before_it_and_that_is_final(
    database: Database,
) -> None:
    book(database, 1, "2026-11-05T10:00")
    book(database, 2, "2026-11-05T12:00")
    with database.read() as session:
        found = months.until(session, "2026-11", ms("2026-11-05T12:00"))
        assert found == {"wallet:a": (0, 5_000_000), "bank": (5_000_000, 0)}
        assert months.within(session, "2026-11")["bank"] == (10_000_000, 0)
    for statement in (
        "UPDATE posting SET micro = micro + 1",
        "DELETE FROM posting",
        "UPDATE journal_entry SET kind = 'x'",
        "DELETE FROM journal_entry",
    ):
        refused = pytest.raises(DBAPIError, match="is in the journal, it is final")
        with refused, database.write() as session:
            session.execute(text(statement))
    with database.read() as session:
        assert kept(session) == oracle(session)


@pytest.mark.parametrize(
    ("moment", "month"),
    [(TIMES[0], "2026-10"), (TIMES[1], "2026-11"), (TIMES[2], "2026-11"), (TIMES[3], "2026-12")],
)
def test_a_month_is_local(moment: str, month: str) -> None:
    assert months.month_of(ms(moment), OSLO) == month
    first, after = months.bounds_ms(month, OSLO)
    assert first <= ms(moment) < after


@pytest.mark.parametrize("month", ["2026-13", "2026-6", "2026", "", "2026-06-01", "x"])
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(ValueError, match="is no month"):
        months.bounds_ms(month, OSLO)
