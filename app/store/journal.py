"""The journal's rows: entries that sum to 0, booked once each.

Nothing here changes or deletes them, and the database refuses both (revision 0004): a correction is
a further entry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, exists, insert, or_
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, func, select

from app.store import months
from app.tables import JournalEntry, ParticipantRow, PostingRow
from market.journal import Entry, Posting, paid_out, receivable, wallet, withdrawal

OF_PARTICIPANTS: Final = (wallet, receivable, withdrawal, paid_out)  # each has one of these

_CHUNK = 500  # how many values one query may name
_FETCHED = 5_000  # rows that a reader of the whole journal holds at a time


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which postings: booked in [from_ms, to_ms), on these accounts, of this participant.

    What is None or empty does not narrow. An account that ends in a colon names all that begin so.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    accounts: Sequence[str] = ()
    participant: str = ""

    @property
    def is_whole_entries(self) -> bool:
        """Whether each entry is wanted with all its postings or not at all: then they sum to 0."""
        return not self.accounts and not self.participant


class Booked(NamedTuple):
    """One posting with its entry; amounts in micro-euros, time in UTC ms (district clock)."""

    posting: int
    entry: int
    ref: str
    kind: str
    interval: str | None
    booked_ms: int
    account: str
    micro: int


_COLUMNS: Final = tuple(
    col(each)
    for each in (
        PostingRow.id,
        PostingRow.entry,
        JournalEntry.ref,
        JournalEntry.kind,
        JournalEntry.interval,
        JournalEntry.booked_ms,
        PostingRow.account,
        PostingRow.micro,
    )
)


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
    """Return the balance in micro-euros of every account whose name begins with ``prefix``.

    The sums by month tell it; in a folder that has none yet, its postings do.
    """
    if months.are_kept(session):
        return months.balances(session, prefix)
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


def count(session: Session, wanted: Wanted) -> int:
    """Return how many postings are wanted."""
    query = select(func.count()).select_from(PostingRow)
    joined = query.join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
    return session.exec(joined.where(*_conditions(wanted))).one()


def stream(session: Session, wanted: Wanted) -> Iterator[Booked]:
    """Yield postings in the order in which they were booked, a few thousand in memory at a time."""
    query = (
        sql_select(*_COLUMNS)
        .join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
        .where(*_conditions(wanted))
        .order_by(col(PostingRow.id))
        .execution_options(yield_per=_FETCHED)
    )
    for row in session.connection().execute(query):
        yield Booked._make(row)


def of_account(
    session: Session, account: str, month: str, *, before: int | None = None, limit: int
) -> Sequence[Booked]:
    """Return what was booked on an account in a local month, newest first.

    ``before`` is the number of an entry: the page ends below it.
    """
    start_ms, end_ms = months.bounds_ms(month, months.zone_of(session))
    within = (col(JournalEntry.booked_ms) >= start_ms, col(JournalEntry.booked_ms) < end_ms)
    # The month's entries lie close together: their numbers bound what the account's index walks.
    first, last = session.exec(
        select(
            func.coalesce(func.min(JournalEntry.id), 0),
            func.coalesce(func.max(JournalEntry.id), -1),
        ).where(*within)
    ).one()
    query = (
        sql_select(*_COLUMNS)
        .join(JournalEntry, col(JournalEntry.id) == PostingRow.entry)
        .where(
            col(PostingRow.account) == account,
            col(PostingRow.entry).between(first, last),
            *(() if before is None else (col(PostingRow.entry) < before,)),
            *within,
        )
        .order_by(col(PostingRow.entry).desc())
        .limit(limit)
    )
    return [Booked._make(row) for row in session.connection().execute(query)]


def people_of(session: Session, entries: Collection[int]) -> Mapping[int, frozenset[str]]:
    """Return whose accounts some entries moved, by the number of the entry; nobody: left out."""
    found: dict[int, set[str]] = defaultdict(set)
    prefixes = {of("") for of in OF_PARTICIPANTS}
    rows = session.exec(
        select(PostingRow.entry, PostingRow.account).where(col(PostingRow.entry).in_(entries))
    )
    for entry, account in rows:
        prefix, colon, participant = account.partition(":")
        if prefix + colon in prefixes:
            found[entry].add(participant)
    return {entry: frozenset(people) for entry, people in found.items()}


def unknown(session: Session, wanted: Wanted) -> Sequence[str]:
    """Return what was asked for (accounts, beginnings of them, the participant) and is unknown.

    Known is an account that ever held a posting, and every participant with their accounts.
    """
    people = set(session.exec(select(ParticipantRow.id)))
    unknown = [
        name
        for name in wanted.accounts
        if name.partition(":")[2] not in people
        and not session.scalar(select(exists().where(*_conditions(Wanted(accounts=[name])))))
    ]
    return unknown + ([wanted.participant] if {wanted.participant} - people - {""} else [])


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    account, found = col(PostingRow.account), list[ColumnElement[bool]]()
    if wanted.from_ms is not None:
        found.append(col(JournalEntry.booked_ms) >= wanted.from_ms)
    if wanted.to_ms is not None:
        found.append(col(JournalEntry.booked_ms) < wanted.to_ms)
    if wanted.accounts:
        found.append(
            or_(
                *(
                    account.startswith(name, autoescape=True)
                    if name.endswith(":")
                    else account == name
                    for name in wanted.accounts
                )
            )
        )
    if wanted.participant:
        found.append(account.in_([of(wanted.participant) for of in OF_PARTICIPANTS]))
    return found
