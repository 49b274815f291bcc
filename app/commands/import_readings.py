"""``wattloom import``: values of a head-end or a portal, which no meter signed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands.exchange import changed
from app.commands.shared import ADMINISTRATOR, Data, Json, Settings, run, show_json, show_table

if TYPE_CHECKING:
    from app.files.exchange_mapping import Mapping
    from app.services.exchange.values import Plan
    from app.services.house import House

import_cli = typer.Typer(
    help="Take in readings or load profiles that no meter signed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_POINTS = ("point", "values", "first", "until", "known already", "would change", "Wh drawn",
           "Wh fed in")  # fmt: skip
_CHANGES = ("row", "point", "interval", "Wh drawn", "Wh fed in", "was")
_SHOWN = 20


@import_cli.callback()
def _group() -> None:
    """Take in readings or load profiles that no meter signed."""


_File = Annotated[Path, typer.Argument(help="CSV, UTF-8, with a header.", metavar="FILE")]
_Label = Annotated[
    Literal["start", "end"] | None,
    typer.Option(help="What a row's time is of its quarter-hour; without --mapping a must."),
]
_Zone = Annotated[
    str | None, typer.Option(help="Of times without one: UTC or the district's zone.")
]
_Unit = Annotated[Literal["Wh", "kWh", "kW"] | None, typer.Option(help="kW: the mean power.")]
_Counters = Annotated[
    bool, typer.Option("--counters", help="Values are what counters showed at a time.")
]
_Decimal = Annotated[Literal[".", ","] | None, typer.Option(help="Before decimals.")]
_Delimiter = Annotated[Literal[",", ";", "tab", "|"] | None, typer.Option(help="Between cells.")]
_Format = Annotated[str | None, typer.Option(help="iso, or a pattern such as '%d.%m.%Y %H:%M'.")]
_Point = Annotated[str, typer.Option(help="GSRN, for a file without a column of it.")]
_Column = Annotated[
    list[str] | None,
    typer.Option(help="WHAT=HEADER: point, time, date, import, export, net, value, ..."),
]
_Mapping = Annotated[
    Path | None, typer.Option(help="TOML that says all of this; options go before it.")
]
_Reason = Annotated[str, typer.Option(help="Who authorised the values, and why; needed to write.")]
_Dry = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]


@import_cli.command(
    epilog="Example: wattloom import readings june.csv --label end --zone Europe/Berlin --unit kWh "
    '--decimal "," --delimiter ";" --column time=Zeit --column import=Bezug --dry-run'
)
def readings(
    file: _File,
    *,
    label: _Label = None,
    zone: _Zone = None,
    unit: _Unit = None,
    counters: _Counters = False,
    decimal: _Decimal = None,
    delimiter: _Delimiter = None,
    time_format: _Format = None,
    point: _Point = "",
    column: _Column = None,
    mapping: _Mapping = None,
    reason: _Reason = "",
    dry_run: _Dry = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Take in a CSV file as authorised values, the whole file or none of it."""
    if label is None and mapping is None:
        raise typer.BadParameter("say start or end: it is never guessed", param_hint="--label")
    given = _given({
        "time": {"label": label, "zone": zone, "format": time_format},
        "values": {"unit": unit, "kind": "counter" if counters else None},
        "columns": _columns(column or ()),
        "delimiter": "\t" if delimiter == "tab" else delimiter,
        "decimal_mark": decimal,
        "point": point or None,
    })  # fmt: skip
    from app.files.exchange_mapping import read_mapping
    from app.files.rows import TableFileError
    from app.services.exchange.values import ExchangeError

    def act(house: House) -> None:
        by = read_mapping(mapping, given)
        _take(house, file, by, None if dry_run else reason, as_json=json)

    run("import", settings, data, act, ExchangeError, TableFileError)


def _take(house: House, file: Path, by: Mapping, reason: str | None, *, as_json: bool) -> None:
    """Show what a file would change, and enter it where there is a reason."""
    from app.services.exchange.values import enter, preview

    with _status(f"reading {file.name} and comparing it with what is known"):
        plan = preview(house, file, by)
    written = 0
    if reason is not None:
        with _status(f"entering {len(plan.changes)} values"):
            written = enter(house, plan, reason, ADMINISTRATOR)
    _show(plan, written, as_json=as_json)
    done = "would change (leave out --dry-run)" if reason is None else "entered"
    typer.echo(f"{done}: {len(plan.changes)}, known already: {plan.unchanged}", err=True)


def _columns(given: Sequence[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for each in given:
        what, equals, header = each.partition("=")
        if not (what and equals):
            raise typer.BadParameter(
                f"{each!r}: write WHAT=HEADER, or WHAT= for none", param_hint="--column"
            )
        found[what] = header
    return found


def _given(
    instead: dict[str, dict[str, str | None] | str | None],
) -> dict[str, dict[str, str] | str]:
    """Return what was said on the command line; what was not said is left to the mapping."""
    found: dict[str, dict[str, str] | str] = {}
    for name, value in instead.items():
        if isinstance(value, dict):
            found[name] = {key: text for key, text in value.items() if text is not None}
        elif value is not None:
            found[name] = value
    return found


@contextmanager
def _status(words: str) -> Iterator[None]:
    """Show on a terminal's stderr that something takes its time."""
    from rich.console import Console

    with Console(stderr=True).status(words):
        yield


def _show(plan: Plan, written: int, *, as_json: bool) -> None:
    points = _by_point(plan)
    if as_json:
        changes = [changed(plan, number) for number in range(len(plan.changes))]
        show_json({
            "written": written, "unchanged": plan.unchanged, "points": points, "changes": changes,
        })  # fmt: skip
        return
    show_table(_POINTS, [list(row.values()) for row in points], whole=_POINTS)
    shown = [changed(plan, number) for number in range(min(_SHOWN, len(plan.changes)))]
    if shown:
        rows = [
            (
                row["row"],
                row["point"],
                row["interval"],
                f"{row['import_wh']} -> {row['new_import_wh']}",
                f"{row['export_wh']} -> {row['new_export_wh']}",
                "estimated" if row["estimated"] else "known",
            )
            for row in shown
        ]
        show_table(_CHANGES, rows, whole=_CHANGES)
    if len(plan.changes) > len(shown):
        typer.echo(f"and {len(plan.changes) - len(shown)} more")


def _by_point(plan: Plan) -> list[dict[str, object]]:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for each in plan.changes:
        its = sums[each.point]
        its[0] += 1
        its[1] += each.import_wh - each.before.import_wh
        its[2] += each.export_wh - each.before.export_wh
    return [
        {
            "point": span.point,
            "values": span.values,
            "first": span.first.key,
            "until": span.last.next().key,
            "unchanged": span.values - sums[span.point][0],
            "changes": sums[span.point][0],
            "import_wh": sums[span.point][1],
            "export_wh": sums[span.point][2],
        }
        for span in plan.spans
    ]
