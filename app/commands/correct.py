"""``wattloom correct``: authorised values in place of what was metered or estimated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.commands.shared import ADMINISTRATOR, Data, Json, Settings, run, show_json, show_table

if TYPE_CHECKING:
    from app.services.corrections.values import Authorised, Preview
    from app.services.house import House

correct_cli = typer.Typer(
    help="Correct settled energy by authorised values, and list every version of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Reason = Annotated[str, typer.Option(help="Who authorised it, and why; it stays on record.")]
_Dry = Annotated[bool, typer.Option("--dry-run", help="Only show what it would change.")]
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
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Correct one metering point and quarter-hour by an authorised value."""

    def act(house: House) -> None:
        from app.files.values import moment_of, one_value
        from app.services.corrections.values import Authorised
        from market.correction import Metered

        content = one_value(point, moment_of(interval), Metered(import_wh, export_wh))
        file = Authorised("by hand", content, reason, ADMINISTRATOR)
        _enter(house, file, dry_run=dry_run, as_json=json)

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
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Correct by a file of authorised 15-minute values: the whole file or none of it."""

    def act(house: House) -> None:
        from app.files.values import content_of
        from app.services.corrections.values import Authorised

        given = Authorised(values.name, content_of(values), reason, ADMINISTRATOR)
        _enter(house, given, dry_run=dry_run, as_json=json)

    _run(settings, data, act)


@correct_cli.command("list", epilog="Example: wattloom correct list --data data/demo --json")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="So many, newest first.")] = 50,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """List corrections, version by version, and what came too late to be one."""

    def act(house: House) -> None:
        from app.services.corrections.told import known, late

        with house.database.read() as session:
            found = {"corrections": known(session, limit), "refused": late(session, limit)}
        if json:
            show_json(found)
            return
        rows = [_known(row) for name in ("corrections", "refused") for row in found[name]]
        show_table(_KNOWN, rows, whole=_KNOWN[:-1])
        typer.echo(
            f"corrections: {len(found['corrections'])}, refused: {len(found['refused'])}", err=True
        )

    _run(settings, data, act)


def _enter(house: House, given: Authorised, *, dry_run: bool, as_json: bool) -> None:
    from app.services.corrections import values
    from app.services.corrections.told import changes

    found = values.preview(house, given) if dry_run else values.enter(house, given)
    rows = changes(found)
    if as_json:
        told = {"written": not dry_run, "unchanged": found.unchanged, "changes": rows}
        show_json(told)
    else:
        show_table(_CHANGES, [_change(row) for row in rows], whole=_CHANGES[:-1])
    for line in _sums(found):
        typer.echo(line, err=True)
    done = "would be corrected (leave out --dry-run)" if dry_run else "corrected"
    typer.echo(f"{done}: {len(rows)}, unchanged: {found.unchanged}", err=True)


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


def _run(
    settings: Path | None, data: Path | None, action: Callable[[House], int | None]
) -> NoReturn:
    from app.files.rows import TableFileError
    from app.services.corrections.values import ValuesError

    run("correct", settings, data, action, TableFileError, ValuesError)
