"""Border readings and the readings of an interval, as settlement asks for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from sqlmodel import Session, col, or_, select

from app.tables import EnrolmentRow, ReadingRow, SlotRow
from metering.interval import Interval

BORDER_WINDOW_MS: Final = 10_000


def at_border(session: Session, border_ms: int) -> Mapping[str, ReadingRow]:
    """Return each point's border reading of ``border_ms``.

    That is the first by (answered_ms, seq) of effective quality ``measured`` within ten seconds
    (docs/protocol.md, "Border readings and quantities"). Points without one are absent.
    """
    rows = session.exec(
        select(ReadingRow)
        .where(
            col(ReadingRow.answered_ms).between(border_ms, border_ms + BORDER_WINDOW_MS),
            ReadingRow.quality == "measured",
        )
        .order_by(col(ReadingRow.answered_ms), col(ReadingRow.seq))
    )
    first: dict[str, ReadingRow] = {}
    for row in rows:
        first.setdefault(row.point, row)
    return first


def within(session: Session, interval: Interval) -> Mapping[str, Sequence[bytes]]:
    """Return each point's reading leaf hashes with start <= answered_ms < end, in time order."""
    rows = session.exec(
        select(ReadingRow.point, ReadingRow.leaf)
        .where(
            col(ReadingRow.answered_ms) >= interval.start_ms,
            col(ReadingRow.answered_ms) < interval.end_ms,
            ReadingRow.seal_interval == interval.key,
        )
        .order_by(col(ReadingRow.answered_ms), col(ReadingRow.seq))
    )
    leaves: dict[str, list[bytes]] = defaultdict(list)
    for point, leaf in rows:
        leaves[point].append(leaf)
    return leaves


def late(session: Session, interval: Interval) -> Sequence[bytes]:
    """Return the leaf hashes that this interval's seal holds outside of its slots, sorted.

    They came too late for their own interval, or their point has no slot yet: receipts promised
    each of them to this seal.
    """
    seated = select(SlotRow.point).where(SlotRow.interval == interval.key)
    return sorted(
        session.exec(
            select(ReadingRow.leaf).where(
                ReadingRow.seal_interval == interval.key,
                or_(
                    col(ReadingRow.answered_ms) < interval.start_ms,
                    col(ReadingRow.point).not_in(seated),
                ),
            )
        )
    )


def serials(session: Session) -> Mapping[str, str]:
    """Return the serial of the meter behind each enrolled key: a rotation keeps the meter."""
    return dict(session.exec(select(EnrolmentRow.key, EnrolmentRow.serial)).all())


def by_ids(session: Session, ids: Sequence[int]) -> Mapping[int, ReadingRow]:
    """Return the readings of the given row ids."""
    rows = session.exec(select(ReadingRow).where(col(ReadingRow.id).in_(ids)))
    return {row.id: row for row in rows if row.id is not None}
