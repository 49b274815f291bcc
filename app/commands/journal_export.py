"""``wattloom export journal``: postings as CSV, JSON or Parquet, a few thousand at a time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import BinaryIO, Final, Literal
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.commands.journal_sinks import CsvSink, JsonSink, ParquetSink, Sink, Totals
from app.db import Database
from app.files.output import written
from app.store import journal, months
from app.store.journal import Wanted

Format = Literal["csv", "json", "parquet"]

_STEP: Final = 5_000
_SINKS: Final[dict[str, Callable[[BinaryIO, str], Sink]]] = {
    "csv": CsvSink,
    "json": JsonSink,
    "parquet": ParquetSink,
}


class JournalExportError(Exception):
    """Nothing was written: mend what the message names and run it again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line said."""

    begin: str
    end: str
    accounts: Sequence[str]
    participant: str
    form: Format
    out: Path
    force: bool


def export_journal(database: Database, origin: str, asked: Asked) -> Totals:
    """Write the postings that were asked for; return what they come to.

    Raises:
        JournalExportError: a moment that is none, a file that stands already, or entries that do
            not sum to 0; no file is left.
        OSError: the file cannot be written; no file is left.
    """
    if asked.out.exists() and not asked.force:
        raise JournalExportError(f"{asked.out} is there already: name another file, or add --force")
    with database.read() as session, written(asked.out, force=asked.force) as file:
        wanted = _wanted(asked, months.zone_of(session))
        if unknown := journal.unknown(session, wanted):
            raise JournalExportError(
                f"nothing was ever booked for {', '.join(unknown)}: look for a typing error; an "
                "account is one such as bank or wallet:home-5, and wallet: means all that begin so"
            )
        total = journal.count(session, wanted)
        sink = _SINKS[asked.form](file, origin)
        chunk: list[journal.Booked] = []
        with _shown(total) as advance:
            for row in journal.stream(session, wanted):
                chunk.append(row)
                if len(chunk) == _STEP:
                    sink.write(chunk)
                    advance(len(chunk))
                    chunk = []
            sink.write(chunk)
            advance(len(chunk))
        totals = sink.close()
        if wanted.is_whole_entries and totals.micro:
            raise JournalExportError(
                f"whole entries sum to {totals.micro} micro-euros instead of 0: stop settlement "
                "and ask a person; no file was written"
            )
    return totals


def totals_json(asked: Asked, totals: Totals) -> str:
    """Return what was written as one line: the file, the sum, and the total of each account."""
    return json.dumps(
        {
            "file": str(asked.out),
            "postings": totals.postings,
            "sum_micro": totals.micro,
            "accounts": dict(sorted(totals.accounts.items())),
        },
        ensure_ascii=False,
    )


@contextmanager
def _shown(total: int) -> Iterator[Callable[[int], None]]:
    """Yield how to tell that postings were written; the bar is on a terminal's stderr alone."""
    columns = (TextColumn("postings"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("postings", total=total)
        yield lambda more: progress.advance(task, more)


def _wanted(asked: Asked, zone: ZoneInfo) -> Wanted:
    begin = _moment_ms(asked.begin, "--from", zone) if asked.begin else None
    end = _moment_ms(asked.end, "--to", zone) if asked.end else None
    if begin is not None and end is not None and end <= begin:
        raise JournalExportError(f"--to {asked.end} is not after --from {asked.begin}")
    unknown = Counter(asked.accounts)[""]
    if unknown:
        raise JournalExportError("--account is empty: name one, such as bank or wallet:home-5")
    return Wanted(begin, end, tuple(asked.accounts), asked.participant)


def _moment_ms(text: str, option: str, zone: ZoneInfo) -> int:
    """Return a month's or day's local beginning, or a moment with its offset, in UTC ms."""
    with suppress(ValueError):
        return months.bounds_ms(text, zone)[0]
    with suppress(ValueError):
        day = date.fromisoformat(text)
        return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise JournalExportError(
                f"{option} {text} does not say its offset: end it with Z (UTC) or +02:00"
            )
        return int(moment.timestamp() * 1000)
    raise JournalExportError(
        f"{option} {text[:40]!r} is no moment: write 2026-06, 2026-06-23 (local) or "
        "2026-06-23T09:00:00Z"
    )
