"""Counters of what was refused, by hour, kind and sender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlmodel import Session, SQLModel, col, delete, select

from app.store.bulk import add_to
from app.tables import SecurityEventRow


@dataclass(frozen=True, slots=True)
class Count:
    """How many uploads of one sender were refused for one kind of fault, and how many readings."""

    kind: str
    subject: str
    times: int
    count: int


def of_hour(session: Session, hour: int) -> Sequence[Count]:
    """Return the counters of an hour (of the wall clock, since 1970), the busiest first."""
    row = SecurityEventRow
    rows = session.exec(
        select(row.kind, row.subject, row.times, row.count)
        .where(row.hour == hour)
        .order_by(col(row.times).desc(), row.kind, row.subject)
    )
    return [Count(*values) for values in rows]


def add(session: Session, hour: int, at_ms: int, counts: Sequence[Count]) -> None:
    """Add to the counters of an hour; always in one order, so that two writers only queue."""
    when = {"hour": hour, "first_ms": at_ms, "last_ms": at_ms}
    ordered = sorted(counts, key=lambda each: (each.kind, each.subject))
    table = SQLModel.metadata.tables["security_event"]
    rows = [asdict(each) | when for each in ordered]
    add_to(session, table, rows, lowest=("first_ms",), highest=("last_ms",))


def forget_before(session: Session, hour: int) -> None:
    """Delete the counters of earlier hours."""
    session.exec(delete(SecurityEventRow).where(col(SecurityEventRow.hour) < hour))
