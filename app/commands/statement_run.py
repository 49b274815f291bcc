"""What the commands of ``wattloom statement`` do once a house is open, and how they say it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from sqlmodel import Session

from app.bankfiles.identifiers import statement_reference
from app.commands import shared
from app.files.output import written
from app.files.statement_document import DocumentError, load
from app.jobs import statements as job
from app.services.dues import local_day
from app.services.house import House
from app.services.statements import issuing, paying, proving, reading
from app.services.statements.span import Span
from app.store import statements
from app.store.tariffs import UnknownTariffError
from app.tables import MonthlyStatementRow
from ledger_client.ledger import LedgerError
from market.dues import due_day
from market.errors import MarketError
from metering.localtime import LocalTimeError
from web import present
from web import statement_words as words
from web.ports.statements import Document, Line, Seal, StatementLine

_REFUSED: Final = (
    LocalTimeError,
    DocumentError,
    MarketError,
    LedgerError,
    UnknownTariffError,
    issuing.IssueError,
    proving.NotAnchoredError,
    reading.UnknownStatementError,
)
_CHUNK: Final = 100  # statements that are in memory at once
_FEW: Final = 20  # so many are written sooner here than by processes that have to start first


def run(settings: Path | None, data: Path | None, action: Callable[[House], int]) -> NoReturn:
    """Run a command of ``wattloom statement``: see :func:`app.commands.shared.run`."""
    shared.run("statement", settings, data, action, *_REFUSED)


def show_preview(house: House, month: str, only: str | None, *, as_json: bool) -> int:
    """Show what a month's statements would say now."""
    span = Span.of(month, house.settings.tz)
    with house.database.read() as session:
        found = issuing.due(house, session, span)
        everybody = [*found.now, *found.waiting]
        if only is not None and only not in everybody:
            issuing.chosen(found, span, only)
        chosen = sorted(everybody) if only is None else [only]
        documents = [
            document
            for chunk in _chunks(chosen)
            for document in reading.previews(house, session, span, chunk).values()
        ]
    if as_json:
        for document in documents:
            typer.echo(json.dumps(_row(document)))
        return 0
    _table(f"Preview of {words.month(month)}", [_row(each) for each in documents])
    if found.why_not:
        typer.echo(f"Not to be issued yet: {found.why_not}", err=True)
    elif not documents:
        issuing.chosen(found, span, only)
    return 0


def issue_month(house: House, month: str, only: str | None, *, as_json: bool) -> int:
    """Issue what is due of a month."""
    with _progress("Issuing") as tell:
        done = job.issue(house, month, "command", only=only, on_progress=tell)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "credit_notes": done.credit_notes,
                    "log_index": done.log_index,
                    "month": done.month,
                    "numbers": list(done.numbers),
                    "waiting": list(done.waiting),
                }
            )
        )
        return 0
    issued = present.count(len(done.numbers), "statement", "statements")
    notes = present.count(done.credit_notes, "credit note", "credit notes")
    typer.echo(
        f"Issued {issued} of {month}, {done.numbers[0]} to {done.numbers[-1]}, with {notes}; "
        f"log entry {done.log_index}"
    )
    if done.waiting:
        typer.echo(f"{len(done.waiting)} wait for the month's end", err=True)
    return 0


def list_issued(house: House, month: str | None, only: str | None, *, as_json: bool) -> int:
    """List issued statements."""
    if month is not None:
        Span.of(month, house.settings.tz)
    with house.database.read() as session:
        rows = [
            _row(load(row.payload)) | _standing(line, house)
            for row, line in _listed(house, session, month, only)
        ]
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
    elif rows:
        _table("Statements", rows, with_state=True)
    else:
        typer.echo("None is issued yet: see `wattloom statement preview MONTH`", err=True)
    return 0


def _listed(
    house: House, session: Session, month: str | None, only: str | None
) -> Sequence[tuple[MonthlyStatementRow, StatementLine]]:
    rows = [row for row, _ in statements.listed(session, month=month, participant=only)]
    return list(zip(rows, paying.lines(session, house, rows, {}), strict=True))


def _standing(line: StatementLine, house: House) -> dict[str, str | int]:
    return {
        "due_day": due_day(local_day(house, line.issued_ms)).isoformat(),
        "open_cents": line.open_cents,
        "overdue": line.overdue,
        "reference": statement_reference(line.number),
        "state": line.state,
    }


def show_one(house: House, number: str, *, as_json: bool) -> int:
    """Show one statement."""
    with house.database.read() as session:
        row, run_row = reading.find(session, number)
        seal = reading.seal_of(session, row, run_row)
    if as_json:
        typer.echo(row.payload.decode())
        return 0
    _show(load(row.payload), seal)
    return 0


