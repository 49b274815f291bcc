"""The database: one engine per process, made when asked for, never at import.

SQLite (the default) runs in WAL with ``synchronous=FULL``; a writing transaction takes its lock at
BEGIN, so that two writers queue instead of failing half-way. PostgreSQL is chosen by URL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DataError, OperationalError
from sqlmodel import Session

MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_S = 30


class DatabaseError(Exception):
    """Root of the database's errors."""


class DatabaseUnavailableError(DatabaseError):
    """The database does not answer: retry later (503)."""


class DatabaseInputError(DatabaseError):
    """No column can hold a value, such as a text with a NUL: refuse what it came with (422)."""


class Database:
    """An engine and its two kinds of transaction."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _make_engine(url)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session in one writing transaction: all of it is committed, or nothing.

        Raises:
            DatabaseUnavailableError: locked or unreachable; nothing was written.
            DatabaseInputError: a value fits into no column; nothing was written.
        """
        with self._transaction(writing=True) as session:
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session in one reading transaction, a consistent view of the data.

        All its queries see the database as it was at the first one, whoever writes meanwhile:
        that is what SQLite does anyway, and PostgreSQL at REPEATABLE READ.

        Raises:
            DatabaseUnavailableError: locked or unreachable.
            DatabaseInputError: what is looked up could stand in no column.
        """
        with self._transaction(writing=False) as session:
            yield session

    @contextmanager
    def _transaction(self, *, writing: bool) -> Iterator[Session]:
        with _translated(), self.engine.connect() as connection:
            connection.execution_options(wattloom_writing=writing)
            if not writing and connection.dialect.name == "postgresql":
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with Session(connection, expire_on_commit=False) as session:
                yield session
                if writing:
                    session.commit()

    def migrate(self) -> None:
        """Bring the schema to the newest version (Alembic): all of it, or nothing; safe to repeat.

        Raises:
            DatabaseUnavailableError: locked or unreachable; nothing was written.
        """
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with _translated(), self.engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def compact(self, tables: Sequence[str] = ()) -> None:
        """Write anew what holds the rows, so that no byte of deleted ones stays in the files.

        On SQLite that is the whole file, and the write-ahead log is emptied; on PostgreSQL the
        given tables. Writers wait meanwhile, on PostgreSQL those to these tables.

        Raises:
            DatabaseUnavailableError: somebody holds it for too long: try again.
        """
        with _translated():
            if self.engine.dialect.name == "sqlite":
                _compact_sqlite(self.engine)
                return
            with self.engine.connect() as connection:
                alone = connection.execution_options(isolation_level="AUTOCOMMIT")
                for table in tables:
                    alone.exec_driver_sql(f'VACUUM (FULL) "{table}"')

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise DatabaseUnavailableError(
            f"the database does not answer ({error.orig}); nothing was written: try again"
        ) from error
    except (DataError, UnicodeEncodeError, OverflowError) as error:
        raise DatabaseInputError(
            "a text holds a character that none may hold (such as NUL), or a number is too large; "
            "nothing was written: mend it"
        ) from error


def _make_engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(
        url, connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False}
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(dbapi_connection: Any, _record: object) -> None:
    # The driver must not open transactions by itself: _begin_sqlite says which kind.
    dbapi_connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        dbapi_connection.execute(f"PRAGMA {pragma}")


def _compact_sqlite(engine: Engine) -> None:
    # Outside of any transaction, which SQLAlchemy would begin: the driver's own connection.
    with closing(engine.raw_connection()) as pooled, closing(pooled.cursor()) as cursor:
        try:
            cursor.execute("VACUUM")
            busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            raise DatabaseUnavailableError(
                f"the database cannot be compacted now ({error}): try again"
            ) from error
    if busy:
        raise DatabaseUnavailableError(
            "somebody reads the database, so that its write-ahead log still holds what was "
            "deleted: try again"
        )


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("wattloom_writing", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
