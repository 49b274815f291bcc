"""``wattloom point add``: a new metering point, and whose it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands.shared import ADMINISTRATOR, Data, Settings, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.services.house import House
    from app.services.registry.additions import Added, NewPoint

_Watts = Annotated[
    int, typer.Option("--max-power-w", help="What the fuse allows, W: more is implausible.", min=1)
]
_Purpose = Annotated[
    Literal["feeder-head", "production", "storage", "charger"] | None,
    typer.Option(help="It measures alone, for this; without it it settles."),
]


_Newcomer = Annotated[str, typer.Option(help="Name of the participant, if they are new.")]
_Kind = Annotated[str, typer.Option(help="Its picture in words: home, home-pv, school.")]
_Green = Annotated[
    bool, typer.Option("--green", help="What it feeds in is from a renewable source.")
]
_Supplier = Annotated[str, typer.Option(help="Id of its supplier; else the district's own.")]
_BalanceParty = Annotated[
    str, typer.Option(help="Id of its balance responsible party; else the supplier's.")
]
_From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="WHEN",
        help="A local day or an interval (its UTC start); else the running quarter-hour.",
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")]


def add(
    point: Annotated[str, typer.Argument(help="GSRN of the new point.", metavar="POINT")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    to: Annotated[str, typer.Option(help="Id of the participant whose it is.")],
    feeder: Annotated[str, typer.Option(help="Id of its feeder; a new one is entered.")],
    max_power_w: _Watts,
    *,
    participant_name: _Newcomer = "",
    address: Annotated[str, typer.Option(help="Their postal address, lines by commas.")] = "",
    building: Annotated[str, typer.Option(help="Id of the building on the feeder.")] = "",
    tariff: Annotated[str, typer.Option(help="Its tariff, if there are several.")] = "",
    kind: _Kind = "home",
    green: _Green = False,
    purpose: _Purpose = None,
    supplier: _Supplier = "",
    balance_party: _BalanceParty = "",
    start: _From = "",
    dry_run: _DryRun = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Add a metering point, with its participant; it counts once a meter is enrolled there."""
    from app.services.registry.wanted import ChangeError

    def act(house: House) -> None:
        from app.services.registry import additions
        from app.services.registry.wanted import Newcomer, read_begin

        who = participant_name
        newcomer = Newcomer.of(to, who, address.replace(",", "\n")) if who else None
        wanted = additions.NewPoint(
            point, name, to, feeder, max_power_w, building, tariff, kind, green, purpose, newcomer,
            supplier, balance_party, read_begin(start, house.settings.tz) if start else None,
        )  # fmt: skip
        if dry_run:
            added = additions.preview(house, wanted)
        else:
            added = additions.enter(house, wanted, ADMINISTRATOR)
        for line in _told(house, wanted, added):
            typer.echo(line)
        typer.echo("nothing was changed: this was a dry run" if dry_run else "entered", err=True)

    run("point", settings, data, act, ChangeError)


def _told(house: House, wanted: NewPoint, added: Added) -> Iterator[str]:
    from app.services.registry.words import moment

    begin = moment(added.begin, house.settings.tz)
    if added.known:
        yield f"metering point {wanted.gsrn} is there already, from {begin} on: nothing changes"
        return
    if wanted.newcomer is not None:
        where = ", ".join(wanted.newcomer.postal_address.splitlines()) or "no postal address"
        yield f"new participant: {wanted.newcomer.id}, {wanted.newcomer.name}, {where}"
    if added.new_feeder:
        yield f"new feeder: {wanted.feeder}"
    if added.new_building:
        yield f"new building: {wanted.building} on feeder {wanted.feeder}"
    yield (
        f"new metering point: {wanted.gsrn}, {wanted.name}, of {wanted.participant}, tariff "
        f"{added.tariff}, at most {wanted.max_power_w} W, from {begin} on"
    )
    yield f"next: wattloom meter token {wanted.gsrn}"
