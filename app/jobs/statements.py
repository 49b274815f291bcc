"""Issues a month's statements: numbered, journalled, their tree's root in the log and anchored."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from app.jobs.seal import make_checkpoint
from app.services.house import House
from app.services.statements import gather, issuing
from app.services.statements.gather import Ground
from app.services.statements.issuing import Numbers
from app.services.statements.span import Span
from app.store import journal, log, people, statements
from app.store.tariffs import UnknownTariffError
from app.tables import MonthlyStatementRow, StatementRunRow
from ledger_client.merkle import leaf_hash, root
from ledger_client.verify import canonical
from market.errors import MarketError
from market.statement import MICRO_PER_CENT, Built
from metering.interval import Interval, from_ms

_CHUNK: Final = 100  # participants whose rows are in memory at once
_WORKER: Final = "worker"


@dataclass(frozen=True, slots=True)
class Issued:
    """What one issue wrote: the statements' numbers, and where the log holds their root."""

    month: str
    numbers: tuple[str, ...]
    credit_notes: int
    log_index: int
    waiting: tuple[str, ...]  # who has to wait, where only those who left could get theirs


def issue(
    house: House,
    month: str,
    by: str,
    *,
    only: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Issued:
    """Issue what is due of a month, to everybody or to ``only``: all in one transaction.

    Statements are final: a later correction stands on a later one.

    Raises:
        LocalTimeError: it is no month.
        IssueError: too early, issued before, nobody there, or bills and journal differ.
        StatementError: a document does not add up.
    """
    span = Span.of(month, house.settings.tz)
    with house.database.write() as session:
        people.district(session, lock=True)  # one issue at a time: numbers have no gap
        found = issuing.due(house, session, span)
        chosen = issuing.chosen(found, span, only)
        issuing.check(session, span, chosen)
        ground = gather.ground(session, span, house.clock.now_ms())
        run = StatementRunRow(
            month=month, issued_ms=ground.issued_ms, root=b"", log_index=-1, issued_by=by
        )
        session.add(run)
        session.flush()
        writer = _Writer(house, session, ground, run.id or 0)
        for done, chunk in _chunks(chosen):
            writer.write(chunk)
            if on_progress is not None:
                on_progress(done + len(chunk), len(chosen))
        log_index = writer.finish()
        make_checkpoint(house, session)
        return Issued(month, tuple(writer.numbers), writer.credit_notes, log_index, found.waiting)


def issue_shown(house: House, month: str, by: str) -> int:
    """Issue what is due of a month for its page; return how many statements.

    Raises: as :func:`issue`.
    """
    return len(issue(house, month, by).numbers)


class _Writer:
    """Writes the statements of one issue, chunk by chunk, and at the end its log entry."""

    def __init__(self, house: House, session: Session, ground: Ground, run: int) -> None:
        self._house, self._session, self._ground, self._run = house, session, ground, run
        year = from_ms(ground.issued_ms).astimezone(ground.span.zone).strftime("%Y")
        self._next = Numbers.after(session, year)
        self._hashes: list[bytes] = []
        self.numbers: list[str] = []
        self.credit_notes = 0

    def write(self, participants: Sequence[str]) -> None:
        """Write some participants' statements and book what they add to the journal."""
        house, session, ground = self._house, self._session, self._ground
        made = issuing.documents(house, session, ground, participants, self._next)
        session.add_all(self._row(who, built) for who, built in made.items())
        entries = [built.entry for built in made.values() if built.entry.postings]
        journal.book_all(session, entries, interval=None, booked_ms=ground.issued_ms)
        session.flush()
        session.expunge_all()

    def finish(self) -> int:
        """Write the log entry with the tree's root; return its place."""
        found = root(self._hashes)
        entry = {
            "count": len(self._hashes),
            "district": self._house.settings.origin,
            "first": self.numbers[0],
            "last": self.numbers[-1],
            "month": self._ground.span.month,
            "root": found.hex(),
        }
        run = self._session.get_one(StatementRunRow, self._run)
        run.root, run.log_index = found, log.append(self._session, "statements", entry)
        self._session.flush()
        return run.log_index

    def _row(self, participant: str, built: Built) -> MonthlyStatementRow:
        document = built.document
        payload, salt = canonical(document), secrets.token_bytes(32)
        note = document["credit_note"]
        number = str(document["number"])
        row = MonthlyStatementRow(
            number=number,
            run=self._run,
            position=len(self._hashes),
            month=self._ground.span.month,
            participant=participant,
            final=document["final"] == 1,
            payload=payload,
            salt=salt,
            due_micro=built.due_cents * MICRO_PER_CENT,
            credit_note=str(note["number"]) if isinstance(note, dict) else None,
        )
        self._hashes.append(leaf_hash(statements.leaf(salt, payload)))
        self.numbers.append(number)
        self.credit_notes += row.credit_note is not None
        return row


def _chunks(participants: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    for done in range(0, len(participants), _CHUNK):
        yield done, participants[done : done + _CHUNK]


def issue_daily(house: House, last: str) -> str:
    """Issue what is due (``statement_days``) when the district's day is another than ``last``.

    Returns the day (ISO). What cannot be issued yet is told once, by a notice.
    """
    settings, now_ms = house.settings, house.clock.now_ms()
    now = from_ms(now_ms).astimezone(settings.tz)
    today = now.date().isoformat()
    if today == last or not settings.statement_days:
        return today
    with house.database.read() as session:
        months = list(_open_months(house, session, now_ms))
    for span in months:
        over = from_ms(span.end_ms) + timedelta(days=settings.statement_days)
        _issue_due(house, span, wait=from_ms(now_ms) < over)
    return today


def _open_months(house: House, session: Session, now_ms: int) -> Iterator[Span]:
    """Yield the months in which somebody still has no statement, up to the running one."""
    first = statements.first_interval(session)
    if first is None:
        return
    span = Span.holding(Interval.parse(first).start_ms, house.settings.tz)
    while span.start_ms <= now_ms:
        found = issuing.due(house, session, span)
        if found.now or found.waiting:
            yield span
        span = span.next()


def _issue_due(house: House, span: Span, *, wait: bool) -> None:
    """Issue a month's statements, or while it has to wait those of people who left."""
    with house.database.read() as session:
        found = issuing.due(house, session, span)
    try:
        if found.now and (found.why_not or not wait):
            issue(house, span.month, _WORKER)
        if found.why_not and not wait:
            raise issuing.NotReadyError(found.why_not)
    except (issuing.IssueError, MarketError, UnknownTariffError) as error:
        _tell(house, span, str(error))


def _tell(house: House, span: Span, why_not: str) -> None:
    with house.database.write() as session:
        people.notify(
            session,
            ref=f"statements/{span.month}",
            at_ms=house.clock.now_ms(),
            level="alarm",
            text=f"The statements of {span.month} wait: {why_not}",
            point=None,
        )
