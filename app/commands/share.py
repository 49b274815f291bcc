"""``wattloom share``: the keys by which surplus is shared out among neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.commands.shared import Data, Json, Settings, run, show_json, show_table

if TYPE_CHECKING:
    from app.services.house import House
    from app.services.sharing.keys import Planned, Version
    from market.sharing import Key

share_cli = typer.Typer(
    help="Import, list and withdraw sharing keys: who gets which part of a roof's surplus.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_COLUMNS = ("no.", "state", "generator", "from", "kind", "price", "members")


@share_cli.command(
    "import", epilog="Example: wattloom share import keys.csv --data data/demo --yes"
)
def import_(
    file: Annotated[Path, typer.Argument(help="The keys, CSV: one member per row.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Write it; without it only show.")] = False,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Take sharing keys in, as versions from a midnight to come: a whole file or none of it."""

    def act(house: House) -> None:
        from app.services.sharing import keys
        from app.services.sharing.file import MAX_BYTES

        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)  # what is longer is refused by its length
        planned = keys.preview(house, content)
        numbers = keys.take(house, file.name, content) if yes else []
        rows = [_planned(each, house) for each in planned]
        for row, number in zip(rows, numbers, strict=False):
            row["version"] = number
        _show({"written": yes, "versions": rows}, rows, as_json=json)
        done = "written" if yes else "to be written (repeat it with --yes)"
        typer.echo(f"versions {done}: {len(rows)}", err=True)

    _run(settings, data, act)


@share_cli.command("list", epilog="Example: wattloom share list --data data/demo --json")
def list_(*, data: Data = None, settings: Settings = None, json: Json = False) -> None:
    """List all versions of all keys, the withdrawn ones included."""

    def act(house: House) -> None:
        from app.services.sharing import keys

        with house.database.read() as session:
            rows = [_listed(each, house) for each in keys.listed(session, house)]
        _show(rows, rows, as_json=json)
        typer.echo(f"versions: {len(rows)}", err=True)

    _run(settings, data, act)


@share_cli.command(epilog="Example: wattloom share withdraw 4 5 --data data/demo")
def withdraw(
    versions: Annotated[list[int], typer.Argument(help="Numbers, as `share list` shows them.")],
    *,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Undo versions that do not hold yet, all or none: the keys before them hold on."""

    def act(house: House) -> None:
        from app.services.sharing import keys

        keys.withdraw(house, versions)
        typer.echo(f"withdrawn: {', '.join(map(str, versions))}", err=True)

    _run(settings, data, act)


def _run(
    settings: Path | None, data: Path | None, action: Callable[[House], int | None]
) -> NoReturn:
    from app.services.sharing.file import SharingInputError

    run("share", settings, data, action, SharingInputError)


def _planned(each: Planned, house: House) -> dict[str, object]:
    day = each.draft.start.start.astimezone(house.settings.tz).date().isoformat()
    row: dict[str, object] = {"version": None, "state": "planned"}
    return row | _key(each.draft.key, day) | {"replaces": each.replaces}


def _listed(each: Version, house: House) -> dict[str, object]:
    from app.store.sharing import key_of
    from metering.interval import Interval

    start = Interval.parse(each.row.valid_from).start
    row: dict[str, object] = {"version": each.number, "state": each.state}
    day = start.astimezone(house.settings.tz).date().isoformat()
    return row | _key(key_of(each.row, each.shares), day) | {"source": each.row.source}


def _key(key: Key, day: str) -> dict[str, object]:
    return {
        "generator": key.generator,
        "valid_from": day,
        "kind": key.kind.value,
        "unused": "again" if key.redistribute else "export",
        "price_micro_per_kwh": key.price.micro_per_kwh,
        "members": {share.point: share.ppm for share in key.shares},
    }


def _show(value: object, rows: Sequence[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        show_json(value)
        return
    show_table(_COLUMNS, [_cells(row) for row in rows], whole=_COLUMNS[:-1])


def _cells(row: dict[str, object]) -> Sequence[str]:
    members = row["members"] if isinstance(row["members"], dict) else {}
    shares = f"{len(members)}, {sum(members.values())} ppm" if any(members.values()) else ""
    return (
        str(row["version"] or "-"),
        str(row["state"]),
        str(row["generator"]),
        str(row["valid_from"]),
        str(row["kind"]) + (", again" if row["unused"] == "again" else ""),
        str(row["price_micro_per_kwh"]),
        shares or (str(len(members)) if members else "none: ends"),
    )
