"""Which months' readings go, what of them stays, and what a month still waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from sqlalchemy import ColumnElement, and_, not_
from sqlmodel import Session, col, func, select

from app.services.house import House
from app.services.plausibility import Flag
from app.store import disputes, intervals
from app.store.borders import BORDER_WINDOW_MS
from app.store.partitions import READING, Month
from app.tables import DisputeRow, IntervalRow, MonthlyStatementRow, RetentionRow
from metering.interval import LENGTH_MS, Interval, from_ms
from metering.localtime import month_of

DAY_MS: Final = 86_400_000
# Between two borders they tell why the energy was estimated.
_TELLING: Final = (Flag.COUNTER_FELL, Flag.IMPOSSIBLE_POWER)


@dataclass(frozen=True, slots=True)
class MonthPlan:
    """What is to be removed of a UTC month's readings; ``waits`` '': now.

    ``readings`` go, ``bytes`` of payload, signature, salt and receipt with them; ``kept`` stay.
    """

    month: Month
    readings: int
    bytes: int
    kept: int
    waits: str


def horizon(session: Session) -> str:
    """Return the key of the first interval that is not final: what is sealed before is for good."""
    first = select(func.min(IntervalRow.key)).where(IntervalRow.state != "final")
    found = session.exec(first).one()
    newest = intervals.newest(session)
    return found or (Interval.parse(newest).next().key if newest else "")


def removable(month: Month, before: str) -> ColumnElement[bool]:
    """Return the condition of a month's readings that go, with ``before`` as the horizon.

    What may be a border reading stays, and so does what bears a flag that forbids to settle.
    """
    at = READING.c.answered_ms
    return and_(
        at.between(month.start_ms, month.end_ms - 1),
        at % LENGTH_MS > BORDER_WINDOW_MS,
        READING.c.seal_interval < before,
        READING.c.payload != b"",
        *(not_(READING.c.flags.contains(flag)) for flag in _TELLING),
    )


def old_months(house: House, session: Session) -> Sequence[Month]:
    """Return the unfinished months that are older than ``retention_days``, oldest first."""
    days = house.settings.retention_days
    oldest = session.connection().scalar(select(func.min(READING.c.answered_ms)))
    if not days or oldest is None:
        return []
    done = set(
        session.exec(
            select(RetentionRow.month).where(col(RetentionRow.finished_ms).is_not(None))
        ).all()
    )
    month, found = Month.at(oldest), []
    while month.end_ms + days * DAY_MS <= house.clock.now_ms():
        if str(month) not in done:
            found.append(month)
        month = month.next()
    return found


def plan(house: House, session: Session) -> list[MonthPlan]:
    """Return what is to be removed, by month, oldest first."""
    found = []
    for month in old_months(house, session):
        row = session.get(RetentionRow, str(month))
        goes = removable(month, row.horizon if row else horizon(session))
        weight = sum(
            func.length(READING.c[name])
            for name in ("payload", "signature", "salt", "receipt_path")
        )
        counted = select(func.count(), func.coalesce(func.sum(weight), 0)).where(goes)
        readings, size = session.connection().execute(counted).one()
        inside = READING.c.answered_ms.between(month.start_ms, month.end_ms - 1)
        total = session.connection().scalar(select(func.count()).select_from(READING).where(inside))
        waits = waits_for(session, month, house.settings.tz)
        found.append(MonthPlan(month, readings, int(size), int(total or 0) - readings, waits))
    return found


def waits_for(session: Session, month: Month, zone: tzinfo) -> str:
    """Return in words why nothing of a month may go yet; '' when it may."""
    first, after = (Interval.containing_ms(ms).key for ms in (month.start_ms, month.end_ms))
    inside = (IntervalRow.key >= first, IntervalRow.key < after, IntervalRow.state != "final")
    unfinished = session.exec(select(func.min(IntervalRow.key)).where(*inside)).one()
    if unfinished or horizon(session) < after:
        return f"{unfinished or horizon(session)} is not final: corrections are still possible"
    local = {month_of(from_ms(ms), zone) for ms in (month.start_ms, month.end_ms - 1)}
    number = session.exec(
        select(DisputeRow.statement)
        .join(MonthlyStatementRow, col(MonthlyStatementRow.number) == DisputeRow.statement)
        .where(DisputeRow.state == disputes.OPEN, col(MonthlyStatementRow.month).in_(local))
        .limit(1)
    ).first()
    return f"statement {number} is disputed: close that first" if number else ""
