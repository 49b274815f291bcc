"""The newest notices, for the pages that show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlmodel import Session, col, select

from app.tables import NoticeRow
from web.ports import Notice

_SHOWN: Final = 8


def notices(session: Session, points: Sequence[str] | None) -> list[Notice]:
    """Return the newest notices, of all points or of the given ones."""
    query = select(NoticeRow).order_by(col(NoticeRow.at_ms).desc(), col(NoticeRow.id).desc())
    if points is not None:
        query = query.where(col(NoticeRow.point).in_(points))
    rows = session.exec(query.limit(_SHOWN))
    return [Notice(row.at_ms, row.level, row.text) for row in rows]
