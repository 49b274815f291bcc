"""Stretches of many chains at once: their readings and the next ones around, in one query.

Ten thousand meters that send one reading each would otherwise cost as many queries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import (
    CTE,
    JSON,
    BigInteger,
    ColumnElement,
    RowMapping,
    Select,
    String,
    Table,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.types import TypeEngine
from sqlmodel import Session

from app.store import partitions
from app.store.partitions import NUMBER, READING

# Neighbouring numbers of one batch are read together; farther apart begins another stretch.
_BREAK: Final = 64
_FIELDS: Final[Mapping[str, TypeEngine[str] | TypeEngine[int]]] = {
    "key": String(),
    "epoch": BigInteger(),  # a gateway may send any: the column's range is not its
    "first": BigInteger(),
    "last": BigInteger(),
}


class Stretch(NamedTuple):
    """Numbers of one chain, from the first to the last."""

    key: str
    epoch: int
    first: int
    last: int


def of_chain(key: str, epoch: int, seqs: Sequence[int]) -> Iterator[Stretch]:
    """Yield stretches of numbers that lie close together."""
    ordered = sorted(set(seqs))
    first = last = ordered[0]
    for seq in ordered[1:]:
        if seq - last > _BREAK:
            yield Stretch(key, epoch, first, last)
            first = seq
        last = seq
    yield Stretch(key, epoch, first, last)


def rows(
    session: Session, stretches: Sequence[Stretch], columns: Sequence[str]
) -> Sequence[RowMapping]:
    """Return key, epoch, seq and ``columns`` of the stored readings in and next to stretches.

    What was erased is not among them. One that is next to two stretches comes twice.
    """
    wanted = (
        *(READING.c[name] for name in ("key", "epoch", "seq")),
        *(READING.c[name] for name in columns),
    )
    query = select(*wanted).where(READING.c.payload != b"")
    if not partitions.is_parted(session):
        named = _named(session, stretches)
        query = query.join_from(named, READING, _within(READING, named, *_around(READING, named)))
        return session.connection().execute(query).mappings().all()
    # The numbers' own table says where the readings lie, so that few partitions are opened.
    taken = session.connection().execute(_taken(_named(session, stretches))).all()
    if not taken:
        return []
    found = [Stretch(key, epoch, first, last) for key, epoch, first, last, _, _ in taken]
    named = _named(session, found)
    query = query.join_from(named, READING, _within(READING, named, named.c.first, named.c.last))
    times = READING.c.answered_ms.between(
        min(row[4] for row in taken), max(row[5] for row in taken)
    )
    return session.connection().execute(query.where(times)).mappings().all()


def _taken(named: CTE) -> Select[str, int, int, int, int, int]:
    """Return which numbers of each stretch are taken, with the next ones around, and when.

    Stretch by stretch: a join of the two tables might look at all that a chain ever had.
    """
    taken = (
        select(
            func.min(NUMBER.c.seq).label("first"),
            func.max(NUMBER.c.seq).label("last"),
            func.min(NUMBER.c.answered_ms).label("since"),
            func.max(NUMBER.c.answered_ms).label("until"),
        )
        .where(_within(NUMBER, named, *_around(NUMBER, named)))
        .lateral()
    )
    return (
        select(
            *(named.c.key, named.c.epoch),
            *(taken.c.first, taken.c.last, taken.c.since, taken.c.until),
        )
        .join_from(named, taken, true())
        .where(taken.c.first.is_not(None))
    )


def _named(session: Session, stretches: Sequence[Stretch]) -> CTE:
    """Return the stretches as a table of the query: one parameter, however many they are."""
    given = bindparam(None, json.dumps(stretches), String)
    listed = func.json_each(given)
    if partitions.is_parted(session):
        listed = func.json_array_elements(cast(given, JSON))
    value = listed.table_valued("value").c.value
    return select(
        *(
            cast(value.op("->>")(literal_column(str(place))), kind).label(name)
            for place, (name, kind) in enumerate(_FIELDS.items())
        )
    ).cte()


def _around(table: Table, named: CTE) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """Return the next number below each stretch and the next one above it."""
    beside = table.alias()
    chain = (beside.c.key == named.c.key, beside.c.epoch == named.c.epoch)
    below = select(func.max(beside.c.seq)).where(*chain, beside.c.seq < named.c.first)
    above = select(func.min(beside.c.seq)).where(*chain, beside.c.seq > named.c.last)
    return (
        func.coalesce(below.correlate(named).scalar_subquery(), named.c.first),
        func.coalesce(above.correlate(named).scalar_subquery(), named.c.last),
    )


def _within(
    table: Table, named: CTE, first: ColumnElement[int], last: ColumnElement[int]
) -> ColumnElement[bool]:
    return (
        (table.c.key == named.c.key)
        & (table.c.epoch == named.c.epoch)
        & table.c.seq.between(first, last)
    )
