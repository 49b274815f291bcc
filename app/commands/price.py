"""``wattloom price``: day-ahead and imbalance prices, taken in and listed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.commands.shared import Data, Json, Settings, run, show_json, show_table

if TYPE_CHECKING:
    from app.services.house import House
    from app.services.tariffs.prices import Import

price_cli = typer.Typer(
    help="Import and list the day-ahead (spot) and the imbalance price of each quarter-hour.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class _Series(StrEnum):
    SPOT = "spot"
    IMBALANCE = "imbalance"


_SeriesOption = Annotated[_Series, typer.Option(help="Which price it is.")]
_SHOWN = 20


@price_cli.command(
    "import",
    epilog="Example: wattloom price import day-ahead.csv --series spot --zone Europe/Oslo "
    "--dry-run",
)
def import_(
    file: Annotated[
        Path, typer.Argument(help="CSV: start or end, and eur_per_mwh, ct_per_kwh or so.")
    ],
    *,
    series: _SeriesOption = _Series.SPOT,
    zone: Annotated[str, typer.Option(help="Zone of times that name none: yours, or UTC.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it does.")] = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Take a file of prices in, whole or not at all; what is metered stays as it was settled."""

    def act(house: House) -> None:
        from app.services.tariffs import prices

        step = prices.preview if dry_run else prices.enter
        _tell(step(house, file, series.value, zone), as_json=json, done=not dry_run)

    _run(settings, data, act)


@price_cli.command(
    "list",
    epilog="Example: wattloom price list --series spot --from 2026-06-23T00:00:00Z --json",
)
def list_(
    *,
    series: _SeriesOption = _Series.SPOT,
    start: Annotated[str, typer.Option("--from", help="First interval, by its key.")] = "",
    until: Annotated[str, typer.Option(help="Last interval, by its key.")] = "",
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """List the prices that are known, oldest first."""

    def act(house: House) -> None:
        from app.services.tariffs import prices
        from metering.interval import Interval

        first, last = (Interval.parse(key).key if key else "" for key in (start, until))
        rows = prices.listed(house, series.value, first, last or "3")
        told: list[dict[str, str | int]] = [
            {
                "interval": row.interval,
                "micro_per_kwh": row.micro_per_kwh,
                "source": row.source,
            }
            for row in rows
        ]
        if json:
            show_json(told)
            return
        show_table(("interval", "ct/kWh", "source"), [_shown(row) for row in told])
        typer.echo(f"prices: {len(told)}", err=True)

    _run(settings, data, act)


def _shown(row: dict[str, str | int]) -> Sequence[str]:
    return str(row["interval"]), _cents(int(row["micro_per_kwh"])), str(row["source"])


def _tell(found: Import, *, as_json: bool, done: bool) -> None:
    if as_json:
        told = {
            "written": done,
            "series": found.series,
            "first": found.first,
            "last": found.last,
            "new": len(found.new),
            "same": found.same,
            "changed": [
                {"interval": each.interval, "was": each.was.micro_per_kwh,
                 "now": each.now.micro_per_kwh}
                for each in found.changed
            ],
        }  # fmt: skip
        show_json(told)
        return
    rows = [
        (each.interval, _cents(each.was.micro_per_kwh), _cents(each.now.micro_per_kwh))
        for each in found.changed[:_SHOWN]
    ]
    if rows:
        show_table(("interval", "was, ct/kWh", "becomes, ct/kWh"), rows)
    if len(found.changed) > _SHOWN:
        typer.echo(f"and {len(found.changed) - _SHOWN} more that change", err=True)
    typer.echo(
        f"{found.series} from {found.first} to {found.last}: {len(found.new)} new, "
        f"{len(found.changed)} changed, {found.same} as known; "
        f"{'written' if done else 'nothing written (leave out --dry-run)'}",
        err=True,
    )


def _cents(micro_per_kwh: int) -> str:
    from decimal import Decimal

    return format(Decimal(micro_per_kwh) / 10_000, ".4f")


def _run(
    settings: Path | None, data: Path | None, action: Callable[[House], int | None]
) -> NoReturn:
    from app.files.rows import TableFileError
    from app.services.tariffs.prices import PriceImportError
    from metering.interval import IntervalError

    refused = (IntervalError, PriceImportError, TableFileError)
    run("price", settings, data, action, *refused)
