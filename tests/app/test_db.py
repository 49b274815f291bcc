"""The database's two kinds of transaction, and what it says when it does not answer."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, InternalError
from sqlmodel import SQLModel, select

from app import db as module
from app.db import Database, DatabaseInputError, DatabaseUnavailableError
from app.tables import GatewayRow, ParticipantRow, SlotRow


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    database = Database(sqlite_url)
    database.migrate()
    yield database
    database.close()


def names(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.exec(select(GatewayRow.name)))


def gateway(name: str) -> GatewayRow:
    return GatewayRow(key=name * 4, name=name)


def test_migrating_again_changes_nothing_and_gives_every_table(database: Database) -> None:
    with database.write() as session:
        session.add(gateway("a"))
    database.migrate()
    assert names(database) == {"a"}
    with database.read() as session:
        for table in SQLModel.metadata.tables.values():
            session.execute(select(table))


def test_a_write_is_whole_or_nothing(database: Database) -> None:
    with database.write() as session:
        session.add(gateway("kept"))
    with pytest.raises(IntegrityError), database.write() as session:
        session.add_all([gateway("lost"), gateway("kept")])
    assert names(database) == {"kept"}


def test_what_a_reading_session_writes_is_not_kept(database: Database) -> None:
    with suppress(InternalError), database.read() as session:  # PostgreSQL refuses at once
        session.add(gateway("never"))
        session.flush()
    assert names(database) == set()


def test_foreign_keys_hold(database: Database) -> None:
    slot = SlotRow(
        interval="2026-06-23T09:00:00Z", point="0" * 18, position=0, enrolment=1, tariff="",
        estimated=True, import_wh=0, export_wh=0, salt=b"", count=0, readings_root=b"", leaf=b"",
    )  # fmt: skip
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(slot)


def test_large_integers_fit(database: Database) -> None:
    """A district's limits and energies are beyond 32 bits."""
    with database.write() as session:
        session.add(
            ParticipantRow(id="p", name="P", account=1, address="00", credit_limit_micro=10**12)
        )
    with database.read() as session:
        assert session.get_one(ParticipantRow, "p").credit_limit_micro == 10**12
    for number in (10**19, -(10**25)):
        wide = ParticipantRow(id="w", name="W", account=2, address="01", credit_limit_micro=number)
        with pytest.raises(DatabaseInputError), database.write() as session:
            session.add(wide)


def test_a_connection_is_given_back(database: Database) -> None:
    for _ in range(40):  # more than a pool holds
        names(database)
        with pytest.raises(ZeroDivisionError), database.write():
            raise ZeroDivisionError


# --- SQLite --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)]
)
def test_sqlites_settings_on_every_connection(sqlite: Database, pragma: str, value: object) -> None:
    with sqlite.read() as one, sqlite.read() as other:
        for session in (one, other):
            assert session.execute(text(f"PRAGMA {pragma}")).scalar_one() == value


def test_transactions_begin_as_they_mean_to_go_on(sqlite: Database) -> None:
    said: list[str] = []
    event.listen(sqlite.engine, "before_cursor_execute", lambda _c, _cu, sql, *_: said.append(sql))
    with sqlite.write() as session:
        session.exec(select(GatewayRow))
    with sqlite.read() as session:
        session.exec(select(GatewayRow))
    assert [sql for sql in said if sql.startswith("BEGIN")] == ["BEGIN IMMEDIATE", "BEGIN"]


def test_writers_queue_and_lose_nothing(database: Database) -> None:
    """Read, then write, from many threads: each sees what the one before wrote."""
    with database.write() as session:
        session.add(ParticipantRow(id="p", name="P", account=1, address="00", credit_limit_micro=0))

    def add() -> None:
        for _ in range(10):
            with database.write() as session:
                query = select(ParticipantRow).with_for_update()
                session.exec(query).one().credit_limit_micro += 1

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.get_one(ParticipantRow, "p").credit_limit_micro == 40


def test_readers_go_on_beside_a_writer(database: Database) -> None:
    with database.write() as session:
        session.add(gateway("a"))
        session.flush()
        assert names(database) == set()
    assert names(database) == {"a"}


def test_a_locked_database_is_unavailable(
    sqlite: Database, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUSY_TIMEOUT_S", 0.05)
    impatient = Database(sqlite_url)
    with sqlite.write() as session:
        session.add(gateway("a"))
        session.flush()
        with (
            pytest.raises(DatabaseUnavailableError, match="try again"),
            impatient.write() as second,
        ):
            second.exec(select(GatewayRow))
    with impatient.write() as session:
        session.add(gateway("b"))
    assert names(sqlite) == {"a", "b"}
    impatient.close()


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'nowhere' / 'district.db'}")
    with pytest.raises(DatabaseUnavailableError), database.read() as session:
        session.exec(select(GatewayRow))


def test_a_server_that_is_not_there_is_unavailable() -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailableError), database.read() as session:
        session.exec(select(GatewayRow))
    database.close()


def test_other_programs_can_read_along(sqlite: Database, sqlite_url: str) -> None:
    with sqlite.write() as session:
        session.add(gateway("a"))
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    assert connection.execute("SELECT name FROM gateway").fetchall() == [("a",)]
    connection.close()
