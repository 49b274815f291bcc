"""Settled energy as it goes out to others: per point and interval, and summed over a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from sqlalchemy import case, func, literal, select
from sqlmodel import Session, SQLModel, col
from sqlmodel import select as select_rows

from app.tables import SettledRow

ENERGIES: Final = (
    "import_wh",
    "import_local_wh",
    "import_own_wh",
    "import_residual_wh",
    "export_wh",
    "export_local_wh",
    "export_own_wh",
    "export_residual_wh",
)
_SETTLED: Final = SQLModel.metadata.tables["settled"]
_CHUNK: Final = 2_000  # rows held in memory at once


class Known(NamedTuple):
    """What is known of a point in a settled interval, in Wh."""

    import_wh: int
    export_wh: int
    estimated: bool


class Share(NamedTuple):
    """Energy of a point under one supplier and balance responsible party, in Wh.

    ``start`` is an interval key, '' for a sum. Short and long are None outside forward mode: what
    the points with contracts drew and fed in beside them.
    """

    start: str
    supplier: str
    balance_party: str
    point: str
    intervals: int
    estimated: int
    import_wh: int
    import_local_wh: int
    import_own_wh: int
    import_residual_wh: int
    export_wh: int
    export_local_wh: int
    export_own_wh: int
    export_residual_wh: int
    short_wh: int | None
    long_wh: int | None


def settled_rows(
    session: Session, first: str, after: str, points: Collection[str] | None
) -> Iterator[SettledRow]:
    """Yield the settled rows of the intervals in [first, after), by point and interval."""
    query = select_rows(SettledRow).where(SettledRow.interval >= first, SettledRow.interval < after)
    if points is not None:
        query = query.where(col(SettledRow.point).in_(points))
    ordered = query.order_by(SettledRow.point, SettledRow.interval)
    return iter(session.exec(ordered.execution_options(yield_per=_CHUNK)))


def known(session: Session, point: str, first: str, last: str) -> Mapping[str, Known]:
    """Return what is known of a point in the settled intervals from first to last, by key."""
    table = _SETTLED.c
    rows = session.connection().execute(
        select(table.interval, table.import_wh, table.export_wh, table.estimated).where(
            table.point == point, table.interval >= first, table.interval <= last
        )
    )
    return {key: Known(int(drawn), int(fed), bool(told)) for key, drawn, fed, told in rows}


def shares(session: Session, first: str, after: str, *, per_interval: bool) -> Iterator[Share]:
    """Yield the energy in [first, after) by supplier, balance responsible party and point.

    With ``per_interval`` a line for each interval, in time order; else their sums.
    """
    table = _SETTLED.c
    start = table.interval if per_interval else literal("")
    who = (table.supplier, table.balance_party, table.point)
    contracted = table.contracted_import_wh + table.contracted_export_wh
    beside = (
        func.sum(case((contracted > 0, residual), (contracted == 0, 0)))
        for residual in (table.import_residual_wh, table.export_residual_wh)
    )
    rows = session.connection().execute(
        select(
            start.label("start"),
            *who,
            func.count(),
            func.sum(case((table.estimated, 1), else_=0)),
            *(func.sum(table[name]) for name in ENERGIES),
            *beside,
        )
        .where(table.interval >= first, table.interval < after)
        .group_by(*((table.interval,) if per_interval else ()), *who)
        .order_by("start", *who)
        .execution_options(yield_per=_CHUNK)
    )
    for row in rows:
        texts, figures = row[:4], row[4:]
        yield Share._make((*texts, *(None if wh is None else int(wh) for wh in figures)))
