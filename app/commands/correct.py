"""``wattloom correct``: authorised values in place of what was metered or estimated."""

from __future__ import annotations

import json as json_text
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from app.services.corrections.values import Authorised, Preview
    from app.services.house import House

correct_cli = typer.Typer(
    help="Correct settled energy by authorised values, and list every version of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Data = Annotated[Path | None, typer.Option(help="Folder of the district, in place of `data`.")]
_Settings = Annotated[Path | None, typer.Option(help="TOML file with the district's settings.")]
_Reason = Annotated[str, typer.Option(help="Who authorised it, and why; it stays on record.")]
_Dry = Annotated[bool, typer.Option("--dry-run", help="Only show what it would change.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_BY = "administrator"
_NARROWEST = 132
_CHANGES = ("point", "interval", "participant", "Wh drawn", "Wh fed in", "EUR", "statement")
_KNOWN = ("known", "point", "interval", "version", "source", "Wh drawn", "Wh fed in", "EUR", "why")


@correct_cli.command(
    epilog="Example: wattloom correct value 570000000000000022 2026-06-23T09:00:00Z "
    '--import-wh 420 --export-wh 0 --reason "grid operator, meter exchange" --dry-run'
)
def value(
    point: Annotated[str, typer.Argument(help="The metering point's GSRN.")],
    interval: Annotated[str, typer.Argument(help="The quarter-hour's start, with its zone.")],
    *,
    import_wh: Annotated[int, typer.Option(min=0, help="Wh drawn in it.")],
    export_wh: Annotated[int, typer.Option(min=0, help="Wh fed in in it.")],
    reason: _Reason,
    dry_run: _Dry = False,
    data: _Data = None,
    settings: _Settings = None,
    json: _Json = False,
) -> None:
    """Correct one metering point and quarter-hour by an authorised value."""

    def act(house: House) -> int:
        from app.files.values import moment_of, one_value
        from app.services.corrections.values import Authorised
        from market.correction import Metered

        content = one_value(point, moment_of(interval), Metered(import_wh, export_wh))
        file = Authorised("by hand", content, reason, _BY)
        return _enter(house, file, dry_run=dry_run, as_json=json)

    _run(settings, data, act)


@correct_cli.command(
    epilog='Example: wattloom correct file values.csv --reason "grid operator, 2026-07-02" '
    "--dry-run"
)
def file(
    values: Annotated[
        Path, typer.Argument(help="CSV: point, interval, import_wh, export_wh.", metavar="FILE")
    ],
    *,
    reason: _Reason,
    dry_run: _Dry = False,
    data: _Data = None,
    settings: _Settings = None,
    json: _Json = False,
) -> None:
    """Correct by a file of authorised 15-minute values: the whole file or none of it."""

    def act(house: House) -> int:
        from app.files.values import content_of
        from app.services.corrections.values import Authorised

        given = Authorised(values.name, content_of(values), reason, _BY)
        return _enter(house, given, dry_run=dry_run, as_json=json)

    _run(settings, data, act)


@correct_cli.command("list", epilog="Example: wattloom correct list --data data/demo --json")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="So many, newest first.")] = 50,
    data: _Data = None,
    settings: _Settings = None,
    json: _Json = False,
) -> None:
    """List corrections, version by version, and what came too late to be one."""

    def act(house: House) -> int:
        from app.services.corrections.told import known, late

        with house.database.read() as session:
            found = {"corrections": known(session, limit), "refused": late(session, limit)}
        if json:
            typer.echo(json_text.dumps(found, ensure_ascii=False, indent=2))
            return 0
        rows = [_known(row) for name in ("corrections", "refused") for row in found[name]]
        _table(_KNOWN, rows)
        typer.echo(
            f"corrections: {len(found['corrections'])}, refused: {len(found['refused'])}", err=True
        )
        return 0

    _run(settings, data, act)


def _enter(house: House, given: Authorised, *, dry_run: bool, as_json: bool) -> int:
    from app.services.corrections import values
    from app.services.corrections.told import changes

    found = values.preview(house, given) if dry_run else values.enter(house, given)
    rows = changes(found)
    if as_json:
        told = {"written": not dry_run, "unchanged": found.unchanged, "changes": rows}
        typer.echo(json_text.dumps(told, ensure_ascii=False, indent=2))
    else:
        _table(_CHANGES, [_change(row) for row in rows])
    for line in _sums(found):
        typer.echo(line, err=True)
    done = "would be corrected (leave out --dry-run)" if dry_run else "corrected"
    typer.echo(f"{done}: {len(rows)}, unchanged: {found.unchanged}", err=True)
    return 0


def _sums(found: Preview) -> Sequence[str]:
    from app.services.corrections.told import by_participant

    return [
        f"{who}: {_plus(wh.import_wh)} Wh drawn, {_plus(wh.export_wh)} Wh fed in, {_euros(micro)}"
        for who, (wh, micro) in by_participant(found).items()
    ]


def _change(row: dict[str, object]) -> Sequence[str]:
    return (
        str(row["point"]),
        str(row["interval"]),
        str(row["participant"]),
        f"{row['import_wh_before']} -> {row['import_wh']}",
        f"{row['export_wh_before']} -> {row['export_wh']}",
        _euros(row["micro"]),
        f"{row['note'] or 'correction'} {row['month']}",
    )


def _known(row: dict[str, object]) -> Sequence[str]:
    return (
        str(row["known"]),
        str(row["point"]),
        str(row["interval"]),
        str(row.get("version", "refused")),
        str(row["source"]),
        str(row["import_wh"]),
        str(row["export_wh"]),
        _euros(row["micro"]) if "micro" in row else "-",
        str(row["reason"]),
    )


def _plus(wh: int) -> str:
    return f"{wh:+d}"


def _euros(micro: object) -> str:
    """Return micro-euros to the micro-euro: > 0 is in the participant's favour."""
    return f"{micro / 1_000_000:+.6f} EUR" if isinstance(micro, int) else "-"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=name != columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(highlight=False, soft_wrap=False)
    console.width = max(console.width, _NARROWEST)  # a GSRN cut short is no GSRN
    console.print(table)


def _run(settings: Path | None, data: Path | None, action: Callable[[House], int]) -> NoReturn:
    """Open the house, act, and exit with what the action returns; 1 with lines that say why."""
    from app.db import DatabaseError
    from app.files.rows import TableFileError
    from app.services.bank_errors import BankError
    from app.services.bank_house import open_house
    from app.services.corrections.values import ValuesError
    from app.services.keyring import KeyringError
    from app.settings import SettingsError, load_settings
    from metering.signing import SigningError

    expected = (
        BankError,
        DatabaseError,
        KeyringError,
        OSError,
        SettingsError,
        SigningError,
        TableFileError,
        ValuesError,
    )
    try:
        overrides: dict[str, object] = {"data": data} if data else {}
        with open_house(load_settings(settings, **overrides)) as house:
            code = action(house)
    except expected as error:
        for fault in error.faults if isinstance(error, ValuesError) else (error,):
            typer.echo(f"wattloom correct: {_told(fault)}", err=True)
        code = 1
    raise typer.Exit(code)


def _told(fault: object) -> str:
    if isinstance(fault, OSError) and fault.filename:
        return f"cannot read {fault.filename}: {fault.strerror}; check its name"
    return str(fault)
