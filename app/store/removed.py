"""Removed readings: what stays of them, packed by chain and seal (docs/privacy.md)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from sqlalchemy import RowMapping, bindparam, tuple_, update
from sqlmodel import Session, SQLModel, col, select

from app.store import bulk
from app.tables import EnrolmentRow, ErasureRow, ReadingRow, RemovedRow
from metering.interval import Interval, from_ms

_RECORD: Final = Struct(">QQ32s32s")
_TABLE: Final = SQLModel.metadata.tables["removed_reading"]

Group: TypeAlias = tuple[str, str, str, int]  # seal interval, point, key, epoch


class Remains(NamedTuple):
    """What stays of one removed reading; times are UTC milliseconds."""

    seq: int
    answered_ms: int
    leaf: bytes
    link: bytes


class Removed(NamedTuple):
    """One of them, and why it went: an erasure, or (None) the time to keep it was over."""

    remains: Remains
    erased_ms: int | None

    def __str__(self) -> str:
        erased = self.erased_ms
        when = "as the time to keep it was over"
        if erased is not None:
            when = f"on request, which was made on {from_ms(erased):%Y-%m-%d}"
        return f"reading {self.remains.seq} was acknowledged and later removed, {when}"


def pack(remains: Iterable[Remains]) -> bytes:
    """Return them as a column holds them, by seq."""
    return b"".join(_RECORD.pack(*each) for each in sorted(remains))


def unpack(packed: bytes) -> list[Remains]:
    """Return what a column holds, by seq."""
    return [Remains(*each) for each in _RECORD.iter_unpack(packed)]


def put(session: Session, rows: Sequence[RowMapping], erasure: int | None) -> None:
    """Keep what stays of ``rows`` (readings); what stays of others in their groups, too.

    Their keys' enrolments are locked, so that no door takes one of them in again meanwhile. To do
    so twice changes nothing.
    """
    if not rows:
        return
    last: dict[str, int] = {}
    groups: dict[Group, set[Remains]] = defaultdict(set)
    for row in rows:
        group = row["seal_interval"], row["point"], row["key"], row["epoch"]
        groups[group].add(Remains(row["seq"], row["answered_ms"], row["leaf"], row["link"]))
        last[row["key"]] = max(row["seq"], last.get(row["key"], 0))
    _mark(session, last)
    there = _there(session, list(groups))
    bulk.put(
        session,
        _TABLE,
        [_row(group, new, there.get(group), erasure) for group, new in sorted(groups.items())],
    )


def _mark(session: Session, last: Mapping[str, int]) -> None:
    """Say on each key's enrolment up to which number to look here (None: nowhere)."""
    query = select(EnrolmentRow.key, EnrolmentRow.removed_through)
    rows = session.exec(
        query.where(col(EnrolmentRow.key).in_(last)).order_by(EnrolmentRow.key).with_for_update()
    )
    higher = [{"of": key, "to": last[key]} for key, old in rows if (old or 0) < last[key]]
    if higher:
        table = SQLModel.metadata.tables["enrolment"]
        session.connection().execute(
            update(table)
            .where(table.c.key == bindparam("of"))
            .values(removed_through=bindparam("to")),
            higher,
        )


def _there(session: Session, groups: Sequence[Group]) -> Mapping[Group, RemovedRow]:
    rows = session.exec(
        select(RemovedRow).where(
            tuple_(
                col(RemovedRow.seal_interval),
                col(RemovedRow.point),
                col(RemovedRow.key),
                col(RemovedRow.epoch),
            ).in_(groups)
        )
    )
    return {(row.seal_interval, row.point, row.key, row.epoch): row for row in rows}


def _row(
    group: Group, new: set[Remains], there: RemovedRow | None, erasure: int | None
) -> dict[str, object]:
    known = new | set(unpack(there.packed) if there else ())
    seal_interval, point, key, epoch = group
    return {
        "seal_interval": seal_interval,
        "point": point,
        "key": key,
        "epoch": epoch,
        "first_seq": min(known).seq,
        "last_seq": max(known).seq,
        "packed": pack(known),
        "erasure": (there.erasure if there else None) or erasure,
    }


def find(session: Session, key: str, epoch: int, seqs: Sequence[int]) -> Mapping[int, Removed]:
    """Return those of ``seqs`` that were removed from a chain, by seq."""
    if not seqs:
        return {}
    wanted = frozenset(seqs)
    rows = session.exec(
        select(RemovedRow.packed, ErasureRow.asked_ms)
        .outerjoin(ErasureRow, col(ErasureRow.id) == RemovedRow.erasure)
        .where(
            RemovedRow.key == key,
            RemovedRow.epoch == epoch,
            RemovedRow.last_seq >= min(wanted),
            RemovedRow.first_seq <= max(wanted),
        )
    )
    return {
        each.seq: Removed(each, erased_ms)
        for packed, erased_ms in rows
        for each in unpack(packed)
        if each.seq in wanted
    }


class Leaves(NamedTuple):
    """The leaf hashes of a seal's readings: each point's in its slot's order; the late ones."""

    within: Mapping[str, Sequence[bytes]]
    late: Sequence[bytes]


def leaves(
    session: Session, key: str, roster: frozenset[str], points: Collection[str] | None = None
) -> Leaves:
    """Return the leaves that a sealed interval's trees were made of, whatever was removed since.

    ``roster``: the points that have a slot in it; ``points``: only readings of these.
    """
    interval = Interval.parse(key)
    there = select(ReadingRow.point, ReadingRow.answered_ms, ReadingRow.seq, ReadingRow.leaf).where(
        ReadingRow.seal_interval == key
    )
    packed = select(RemovedRow.point, RemovedRow.packed).where(RemovedRow.seal_interval == key)
    if points is not None:
        there = there.where(col(ReadingRow.point).in_(points))
        packed = packed.where(col(RemovedRow.point).in_(points))
    found = {(point, at_ms, seq, leaf) for point, at_ms, seq, leaf in session.exec(there)}
    found |= {
        (point, each.answered_ms, each.seq, each.leaf)
        for point, held in session.exec(packed)
        for each in unpack(held)
    }
    within: dict[str, list[bytes]] = defaultdict(list)
    late = []
    for point, answered_ms, _, leaf in sorted(found, key=lambda each: each[1:3]):
        if answered_ms >= interval.start_ms:
            within[point].append(leaf)
        if answered_ms < interval.start_ms or point not in roster:
            late.append(leaf)
    return Leaves(within, sorted(late))
