"""Opens, withdraws and answers disputes: each step on record, with who and when."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

from sqlmodel import Session

from app.services.disputes.lines import stated
from app.services.house import House
from app.services.notices import point_of
from app.store import disputes, people
from app.tables import CorrectionRow, DisputeRow, MonthlyStatementRow

MAX_TEXT: Final = 2_000
CORRECTED: Final = "corrected"
REFUSED: Final = "refused"
WITHDRAWN: Final = "withdrawn"
Decision = Literal["corrected", "refused"]


class DisputeError(Exception):
    """The step is refused, nothing was written: mend ``field`` ('' for the whole)."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class NoSuchDisputeError(DisputeError):
    """There is no such dispute or statement among theirs: ask for another (404)."""


def open_dispute(house: House, participant: str, number: str, line: str, text: str) -> DisputeRow:
    """Dispute a line of a participant's own statement; its amount is held until it is closed.

    Raises:
        NoSuchDisputeError: there is no such statement of theirs.
        DisputeError: no such line, no text, or the line is disputed already.
    """
    told = _text(text, "text", "say what is wrong with the line")
    with house.database.write() as session:
        people.district(session, lock=True)  # one dispute per line, whoever asks at once
        row = session.get(MonthlyStatementRow, number)
        if row is None or row.participant != participant:
            raise NoSuchDisputeError(f"there is no statement {number!r:.40} of yours")
        found = stated(row).get(line)
        if found is None:
            raise DisputeError(f"statement {number} has no line {line!r:.20}: choose one", "line")
        if disputes.of_line(session, number, line) is not None:
            raise DisputeError(
                f"line {line} of {number} is disputed already: wait for the answer, or withdraw it",
                "line",
            )
        dispute = DisputeRow(
            statement=number,
            participant=participant,
            line=line,
            held_micro=found.held_micro,
            text=told,
            opened_ms=house.clock.now_ms(),
            state=disputes.OPEN,
        )
        session.add(dispute)
        session.flush()
        text = f"line {line} of statement {number} is disputed: the building manager answers"
        _tell(house, session, dispute, found.point, text)
        return dispute


def withdraw(house: House, participant: str, dispute: int) -> DisputeRow:
    """Take a dispute back; its amount is due again.

    Raises:
        NoSuchDisputeError: it is not theirs.
        DisputeError: it is closed already.
    """
    with house.database.write() as session:
        row = _open(session, dispute, [participant])
        return _close(house, session, row, WITHDRAWN, "", participant)


def answer(
    house: House,
    dispute: int,
    decision: Decision,
    text: str,
    by: str,
    remedy: str = "",
    managed: Collection[str] | None = None,
) -> DisputeRow:
    """Close a dispute: corrected, naming the correction, or refused, with the reason.

    ``remedy`` names a correction of the participant: INTERVAL/POINT/VERSION. ``managed`` are the
    participants whose disputes may be answered; None: everybody's.

    Raises:
        NoSuchDisputeError: there is none of theirs.
        DisputeError: closed already, no text, or no such correction.
    """
    told = _text(text, "answer", "the participant reads why")
    with house.database.write() as session:
        row = _open(session, dispute, managed)
        if decision == CORRECTED:
            row.remedy = _remedy(session, row, remedy)
        return _close(house, session, row, decision, told, by)


def _open(session: Session, dispute: int, participants: Collection[str] | None) -> DisputeRow:
    row = disputes.get(session, dispute)
    if row is None or (participants is not None and row.participant not in participants):
        raise NoSuchDisputeError(f"there is no dispute {dispute} of yours")
    if row.state != disputes.OPEN:
        raise DisputeError(f"dispute {dispute} is closed: {row.state}")
    return row


def _close(
    house: House, session: Session, row: DisputeRow, state: str, text: str, by: str
) -> DisputeRow:
    row.state, row.answer, row.answered_by = state, text, by
    row.closed_ms = house.clock.now_ms()
    statement = session.get_one(MonthlyStatementRow, row.statement)
    point = stated(statement)[row.line].point
    says = f"the dispute of line {row.line} of statement {row.statement} is closed: {state}"
    _tell(house, session, row, point, says)
    return row


def _remedy(session: Session, row: DisputeRow, remedy: str) -> str:
    """Return the correction that closes a dispute, checked.

    Raises:
        DisputeError: it is none of this participant's.
    """
    interval, _, rest = remedy.strip().partition("/")
    point, _, version = rest.partition("/")
    found = (
        session.get(CorrectionRow, (interval, point, int(version)))
        if version.isdecimal() and len(version) <= len("999999")
        else None
    )
    if found is None or found.participant != row.participant:
        raise DisputeError(
            "name the correction that mends it, such as 2026-06-23T09:00:00Z/57...022/1: "
            "enter it first",
            "remedy",
        )
    return f"{interval}/{point}/{version}"


def _text(text: str, field: str, why: str) -> str:
    told = "\n".join(line.strip() for line in text.strip().splitlines())
    if not told:
        raise DisputeError(f"write a text: {why}", field)
    if len(told) > MAX_TEXT or not told.replace("\n", " ").isprintable():
        raise DisputeError(
            f"write at most {MAX_TEXT} characters, and none that cannot be seen", field
        )
    return told


def _tell(house: House, session: Session, row: DisputeRow, point: str, text: str) -> None:
    """Tell the manager, and the participant as long as the point is theirs: nobody after them."""
    now_ms = house.clock.now_ms()
    people.notify(
        session,
        ref=f"dispute/{row.id}/{row.state}",
        at_ms=now_ms,
        level="info",
        text=text,
        point=point_of(session, point, row.participant, now_ms),
    )
