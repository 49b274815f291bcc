"""Changes of meters' counters: which epoch holds when, and what leads on from one chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlmodel import Session, col, func, select

from app.store import bulk
from app.tables import EnrolmentRow, MeterChangeRow, ReadingRow

PROPOSED: Final = "proposed"
APPROVED: Final = "approved"
REJECTED: Final = "rejected"

Epochs = tuple[tuple[int, int], ...]
"""(first moment in UTC ms, epoch), in order of time: which epoch of a key holds from when on."""


def approved_epochs(session: Session, keys: Collection[str]) -> Mapping[str, Epochs]:
    """Return the epochs that were approved beside the enrolled one, by key."""
    rows = session.exec(
        select(MeterChangeRow.new_key, MeterChangeRow.opening_ms, MeterChangeRow.new_epoch)
        .where(
            bulk.one_of(session, col(MeterChangeRow.new_key), keys),
            MeterChangeRow.old_key == MeterChangeRow.new_key,
            MeterChangeRow.state == APPROVED,
        )
        .order_by(col(MeterChangeRow.new_epoch))
    )
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for key, opening_ms, epoch in rows:
        found[key].append((opening_ms or 0, epoch))
    return {key: tuple(epochs) for key, epochs in found.items()}


def of_points(session: Session, points: Collection[str]) -> Sequence[MeterChangeRow]:
    """Return the changes of some points, oldest first."""
    return session.exec(
        select(MeterChangeRow)
        .where(col(MeterChangeRow.point).in_(points))
        .order_by(col(MeterChangeRow.proposed_ms), col(MeterChangeRow.id))
    ).all()


def listed(session: Session, states: Collection[str]) -> Sequence[MeterChangeRow]:
    """Return the changes in some states, the newest first."""
    return session.exec(
        select(MeterChangeRow)
        .where(col(MeterChangeRow.state).in_(states))
        .order_by(col(MeterChangeRow.proposed_ms).desc(), col(MeterChangeRow.id).desc())
    ).all()


def of_key(session: Session, key: str) -> Sequence[MeterChangeRow]:
    """Return the changes within one key's chains, by epoch."""
    return session.exec(
        select(MeterChangeRow)
        .where(MeterChangeRow.new_key == key, MeterChangeRow.old_key == key)
        .order_by(col(MeterChangeRow.new_epoch))
    ).all()


def began(session: Session, chains: Collection[tuple[str, int]]) -> Sequence[int]:
    """Return the places in the log of the approved changes that began chains (key, epoch)."""
    rows = session.exec(
        select(MeterChangeRow).where(
            col(MeterChangeRow.new_key).in_({key for key, _ in chains}),
            MeterChangeRow.old_key == MeterChangeRow.new_key,
            MeterChangeRow.state == APPROVED,
        )
    )
    return sorted(row.log_index or 0 for row in rows if (row.new_key, row.new_epoch) in chains)


def enrolled(session: Session, key: str) -> EnrolmentRow:
    """Return the enrolment of a key that is known to have one."""
    return session.exec(select(EnrolmentRow).where(EnrolmentRow.key == key)).one()


def first_after(session: Session, whose: tuple[str, int], moment_ms: int) -> int:
    """Return the number of a chain's first reading after a moment; one beyond all without any."""
    key, epoch = whose
    return session.exec(
        select(func.coalesce(func.min(ReadingRow.seq), 2**53)).where(
            ReadingRow.key == key, ReadingRow.epoch == epoch, ReadingRow.answered_ms > moment_ms
        )
    ).one()
