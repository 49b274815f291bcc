"""What the commands on a district's folder share: options, an open house, tables, JSON, errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NoReturn

import typer

if TYPE_CHECKING:
    from app.services.house import House
    from metering.interval import Interval

Data = Annotated[Path | None, typer.Option(help="Folder of the district, in place of `data`.")]
Settings = Annotated[Path | None, typer.Option(help="TOML file with the district's settings.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

ADMINISTRATOR: Final = "administrator"  # on record as who entered what a command changes
_NARROWEST: Final = 132
_FAULTS: Final = 20


def run(
    command: str,
    settings: Path | None,
    data: Path | None,
    action: Callable[[House], int | None],
    *refused: type[Exception],
) -> NoReturn:
    """Open the house, act, and exit with what the action returns, or 0.

    ``refused`` are the errors by which the command says no, beside those of opening a house: each,
    or each of the ``faults`` that it lists, is told on a line of standard error, and the code is 1.
    """
    from app.db import DatabaseError
    from app.services.keyring import KeyringError
    from app.services.opening import NoDistrictError, open_house
    from app.settings import SettingsError, load_settings
    from metering.signing import SigningError

    unopened = (DatabaseError, KeyringError, NoDistrictError, SettingsError, SigningError, OSError)
    expected: tuple[type[Exception], ...] = (*unopened, *refused)
    overrides: dict[str, object] = {"data": data} if data else {}
    try:
        with open_house(load_settings(settings, **overrides)) as house:
            code = action(house) or 0
    except expected as error:
        _tell(command, getattr(error, "faults", (error,)))
        code = 1
    raise typer.Exit(code)


def _tell(command: str, faults: Sequence[object]) -> None:
    for fault in faults[:_FAULTS]:
        text = str(fault)
        if isinstance(fault, OSError) and fault.filename:
            text = f"cannot use {fault.filename}: {fault.strerror}; check its name"
        typer.echo(f"wattloom {command}: {text}", err=True)
    if len(faults) > _FAULTS:
        typer.echo(f"wattloom {command}: and {len(faults) - _FAULTS} more", err=True)


def show_json(value: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def show_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    whole: Collection[str] = (),
    right: Collection[str] = (),
) -> None:
    """Print a table of cells as they are, never as markup; what is ``whole`` is not folded.

    It is as wide as the terminal, and wider than a narrow one: a GSRN cut short is no GSRN.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in columns:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(name, overflow="fold", no_wrap=name in whole, justify=justify)
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console = Console(highlight=False, soft_wrap=False)
    console.width = max(console.width, _NARROWEST)
    console.print(table)


def interval_of(key: str) -> Interval | None:
    """Return the interval that an option names by its key; None where it names none.

    Raises:
        IntervalError: it is no interval's key.
    """
    from metering.interval import Interval

    return Interval.parse(key) if key else None
