"""``wattloom device``: the production units and storages that certificates are issued for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from app.commands.shared import Data, Json, Settings, interval_of, run, show_json, show_table

if TYPE_CHECKING:
    from app.services.house import House

device_cli = typer.Typer(
    help="Devices behind metering points: production units, storages and chargers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Id = Annotated[str, typer.Argument(help="The device's name; certificates bear it.")]
_COLUMNS = ("id", "kind", "point", "meter_point", "capacity_w", "valid_from", "valid_to")


@device_cli.command(
    epilog="Example: wattloom device add roof-2 401234500000000050 --capacity 9000 "
    "--meter-point 401234500000000432 --data data/demo"
)
def add(
    device: _Id,
    point: Annotated[str, typer.Argument(help="The metering point behind which it stands.")],
    *,
    kind: Annotated[
        Literal["production", "storage", "charger"], typer.Option(help="What it is.")
    ] = "production",
    meter_point: Annotated[
        str, typer.Option(help="Metering point of its own sub-meter; none: the point's export.")
    ] = "",
    register: Annotated[
        Literal["export", "import"], typer.Option(help="The sub-meter's register of its output.")
    ] = "export",
    name: Annotated[str, typer.Option(help="What people call it; else the point's name.")] = "",
    technology: Annotated[str, typer.Option(help="AIB technology code.")] = "T010000",
    source: Annotated[str, typer.Option(help="AIB energy source code.")] = "F01040100",
    capacity: Annotated[int, typer.Option(help="Rated power, W.")] = 0,
    efficiency: Annotated[
        int | None, typer.Option(help="A storage's energy out per energy in, ppm.")
    ] = None,
    emissions: Annotated[int, typer.Option(help="CO2 of a kWh of it, mg.")] = 0,
    start: Annotated[str, typer.Option("--from", help="First interval, by its key.")] = "",
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Add a device; what it gives is certified from the next interval on, or a later one."""

    def act(house: House) -> None:
        from app.services.certificates import devices

        new = devices.NewDevice(
            id=device,
            point=point,
            kind=kind,
            meter_point=meter_point or None,
            output_register=register,
            name=name,
            technology=technology,
            source=source,
            capacity_w=capacity,
            efficiency_ppm=efficiency,
            emissions_mg_per_kwh=emissions,
        )
        row = devices.add(house, new, interval_of(start))
        typer.echo(f"{row.id} counts from {row.valid_from} on", err=True)

    _run(settings, data, act)


@device_cli.command("list", epilog="Example: wattloom device list --data data/demo --json")
def list_(
    *,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """List every device there ever was."""

    def act(house: House) -> None:
        from app.services.certificates import devices

        with house.database.read() as session:
            rows = [row.model_dump() for row in devices.listed(session)]
        if json:
            show_json(rows)
            return
        show_table(_COLUMNS, [[row[name] for name in _COLUMNS] for row in rows])
        typer.echo(f"devices: {len(rows)}", err=True)

    _run(settings, data, act)


@device_cli.command(epilog="Example: wattloom device end roof-2 --data data/demo")
def end(
    device: _Id,
    *,
    at: Annotated[str, typer.Option(help="First interval without it, by its key.")] = "",
    data: Data = None,
    settings: Settings = None,
) -> None:
    """End a device, from the next interval on or later; what it gave stays certified."""

    def act(house: House) -> None:
        from app.services.certificates import devices

        row = devices.end(house, device, interval_of(at))
        typer.echo(f"{row.id} ends: {row.valid_to} is the first interval without it", err=True)

    _run(settings, data, act)


def _run(
    settings: Path | None, data: Path | None, action: Callable[[House], int | None]
) -> NoReturn:
    from market.certificate import CertificateError
    from metering.interval import IntervalError

    run("device", settings, data, action, CertificateError, IntervalError)
