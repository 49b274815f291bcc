"""``wattloom point``: who and what is behind each metering point, and since when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from app.commands.point_add import add
from app.commands.shared import ADMINISTRATOR, Data, Json, Settings, run, show_json, show_table

if TYPE_CHECKING:
    from app.services.house import House
    from app.services.registry.changes import Effects
    from app.services.registry.view import PointLines
    from app.services.registry.wanted import Change, Newcomer

point_cli = typer.Typer(
    help="Show and change who and what is behind each metering point, and since when.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

point_cli.command(
    epilog="Example: wattloom point add 573999900000000083 --name 'Lindenweg 4' --to ada "
    "--participant-name 'Ada Ek' --feeder feeder-1 --max-power-w 43000 --data data/district"
)(add)

_Point = Annotated[str, typer.Argument(help="GSRN of the metering point.", metavar="POINT")]
_Points = Annotated[list[str], typer.Argument(help="GSRN of each point.", metavar="POINT...")]
_From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="WHEN",
        help="A local day (2026-10-25: from its midnight on) or an interval (its UTC start).",
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")]
_Name = Annotated[str, typer.Option(help="Name of the new one, if it is not known yet.")]
_COLUMNS = ("point", "name", "participant", "supplier", "tariff", "feeder", "building", "coming")


@point_cli.command("list", epilog="Example: wattloom point list --data data/demo --json")
def list_(*, data: Data = None, settings: Settings = None, json: Json = False) -> None:
    """List the metering points: who and what is behind each now, and how much is to come."""

    def act(house: House) -> None:
        from app.services.registry import view

        with house.database.read() as session:
            found = view.points(house, session)
        _show_points(found, as_json=json)

    _run(settings, data, act)


@point_cli.command(epilog="Example: wattloom point show 573999900000000085 --data data/demo --json")
def show(
    point: _Point, *, data: Data = None, settings: Settings = None, json: Json = False
) -> None:
    """Show every link of a metering point that there ever was, and those to come."""

    def act(house: House) -> None:
        from app.services.registry import view

        with house.database.read() as session:
            found = view.point(house, session, point)
        _show_links(found, as_json=json)

    _run(settings, data, act)


@point_cli.command(
    epilog="Example: wattloom point move 573999900000000085 --to ada --name 'Ada Ek' --address "
    "'Lindenweg 4, 12345 Linden' --from 2026-07-01 --data data/demo --dry-run"
)
def move(
    points: _Points,
    to: Annotated[str, typer.Option(help="Id of who takes over.")],
    start: _From,
    *,
    name: _Name = "",
    address: Annotated[str, typer.Option(help="Their postal address, lines by commas.")] = "",
    dry_run: _DryRun = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Move somebody out and somebody else in, in one step: a point is always somebody's."""

    def change(house: House) -> Change:
        from app.services.registry.wanted import Newcomer

        newcomer = Newcomer.of(to, name, address.replace(",", "\n")) if name else None
        return _change(house, points, start, {"participant": to}, newcomer=newcomer)

    _run(settings, data, lambda house: _enter(house, change(house), dry_run=dry_run))


