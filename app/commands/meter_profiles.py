"""``wattloom meter profiles``: the types of meters that can be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.shared import Json, show_json, show_table

if TYPE_CHECKING:
    from metering.profiles import Profile

EPILOG = "Example: wattloom meter profiles --folder my-meters --json"

_COLUMNS = ("name", "title", "role", "counters", "told by", "watched", "version")
_SHOWN = 12  # characters of a version in the table; JSON has all


def profiles(
    *,
    folder: Annotated[
        Path | None, typer.Option(help="Folder with profiles of your own (*.toml).")
    ] = None,
    json: Json = False,
) -> None:
    """List the types of meters that can be read; a file that breaks the schema is explained."""
    from metering.profiles import ProfileError, load_profile, profile_names

    known: list[Profile] = []
    faults: list[ProfileError] = []
    try:
        names = profile_names(folder)
    except ProfileError as error:
        names, faults = (), [error]
    for name in names:
        try:
            known.append(load_profile(name, folder))
        except ProfileError as error:
            faults.append(error)
    if json:
        show_json([_described(profile) for profile in known])
    elif known:
        show_table(_COLUMNS, [_cells(profile) for profile in known], whole=("name",))
        typer.echo(f"types of meters: {len(known)}", err=True)
    for fault in faults:
        typer.echo(f"wattloom meter profiles: {fault}", err=True)
    raise typer.Exit(1 if faults else 0)


def _described(profile: Profile) -> dict[str, object]:
    """Return what programs are told of a type."""
    return {
        "name": profile.name,
        "title": profile.title,
        "role": profile.role.value,
        "quantities": sorted(profile.quantities),
        "serial": profile.serial is not None,
        "told_by": profile.evidence,
        "watched": [setting.name for setting in profile.watch],
        "rated_w": profile.rated_w,
        "notes": list(profile.notes),
        "source": profile.source,
        "version": profile.version,
    }


def _cells(profile: Profile) -> tuple[str, ...]:
    counters = [name for name in ("import", "export") if f"{name}_total" in profile.quantities]
    return (
        profile.name,
        profile.title,
        profile.role.value,
        ", ".join(counters),
        profile.evidence,
        ", ".join(setting.name for setting in profile.watch) or "-",
        profile.version[:_SHOWN],
    )
