"""Readings by UTC month: partitions on PostgreSQL, one table on SQLite (ADR 33).

PostgreSQL can hold a number once over all partitions only in a table of its own,
``reading_number``, which a trigger fills: a number is taken for good, whatever becomes of its
reading. What is of a month without a partition stands in the default one until it gets one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    text,
)
from sqlmodel import Session, SQLModel

from app.db import Database
from app.tables import ReadingRow
from metering.interval import from_ms

READING: Final = SQLModel.metadata.tables[str(ReadingRow.__tablename__)]
NUMBER: Final = Table(
    "reading_number",
    MetaData(),  # it is no table of SQLite's
    Column("key", String, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("answered_ms", BigInteger),
)
_COLUMNS: Final = [column.name for column in READING.columns]


def _part(name: str) -> Table:
    return Table(name, MetaData(), *(Column(each.name, each.type) for each in READING.columns))


_DEFAULT: Final = _part("reading_default")
_NAME: Final = re.compile(r"reading_([0-9]{4})_([0-9]{2})")
_LAST_YEAR: Final = 9999
# Whoever waits for the lock makes all ingest wait: better to try again at the next look.
_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '3s'"


class Month(NamedTuple):
    """A UTC month."""

    year: int
    number: int

    @classmethod
    def at(cls, moment_ms: int) -> Self:
        """Return the month that a moment lies in."""
        moment = from_ms(moment_ms)
        return cls(moment.year, moment.month)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the month of a name, as ``2026-06``."""
        return cls(int(name[:4]), int(name[5:]))

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    def next(self) -> Self:
        """Return the month after."""
        return type(self)(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def start_ms(self) -> int:
        """UTC milliseconds of its first moment."""
        return int(datetime(self.year, self.number, 1, tzinfo=UTC).timestamp()) * 1000

    @property
    def end_ms(self) -> int:
        """UTC milliseconds of the first moment after it."""
        return self.next().start_ms

    @property
    def table(self) -> str:
        """Name of its partition."""
        return f"reading_{self.year:04}_{self.number:02}"


def is_parted(session: Session) -> bool:
    """Tell whether readings stand in partitions here."""
    return session.connection().dialect.name == "postgresql"


def standing(session: Session) -> list[Month]:
    """Return the months that have a partition, in order."""
    rows = session.connection().execute(
        text(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'reading'::regclass"
        )
    )
    found = (_NAME.fullmatch(name) for (name,) in rows)
    return sorted(Month(int(each[1]), int(each[2])) for each in found if each)


def missing(session: Session, now_ms: int) -> list[Month]:
    """Return the months to give a partition: this, the next two, and those of strays.

    Strays are readings in the default partition. Nothing is missing on SQLite.
    """
    if not is_parted(session):
        return []
    wanted = [Month.at(now_ms)]
    for _ in range(2):
        wanted.append(wanted[-1].next())
    at = _DEFAULT.c.answered_ms
    name = func.to_char(func.timezone("UTC", func.to_timestamp(at / 1000)), "YYYY-MM")
    strays = session.connection().scalars(
        select(name).distinct().where(at.between(0, Month(_LAST_YEAR, 12).start_ms - 1))
    )
    there = standing(session)
    return sorted({*wanted, *map(Month.parse, strays)} - {*there})


def add(session: Session, month: Month) -> None:
    """Give a month its partition, and move there what of it stands in the default one.

    Ingest waits for the move, so months are added ahead, while there is nothing to move.
    """
    run = session.connection().execute
    run(text(_LOCK_TIMEOUT))
    run(text(f"LOCK TABLE {_DEFAULT} IN ACCESS EXCLUSIVE MODE"))
    if month in standing(session):  # another worker was first, and is waited for above
        return
    run(text(f"CREATE TABLE {month.table} (LIKE reading INCLUDING ALL)"))
    inside = _DEFAULT.c.answered_ms.between(month.start_ms, month.end_ms - 1)
    moved = delete(_DEFAULT).where(inside).returning(*_DEFAULT.c).cte("moved")
    run(insert(_part(month.table)).from_select(_COLUMNS, select(moved)))
    _attach(session, month)


def keep_only(session: Session, month: Month, kept: ColumnElement[bool]) -> None:
    """Leave of a month what is ``kept``: its partition is written anew and the old one dropped.

    Writes into this month wait meanwhile; other months' only while the two change places.
    """
    run = session.connection().execute
    run(text(_LOCK_TIMEOUT))
    run(text(f"LOCK TABLE {month.table} IN SHARE MODE"))
    run(text("CREATE TABLE reading_kept (LIKE reading INCLUDING ALL)"))
    inside = READING.c.answered_ms.between(month.start_ms, month.end_ms - 1)
    fresh = insert(_part("reading_kept"))
    run(fresh.from_select(_COLUMNS, select(READING).where(inside, kept)))
    run(text(f"ALTER TABLE reading DETACH PARTITION {month.table}"))
    run(text(f"DROP TABLE {month.table}"))
    run(text(f"ALTER TABLE reading_kept RENAME TO {month.table}"))
    _attach(session, month)


def _attach(session: Session, month: Month) -> None:
    """Make a table the month's partition; with its bounds checked, attaching reads no row."""
    run = session.connection().execute
    check, bounds = f"{month.table}_month", (month.start_ms, month.end_ms)
    run(
        text(
            f"ALTER TABLE {month.table} ADD CONSTRAINT {check} CHECK (answered_ms IS NOT NULL "
            f"AND answered_ms >= {bounds[0]} AND answered_ms < {bounds[1]})"
        )
    )
    run(
        text(
            f"ALTER TABLE reading ATTACH PARTITION {month.table} "
            f"FOR VALUES FROM ({bounds[0]}) TO ({bounds[1]})"
        )
    )
    run(text(f"ALTER TABLE {month.table} DROP CONSTRAINT {check}"))


def scrub(database: Database, months: Sequence[Month]) -> None:
    """Let no byte of removed readings stay in the database's files.

    SQLite's file is written anew and its write-ahead log emptied; on PostgreSQL that is done to
    the months' partitions and to what else held readings. What is written meanwhile waits.

    Raises:
        DatabaseUnavailableError: somebody reads or writes for too long: try again.
    """
    if database.engine.dialect.name != "postgresql":
        database.compact()
        return
    with database.read() as session:
        there = set(standing(session))
    tables = [month.table for month in months if month in there]
    others = ("equivocation", "forecast", "gateway_event", "meter_change", "notice")
    database.compact([*tables, _DEFAULT.name, *others])


def size_bytes(session: Session, month: Month) -> int | None:
    """Return what a month's partition takes on the disk; None where it has none of its own."""
    if not is_parted(session) or month not in standing(session):
        return None
    found = session.connection().execute(select(func.pg_total_relation_size(month.table)))
    return int(found.scalar_one())