@point_cli.command(
    epilog="Example: wattloom point switch 573999900000000085 --supplier stadtwerke --name "
    "Stadtwerke --from 2026-07-01 --data data/demo"
)
def switch(
    points: _Points,
    supplier: Annotated[str, typer.Option(help="Id of the new supplier.")],
    start: _From,
    *,
    name: _Name = "",
    balance_party: Annotated[
        str, typer.Option(help="Id of the new supplier's balance responsible party.")
    ] = "",
    dry_run: _DryRun = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Switch the supplier; with it, if you name one, the balance responsible party."""

    def act(house: House) -> None:
        targets = {"supplier": supplier}
        targets |= {"balance-party": balance_party} if balance_party else {}
        change = _change(house, points, start, targets, names={supplier: name} if name else {})
        _enter(house, change, dry_run=dry_run)

    _run(settings, data, act)


@point_cli.command(
    epilog="Example: wattloom point assign 573999900000000085 tariff green --from 2026-07-01 "
    "--data data/demo"
)
def assign(
    point: _Point,
    role: Annotated[
        Literal["balance-party", "tariff", "feeder", "building"], typer.Argument(help="What.")
    ],
    target: Annotated[str, typer.Argument(help="Its id; '' for no building.")],
    start: _From,
    *,
    building: Annotated[
        str | None, typer.Option(help="With a feeder: the building there; '' for none.")
    ] = None,
    name: _Name = "",
    dry_run: _DryRun = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Assign another tariff, balance responsible party, feeder or building."""

    def act(house: House) -> None:
        targets: dict[str, str] = {role: target}
        targets |= {"building": building} if building is not None else {}
        change = _change(house, [point], start, targets, names={target: name} if name else {})
        _enter(house, change, dry_run=dry_run)

    _run(settings, data, act)


@point_cli.command(
    epilog="Example: wattloom point undo 573999900000000085 --from 2026-07-01 --data data/demo"
)
def undo(
    points: _Points,
    start: _From,
    *,
    dry_run: _DryRun = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Take back all changes that begin then, as long as nothing of that time is metered."""

    def act(house: House) -> None:
        from app.services.registry import changes
        from app.services.registry.wanted import read_begin

        begin = read_begin(start, house.settings.tz)
        if dry_run:
            found = changes.preview_undo(house, points, begin)
        else:
            found = changes.undo(house, points, begin, ADMINISTRATOR)
        _tell(house, found, dry_run=dry_run, done="taken back")

    _run(settings, data, act)


def _change(
    house: House,
    points: Sequence[str],
    start: str,
    targets: Mapping[str, str],
    newcomer: Newcomer | None = None,
    names: Mapping[str, str] | None = None,
) -> Change:
    from app.services.registry.wanted import Change, read_begin
    from market.registry import Role

    begin = read_begin(start, house.settings.tz)
    roles = {Role(role): target for role, target in targets.items()}
    return Change(points, begin, roles, newcomer, names or {})


def _enter(house: House, change: Change, *, dry_run: bool) -> None:
    from app.services.registry import changes

    found = (
        changes.preview(house, change) if dry_run else changes.enter(house, change, ADMINISTRATOR)
    )
    _tell(house, found, dry_run=dry_run)


def _tell(house: House, found: Effects, *, dry_run: bool, done: str = "entered") -> None:
    from app.services.registry import view
    from app.services.registry.words import told
    from app.store import people

    with house.database.read() as session:
        names = view.names(session)
        points = {gsrn: row.name for gsrn, row in people.points(session).items()}
    for line in told(found, names, points, house.settings.tz):
        typer.echo(line)
    typer.echo("nothing was changed: this was a dry run" if dry_run else done, err=True)


def _show_points(found: Sequence[PointLines], *, as_json: bool) -> None:
    from market.registry import Role

    values = [
        {
            "point": each.point,
            "name": each.name,
            "purpose": each.purpose,
            **{role.value: each.now(role).target for role in Role},
            "coming": [
                {"role": line.role.value, "target": line.target, "from": line.since}
                for line in each.coming
            ],
        }
        for each in found
    ]
    if as_json:
        show_json(values)
        return
    show_table(
        _COLUMNS,
        [
            [value[name] if name != "coming" else len(each.coming) or "" for name in _COLUMNS]
            for value, each in zip(values, found, strict=True)
        ],
    )
    typer.echo(f"metering points: {len(found)}", err=True)


def _show_links(found: PointLines, *, as_json: bool) -> None:
    columns = ("role", "target", "name", "from", "to", "state", "entered_by")
    rows = [
        (
            line.role.value,
            line.target,
            line.name,
            line.since,
            line.until or "",
            line.state,
            line.entered_by,
        )
        for line in found.links
    ]
    if as_json:
        values = [dict(zip(columns, row, strict=True)) for row in rows]
        show_json({"point": found.point, "name": found.name, "links": values})
        return
    show_table(columns, rows)


def _run(
    settings: Path | None, data: Path | None, action: Callable[[House], int | None]
) -> NoReturn:
    from market.registry import RegistryError

    run("point", settings, data, action, RegistryError)