def export_month(house: House, month: str, only: str | None, form: str, out: Path) -> int:
    """Write a month's statements to files."""
    span = Span.of(month, house.settings.tz)
    with house.database.read() as session:
        numbers = [
            number
            for who, number in statements.issued_to(session, span.month).items()
            if only in (None, who)
        ]
    if not numbers:
        raise issuing.NobodyError(f"no such statement of {month} is issued: see `statement list`")
    out.mkdir(parents=True, exist_ok=True)
    with _progress("Writing") as tell, _renderer(len(numbers)) as render:
        done = 0
        for chunk in _chunks(numbers):
            with house.database.read() as session:
                found = [reading.find(session, number) for number in chunk]
                jobs = [(r.payload, reading.seal_of(session, r, run_row)) for r, run_row in found]
            for number, content in zip(chunk, render(jobs, form), strict=True):
                with written(out / f"{number}.{form}", force=True) as file:
                    file.write(content)
                done += 1
                tell(done, len(numbers))
    typer.echo(f"{present.count(done, 'file', 'files')} written to {out}")
    return 0


def prove_one(house: House, number: str, out: Path, *, force: bool) -> int:
    """Write a statement's proof."""
    with house.database.read() as session:
        proof = proving.proof_of(session, number)
    with written(out, force=force) as file:
        file.write(f"{json.dumps(proof, indent=1, sort_keys=True)}\n".encode())
    typer.echo(f"{number}: its proof is written to {out}")
    return 0


Renderer = Callable[[Sequence[tuple[bytes, Seal]], str], Iterator[bytes]]


@contextmanager
def _renderer(count: int) -> Iterator[Renderer]:
    """Yield what renders statements in order: here, or of many by a process per core."""
    if count <= _FEW:
        yield lambda jobs, form: map(partial(_render, form), jobs)
        return
    workers = max(1, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield lambda jobs, form: pool.map(partial(_render, form), jobs, chunksize=5)


def _render(form: str, job_: tuple[bytes, Seal]) -> bytes:
    return reading.rendered(job_[0], job_[1], form)


def _chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(items), _CHUNK):
        yield items[at : at + _CHUNK]


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, total) that moves a bar on the terminal, if there is one."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _row(document: Document) -> dict[str, str | int]:
    note = document.credit_note
    return {
        "credit_note": note.number if note else "",
        "due_cents": document.due_cents,
        "final": document.final,
        "issued_day": document.issued_day,
        "month": document.month,
        "number": document.number,
        "participant": document.participant,
        "saving_micro": document.saving.month_micro,
    }


def _table(
    title: str, rows: Sequence[Mapping[str, str | int]], *, with_state: bool = False
) -> None:
    table = Table(title=title)
    for heading in ("Number", "Credit note", "Month", "Participant"):
        table.add_column(heading)
    for heading in ("To be paid", "Saved"):
        table.add_column(heading, justify="right")
    if with_state:
        table.add_column("Still open", justify="right")
        table.add_column("State")
    for row in rows:
        still = [words.euros(int(row["open_cents"])), _state(row)] if with_state else []
        table.add_row(
            *(Text(str(row[key])) for key in ("number", "credit_note", "month", "participant")),
            words.euros(int(row["due_cents"])),
            words.saving(int(row["saving_micro"])),
            *still,
        )
    Console().print(table)


def _state(row: Mapping[str, str | int]) -> str:
    late = f", overdue since {row['due_day']}" if row["overdue"] else ""
    return f"{row['state']}{late}"


def _show(document: Document, seal: Seal) -> None:
    console = Console()
    head = f"{document.number}: {document.recipient.name}, {words.month(document.month)}"
    console.print(Text(head, style="bold"))
    console.print(Text(words.outcome(document)))
    for section in document.sections:
        table = Table(title=Text(f"{section.name}, {section.point}"), title_justify="left")
        for heading in ("No.", "What", "Quantity", "Price, net", "Net", "Payee"):
            table.add_column(heading, justify="right" if heading[0] in "QPN" else "left")
        for line in section.lines:
            table.add_row(*map(Text, _cells(line)))
        console.print(table)
    for line in document.corrections:
        told = words.correction(line, document.period.zone)
        console.print(Text(f"{line.ref} {words.what(line)}: {words.amount(line)} of {told}"))
    parts = [(document.invoice, False), (document.credit_note, True)]
    for part, sold in parts:
        for text, cents, _ in words.totals(part, sold=sold) if part else ():
            console.print(Text(f"{text:<60}{words.euros(cents):>14}"))
    console.print(Text(f"Leaf {seal.leaf}, entry {seal.log_index} of the log"))


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.ref,
        words.what(line),
        words.quantity(line),
        words.price(line),
        words.amount(line),
        words.payee(line),
    )
