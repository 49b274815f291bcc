"""A reading transaction sees one state of the data, whoever writes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.exc import InternalError
from sqlmodel import Session, col, select

from app.db import Database
from app.tables import GatewayRow


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.migrate()
    with database.write() as session:
        session.add(GatewayRow(key="00", name="first"))
    yield database
    database.close()


def _names(session: Session) -> list[str]:
    return list(session.exec(select(GatewayRow.name).order_by(col(GatewayRow.name))))


def _write(database: Database) -> None:
    with database.write() as session:
        session.add(GatewayRow(key="11", name="second"))
        session.get_one(GatewayRow, "00").name = "renamed"


def test_a_reader_sees_what_stood_when_it_began(database: Database) -> None:
    with database.read() as reader:
        assert _names(reader) == ["first"]
        _write(database)
        assert _names(reader) == ["first"]
    with database.read() as reader:
        assert _names(reader) == ["renamed", "second"]


def test_a_writer_still_sees_what_others_commit(database: Database) -> None:
    """The reader's isolation level does not stick to the pooled connection."""
    with database.read() as reader:
        _names(reader)
    _write(database)
    with database.write() as session:
        assert _names(session) == ["renamed", "second"]
        session.add(GatewayRow(key="22", name="third"))
    with database.read() as reader:
        assert _names(reader) == ["renamed", "second", "third"]


def test_postgresql_refuses_to_write_while_reading(postgres_url: str) -> None:
    database = Database(postgres_url)
    database.migrate()
    with database.write() as session:
        assert _isolation(session) == "read committed"
    with database.read() as session:
        assert _isolation(session) == "repeatable read"
        session.add(GatewayRow(key="33", name="never"))
        with pytest.raises(InternalError, match="read-only transaction"):
            session.flush()
    database.close()


def _isolation(session: Session) -> str:
    connection = session.connection()
    return str(connection.exec_driver_sql("SHOW transaction_isolation").scalar_one())
