"""The pages of monthly statements: satisfies :class:`web.ports.statements.Statements`."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from sqlmodel import Session

from app.files.statement_document import load
from app.services import dues
from app.services.bank_errors import BankError, NotThereError
from app.services.house import House
from app.services.statements import issuing, paying, reading
from app.services.statements.span import Span
from app.store import people, statements
from app.tables import MonthlyStatementRow, StatementRunRow
from market.errors import MarketError
from metering.localtime import LocalTimeError
from web.ports import NotFoundError, RefusedError
from web.ports.statements import (
    MonthPage,
    OwnStatements,
    StatementPage,
)

CURRENT: Final = "current"
Issue = Callable[[House, str, str], int]
"""Issues what is due of a month, by a role; returns how many."""


class StatementDesk:
    """Monthly statements of one district. ``managed`` are those whose figures its manager sees."""

    def __init__(self, house: House, managed: AbstractSet[str], issue: Issue) -> None:
        self._house, self._managed, self._issue = house, managed, issue

    def own(self, participant: str) -> OwnStatements:
        """Return a participant's list, and their running month."""
        with self._house.database.read() as session:
            rows = statements.listed(session, participant=participant)
            names = {participant: people.participants(session)[participant].name}
            running = self._running(session, participant)
            return OwnStatements(
                participant=participant,
                name=names[participant],
                zone=self._house.settings.zone,
                lines=paying.lines(session, self._house, [row for row, _ in rows], names),
                current=load(running) if running else None,
            )

    def one(self, participant: str, number: str) -> StatementPage:
        """Return one of a participant's statements, or their running month."""
        with self._house.database.read() as session:
            name = people.participants(session)[participant].name
            zone = self._house.settings.zone
            if number == CURRENT:
                return StatementPage(name, zone, load(self._current(session, participant)), None)
            row, run = self._find(session, participant, number)
            seal = reading.seal_of(session, row, run)
            settling = paying.settling(session, self._house, row, {participant: name})
            return StatementPage(name, zone, load(row.payload), seal, settling)

    def file(self, participant: str, number: str, form: str) -> tuple[bytes, str]:
        """Return a statement or the running month as a file, with its media type."""
        if form not in reading.MEDIA:
            raise NotFoundError("a statement comes as pdf, csv or json")
        with self._house.database.read() as session:
            if number == CURRENT:
                draft = self._current(session, participant)
                return reading.rendered(draft, None, form), reading.MEDIA[form]
            row, run = self._find(session, participant, number)
            seal = reading.seal_of(session, row, run)
        return reading.rendered(row.payload, seal, form), reading.MEDIA[form]

    def ask_payout(self, participant: str, number: str, iban: str, holder: str) -> None:
        """Have what the district owes on one of their statements paid to a bank account."""
        try:
            dues.ask_payout(self._house, participant, number, iban=iban, holder=holder)
        except NotThereError as error:
            raise NotFoundError(str(error)) from error
        except BankError as error:
            raise RefusedError(str(error), error.field) from error

    def month(self, month: str) -> MonthPage:
        """Return a month's list; '' is the newest month that is over."""
        house, managed = self._house, frozenset(self._managed)
        with house.database.read() as session:
            months = self._months(session)
            span = self._span(month or (months[1] if len(months) > 1 else months[0]))
            found = issuing.due(house, session, span)
            everybody = people.participants(session)
            names = {who: row.name for who, row in everybody.items()}
            rows = statements.listed(session, month=span.month)
            seen = [row for row, _ in rows if row.participant in managed]
            to_come = [*found.now, *found.waiting]
            shown = [who for who in to_come if who in managed]
            previews = reading.previews(house, session, span, shown)
            return MonthPage(
                month=span.month,
                zone=house.settings.zone,
                months=months,
                issued=paying.lines(session, house, seen, names),
                previews=[paying.line_of(each, names) for each in previews.values()],
                ready=len(found.now),
                others=len({*to_come, *found.issued} - managed),
                why_not=found.why_not,
            )

    def issue(self, month: str, by: str) -> int:
        """Issue what is due of a month."""
        span = self._span(month)
        try:
            return self._issue(self._house, span.month, by)
        except (issuing.IssueError, MarketError) as error:
            raise RefusedError(str(error)) from error

    def _span(self, month: str) -> Span:
        try:
            return Span.of(month, self._house.settings.tz)
        except LocalTimeError as error:
            raise NotFoundError(str(error)) from error

    def _months(self, session: Session) -> list[str]:
        """Return the district's months, newest first; the first is the running one."""
        zone, now_ms = self._house.settings.tz, self._house.clock.now_ms()
        months = [Span.holding(now_ms, zone)]
        first = statements.first_interval(session)
        while first is not None and months[-1].first > first:
            months.append(Span.holding(months[-1].start_ms - 1, zone))
        return [span.month for span in months]

    def _current(self, session: Session, participant: str) -> bytes:
        found = self._running(session, participant)
        if found is None:
            raise NotFoundError("nothing is settled in this month yet")
        return found

    def _running(self, session: Session, participant: str) -> bytes | None:
        house = self._house
        span = Span.holding(house.clock.now_ms(), house.settings.tz)
        found = issuing.due(house, session, span)
        if participant not in (*found.now, *found.waiting):
            return None
        return reading.drafts(house, session, span, [participant])[participant]

    def _find(
        self, session: Session, participant: str, number: str
    ) -> tuple[MonthlyStatementRow, StatementRunRow]:
        try:
            found = reading.find(session, number)
        except reading.UnknownStatementError as error:
            raise NotFoundError(str(error)) from error
        if found[0].participant != participant:
            raise NotFoundError("there is no such statement among yours")
        return found
