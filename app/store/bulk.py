"""Many rows at once, as plain values: an object per row costs more than all else of a quarter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Table, case, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel


def insert_all(
    session: Session, table: type[SQLModel], rows: Sequence[Mapping[str, object]]
) -> None:
    """Insert rows; each names the same columns, in particular all that have no default."""
    if rows:
        session.connection().execute(insert(table), list(rows))


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
    statement = _insert(session, table)
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
    upsert = statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: now(name) for name in amounts},
    )
    session.connection().execute(upsert, list(rows))


def _insert(session: Session, table: Table) -> sqlite.Insert | postgresql.Insert:
    name = session.connection().dialect.name
    return postgresql.insert(table) if name == "postgresql" else sqlite.insert(table)
