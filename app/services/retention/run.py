"""Removes what is due, in small transactions, from where it stopped last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import func, not_, select, tuple_
from sqlmodel import Session

from app.services.house import House
from app.services.retention import plan
from app.services.retention.removal import RemovalError, candidates, keep_remains, take_away
from app.store import bulk, partitions
from app.store.partitions import READING, Month
from app.tables import RetentionRow

BATCH: Final = 2_000
Told = Callable[[Month, int], None]  # how many readings of the month are removed


def due(house: House) -> Month | None:
    """Return the oldest month of which something is to be removed now."""
    with house.database.read() as session:
        for month in plan.old_months(house, session):
            if not plan.waits_for(session, month, house.settings.tz):
                return month
    return None


def run(house: House, told: Told = lambda _month, _done: None) -> int:
    """Remove all that is due; return how many readings went.

    Raises:
        RemovalError: a seal could not be worked out from what would stay; that step is undone.
        DatabaseUnavailableError: try again; what was done stays done.
    """
    total = 0
    while (month := due(house)) is not None:
        while (count := step(house, month)) is not None:
            total += count
            told(month, count)
    return total


def step(house: House, month: Month) -> int | None:
    """Remove the next readings of a month; return how many, None once it is finished."""
    with house.database.write() as session:
        row = _begin(session, month)
        if row.finished_ms is not None:
            return None
        at, number = READING.c.answered_ms, READING.c.id
        found = session.connection().execute(
            candidates()
            .where(plan.removable(month, row.horizon))
            .where(tuple_(at, number) > tuple_(row.through_ms, row.through_id))
            .order_by(at, number)
            .limit(BATCH)
        )
        rows = found.mappings().all()
        keep_remains(session, rows, None)
        if not rows:
            _finish(house, session, row, month)
            return 0
        if not partitions.is_parted(session):
            take_away(session, rows)
        row.through_ms, row.through_id = rows[-1]["answered_ms"], rows[-1]["id"]
        row.readings += len(rows)
        return len(rows)


def _begin(session: Session, month: Month) -> RetentionRow:
    """Return the month's row, locked; the horizon is fixed as it begins."""
    fresh = RetentionRow(
        month=str(month), horizon=plan.horizon(session), through_ms=0, through_id=0, readings=0
    )
    bulk.insert_once(session, "retention", [fresh.model_dump()])
    return session.get_one(RetentionRow, str(month), with_for_update=True)


def _finish(house: House, session: Session, row: RetentionRow, month: Month) -> None:
    """Drop the month's partition for one with what stays; SQLite's rows are gone already."""
    goes = plan.removable(month, row.horizon)
    if partitions.is_parted(session):
        left = session.connection().scalar(select(func.count()).select_from(READING).where(goes))
        if int(left or 0) > row.readings:
            raise RemovalError(
                f"{month}: {left} readings would go, and of {row.readings} is kept what stays; "
                "nothing was changed: ask for help"
            )
        if month not in partitions.standing(session):
            partitions.add(session, month)
        partitions.keep_only(session, month, not_(goes))
    row.finished_ms = house.clock.now_ms()
