"""``wattloom export``: what leaves the district's database as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from app.commands.shared import Data, Force, Settings, run

if TYPE_CHECKING:
    from app.services.house import House

export_cli = typer.Typer(
    help="Write parts of the district's database to files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@export_cli.command(
    epilog="Example: wattloom export interval 2026-06-23T09:00:00Z --data data/demo "
    "--out interval.json"
)
def interval(
    key: Annotated[str, typer.Argument(help="The interval's UTC start.", metavar="KEY")],
    *,
    out: Annotated[Path, typer.Option(help="Where the file goes.", metavar="FILE")],
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write everything that a sealed interval was cleared from, for `wattloom audit`.

    The file names everybody's orders, tariffs and statements: it is for an auditor, not for the
    public.
    """
    from app.commands.interval_export import export_interval
    from app.files.output import written

    def act(house: House) -> str:
        content = export_interval(house, key)
        with written(out, force=force) as file:
            file.write(content)
        return f"{out}: {key}, {len(content)} bytes"

    _run(settings, data, act)


@export_cli.command(
    epilog="Example: wattloom export journal --from 2026-06 --to 2026-07 --format parquet "
    "--out june.parquet --data data/demo"
)
def journal(
    *,
    out: Annotated[Path, typer.Option(help="Where the file goes.", metavar="FILE")],
    form: Annotated[
        Literal["csv", "json", "parquet"], typer.Option("--format", help="Form of the file.")
    ] = "csv",
    begin: Annotated[
        str, typer.Option("--from", help="Booked from this moment, local day or local month on.")
    ] = "",
    end: Annotated[
        str, typer.Option("--to", help="Booked before this moment, local day or local month.")
    ] = "",
    account: Annotated[
        list[str] | None,
        typer.Option(help="Only this account; `wallet:` names all of them. May be repeated."),
    ] = None,
    participant: Annotated[str, typer.Option(help="Only this participant's accounts.")] = "",
    force: Force = False,
    json: Annotated[bool, typer.Option("--json", help="Print each account's total.")] = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write the journal's postings, or some of them: times are UTC, amounts micro-euros.

    The file names everybody's accounts: it is for an accountant or an auditor.
    """
    from app.commands.journal_export import Asked, export_journal, totals_json

    def act(house: House) -> str:
        asked = Asked(begin, end, tuple(account or ()), participant, form, out, force)
        totals = export_journal(house.database, house.settings.origin, asked)
        if json:
            typer.echo(totals_json(asked, totals))
        return f"{out}: {totals.postings} postings, sum {totals.micro} micro-euros"

    _run(settings, data, act)


@export_cli.command(
    "month", epilog="Example: wattloom export month 2026-06 --data data/demo --out 2026-06.zip"
)
def month_(
    month: Annotated[str, typer.Argument(help="The local month.", metavar="MONTH")],
    *,
    out: Annotated[Path, typer.Option(help="Where the file goes.", metavar="FILE")],
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write everything that a month's statements rest on, for `wattloom audit`.

    The file holds everybody's readings, orders and statements: it is for an auditor.
    """
    from app.commands.audit_month import progress
    from app.commands.month_export import export_month

    def act(house: House) -> str:
        with progress("intervals") as told:
            count = export_month(house, month, out, force=force, told=told)
        return f"{out}: {month}, {count} intervals, {out.stat().st_size} bytes"

    _run(settings, data, act)


def _run(settings: Path | None, data: Path | None, action: Callable[[House], str]) -> NoReturn:
    from app.commands.interval_export import ExportError
    from app.commands.journal_export import JournalExportError

    def said(house: House) -> None:
        typer.echo(action(house), err=True)

    run("export", settings, data, said, ExportError, JournalExportError)
