"""Who gets a statement of a month, and why not yet; the documents; that they equal the journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from app.services.house import House
from app.services.statements import gather
from app.services.statements.gather import Ground
from app.services.statements.span import Span
from app.store import people, statements
from app.tables import ParticipantRow
from market.journal import receivable, wallet
from market.statement import Built, build, sells
from market.statement_parts import Month


class IssueError(Exception):
    """Root of this module's errors: nothing was issued."""


class NotReadyError(IssueError):
    """The month has not ended, or is not settled all through: issue it later (409)."""


class AlreadyIssuedError(IssueError):
    """The statement was issued before, and is final: look at it by its number (409)."""


class NobodyError(IssueError):
    """There is no such participant, or nobody has anything in that month: check both (404)."""


class JournalDiffersError(IssueError):
    """The bills and the journal differ: stop and ask a person, issue nothing."""


@dataclass(frozen=True, slots=True)
class Due:
    """Who gets a statement now, who had one before, and why others have to wait ('' if none)."""

    now: tuple[str, ...]
    issued: Mapping[str, str]  # number by participant
    waiting: tuple[str, ...]
    why_not: str


def due(house: House, session: Session, span: Span) -> Due:
    """Return whose statement of a month can be issued at the district's time.

    A month's are due together, once it is over and settled all through; those of people who left
    within it, as soon as their last interval is settled.
    """
    issued = statements.issued_to(session, span.month)
    everybody = people.participants(session)
    held = statements.holders(session, span.first, span.after)
    open_ = sorted((held | statements.billed_people(session, span.month)) - issued.keys())
    why_not = _why_not(house, session, span)
    if not why_not:
        return Due(tuple(open_), issued, (), "")
    gone = [who for who in open_ if _is_gone(session, span, everybody[who])]
    return Due(tuple(gone), issued, tuple(who for who in open_ if who not in gone), why_not)


def _why_not(house: House, session: Session, span: Span) -> str:
    if house.clock.now_ms() < span.end_ms:
        return f"{span.month} is not over yet: it ends with {span.days[-1].isoformat()}"
    newest = statements.newest_interval(session)
    if newest is None or newest < span.after:
        return f"{span.month} is not closed yet: let the worker run"
    rows = statements.unsettled(session, span.first, span.after)
    if not rows:
        return ""
    key, state = rows[0]
    return (
        f"{len(rows)} quarter-hours of {span.month} are not settled yet, the first is {key} "
        f"({state}): wait for the worker, or see its alarms"
    )


def _is_gone(session: Session, span: Span, row: ParticipantRow) -> bool:
    """Tell whether somebody left within the month, and all that was theirs is settled."""
    end = row.left_from
    if end is None or not span.first < end <= span.after:
        return False
    newest = statements.newest_interval(session)
    return (
        newest is not None and end <= newest and not statements.unsettled(session, span.first, end)
    )


def chosen(found: Due, span: Span, only: str | None) -> Sequence[str]:
    """Return whom to issue to, of all that are due or of one.

    Raises:
        AlreadyIssuedError, NotReadyError, NobodyError: see there.
    """
    if only is None:
        if found.now:
            return found.now
        if found.why_not and (found.waiting or not found.issued):
            raise NotReadyError(found.why_not)
        if found.issued:
            numbers = sorted(found.issued.values())
            raise AlreadyIssuedError(
                f"all statements of {span.month} are issued, {numbers[0]} to {numbers[-1]}: they "
                "are final; a later correction stands on a later one"
            )
        raise NobodyError(f"nobody has anything in {span.month}: check the month")
    if only in found.issued:
        raise AlreadyIssuedError(
            f"{only}'s statement of {span.month} is issued as {found.issued[only]}: it is final; "
            "a later correction stands on a later one"
        )
    if only in found.waiting:
        raise NotReadyError(found.why_not)
    if only not in found.now:
        raise NobodyError(f"{only!r} has nothing in {span.month}: check both")
    return [only]


@dataclass(slots=True)
class Numbers:
    """The next numbers of a year; a statement's, and a credit note's where it has one."""

    year: str
    statements: int
    credit_notes: int

    @classmethod
    def after(cls, session: Session, year: str) -> Numbers:
        """Return the numbers after those that stand; the caller holds the district's lock."""
        return cls(year, *statements.last_numbers(session, year))

    def take(self, month: Month) -> tuple[str, str]:
        """Return the numbers of the next document; '' for a credit note that it has not."""
        self.statements += 1
        number = f"S-{self.year}-{self.statements:06d}"
        if not sells(month.billed):
            return number, ""
        self.credit_notes += 1
        return number, f"C-{self.year}-{self.credit_notes:06d}"


def documents(
    house: House,
    session: Session,
    ground: Ground,
    participants: Sequence[str],
    numbers: Numbers | None = None,
) -> Mapping[str, Built]:
    """Return the documents of some participants; without ``numbers`` they are previews."""
    months = gather.months_of(session, ground, participants)
    found = {}
    for who, month in months.items():
        taken = numbers.take(month) if numbers else ("", "")
        found[who] = build(gather.header(house, ground, who, taken), month)
    return found


def check(session: Session, span: Span, participants: Sequence[str]) -> None:
    """Make sure that what the bills of a month say is what the journal holds.

    For the month's own intervals, and for those of earlier months that these statements correct.

    Raises:
        JournalDiffersError: names the first account that differs.
    """
    origins: dict[str, set[str]] = defaultdict(set)
    origins[span.month] = set(participants)
    for participant, origin in statements.late_origins(session, span.month):
        if participant in origins[span.month]:
            origins[origin].add(participant)
    for origin, whose in origins.items():
        at = Span.of(origin, span.zone)
        billed = statements.billed(session, origin)
        booked = statements.booked(
            session, at.first, at.after, None if origin == span.month else sorted(whose)
        )
        _compare(origin, whose, billed, booked)


def _compare(
    origin: str, whose: Iterable[str], billed: Mapping[str, int], booked: Mapping[str, int]
) -> None:
    for who in sorted(whose):
        for account in (receivable(who), wallet(who)):
            found, held = billed.get(account, 0), booked.get(account, 0)
            if found != held:
                raise JournalDiffersError(
                    f"{account}: the bills of {origin} come to {found} micro-euros and the journal "
                    f"holds {held}: nothing was issued; ask the administrator"
                )
