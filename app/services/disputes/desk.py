"""The pages of disputes: satisfies :class:`web.ports.disputes.Disputes`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlmodel import Session

from app.services.disputes import service
from app.services.disputes.lines import StatedLine, stated
from app.services.disputes.service import CORRECTED, REFUSED, DisputeError, NoSuchDisputeError
from app.services.house import House
from app.store import corrections, disputes, people
from app.tables import CorrectionRow, DisputeRow, MeteringPointRow, MonthlyStatementRow
from web.ports import NotFoundError, RefusedError
from web.ports.disputes import (
    DisputableLine,
    DisputesPage,
    DisputeView,
    StatementDisputes,
)

_SHOWN: Final = 200
_REMEDIES: Final = 50


@contextmanager
def _on_the_page() -> Iterator[None]:
    try:
        yield
    except NoSuchDisputeError as error:
        raise NotFoundError(str(error)) from error
    except DisputeError as error:
        raise RefusedError(str(error), error.field) from error


class DisputesDesk:
    """The disputes of one district, for their pages."""

    def __init__(self, house: House) -> None:
        self._house = house

    def listed(self, own: Collection[str]) -> DisputesPage:
        """Return the disputes of some participants, the open ones first."""
        with self._house.database.read() as session:
            names, points = _names(session), people.points(session)
            rows = disputes.open_first(session, own, _SHOWN)
            known = corrections.newest_first(session, _REMEDIES, own)
            return DisputesPage(
                zone=people.district(session).zone,
                disputes=[_view(row, statement, names) for row, statement in rows],
                remedies=[(reference(row), _words(row, names, points)) for row in known],
            )

    def statement(self, number: str, own: Collection[str]) -> StatementDisputes:
        """Return a statement's lines and disputes."""
        with self._house.database.read() as session:
            row = session.get(MonthlyStatementRow, number)
            if row is None or row.participant not in own:
                raise NotFoundError(f"there is no statement {number!r:.40} among yours")
            names, found = _names(session), disputes.of_statement(session, number)
            now = {each.line for each in found if each.state == disputes.OPEN}
            return StatementDisputes(
                number=number,
                month=row.month,
                participant=row.participant,
                name=names[row.participant],
                due_micro=row.due_micro,
                held_micro=disputes.held_micro(session, number),
                lines=[_line(each, disputed=each.ref in now) for each in stated(row).values()],
                disputes=[_view(each, row, names) for each in found],
            )

    def open(self, participant: str, number: str, line: str, text: str) -> None:
        """Dispute a line of a participant's own statement."""
        with _on_the_page():
            service.open_dispute(self._house, participant, number, line, text)

    def withdraw(self, participant: str, dispute: int) -> None:
        """Take a dispute back."""
        with _on_the_page():
            service.withdraw(self._house, participant, dispute)

    def answer(
        self, dispute: int, decision: str, text: str, remedy: str, own: Collection[str], role: str
    ) -> None:
        """Close a dispute: corrected or refused."""
        with _on_the_page():
            if decision == CORRECTED:
                service.answer(self._house, dispute, "corrected", text, role, remedy, own)
            elif decision == REFUSED:
                service.answer(self._house, dispute, "refused", text, role, "", own)
            else:
                raise DisputeError("say whether the line is corrected or refused", "decision")


def reference(row: CorrectionRow) -> str:
    """Return how a correction is named: INTERVAL/POINT/VERSION."""
    return f"{row.interval}/{row.point}/{row.version}"


def _words(
    row: CorrectionRow, names: Mapping[str, str], points: Mapping[str, MeteringPointRow]
) -> str:
    who = names.get(row.participant or "", "")
    return f"{who}, {points[row.point].name}, {row.interval}, version {row.version}"


def _names(session: Session) -> Mapping[str, str]:
    return {who: row.name for who, row in people.participants(session).items()}


def _view(row: DisputeRow, statement: MonthlyStatementRow, names: Mapping[str, str]) -> DisputeView:
    return DisputeView(
        id=row.id or 0,
        statement=row.statement,
        month=statement.month,
        participant=row.participant,
        name=names[row.participant],
        line=_line(stated(statement)[row.line], disputed=row.state == disputes.OPEN),
        held_micro=row.held_micro,
        text=row.text,
        opened_ms=row.opened_ms,
        state=row.state,
        answer=row.answer,
        answered_by=row.answered_by,
        remedy=row.remedy,
        closed_ms=row.closed_ms,
    )


def _line(line: StatedLine, *, disputed: bool) -> DisputableLine:
    return DisputableLine(
        ref=line.ref,
        kind=line.kind,
        name=line.name,
        wh=line.wh,
        micro=line.micro,
        held_micro=line.held_micro,
        disputed=disputed,
    )
