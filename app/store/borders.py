"""Border readings and the readings of an interval, as settlement asks for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import CTE, BigInteger, ColumnElement, Integer, String, column, values
from sqlmodel import Session, col, or_, select

from app.store.disputed import FLAG
from app.tables import EnrolmentRow, ReadingRow, SlotRow
from metering.interval import LENGTH_MS, Interval

BORDER_WINDOW_MS: Final = 10_000
_STRETCHES_PER_QUERY: Final = 1_000


def at_border(session: Session, border_ms: int) -> Mapping[str, ReadingRow]:
    """Return each point's border reading of ``border_ms``.

    That is the first by (answered_ms, seq) of effective quality ``measured`` within ten seconds
    (docs/protocol.md, "Border readings and quantities"), unless a slot already holds the border:
    what was metered with once stays the border, whatever arrives later. Points without one are
    absent.
    """
    here = Interval.containing_ms(border_ms)
    first = {
        row.point: row
        for row in (
            *_held(session, SlotRow.opening, SlotRow.interval == here.key),
            *_held(session, SlotRow.closing, SlotRow.interval == here.previous().key),
        )
    }
    rows = session.exec(
        select(ReadingRow)
        .where(
            col(ReadingRow.answered_ms).between(border_ms, border_ms + BORDER_WINDOW_MS),
            ReadingRow.quality == "measured",
        )
        .order_by(col(ReadingRow.answered_ms), col(ReadingRow.seq))
    )
    for row in rows:
        first.setdefault(row.point, row)
    return first


def of_point(session: Session, point: str, first_ms: int, last_ms: int) -> Mapping[int, ReadingRow]:
    """Return one point's border readings from border ``first_ms`` to ``last_ms``, by border.

    As :func:`at_border`: a border that a slot holds stays as it is.
    """
    begin, end = Interval.containing_ms(first_ms), Interval.containing_ms(last_ms)
    around = (
        SlotRow.point == point,
        col(SlotRow.interval).between(begin.previous().key, end.key),
    )
    first = {
        _border_ms(row): row
        for row in (
            *_held(session, SlotRow.opening, *around),
            *_held(session, SlotRow.closing, *around),
        )
    }
    after_ms = col(ReadingRow.answered_ms) % LENGTH_MS
    rows = session.exec(
        select(ReadingRow)
        .where(
            ReadingRow.point == point,
            col(ReadingRow.answered_ms).between(first_ms, last_ms + BORDER_WINDOW_MS),
            after_ms <= BORDER_WINDOW_MS,
            ReadingRow.quality == "measured",
        )
        .order_by(col(ReadingRow.answered_ms), col(ReadingRow.seq))
    )
    for row in rows:
        first.setdefault(_border_ms(row), row)
    return first


def any_since(session: Session, point: str, border_ms: int) -> bool:
    """Return whether a point has a border reading at ``border_ms`` or at any border after it."""
    found = session.exec(
        select(ReadingRow.id)
        .where(
            ReadingRow.point == point,
            col(ReadingRow.answered_ms) >= border_ms,
            col(ReadingRow.answered_ms) % LENGTH_MS <= BORDER_WINDOW_MS,
            ReadingRow.quality == "measured",
        )
        .limit(1)
    )
    return found.first() is not None


def _border_ms(row: ReadingRow) -> int:
    return row.answered_ms - row.answered_ms % LENGTH_MS


def _held(
    session: Session, end: int | None, *where: ColumnElement[bool] | bool
) -> list[ReadingRow]:
    """Return the readings that slots hold as their opening or closing (``end``: the column).

    One that is disputed is no border any more.
    """
    query = select(ReadingRow).join(SlotRow, col(end) == col(ReadingRow.id)).where(*where)
    query = query.where(ReadingRow.payload != b"")  # one that was erased tells nothing
    query = query.where(~col(ReadingRow.flags).contains(FLAG))
    return list(session.exec(query))


class Stretch(NamedTuple):
    """The readings of one chain with ``after`` < seq < ``before``, asked for as ``number``."""

    number: int
    key: str
    epoch: int
    after: int = 0
    before: int = 2**53


def flagged(
    session: Session, stretches: Sequence[Stretch], flags: Sequence[str]
) -> Iterator[tuple[int, ReadingRow]]:
    """Yield (number, reading) of every reading in the stretches that bears one of ``flags``."""
    for start in range(0, len(stretches), _STRETCHES_PER_QUERY):
        asked = _as_table(stretches[start : start + _STRETCHES_PER_QUERY])
        rows = session.exec(
            select(asked.c.number, ReadingRow)
            .join(
                ReadingRow,
                (col(ReadingRow.key) == asked.c.key)
                & (col(ReadingRow.epoch) == asked.c.epoch)
                & (col(ReadingRow.seq) > asked.c.after)
                & (col(ReadingRow.seq) < asked.c.before),
            )
            .where(
                or_(*(col(ReadingRow.flags).contains(flag) for flag in flags)),
                ~col(ReadingRow.flags).contains(FLAG),  # somebody else signed it: it says nothing
            )
            .order_by(asked.c.number, col(ReadingRow.seq))
        )
        yield from rows


def _as_table(stretches: Sequence[Stretch]) -> CTE:
    columns = (
        column("number", Integer),
        column("key", String),
        column("epoch", Integer),
        column("after", BigInteger),
        column("before", BigInteger),
    )
    return values(*columns, name="given").data(list(stretches)).cte("stretch")


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
