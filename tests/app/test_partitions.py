"""Readings by month on PostgreSQL: every month is storable, a number is taken once for good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from app.db import MIGRATIONS, Database
from app.store import chain, partitions
from app.store.partitions import READING, Month
from app.tables import ReadingRow, ReceiptBatchRow
from metering.interval import Interval, to_ms
from tests.app.doorway import District

JUNE, JULY, MAY = Month(2026, 6), Month(2026, 7), Month(2026, 5)
FAR = Month(9999, 12).start_ms  # beyond what a partition is named for


@pytest.fixture
def parted(laid_postgres_url: str) -> Iterator[Database]:
    database = Database(laid_postgres_url)
    with database.write() as session:
        for month in partitions.standing(session):
            session.execute(text(f"DROP TABLE {month.table}"))
        session.add(ReceiptBatchRow(id=1, root=b"", size=1, key="", signature=b"", window_ms=0))
    yield database
    database.close()


def row(seq: int, at_ms: int, **fields: object) -> ReadingRow:
    values: dict[str, object] = {
        "key": "aa", "epoch": 1, "seq": seq, "point": "5" * 18, "answered_ms": at_ms,
        "quality": "measured", "flags": "", "payload": b"p", "signature": b"s", "link": b"l",
        "prev": b"", "salt": b"x", "leaf": b"f", "seal_interval": Interval.containing_ms(0).key,
        "received_ms": 0, "receipt_batch": 1, "receipt_index": 0, "receipt_path": b"",
    }  # fmt: skip
    return ReadingRow(**values | fields)


def counts(database: Database) -> Mapping[str, int]:
    """How many readings stand in each partition."""
    query = "SELECT tableoid::regclass::text, count(*) FROM reading GROUP BY 1"
    with database.read() as session:
        return {str(name): int(count) for name, count in session.execute(text(query))}


def add_months(database: Database, now_ms: int) -> Sequence[Month]:
    with database.read() as session:
        found = partitions.missing(session, now_ms)
    for month in found:
        with database.write() as session:
            partitions.add(session, month)
    return found


def test_every_month_is_storable_and_gets_its_partition(parted: Database) -> None:
    times = [JUNE.start_ms - 1, JUNE.start_ms, JUNE.end_ms - 1, JUNE.end_ms, -5, FAR]
    with parted.write() as session:
        session.add_all([row(seq, at_ms) for seq, at_ms in enumerate(times, 1)])
    assert counts(parted) == {"reading_default": 6}
    assert add_months(parted, JUNE.start_ms) == [MAY, JUNE, JULY, Month(2026, 8)]
    assert counts(parted) == {MAY.table: 1, JUNE.table: 2, JULY.table: 1, "reading_default": 2}
    assert add_months(parted, JUNE.start_ms) == []
    with parted.write() as session:
        session.add(row(7, JULY.start_ms))
    assert counts(parted)[JULY.table] == 2
    with parted.read() as session:
        assert [each.seq for each in session.exec(select(ReadingRow).order_by("seq"))] == [
            1, 2, 3, 4, 5, 6, 7,
        ]  # fmt: skip


def test_a_number_is_taken_once_over_all_months_and_for_good(parted: Database) -> None:
    add_months(parted, JUNE.start_ms)
    with parted.write() as session:
        session.add(row(1, JUNE.start_ms))
    for at_ms in (JUNE.start_ms, JULY.start_ms, FAR):
        with pytest.raises(IntegrityError), parted.write() as session:
            session.add(row(1, at_ms))
    with parted.write() as session:
        session.execute(text(f"DROP TABLE {JUNE.table}"))  # a month that nothing is left of
    with pytest.raises(IntegrityError), parted.write() as session:
        session.add(row(1, JULY.start_ms))
    with parted.write() as session:
        session.add(row(1, JULY.start_ms, epoch=2))


def test_a_month_is_written_anew_with_what_stays(parted: Database) -> None:
    add_months(parted, JUNE.start_ms)
    with parted.write() as session:
        session.add_all([row(seq, JUNE.start_ms + seq) for seq in range(1, 7)])
        session.add(row(7, JULY.start_ms))
    with parted.write() as session:
        partitions.keep_only(session, JUNE, READING.c.seq % 2 == 0)
    for _ in range(2):  # and again: it is a partition like every other
        assert counts(parted) == {JUNE.table: 3, JULY.table: 1}
        with parted.write() as session:
            partitions.keep_only(session, JUNE, READING.c.seq > 0)
    with parted.write() as session:
        session.add(row(8, JUNE.start_ms + 8))
    with pytest.raises(IntegrityError), parted.write() as session:
        session.add(row(2, JUNE.start_ms + 9))
    with pytest.raises(IntegrityError), parted.write() as session:
        session.add(row(9, JUNE.start_ms, receipt_batch=5))  # the foreign key holds in it, too


def test_neighbours_are_found_across_months_in_their_partitions_alone(parted: Database) -> None:
    add_months(parted, JUNE.start_ms)
    with parted.write() as session:
        session.add_all([row(1, MAY.start_ms), row(2, JUNE.start_ms), row(9, JULY.start_ms)])
    with parted.read() as session:
        assert neighbours(session, "aa", [3, 4]) == {2, 9}
        assert neighbours(session, "aa", [1]) == {1, 2}
        assert neighbours(session, "bb", [1]) == set()
    with parted.read() as session:
        assert neighbours(session, "aa", [12]) == {9}


def neighbours(session: Session, key: str, seqs: Sequence[int]) -> set[int]:
    return set(chain.around(session, {(key, 1): seqs})[key, 1])


def test_a_look_at_a_time_reads_its_month_alone(parted: Database) -> None:
    add_months(parted, JUNE.start_ms)
    with parted.read() as session:
        at = READING.c.answered_ms.between(JULY.start_ms, JULY.start_ms + 10_000)
        query = select(READING.c.id).where(at)
        spelled = query.compile(parted.engine, compile_kwargs={"literal_binds": True})
        told = session.connection().exec_driver_sql(f"EXPLAIN {spelled}")
        plan = " ".join(line for (line,) in told)
        assert JULY.table in plan
        assert JUNE.table not in plan


def test_rows_of_before_are_all_there_after(postgres_url: str) -> None:
    """A database of the revision before comes over whole, and goes back whole."""
    database = Database(postgres_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))

    def to(revision: str, how: object = command.upgrade) -> None:
        with database.engine.connect() as connection:
            config.attributes["connection"] = connection
            how(config, revision)

    to("0005")
    times = [MAY.start_ms, JUNE.start_ms - 1, JUNE.start_ms, JULY.end_ms, -1, FAR, to_ms_of(1970)]
    with database.write() as session:
        session.add(ReceiptBatchRow(id=1, root=b"", size=1, key="", signature=b"", window_ms=0))
        session.flush()
        session.add_all([row(seq, at_ms) for seq, at_ms in enumerate(times, 1)])
    before = everything(database)
    to("head")
    assert everything(database) == before
    assert counts(database)["reading_default"] == 2
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(row(3, JULY.start_ms))
    with database.write() as session:
        session.add(row(8, JULY.start_ms))  # ids go on where they were
    before = everything(database)
    to("0005", command.downgrade)
    assert everything(database) == before
    database.close()


def to_ms_of(year: int) -> int:
    return to_ms(Interval.containing_ms(0).start) if year == 1970 else Month(year, 1).start_ms


def everything(database: Database) -> list[object]:
    with database.read() as session:
        return list(session.execute(text("SELECT * FROM reading ORDER BY id")).all())


def test_sqlite_keeps_its_table(tmp_path: Path) -> None:
    district = District(f"sqlite:///{tmp_path / 'one.db'}", count=1)
    with district.database.read() as session:
        assert not partitions.is_parted(session)
        assert partitions.missing(session, JUNE.start_ms) == []
    district.database.close()


@pytest.mark.parametrize(
    ("at_ms", "name"),
    [(MAY.end_ms - 1, "2026-05"), (MAY.end_ms, "2026-06"), (0, "1970-01")],
)
def test_a_month_holds_its_moments(at_ms: int, name: str) -> None:
    month = Month.at(at_ms)
    assert (str(month), Month.parse(name)) == (name, month)
    assert month.start_ms <= at_ms < month.end_ms
