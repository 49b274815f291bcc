"""What a revocation from an earlier interval on puts in doubt: readings, slots that rest on them.

A slot's column ``disputed`` is ``marked`` once it is found, ``replaced`` once an estimate stands in
its place, and ``measured`` once the registers around the gap told its energy after all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, case, literal, update
from sqlmodel import Session, col, or_, select

from app.tables import IntervalRow, ReadingRow, SlotRow
from metering.interval import Interval

FLAG: Final = "disputed"
MARKED: Final = "marked"
REPLACED: Final = "replaced"
MEASURED: Final = "measured"
_SETTLED: Final = ("settled", "sealed", "final")
_LOST: Final = ("invalid", "missing")


def has_signed(session: Session, key: str, start: Interval) -> bool:
    """Tell whether a reading of a key is stored that was answered in ``start`` or later."""
    found = session.exec(select(ReadingRow.id).where(*_since(key, start)).limit(1))
    return found.first() is not None


def count(session: Session, key: str, start: Interval) -> tuple[int, int]:
    """Return how many readings and intervals a revocation from ``start`` on would dispute."""
    readings = session.exec(select(ReadingRow.id).where(*_fresh(key, start))).all()
    slots = session.exec(select(SlotRow.interval).where(*_resting(key, start))).all()
    return len(readings), len(slots)


def mark(session: Session, key: str, start: Interval) -> None:
    """Mark what a key signed from ``start`` on, and every slot whose energy rests on it."""
    held = session.exec(select(SlotRow).where(*_resting(key, start))).all()
    made_good = _made_good(session, key, start)
    for slot in (*held, *made_good):
        slot.disputed = MARKED
    session.flush()
    flags, quality = col(ReadingRow.flags), col(ReadingRow.quality)
    session.connection().execute(
        update(ReadingRow)
        .where(*_fresh(key, start))
        .values(
            flags=case((flags == "", literal(FLAG)), else_=flags + literal(f" {FLAG}")),
            quality=case((quality.in_(_LOST), quality), else_=literal("questionable")),
        )
    )


def to_replace(session: Session) -> Sequence[SlotRow]:
    """Return the marked slots of settled intervals, by point and time."""
    return session.exec(
        select(SlotRow)
        .join(IntervalRow, col(IntervalRow.key) == col(SlotRow.interval))
        .where(SlotRow.disputed == MARKED, col(IntervalRow.state).in_(_SETTLED))
        .order_by(SlotRow.point, SlotRow.interval)
    ).all()


def _since(key: str, start: Interval) -> tuple[ColumnElement[bool], ...]:
    return (col(ReadingRow.key) == key, col(ReadingRow.answered_ms) >= start.start_ms)


def _fresh(key: str, start: Interval) -> tuple[ColumnElement[bool], ...]:
    return (*_since(key, start), ~col(ReadingRow.flags).contains(FLAG))


def _resting(key: str, start: Interval) -> tuple[ColumnElement[bool], ...]:
    """Return the condition of slots that were measured between borders of which one is in doubt.

    The interval before ``start`` closes with the first reading in doubt: it is among them.
    """
    doubtful = select(ReadingRow.id).where(*_since(key, start))
    return (
        col(SlotRow.interval) >= start.previous().key,
        col(SlotRow.estimated).is_(False),
        col(SlotRow.disputed).is_(None),
        or_(col(SlotRow.opening).in_(doubtful), col(SlotRow.closing).in_(doubtful)),
    )


def _made_good(session: Session, key: str, start: Interval) -> Sequence[SlotRow]:
    """Return slots of the key's points whose estimate was made good by a reading in doubt.

    Those from ``start`` on, and what of the gap that reaches ``start`` lies before it.
    """
    points = session.exec(select(ReadingRow.point).where(*_since(key, start)).distinct()).all()
    slots = session.exec(
        select(SlotRow)
        .where(
            col(SlotRow.point).in_(points),
            col(SlotRow.estimated).is_(True),
            col(SlotRow.made_good).is_(True),
        )
        .order_by(SlotRow.point, col(SlotRow.interval).desc())
    )
    found: list[SlotRow] = []
    for slot in slots:
        after = Interval.parse(slot.interval).next().key
        reaches = any(each.point == slot.point and each.interval == after for each in found[-1:])
        inside = slot.interval >= start.key
        if inside or (slot.closing is None and (reaches or after == start.key)):
            found.append(slot)
    return found
