"""The journal as a file: every posting once, times in UTC, a sum, and never half a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from app.commands import journal_export, journal_sinks
from app.commands.journal_export import Asked, Format, JournalExportError, export_journal
from app.db import Database
from app.store import journal
from app.tables import DistrictRow, ParticipantRow
from market.journal import entry_of
from tests.app.district_kit import TOP_UP, Kit
from tests.app.schema import lay_tables

RECEIVABLE = "receivable:a"
TRADE = {"solar": (0, 900), "flat": (300, 0), "shop": (0, 0)}


def ms(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Three entries around a local month's end, one of them with a name that is a formula."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('journal') / 'a.db'}")
    lay_tables(database)
    entries = (
        ("2026-06-30T21:59:59.999+00:00", "top-up", [("wallet:=x", 7), ("bank", -7)], None),
        ("2026-06-30T22:00:00+00:00", "local", [("wallet:a", 5), ("wallet:=x", -5)], "T"),
        ("2026-07-02T00:00:00+00:00", "memo", [("receivable:a", -3), ("grid", 3)], "T"),
    )
    with database.write() as session:
        row = DistrictRow(
            origin="o", name="O", zone="Europe/Oslo", simulated=True, clock_ms=0, seed=1
        )
        session.add(row)
        session.add(
            ParticipantRow(id="a", name="A", account=1, address="00" * 32, credit_limit_micro=0)
        )
        for number, (moment, kind, moves, interval) in enumerate(entries):
            key = "2026-06-30T21:45:00Z" if interval else None
            entry = entry_of(f"r{number}", kind, moves)
            journal.book(session, entry, interval=key, booked_ms=ms(moment))
    yield database
    database.close()


def asked(out: Path, form: Format = "csv", **more: Any) -> Asked:
    return replace(Asked("", "", (), "", form, out, force=False), **more)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_each_form_holds_the_same(
    database: Database, tmp_path: Path, form: Format, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_export, "_STEP", step)
    out = tmp_path / "journal"
    totals = export_journal(database, "o", asked(out, form))
    assert (totals.postings, totals.micro) == (6, 0)
    due = [
        (1, 1, "r0", "top-up", None, "2026-06-30T21:59:59.999Z", "bank", -7),
        (2, 1, "r0", "top-up", None, "2026-06-30T21:59:59.999Z", "wallet:=x", 7),
        (3, 2, "r1", "local", "2026-06-30T21:45:00Z", "2026-06-30T22:00:00.000Z", "wallet:=x", -5),
        (4, 2, "r1", "local", "2026-06-30T21:45:00Z", "2026-06-30T22:00:00.000Z", "wallet:a", 5),
        (5, 3, "r2", "memo", "2026-06-30T21:45:00Z", "2026-07-02T00:00:00.000Z", "grid", 3),
        (6, 3, "r2", "memo", "2026-06-30T21:45:00Z", "2026-07-02T00:00:00.000Z", RECEIVABLE, -3),
    ]  # fmt: skip
    accounts = {"bank": -7, "grid": 3, "receivable:a": -3, "wallet:=x": 2, "wallet:a": 5}
    if form == "csv":
        head, *found, last = rows_of(out)
        assert tuple(head) == journal_sinks.COLUMNS
        assert found == [["" if cell is None else str(cell) for cell in row] for row in due]
        assert last == ["sum", "6", "", "", "", "", "", "0"]
    elif form == "json":
        told = json.loads(out.read_text())
        assert [tuple(row.values()) for row in told.pop("postings")] == due
        assert told == {"district": "o", "count": 6, "sum_micro": 0, "accounts": accounts}
    else:
        table = pq.read_table(out)
        numbers = ("posting", "entry", "micro")
        assert all(table.schema.field(name).type == pa.int64() for name in numbers)
        assert table.schema.field("booked_at").type == pa.timestamp("ms", tz="UTC")
        typed = [
            tuple(
                datetime.fromisoformat(cell).astimezone(UTC)
                if isinstance(cell, str) and cell.startswith("2026")
                else cell
                for cell in row
            )
            for row in due
        ]
        assert [tuple(row.values()) for row in table.to_pylist()] == typed
        told = pq.read_metadata(out).metadata
        assert told[b"wattloom_sum_micro"] == b"0"
        assert told[b"wattloom_postings"] == b"6"
        assert json.loads(told[b"wattloom_accounts"]) == accounts


@pytest.mark.parametrize(
    ("more", "postings"),
    [
        ({"begin": "2026-07"}, [3, 4, 5, 6]),
        ({"end": "2026-07"}, [1, 2]),
        ({"begin": "2026-07-01", "end": "2026-07-02"}, [3, 4]),
        ({"begin": "2026-07-02T02:00:00+02:00"}, [5, 6]),
        ({"begin": "2026-08"}, []),
        ({"accounts": ("wallet:",)}, [2, 3, 4]),
        ({"accounts": ("bank", "grid")}, [1, 5]),
        ({"participant": "a"}, [4, 6]),
        ({"participant": "a", "accounts": ("receivable:",)}, [6]),
    ],
)
def test_what_is_asked_for_is_written(
    database: Database, tmp_path: Path, more: dict[str, object], postings: Sequence[int]
) -> None:
    export_journal(database, "o", asked(tmp_path / "f", **more))
    assert [int(row[0]) for row in rows_of(tmp_path / "f")[1:-1]] == postings


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"begin": "2026-06-23T09:00:00"}, "does not say its offset"),
        ({"begin": "yesterday"}, "is no moment"),
        ({"end": "2026-13"}, "is no moment"),
        ({"begin": "2026-07", "end": "2026-07-01"}, "is not after"),
        ({"accounts": ("",)}, "--account is empty"),
        ({"accounts": ("wallet:", "wallet")}, "ever booked for wallet: look"),
        ({"participant": "nobody"}, "ever booked for nobody: look"),
    ],
)
def test_what_makes_no_sense_is_refused(
    database: Database, tmp_path: Path, more: dict[str, object], says: str
) -> None:
    with pytest.raises(JournalExportError, match=says):
        export_journal(database, "o", asked(tmp_path / "f", **more))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_only_when_asked_and_never_by_half_of_one(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "f.csv"
    out.write_text("mine")
    with pytest.raises(JournalExportError, match="is there already"):
        export_journal(database, "o", asked(out))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal_sinks.CsvSink, "close", full)
        with pytest.raises(OSError, match="No space"):
            export_journal(database, "o", asked(out, force=True))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    export_journal(database, "o", asked(out, force=True))
    assert len(rows_of(out)) == 8


def test_a_district_and_its_command(tmp_path: Path) -> None:
    kit = Kit(tmp_path, f"sqlite:///{tmp_path / 'district.db'}")
    kit.live(**TRADE)
    postings = kit.postings()
    kit.close()
    out = tmp_path / "out.csv"

    def run(*more: str) -> Result:
        line = ["export", "journal", "--data", str(tmp_path), "--out", str(out), *more]
        return CliRunner().invoke(cli, line)

    answer = run("--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told["sum_micro"] == 0
    assert told["accounts"]["bank"] == -3 * TOP_UP
    assert sum(told["accounts"].values()) == 0
    assert told["postings"] == len(rows_of(out)) - 2 == len(postings)
    again = run()
    assert again.exit_code == 1
    assert "add --force" in again.stderr
