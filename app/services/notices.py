"""The newest notices, for the pages that show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, false, or_
from sqlmodel import Session, col, select

from app.store import registry
from app.store.registry import Stay
from app.tables import NoticeRow
from metering.interval import Interval
from web.ports import Notice

_SHOWN: Final = 8


def notices(session: Session, stays: Sequence[Stay] | None) -> list[Notice]:
    """Return the newest notices: of all points, or of some in the time that each was theirs."""
    query = select(NoticeRow).order_by(col(NoticeRow.at_ms).desc(), col(NoticeRow.id).desc())
    if stays is not None:
        query = query.where(or_(false(), *map(_of, stays)))
    rows = session.exec(query.limit(_SHOWN))
    return [Notice(row.at_ms, row.level, row.text) for row in rows]


def point_of(session: Session, point: str, participant: str, now_ms: int) -> str | None:
    """Return the point under which a notice of a participant's own is written.

    None once the point is somebody else's: who came after them does not read it.
    """
    holder = registry.participant_at(session, point, Interval.containing_ms(now_ms).key)
    return point if holder == participant else None


def _of(stay: Stay) -> ColumnElement[bool]:
    """Return the condition that a notice is of a stay: one of an interval stands at its end."""
    at_ms = col(NoticeRow.at_ms)
    begun = and_(col(NoticeRow.point) == stay.point, at_ms > Interval.parse(stay.begin).start_ms)
    return and_(begun, at_ms <= Interval.parse(stay.end).start_ms) if stay.end else begun
