"""A past in bulk: copies of one settled interval, laid before it by the database itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text
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
# What differs from the model: what is unique by itself, and money, of which every other interval
# has the other sign, so that a year of copies leaves the wallets where they are.
_DIFFERS: Final[Mapping[str, Mapping[str, str]]] = {
    "interval": {"key": "h.key", "state": "'final'", "anchor": "'confirmed'"},
    "journal_entry": {"ref": "h.key"},
    "payment": {"ref": "h.key || '/0'", "state": "'confirmed'"},
    "settlement_line": {"micro": "h.sign * m.micro"},
    "interval_statement": {"payload": "'{}'"},
}


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
        for table in _TABLES:
            _copy(connection, table, model)
        _copy_postings(connection, model)
        _copy_rollups(connection, model, keys)
        connection.execute(text("DROP TABLE history"))
    if database.engine.dialect.name == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as raw:
            raw.execute(text("VACUUM ANALYZE"))  # as its daemon does sooner or later


def _copy(connection: Connection, table: str, model: str) -> None:
    columns = [c.name for c in SQLModel.metadata.tables[table].columns if c.name != "id"]
    at = "key" if table == "interval" else "interval"
    differs = {at: "h.key"} | dict(_DIFFERS.get(table, {}))
    if table == "interval_statement" and connection.dialect.name == "postgresql":
        differs["payload"] = "'{}'::bytea"
    values = ", ".join(differs.get(name, f"m.{name}") for name in columns)
    connection.execute(
        text(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} "  # noqa: S608
            f"FROM history h, {table} m WHERE m.{at} = :model ORDER BY h.key"
        ),
        {"model": model},
    )


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
    columns = [c.name for c in SQLModel.metadata.tables["rollup"].columns]
    values = ", ".join(":start" if name == "start" else name for name in columns)
    for number, span in enumerate(Span):
        starts = {buckets(Interval.parse(key), zone)[number].start for key in keys}
        connection.execute(
            text(
                f"INSERT INTO rollup ({', '.join(columns)}) SELECT {values} FROM rollup "  # noqa: S608
                "WHERE span = :span AND start = :model ON CONFLICT DO NOTHING"
            ),
            [
                {"start": start, "span": span.value, "model": here[number].start}
                for start in sorted(starts)
            ],
        )
