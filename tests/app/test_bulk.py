"""Rows in bulk: as they were given, and with the errors that any statement has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel, select

from app.db import Database, DatabaseInputError, DatabaseUnavailableError
from app.store import bulk
from app.tables import EvidenceRow, GatewayRow

GATEWAY = SQLModel.metadata.tables["gateway"]
EVIDENCE = SQLModel.metadata.tables["equivocation"]
COLUMNS = ("name", "key")  # another order than the table's


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.migrate()
    yield database
    database.close()


def names(database: Database) -> set[tuple[str, str]]:
    with database.read() as session:
        return {(row.name, row.key) for row in session.exec(select(GatewayRow))}


def append(database: Database, *rows: tuple[str, str]) -> None:
    with database.write() as session:
        bulk.append(session, GATEWAY, COLUMNS, rows)


def test_values_stand_as_they_were_given(database: Database) -> None:
    columns = ("seq", "epoch", "key", "link", "payload", "signature", "received_ms")
    given = [
        (2**53 - 1, 2**31 - 1, 'k"\\\n\tä€𝄞', b"\0\xff\\N\n", b"", b"1", -(2**63)),
        (1, 1, "", b'"', bytes(range(256)) * 40, b"2", 2**63 - 1),
    ]
    with database.write() as session:
        bulk.append(session, EVIDENCE, columns, [])
        bulk.append(session, EVIDENCE, columns, given)
    with database.read() as session:
        rows = session.exec(select(EvidenceRow).order_by("id")).all()
    assert [tuple(getattr(row, name) for name in columns) for row in rows] == given


def test_what_is_taken_leaves_nothing_of_the_rows(database: Database) -> None:
    append(database, ("a", "1"))
    with pytest.raises(IntegrityError):
        append(database, ("b", "2"), ("a", "3"))
    append(database, ("c", "4"))
    assert names(database) == {("a", "1"), ("c", "4")}


def test_what_the_database_cannot_hold_is_bad_input(database: Database) -> None:
    with pytest.raises(DatabaseInputError):
        append(database, ("a", "1"), ("lone \ud800", "2"))
    if database.engine.dialect.name == "postgresql":
        with pytest.raises(DatabaseInputError):
            append(database, ("a", "1"), ("nul \0", "2"))
    assert names(database) == set()


def append_over_a_cut_connection(database: Database) -> None:
    with database.write() as session:
        own = session.connection().execute(text("SELECT pg_backend_pid()")).scalar_one()
        cut = text("SELECT pg_terminate_backend(:own, 5000)")
        with database.write() as other:
            other.connection().execute(cut, {"own": own})
        bulk.append(session, GATEWAY, COLUMNS, [("a", "1")])


def test_a_cut_connection_is_an_outage_and_the_next_one_serves(laid_postgres_url: str) -> None:
    database = Database(laid_postgres_url)
    with pytest.raises(DatabaseUnavailableError):
        append_over_a_cut_connection(database)
    append(database, ("b", "2"))
    assert names(database) == {("b", "2")}
    database.close()
