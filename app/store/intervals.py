"""Interval rows: made as time passes, locked step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlmodel import Session, col, select

from app.store import registry
from app.tables import EnrolmentRow, IntervalRow, SlotRow
from market.sharing import RULE
from metering.interval import Interval

STATES: Final = ("open", "closed", "metered", "cleared", "settled", "sealed", "final")


def ensure_through(session: Session, now_ms: int, rule: str, mode: str = "metered") -> None:
    """Make sure that every interval from the first enrolment to ``now_ms`` has its row.

    ``rule`` and ``mode`` are fixed here, whatever the settings say later; sharing has its own rule.
    The points' rows follow what begins to hold for them.
    """
    last = newest(session)
    if last is None:
        first = session.exec(
            select(EnrolmentRow.valid_from).order_by(EnrolmentRow.valid_from).limit(1)
        ).first()
        if first is None:
            return
        interval = Interval.parse(first)
    else:
        interval = Interval.parse(last).next()
    rule = RULE if mode == "sharing" else rule
    if interval.start_ms <= now_ms:
        registry.project(session, last or "", Interval.containing_ms(now_ms).key)
    while interval.start_ms <= now_ms:
        session.add(IntervalRow(key=interval.key, state="open", rule=rule, mode=mode))
        interval = interval.next()


def lock(session: Session, key: str, expected: str) -> IntervalRow | None:
    """Return the interval's row, locked, or None when it is not in the ``expected`` state.

    A repeated or concurrent step finds None and has nothing to do: that makes steps idempotent.
    Rows that refer to the interval may be written meanwhile, as corrections are.
    """
    query = select(IntervalRow).where(IntervalRow.key == key)
    row = session.exec(query.with_for_update(key_share=True)).one()
    return row if row.state == expected else None


def newest(session: Session) -> str | None:
    """Return the key of the newest interval that has a row."""
    return session.exec(
        select(IntervalRow.key).order_by(col(IntervalRow.key).desc()).limit(1)
    ).first()


def in_state(session: Session, *states: str) -> Sequence[str]:
    """Return the keys of the intervals in one of ``states``, oldest first."""
    return session.exec(
        select(IntervalRow.key).where(col(IntervalRow.state).in_(states)).order_by(IntervalRow.key)
    ).all()


def get(session: Session, key: str) -> IntervalRow:
    """Return the row of an interval that exists."""
    return session.exec(select(IntervalRow).where(IntervalRow.key == key)).one()


def slots(session: Session, key: str) -> Sequence[SlotRow]:
    """Return an interval's slots in roster order."""
    return session.exec(
        select(SlotRow).where(SlotRow.interval == key).order_by(col(SlotRow.position))
    ).all()


def is_missing(slot: SlotRow) -> bool:
    """Return whether the slot's leaf is that of a point without reading and border."""
    return slot.count == 0 and slot.opening is None and slot.closing is None
