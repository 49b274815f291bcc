"""Many rows at once, as plain values: an object per row costs more than all else of a quarter."""

from __future__ import annotations

import json
import typing
from collections.abc import Collection, Mapping, Sequence

import psycopg
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    String,
    Table,
    bindparam,
    case,
    cast,
    column,
    func,
    insert,
    select,
)
from sqlalchemy import table as lightweight
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapped
from sqlmodel import Session, SQLModel


def insert_all(
    session: Session, table: type[SQLModel], rows: Sequence[Mapping[str, object]]
) -> None:
    """Insert rows; each names the same columns, in particular all that have no default."""
    if rows:
        session.connection().execute(insert(table), list(rows))


def one_of(
    session: Session, of: Mapped[str] | ColumnElement[str], values: Collection[str]
) -> ColumnElement[bool]:
    """Say that a column is one of some texts: one parameter, however many they are."""
    given = bindparam(None, json.dumps(list(values)), String)
    if session.connection().dialect.name == "postgresql":
        listed = func.json_array_elements_text(cast(given, JSON))
    else:
        listed = func.json_each(given)
    return of.in_(select(listed.table_valued("value").c.value))


def append(
    session: Session, table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Insert rows of plain values, which nothing converts on their way to the driver.

    By COPY on PostgreSQL, by the driver's own loop on SQLite: for ingest, where a look at each
    parameter costs as much as the row.

    Args:
        session: in a writing transaction.
        table: where to.
        columns: which of its columns.
        rows: any number, each with a value per column.

    Raises:
        DBAPIError: as from any statement.
    """
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        _copy(connection, table, columns, rows)
    else:
        statement = insert(lightweight(table.name, *map(column, columns)))  # in their given order
        text = str(statement.compile(dialect=connection.dialect))
        connection.exec_driver_sql(text, list(map(tuple, rows)))


def _copy(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    driver = typing.cast("psycopg.Connection[object]", connection.connection.driver_connection)
    statement = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    kinds = [table.c[name].type.compile(dialect=connection.dialect).lower() for name in columns]
    try:
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types(kinds)
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        # As SQLAlchemy raises what happens within its own statements, which this is none of.
        raise DBAPIError.instance(
            statement, None, error, psycopg.Error, dialect=connection.dialect
        ) from error


def insert_once(session: Session, table: str, rows: Sequence[Mapping[str, object]]) -> int:
    """Insert the rows whose unique columns are not taken yet; the others stand already.

    Returns how many are new.
    """
    if not rows:
        return 0
    statement = dialect_insert(session, SQLModel.metadata.tables[table]).on_conflict_do_nothing()
    return session.connection().execute(statement, list(rows)).rowcount


def put(session: Session, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert rows; where one of this primary key stands, it becomes what is given."""
    if rows:
        statement = dialect_insert(session, table)
        amounts = [column.name for column in table.columns if not column.primary_key]
        given = {name: statement.excluded[name] for name in amounts}
        session.connection().execute(_upsert(statement, table, given), list(rows))


def add_to(
    session: Session,
    table: Table,
    rows: Sequence[Mapping[str, object]],
    *,
    highest: Sequence[str] = (),
    lowest: Sequence[str] = (),
) -> None:
    """Insert rows; where one of this primary key stands, add to it.

    Of the columns ``highest`` and ``lowest`` the higher and the lower value is kept. Two writers
    who bring rows in the same order wait for each other and never lock each other out.
    """
    if not rows:
        return
    statement = dialect_insert(session, table)
    given = statement.excluded

    def now(name: str) -> ColumnElement[int]:
        old: ColumnElement[int] = table.c[name]
        new: ColumnElement[int] = given[name]
        if name in highest:
            return case((new > old, new), else_=old)
        if name in lowest:
            return case((new < old, new), else_=old)
        return old + new

    amounts = [column.name for column in table.columns if not column.primary_key]
    upsert = _upsert(statement, table, {name: now(name) for name in amounts})
    session.connection().execute(upsert, list(rows))


def dialect_insert(session: Session, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an insert that may say what to do where a row of this key stands."""
    name = session.connection().dialect.name
    return postgresql.insert(table) if name == "postgresql" else sqlite.insert(table)


def _upsert(
    statement: sqlite.Insert | postgresql.Insert,
    table: Table,
    values: Mapping[str, ColumnElement[int]],
) -> sqlite.Insert | postgresql.Insert:
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_=dict(values)
    )
