"""A past in bulk: copies of one settled interval, laid before it by the database itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    column,
    insert,
    literal,
    select,
    table,
    text,
)
from sqlmodel import SQLModel

from app.db import Database
from market.settled import Span, buckets
from metering.interval import Interval

_TABLES: Final = (
    "interval",
    "slot",
    "market_order",
    "trade",
    "interval_statement",
    "settlement_line",
    "settled",
    "journal_entry",
    "payment",
)
_HISTORY: Final = table("history", column("key"), column("sign"))


def fill(database: Database, model: str, *, days: int, skip: int = 0) -> None:
    """Copy interval ``model`` to all those of ``days`` days that end ``skip`` days before it."""
    last = Interval.parse(model)
    keys = [
        Interval(last.start - timedelta(days=skip) - number * timedelta(minutes=15)).key
        for number in range(1, 96 * days + 1)
    ]
    with database.write() as session:
        connection = session.connection()
        connection.execute(text("CREATE TEMPORARY TABLE history (key TEXT, sign INTEGER)"))
        connection.execute(
            text("INSERT INTO history VALUES (:key, :sign)"),
            [{"key": key, "sign": 1 - number % 2 * 2} for number, key in enumerate(keys)],
        )
        for name in _TABLES:
            _copy(connection, name, model)
        _copy_postings(connection, model)
        _copy_rollups(connection, model, keys)
        connection.execute(text("DROP TABLE history"))
    if database.engine.dialect.name == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as raw:
            raw.execute(text("VACUUM ANALYZE"))  # as its daemon does sooner or later


def _differs(name: str, own: Table) -> dict[str, ColumnElement[object]]:
    """Return what differs from the model: what is unique by itself, and some money.

    Every other interval's is of the other sign, so that a year leaves the wallets where they are.
    """
    found: dict[str, dict[str, ColumnElement[object]]] = {
        "interval": {"state": literal("final"), "anchor": literal("confirmed")},
        "journal_entry": {"ref": _HISTORY.c.key},
        "payment": {"ref": _HISTORY.c.key + "/0", "state": literal("confirmed")},
        "settlement_line": {"micro": _HISTORY.c.sign * own.c.get("micro", literal(0))},
        "interval_statement": {"payload": literal(b"{}")},
    }
    return found.get(name, {})


def _copy(connection: Connection, name: str, model: str) -> None:
    own = SQLModel.metadata.tables[name]
    at = "key" if name == "interval" else "interval"
    values = {c.name: c for c in own.columns if c.name != "id"} | _differs(name, own)
    values[at] = _HISTORY.c.key
    rows = select(*values.values()).select_from(_HISTORY.join(own, own.c[at] == model))
    connection.execute(insert(own).from_select(list(values), rows.order_by(_HISTORY.c.key)))


def _copy_postings(connection: Connection, model: str) -> None:
    connection.execute(
        text(
            "INSERT INTO posting (entry, account, micro) SELECT e.id, p.account, h.sign * p.micro "
            "FROM history h JOIN journal_entry e ON e.interval = h.key "
            "JOIN journal_entry o ON o.interval = :model AND o.kind = e.kind "
            "JOIN posting p ON p.entry = o.id"
        ),
        {"model": model},
    )


def _copy_rollups(connection: Connection, model: str, keys: list[str]) -> None:
    zone = ZoneInfo("Europe/Berlin")
    here = buckets(Interval.parse(model), zone)
    own = SQLModel.metadata.tables["rollup"]
    for number, span in enumerate(Span):
        of_model = select(own).where(own.c.span == span.value, own.c.start == here[number].start)
        rows = [dict(row) for row in connection.execute(of_model).mappings()]
        of_span = select(own.c.start).where(own.c.span == span.value).distinct()
        there = set(connection.execute(of_span).scalars())  # of the model, or of an earlier filling
        starts = {buckets(Interval.parse(key), zone)[number].start for key in keys} - there
        fresh = [{**row, "start": start} for start in sorted(starts) for row in rows]
        if fresh:
            connection.execute(insert(own), fresh)
