"""``wattloom tariff``: what tariffs say, new versions of them, and who is on which."""

from __future__ import annotations

import json as json_text
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.commands.shared import ADMINISTRATOR, Data, Json, Settings, run, show_json, show_table

if TYPE_CHECKING:
    from datetime import date

    from app.services.house import House
    from app.services.tariffs.versions import Change

tariff_cli = typer.Typer(
    help="List, show and add versions of tariffs; put metering points on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Tariff = Annotated[str, typer.Argument(help="The tariff's name.")]
_First = Annotated[
    str, typer.Option("--from", help="First local day (YYYY-MM-DD); the next one without.")
]
_Dry = Annotated[bool, typer.Option("--dry-run", help="Only show what it would change.")]


@tariff_cli.command("list", epilog="Example: wattloom tariff list --data data/demo --json")
def list_(*, data: Data = None, settings: Settings = None, json: Json = False) -> None:
    """List every version of every tariff, and how many metering points are on it."""

    def act(house: House) -> None:
        from app.services.tariffs import versions

        told = [
            {
                "tariff": row.tariff,
                "first_day": row.first_day,
                "points": points,
                "digest": row.digest,
            }
            for row, points in versions.listed(house)
        ]
        if json:
            show_json(told)
            return
        rows = [[str(value)[:16] for value in row.values()] for row in told]
        show_table(("tariff", "from", "points", "digest"), rows)
        typer.echo(f"versions: {len(told)}", err=True)

    _run(settings, data, act)


@tariff_cli.command(epilog="Example: wattloom tariff show lindenhof --data data/demo")
def show(
    tariff: _Tariff,
    *,
    on: Annotated[str, typer.Option(help="Local day (YYYY-MM-DD); today without.")] = "",
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Show the components of the version that holds on a day."""

    def act(house: House) -> None:
        from app.services.tariffs.told import definition, lines

        day = _day(on) if on else _today(house)
        found = definition(house, tariff, day)
        if json:
            show_json(json_text.loads(found.text))
            return
        rows = [(line.name, line.payee, line.when, line.price) for line in lines(found)]
        show_table(("component", "paid to", "when", "net price"), rows)
        typer.echo(f"{tariff} on {day}: VAT {found.vat_ppm / 10_000:g} %, {found.digest}", err=True)

    _run(settings, data, act)


@tariff_cli.command(
    epilog="Example: wattloom tariff add family.toml --name family --from 2026-07-01 --dry-run"
)
def add(
    file: Annotated[Path, typer.Argument(help="TOML file that says it.")],
    *,
    name: Annotated[str, typer.Option(help="The tariff; the file's name without.")] = "",
    first: _First = "",
    dry_run: _Dry = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Add a version that holds from a local day on; nothing that is metered ever changes."""

    def act(house: House) -> None:
        from app.services.tariffs import versions

        day = _day(first) if first else versions.next_day(house)
        version = versions.read(file)
        found = versions.add(house, name or file.stem, version, day, preview=dry_run)
        _tell(found, as_json=json, done=not dry_run)

    _run(settings, data, act)


@tariff_cli.command(
    epilog="Example: wattloom tariff assign family 570000000000000022 --from 2026-07-01"
)
def assign(
    tariff: _Tariff,
    points: Annotated[list[str], typer.Argument(help="GSRNs of metering points.")],
    *,
    first: _First = "",
    dry_run: _Dry = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Put metering points on a tariff from a local day on."""

    def act(house: House) -> None:
        from app.services.tariffs import versions

        day = _day(first) if first else versions.next_day(house)
        found = versions.assign(house, tariff, points, day, ADMINISTRATOR, preview=dry_run)
        _tell(found, as_json=json, done=not dry_run)

    _run(settings, data, act)


def _day(text: str) -> date:
    from metering.localtime import parse_day

    return parse_day(text)


def _today(house: House) -> date:
    from metering.interval import from_ms

    return from_ms(house.clock.now_ms()).astimezone(house.settings.tz).date()


def _tell(found: Change, *, as_json: bool, done: bool) -> None:
    from app.services.tariffs.told import euros

    if as_json:
        told = {
            "written": done,
            "tariff": found.tariff,
            "first_day": found.first.isoformat(),
            "digest": found.digest,
            "effects": [effect._asdict() for effect in found.effects],
        }
        show_json(told)
        return
    rows = [
        (each.point, each.name, each.month, euros(each.was_micro), euros(each.becomes_micro))
        for each in found.effects
    ]
    show_table(("point", "name", "month", "was, EUR", "becomes, EUR"), rows)
    typer.echo(
        f"{found.tariff} from {found.first} on: {len(rows)} points, all-in on the normal tariff of "
        f"their last known month; {'written' if done else 'nothing written (leave out --dry-run)'}",
        err=True,
    )


def _run(
    settings: Path | None, data: Path | None, action: Callable[[House], int | None]
) -> NoReturn:
    from app.services.tariffs.versions import TariffRefusedError
    from app.store.tariffs import UnknownTariffError
    from metering.localtime import LocalTimeError

    refused = (LocalTimeError, TariffRefusedError, UnknownTariffError)
    run("tariff", settings, data, action, *refused)
