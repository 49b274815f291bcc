"""What the bank moved for issued statements, and what of them is open; read in bulk."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement
from sqlmodel import Session, case, col, func, select

from app.store import disputes
from app.tables import (
    BankPayoutRow,
    DisputeRow,
    MonthlyStatementRow,
    StatementPaymentRow,
    StatementRunRow,
)
from market.dues import Dues

_CHUNK = 5_000  # how many values one query may name
_LIVE = ("asked", "approved", "exported")


class Standing(NamedTuple):
    """An issued statement and its money; ``payout`` is one that is under way."""

    number: str
    participant: str
    issued_ms: int
    dues: Dues
    payout: BankPayoutRow | None
    asked: int  # payouts that ever were, whatever became of them


def standing(session: Session, numbers: Collection[str]) -> Mapping[str, Standing]:
    """Return those of the numbers that are issued statements, by number."""
    wanted, found = sorted(numbers), dict[str, Standing]()
    for at in range(0, len(wanted), _CHUNK):
        some = col(MonthlyStatementRow.number).in_(wanted[at : at + _CHUNK])
        found |= _standing(session, some)
    return found


def unsettled(session: Session) -> Mapping[str, Standing]:
    """Return every statement of which something is still to be paid, either way, by number."""
    moved = (
        select(func.coalesce(func.sum(StatementPaymentRow.micro), 0))
        .where(
            StatementPaymentRow.statement == MonthlyStatementRow.number,
            col(StatementPaymentRow.booked_ms).is_not(None),
        )
        .correlate(MonthlyStatementRow)
        .scalar_subquery()
    )
    return _standing(session, col(MonthlyStatementRow.due_micro) != moved)


def _standing(session: Session, which: ColumnElement[bool]) -> Mapping[str, Standing]:
    query = (
        select(
            MonthlyStatementRow.number,
            MonthlyStatementRow.participant,
            StatementRunRow.issued_ms,
            MonthlyStatementRow.due_micro,
        )
        .join(StatementRunRow, col(StatementRunRow.id) == MonthlyStatementRow.run)
        .where(which)
        .order_by(MonthlyStatementRow.number)
    )
    rows = session.exec(query).all()
    moved, held, payouts = _moved(session, which), _held(session, which), _payouts(session, which)
    found = {}
    for number, participant, issued_ms, due in rows:
        came, went, asked = moved.get(number, (0, 0, 0))
        dues = Dues(due, came, went, min(held.get(number, 0), max(0, due)))
        live = payouts.get(number)
        found[number] = Standing(number, participant, issued_ms, dues, live, asked)
    return found


def _moved(session: Session, which: ColumnElement[bool]) -> Mapping[str, tuple[int, int, int]]:
    """Return what came in, what went out (>= 0) and how many payouts there were, by number."""
    micro, booked = col(StatementPaymentRow.micro), col(StatementPaymentRow.booked_ms).is_not(None)
    query = (
        select(
            StatementPaymentRow.statement,
            func.sum(case((booked & (micro > 0), micro), else_=0)),
            func.sum(case((booked & (micro < 0), -micro), else_=0)),
            func.sum(case((micro < 0, 1), else_=0)),
        )
        .join(MonthlyStatementRow, col(MonthlyStatementRow.number) == StatementPaymentRow.statement)
        .where(which)
        .group_by(StatementPaymentRow.statement)
    )
    return {number: (int(a), int(b), int(c)) for number, a, b, c in session.exec(query)}


def _held(session: Session, which: ColumnElement[bool]) -> Mapping[str, int]:
    query = (
        select(DisputeRow.statement, func.sum(DisputeRow.held_micro))
        .join(MonthlyStatementRow, col(MonthlyStatementRow.number) == DisputeRow.statement)
        .where(DisputeRow.state == disputes.OPEN, which)
        .group_by(DisputeRow.statement)
    )
    return {number: int(micro) for number, micro in session.exec(query)}


def _payouts(session: Session, which: ColumnElement[bool]) -> Mapping[str, BankPayoutRow]:
    query = (
        select(StatementPaymentRow.statement, BankPayoutRow)
        .join(BankPayoutRow, col(BankPayoutRow.ref) == StatementPaymentRow.ref)
        .join(MonthlyStatementRow, col(MonthlyStatementRow.number) == StatementPaymentRow.statement)
        .where(col(BankPayoutRow.state).in_(_LIVE), which)
    )
    return dict(session.exec(query).all())


def of_payouts(session: Session, refs: Collection[str]) -> Mapping[str, str]:
    """Return the statements' numbers by the reference of what was paid in or out on them."""
    query = select(StatementPaymentRow.ref, StatementPaymentRow.statement)
    return dict(session.exec(query.where(col(StatementPaymentRow.ref).in_(refs))).all())


def booked_micro(session: Session) -> int:
    """Return what the bank brought in for statements less what it paid out on them."""
    booked = col(StatementPaymentRow.booked_ms).is_not(None)
    query = select(func.coalesce(func.sum(StatementPaymentRow.micro), 0)).where(booked)
    return int(session.exec(query).one())


def last_accounts(session: Session, participants: Collection[str]) -> Mapping[str, tuple[str, str]]:
    """Return (IBAN, holder) of each one's last withdrawal to a bank that was not taken back."""
    query = (
        select(BankPayoutRow.participant, BankPayoutRow.target, BankPayoutRow.name)
        .where(
            col(BankPayoutRow.participant).in_(participants),
            col(BankPayoutRow.kind).in_(("bank", "statement")),
            col(BankPayoutRow.state).not_in(("rejected", "cancelled")),
        )
        .order_by(col(BankPayoutRow.asked_ms), col(BankPayoutRow.ref))
    )
    return {who: (iban, name) for who, iban, name in session.exec(query) if who is not None}
