"""``wattloom export``: what leaves the district's database as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

export_cli = typer.Typer(
    help="Write parts of the district's database to files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@export_cli.callback()
def _group() -> None:
    """Keep ``interval`` a command of its own, also while it is the only one."""


@export_cli.command(
    epilog="Example: wattloom export interval 2026-06-23T09:00:00Z --data data/demo "
    "--out interval.json"
)
def interval(
    key: Annotated[str, typer.Argument(help="The interval's UTC start.", metavar="KEY")],
    *,
    out: Annotated[Path, typer.Option(help="Where the file goes.", metavar="FILE")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the district, in place of `data`.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="TOML file with the district's settings.")
    ] = None,
) -> None:
    """Write everything that a sealed interval was cleared from, for `wattloom audit`.

    The file names everybody's orders, tariffs and statements: it is for an auditor, not for the
    public.
    """
    from app.commands.interval_export import ExportError, export_interval
    from app.db import DatabaseError
    from app.services.bank_errors import BankError
    from app.services.bank_house import open_house
    from app.services.keyring import KeyringError
    from app.settings import SettingsError, load_settings
    from metering.signing import SigningError

    expected = (
        ExportError,
        BankError,
        DatabaseError,
        KeyringError,
        SigningError,
        SettingsError,
        OSError,
    )
    try:
        overrides: dict[str, object] = {"data": data} if data else {}
        with open_house(load_settings(settings, **overrides)) as house:
            content = export_interval(house, key)
        part = out.with_name(f"{out.name}.part")
        part.write_bytes(content)
        part.replace(out)
    except expected as error:
        typer.echo(f"wattloom export: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{out}: {key}, {len(content)} bytes", err=True)
