"""The journal's rows: entries that sum to 0, booked once each.

Nothing here changes or deletes them, and the database refuses both (revision 0004): a correction is
a further entry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import insert
from sqlmodel import Session, col, func, select

from app.store import months
from app.tables import JournalEntry, PostingRow
from market.journal import Entry, Posting

_CHUNK = 500  # how many values one query may name


class JournalError(Exception):
    """The stored journal does not add up: stop settlement and ask a person."""


def book(session: Session, entry: Entry, *, interval: str | None, booked_ms: int) -> None:
    """Write an entry; the unique (ref, kind) refuses a second one."""
    book_all(session, [entry], interval=interval, booked_ms=booked_ms)


def book_all(
    session: Session, entries: Sequence[Entry], *, interval: str | None, booked_ms: int
) -> None:
    """Write entries in one go; the unique (ref, kind) refuses a second one.

    :class:`market.journal.Entry` has asserted at its birth that the postings sum to 0. The sums
    of their accounts and month go with them.
    """
    months.ensure(session)
    rows = [
        JournalEntry(ref=entry.ref, kind=entry.kind, interval=interval, booked_ms=booked_ms)
        for entry in entries
    ]
    session.add_all(rows)
    session.flush()
    postings_ = [
        {"entry": row.id, **asdict(posting)}
        for row, entry in zip(rows, entries, strict=True)
        for posting in entry.postings
    ]
    if postings_:
        session.connection().execute(insert(PostingRow), postings_)
        months.add(session, entries, booked_ms)


def booked(session: Session, refs: Sequence[str], kind: str) -> Mapping[str, tuple[Posting, ...]]:
    """Return the postings of those of the entries that were booked, as :func:`postings` does."""
    found: dict[str, list[Posting]] = defaultdict(list)
    for at in range(0, len(refs), _CHUNK):
        rows = session.exec(
            select(JournalEntry.ref, PostingRow.account, PostingRow.micro)
            .join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
            .where(col(JournalEntry.ref).in_(refs[at : at + _CHUNK]), JournalEntry.kind == kind)
        )
        for ref, account, micro in rows:
            found[ref].append(Posting(account, micro))
    return {ref: tuple(sorted(own, key=lambda each: each.account)) for ref, own in found.items()}


def postings(session: Session, ref: str, kind: str) -> tuple[Posting, ...]:
    """Return an entry's postings by account, as :func:`market.journal.entry_of` orders them."""
    rows = session.exec(
        select(PostingRow.account, PostingRow.micro)
        .join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
        .where(JournalEntry.ref == ref, JournalEntry.kind == kind)
    )
    return tuple(Posting(account, micro) for account, micro in sorted(rows))


def balances(session: Session, prefix: str) -> Mapping[str, int]:
    """Return the balance in micro-euros of every account whose name begins with ``prefix``."""
    rows = session.exec(
        select(PostingRow.account, func.sum(PostingRow.micro))
        .where(col(PostingRow.account).startswith(prefix, autoescape=True))
        .group_by(PostingRow.account)
    )
    return {account: int(micro) for account, micro in rows}


def total(session: Session) -> int:
    """Return the sum over all postings: 0, or something is broken."""
    return int(session.exec(select(func.coalesce(func.sum(PostingRow.micro), 0))).one())


def check_sum(session: Session, ref: str, kind: str) -> None:
    """Read an entry back and make sure that it sums to 0.

    Raises:
        JournalError: it does not; the transaction must be rolled back.
    """
    micro = session.exec(
        select(func.coalesce(func.sum(PostingRow.micro), 0))
        .join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
        .where(JournalEntry.ref == ref, JournalEntry.kind == kind)
    ).one()
    if int(micro):
        raise JournalError(f"{kind} entry {ref} sums to {int(micro)} micro-euros instead of 0")
