"""Disputes of statement lines: the rows, and what they hold back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from sqlmodel import Session, case, col, func, select

from app.tables import DisputeRow, MonthlyStatementRow

OPEN: Final = "open"


def get(session: Session, dispute: int) -> DisputeRow | None:
    """Return a dispute by its number."""
    return session.get(DisputeRow, dispute, with_for_update=True)


def of_line(session: Session, number: str, line: str) -> DisputeRow | None:
    """Return the open dispute of a statement's line, if there is one."""
    return session.exec(
        select(DisputeRow).where(
            DisputeRow.statement == number, DisputeRow.line == line, DisputeRow.state == OPEN
        )
    ).first()


def of_statement(session: Session, number: str) -> Sequence[DisputeRow]:
    """Return a statement's disputes, oldest first."""
    return session.exec(
        select(DisputeRow).where(DisputeRow.statement == number).order_by(col(DisputeRow.id))
    ).all()


def open_first(
    session: Session, participants: Collection[str], limit: int
) -> Sequence[tuple[DisputeRow, MonthlyStatementRow]]:
    """Return disputes of some participants: the open ones, oldest first, then the newest closed."""
    opened = col(DisputeRow.state) == OPEN
    return session.exec(
        select(DisputeRow, MonthlyStatementRow)
        .join(MonthlyStatementRow, col(MonthlyStatementRow.number) == DisputeRow.statement)
        .where(col(DisputeRow.participant).in_(participants))
        .order_by(
            case((opened, 0), else_=1),
            case((opened, col(DisputeRow.opened_ms)), else_=-col(DisputeRow.opened_ms)),
            col(DisputeRow.id),
        )
        .limit(limit)
    ).all()


def held_micro(session: Session, number: str) -> int:
    """Return what is not to be collected of a statement while disputes are open, micro-euros.

    Never more than what is due: it is whole cents, 0 where nothing is disputed.
    """
    due = session.exec(
        select(MonthlyStatementRow.due_micro).where(MonthlyStatementRow.number == number)
    ).one()
    held = session.exec(
        select(func.coalesce(func.sum(DisputeRow.held_micro), 0)).where(
            DisputeRow.statement == number, DisputeRow.state == OPEN
        )
    ).one()
    return min(int(held), max(0, due))
