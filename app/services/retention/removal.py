"""Takes readings away and keeps what their seals' trees are made of, or changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import RowMapping, Select, delete, update
from sqlalchemy import select as columns
from sqlmodel import Session, col, or_, select

from app.store import removed
from app.store.partitions import READING
from app.tables import IntervalRow, SlotRow
from ledger_client.merkle import root
from metering.interval import LENGTH_MS, Interval


class RemovalError(Exception):
    """What would stay does not give what was sealed: nothing was changed; ask a person."""


def candidates() -> Select[tuple[object, ...]]:
    """Return the query for what :func:`keep_remains` and :func:`take_away` need of readings."""
    names = ("id", "point", "key", "epoch", "seq", "answered_ms", "leaf", "link", "seal_interval")
    return columns(*(READING.c[name] for name in names))


def keep_remains(session: Session, rows: Sequence[RowMapping], erasure: int | None) -> None:
    """Keep what stays of readings, and see that their seals can be worked out from that.

    Raises:
        RemovalError: they cannot.
    """
    removed.put(session, rows, erasure)
    touched: dict[str, set[str]] = defaultdict(set)
    late = set()
    for row in rows:
        touched[row["seal_interval"]].add(row["point"])
        if row["answered_ms"] < Interval.parse(row["seal_interval"]).start_ms:
            late.add(row["seal_interval"])
    for key, points in touched.items():
        check_seal(session, key, None if key in late else points)


def take_away(session: Session, rows: Sequence[RowMapping]) -> None:
    """Delete readings; those that a slot names as its border stay without any value."""
    if not rows:
        return
    named = _named(session, rows)
    times = [row["answered_ms"] for row in rows]
    inside = READING.c.answered_ms.between(min(times), max(times))
    run = session.connection().execute
    gone = [row["id"] for row in rows if row["id"] not in named]
    run(delete(READING).where(inside, READING.c.id.in_(gone)))
    blank: dict[str, object] = dict.fromkeys(("payload", "signature", "salt", "receipt_path"), b"")
    blank |= dict.fromkeys(("import_wh", "export_wh", "power_w")) | {"quality": "missing"}
    run(update(READING).where(inside, READING.c.id.in_(sorted(named))).values(blank))


def _named(session: Session, rows: Sequence[RowMapping]) -> set[int]:
    """Return the ids among ``rows`` that slots name; those of both sides of a border."""
    ids = {row["id"] for row in rows}
    starts = [Interval.containing_ms(row["answered_ms"]).start_ms for row in rows]
    first, last = min(starts) - LENGTH_MS, max(starts)
    slots = session.exec(
        select(SlotRow.opening, SlotRow.closing).where(
            col(SlotRow.point).in_({row["point"] for row in rows}),
            col(SlotRow.interval).between(
                Interval.containing_ms(first).key, Interval.containing_ms(last).key
            ),
            or_(col(SlotRow.opening).is_not(None), col(SlotRow.closing).is_not(None)),
        )
    )
    return {end for ends in slots for end in ends if end is not None and end in ids}


def check_seal(session: Session, key: str, points: Collection[str] | None = None) -> None:
    """See that what is there of an interval's readings gives what was sealed of them.

    ``points``: only the trees of these; None: all of them, and the late ones'.

    Raises:
        RemovalError: it does not.
    """
    slots = session.exec(select(SlotRow).where(SlotRow.interval == key)).all()
    found = removed.leaves(session, key, frozenset(slot.point for slot in slots), points)
    for slot in slots:
        if points is None or slot.point in points:
            made = root(found.within.get(slot.point, ()))
            if made != slot.readings_root:
                raise RemovalError(
                    f"{key}: the readings of {slot.point} no longer give what was sealed of them; "
                    "nothing was changed: restore them from a backup"
                )
    late_root = session.exec(select(IntervalRow.late_root).where(IntervalRow.key == key)).one()
    if points is None and root(found.late) != late_root:
        raise RemovalError(
            f"{key}: the late readings no longer give what was sealed of them; nothing was "
            "changed: restore them from a backup"
        )
