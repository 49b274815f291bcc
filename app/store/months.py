"""Sums per account and local month beside the journal, so that no page adds up a year of postings.

They are written with the entries (:func:`app.store.journal.book_all`). A folder from before they
were kept gets them from its postings, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, case, literal
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel, col, func, select

from app.store.bulk import add_to, dialect_insert
from app.tables import AccountMonthRow, DistrictRow, JournalEntry, PostingRow
from market.journal import Entry
from metering import localtime
from metering.interval import from_ms
from metering.localtime import month_start, next_month

_TABLE: Final = SQLModel.metadata.tables["account_month"]


def zone_of(session: Session) -> ZoneInfo:
    """Return the district's zone; UTC while a database holds no district."""
    return ZoneInfo(session.exec(select(DistrictRow.zone)).first() or "UTC")


def month_of(at_ms: int, zone: ZoneInfo) -> str:
    """Return the local month (YYYY-MM) of a moment in UTC milliseconds."""
    return localtime.month_of(from_ms(at_ms), zone)


def bounds_ms(month: str, zone: ZoneInfo) -> tuple[int, int]:
    """Return a local month as [first, last) in UTC milliseconds.

    Raises:
        LocalTimeError: it is no month (YYYY-MM): ask for another.
    """
    first, after = month_start(month, zone), month_start(next_month(month), zone)
    return first.start_ms, after.start_ms


def are_kept(session: Session) -> bool:
    """Return whether the sums are there: they are, once anything was booked with them."""
    return session.exec(select(AccountMonthRow.month).limit(1)).first() is not None


def ensure(session: Session) -> None:
    """Write the sums of a journal that has none yet; whoever else does so at once changes nothing.

    To be called before the first posting that :func:`add` will count.
    """
    if are_kept(session):
        return
    booked_ms = col(JournalEntry.booked_ms)
    query = select(func.coalesce(func.min(booked_ms), 1), func.coalesce(func.max(booked_ms), 0))
    first, last = session.exec(query).one()
    if last < first:
        return  # nothing was ever booked
    for month in _months(first, last, zone_of(session)):
        session.connection().execute(_summed(session, month))


def _months(first_ms: int, last_ms: int, zone: ZoneInfo) -> Iterator[tuple[str, int, int]]:
    """Yield the local months from one moment's to another's, with their bounds."""
    month = month_of(first_ms, zone)
    while month <= month_of(last_ms, zone):
        start_ms, end_ms = bounds_ms(month, zone)
        yield month, start_ms, end_ms
        month = month_of(end_ms, zone)


def _summed(session: Session, span: tuple[str, int, int]) -> sqlite.Insert | postgresql.Insert:
    month, start_ms, end_ms = span
    sums = (
        select(literal(month), PostingRow.account, *_split())
        .join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
        .where(col(JournalEntry.booked_ms) >= start_ms, col(JournalEntry.booked_ms) < end_ms)
        .group_by(PostingRow.account)
        .order_by(PostingRow.account)
    )
    return (
        dialect_insert(session, _TABLE)
        .from_select(list(_TABLE.columns.keys()), sums)
        .on_conflict_do_nothing()
    )


def _split() -> tuple[ColumnElement[int], ColumnElement[int]]:
    """Return the sums of the postings below 0 (as a positive number) and above it."""
    micro = col(PostingRow.micro)
    return (
        func.sum(case((micro < 0, -micro), else_=0)),
        func.sum(case((micro > 0, micro), else_=0)),
    )


def add(session: Session, entries: Sequence[Entry], booked_ms: int) -> None:
    """Count the postings of entries that are being booked."""
    sums: dict[str, list[int]] = {}
    for entry in entries:
        for posting in entry.postings:
            side = sums.setdefault(posting.account, [0, 0])
            side[posting.micro > 0] += abs(posting.micro)
    if not sums:
        return
    month = month_of(booked_ms, zone_of(session))
    # By name, so that two writers who meet on some accounts wait for each other in one order.
    rows = [
        {"month": month, "account": account, "debit_micro": debit, "credit_micro": credit}
        for account, (debit, credit) in sorted(sums.items())
    ]
    add_to(session, _TABLE, rows)


def balances(session: Session, prefix: str) -> dict[str, int]:
    """Return the balance in micro-euros of every account whose name begins with ``prefix``."""
    net = func.sum(col(AccountMonthRow.credit_micro) - col(AccountMonthRow.debit_micro))
    rows = session.exec(
        select(AccountMonthRow.account, net)
        .where(col(AccountMonthRow.account).startswith(prefix, autoescape=True))
        .group_by(AccountMonthRow.account)
    )
    return {account: int(micro) for account, micro in rows}


def before(session: Session, month: str) -> dict[str, int]:
    """Return the balance of each account at the beginning of a month, in micro-euros."""
    net = func.sum(col(AccountMonthRow.credit_micro) - col(AccountMonthRow.debit_micro))
    rows = session.exec(
        select(AccountMonthRow.account, net)
        .where(AccountMonthRow.month < month)
        .group_by(AccountMonthRow.account)
    )
    return {account: int(micro) for account, micro in rows}


def within(session: Session, month: str) -> dict[str, tuple[int, int]]:
    """Return what was booked on each account in a month: debit and credit in micro-euros."""
    rows = session.exec(select(AccountMonthRow).where(AccountMonthRow.month == month))
    return {row.account: (row.debit_micro, row.credit_micro) for row in rows}


def until(session: Session, month: str, end_ms: int) -> dict[str, tuple[int, int]]:
    """Return what was booked on each account in a month before a moment within it."""
    start_ms, _ = bounds_ms(month, zone_of(session))
    rows = session.exec(
        select(PostingRow.account, *_split())
        .join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
        .where(col(JournalEntry.booked_ms) >= start_ms, col(JournalEntry.booked_ms) < end_ms)
        .group_by(PostingRow.account)
    )
    return {account: (int(debit), int(credit)) for account, debit, credit in rows}


def known(session: Session) -> Sequence[str]:
    """Return the months in which anything was booked, oldest first."""
    query = select(AccountMonthRow.month).distinct().order_by(AccountMonthRow.month)
    return session.exec(query).all()
