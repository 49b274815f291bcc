"""``wattloom exchange``: values and master data as files, and who answers for which energy."""

from __future__ import annotations

import json as json_text
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.commands.shared import (
    ADMINISTRATOR,
    Data,
    Force,
    Json,
    Settings,
    run,
    show_json,
    show_table,
)

if TYPE_CHECKING:
    from app.services.exchange.values import Plan
    from app.services.house import House

exchange_cli = typer.Typer(
    help="Exchange 15-minute values and master data with others, as CSV.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = typer.Typer(help="Write files for others.", no_args_is_help=True)
_in = typer.Typer(help="Take files in: shown first, a whole file or none of it.")
exchange_cli.add_typer(_out, name="export")
exchange_cli.add_typer(_in, name="import", no_args_is_help=True)

_Mapping = Annotated[Path | None, typer.Option(help="TOML: how the file is written.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Write without asking.")]
_SHOWN = 20


@_out.command("values", epilog="Example: wattloom exchange export values 2026-06 --out june.csv")
def export_values(
    time: Annotated[str, typer.Argument(help="Local day or month: 2026-06-23 or 2026-06.")],
    *,
    out: Annotated[Path, typer.Option(help="Where the file goes.")],
    point: Annotated[
        list[str] | None, typer.Option(help="GSRN of a metering point; may be repeated.")
    ] = None,
    mapping: _Mapping = None,
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write the settled values of a day or month: per point and quarter-hour, as known now."""

    def act(house: House) -> None:
        from app.files.exchange_mapping import read_mapping
        from app.services.exchange.allocation import period
        from app.services.exchange.values import export

        by, when = read_mapping(mapping), period(time, house.settings.tz)
        with house.database.read() as session:
            lines = _write(out, export(session, house, when, point or (), by), force=force)
        typer.echo(f"{out}: {lines - 1} rows", err=True)

    _run(settings, data, act)


@_in.command(
    "values",
    epilog="Example: wattloom exchange import values june.csv --mapping mapping.toml "
    "--reason 'grid operator, letter of 3 July'",
)
def import_values(
    file: Annotated[Path, typer.Argument(help="The values, CSV.")],
    *,
    reason: Annotated[str, typer.Option(help="Who authorised the values, and why.")] = "",
    mapping: _Mapping = None,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Take authorised values in, in place of those known: they become corrections."""

    def act(house: House) -> None:
        from app.files.exchange_mapping import read_mapping
        from app.services.exchange.values import enter, preview

        plan = preview(house, file, read_mapping(mapping))
        write = bool(plan.changes) and not dry_run
        if not json:
            _show_plan(plan)
        write = write and (yes or _asked(f"Enter {len(plan.changes)} values?"))
        done = enter(house, plan, reason, ADMINISTRATOR) if write else 0
        if json:
            changes = [changed(plan, number) for number in range(len(plan.changes))]
            show_json({"written": done, "unchanged": plan.unchanged, "changes": changes})
        typer.echo(f"values entered: {done}, known already: {plan.unchanged}", err=True)

    _run(settings, data, act)


@_out.command("master", epilog="Example: wattloom exchange export master masterdata")
def export_master(
    folder: Annotated[Path, typer.Argument(help="Folder for the files; made if need be.")],
    *,
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write master data: one CSV file per kind, from suppliers to links with validity."""

    def act(house: House) -> None:
        from app.files.exchange_master import sheet_text
        from app.services.exchange.master import export

        with house.database.read() as session:
            sheets = export(session)
        folder.mkdir(parents=True, exist_ok=True)
        for sheet, rows in sheets.items():
            _write(folder / f"{sheet}.csv", [sheet_text(sheet, rows)], force=force)
            typer.echo(f"{folder / sheet}.csv: {len(rows)} rows", err=True)

    _run(settings, data, act)


@_in.command("master", epilog="Example: wattloom exchange import master masterdata --dry-run")
def import_master(
    folder: Annotated[Path, typer.Argument(help="Folder of the files; not all have to be there.")],
    *,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Take master data in: people and points, names, moves and switches to come, devices."""

    def act(house: House) -> None:
        from app.services.exchange.master import enter, lines_of, preview

        found = preview(house, folder)
        if not json:
            for line in lines_of(found):
                typer.echo(line)
        write = bool(found) and not dry_run and (yes or _asked(f"Make {len(found)} changes?"))
        if write:
            found = enter(house, folder, ADMINISTRATOR)
        if json:
            show_json({"written": write, "changes": [each._asdict() for each in found]})
        typer.echo(f"changes {'made' if write else 'found'}: {len(found)}", err=True)

    _run(settings, data, act)


@exchange_cli.command(epilog="Example: wattloom exchange allocation 2026-06 --json")
def allocation(
    time: Annotated[str, typer.Argument(help="Local day or month: 2026-06-23 or 2026-06.")],
    *,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="A line per quarter-hour, not their sum.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="CSV file; else standard output.")] = None,
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Tell local, own and residual energy by supplier, balance responsible party and point."""

    def act(house: House) -> None:
        from app.services.exchange.allocation import as_csv, as_object, period

        when = period(time, house.settings.tz)
        with house.database.read() as session:
            if json:
                found = as_object(session, house, when, per_interval=intervals)
                lines: Iterable[str] = [f"{json_text.dumps(found, indent=2)}\n"]
            else:
                lines = as_csv(session, when, per_interval=intervals)
            if out is None:
                for line in lines:
                    typer.echo(line, nl=False)
            else:
                typer.echo(f"{out}: {_write(out, lines, force=force)} lines", err=True)

    _run(settings, data, act)


def _write(out: Path, lines: Iterable[str], *, force: bool) -> int:
    """Write a file that is there whole or not at all; return how many lines it has."""
    from app.files.output import written

    count = 0
    with written(out, force=force) as file:
        for line in lines:
            file.write(line.encode())
            count += 1
    return count


def _asked(question: str) -> bool:
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False


def _show_plan(plan: Plan) -> None:
    rows = [changed(plan, number) for number in range(min(_SHOWN, len(plan.changes)))]
    if rows:
        show_table([*rows[0]], [[*row.values()] for row in rows])
    if len(plan.changes) > len(rows):
        typer.echo(f"and {len(plan.changes) - len(rows)} more")


def changed(plan: Plan, number: int) -> dict[str, object]:
    """Return one change of a plan as a plain row."""
    each = plan.changes[number]
    return {
        "row": each.row,
        "point": each.point,
        "interval": each.interval.key,
        "import_wh": each.before.import_wh,
        "export_wh": each.before.export_wh,
        "new_import_wh": each.import_wh,
        "new_export_wh": each.export_wh,
        "estimated": each.before.estimated,
    }


def _run(
    settings: Path | None, data: Path | None, action: Callable[[House], int | None]
) -> NoReturn:
    from app.files.exchange_values import ExchangeFileError
    from app.files.rows import TableFileError
    from app.services.exchange.allocation import PeriodError
    from app.services.exchange.values import ExchangeError

    refused = (ExchangeError, ExchangeFileError, PeriodError, TableFileError)
    run("exchange", settings, data, action, *refused)
