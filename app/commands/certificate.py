"""``wattloom certificate``: certificates in accounts: see, pass on, use, take in, hand out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.commands.shared import (
    ADMINISTRATOR,
    Data,
    Force,
    Json,
    Settings,
    run,
    show_json,
    show_table,
)

if TYPE_CHECKING:
    from app.services.certificates.accounts import Choice
    from app.services.certificates.query import Sight
    from app.services.house import House

certificate_cli = typer.Typer(
    help="Granular certificates: one for each green Wh that a device gave in a quarter-hour.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Account = Annotated[str, typer.Argument(help="The participant who holds them.")]
_Wh = Annotated[int | None, typer.Option(help="So many Wh, the oldest first; all without it.")]
_Issuance = Annotated[str, typer.Option(help="Only of this issuance: DEVICE/INTERVAL/N.")]
_Device = Annotated[str, typer.Option(help="Only of this device.")]
_From = Annotated[str, typer.Option("--from", help="Produced from this interval on, by its key.")]
_To = Annotated[str, typer.Option("--to", help="Produced before this interval, by its key.")]
_Status = Annotated[str, typer.Option(help="Only in this status, such as Active.")]
_OfAccount = Annotated[str, typer.Option("--account", help="Only of this participant.")]
_COLUMNS = ("production_starting_interval", "status", "account", "wh", "beneficiary", "issuance_id")
_SHOWN = 1000


@certificate_cli.command(
    "list", epilog="Example: wattloom certificate list --account home-5 --data data/demo --json"
)
def list_(
    *,
    account: _OfAccount = "",
    issuance: _Issuance = "",
    device: _Device = "",
    start: _From = "",
    until: _To = "",
    status: _Status = "",
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """List bundles of certificates, the oldest production first, at most 1,000."""

    def act(house: House) -> None:
        from app.services.certificates import query

        choice = _choice(issuance, device, start, until, status)
        found = query.every(house, _sight(house, account), choice)
        rows = [asdict(item) for item in islice(found, _SHOWN)]
        if json:
            show_json(rows)
            return
        show_table(_COLUMNS, [_line(row) for row in rows])
        typer.echo(f"bundles: {len(rows)}", err=True)

    _run(settings, data, act)


@certificate_cli.command(
    epilog="Example: wattloom certificate transfer home-5 school --wh 500 --data data/demo"
)
def transfer(
    account: _Account,
    to: Annotated[str, typer.Argument(help="The participant who gets them.")],
    *,
    wh: _Wh = None,
    issuance: _Issuance = "",
    device: _Device = "",
    start: _From = "",
    until: _To = "",
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Pass Active certificates on to another account; only that one can give them back."""
    chosen = (issuance, device, start, until)
    _run(settings, data, lambda house: _act(house, account, "transfer", chosen, wh, to))


@certificate_cli.command(
    epilog="Example: wattloom certificate claim home-5 --wh 500 --data data/demo"
)
def claim(
    account: _Account,
    *,
    wh: _Wh = None,
    issuance: _Issuance = "",
    device: _Device = "",
    start: _From = "",
    until: _To = "",
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Use Active certificates for the holder's own consumption; nothing undoes that."""
    chosen = (issuance, device, start, until)
    _run(settings, data, lambda house: _act(house, account, "claim", chosen, wh, ""))


@certificate_cli.command(
    epilog='Example: wattloom certificate cancel home-5 --for "Summer fair" --data data/demo'
)
def cancel(
    account: _Account,
    *,
    purpose: Annotated[str, typer.Option("--for", help="Whom or what it is for.")] = "",
    wh: _Wh = None,
    issuance: _Issuance = "",
    device: _Device = "",
    start: _From = "",
    until: _To = "",
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Take Active certificates out for somebody's or something's benefit; nothing undoes that."""
    chosen = (issuance, device, start, until)
    _run(settings, data, lambda house: _act(house, account, "cancel", chosen, wh, purpose))


@certificate_cli.command(
    epilog="Example: wattloom certificate withdraw home-5 --wh 500 --data data/demo"
)
def withdraw(
    account: _Account,
    *,
    wh: _Wh = None,
    issuance: _Issuance = "",
    device: _Device = "",
    start: _From = "",
    until: _To = "",
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Take Active certificates off this register, to hold them in another; nothing undoes that."""
    chosen = (issuance, device, start, until)
    _run(settings, data, lambda house: _act(house, account, "withdraw", chosen, wh, ""))


@certificate_cli.command(
    "import", epilog="Example: wattloom certificate import home-5 wind.csv --data data/demo --yes"
)
def import_(
    account: _Account,
    file: Annotated[Path, typer.Argument(help="Bundles issued elsewhere, .csv or .json.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Write it; without it only show.")] = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Take certificates that were issued elsewhere into an account: a whole file or none of it."""

    def act(house: House) -> None:
        from app.files.certificates import read
        from app.services.certificates.accounts import take_in

        items = read(file, "json" if file.suffix == ".json" else "csv")
        wh = take_in(house, account, items, ADMINISTRATOR, preview=not yes)
        done = "taken in" if yes else "to be taken in (repeat it with --yes)"
        typer.echo(f"{done}: {len(items)} bundles, {wh} Wh", err=True)

    _run(settings, data, act)


@certificate_cli.command(
    "export",
    epilog="Example: wattloom certificate export out.csv --account home-5 --data data/demo",
)
def export_(
    file: Annotated[Path, typer.Argument(help="What to write, .csv or .json.")],
    *,
    account: _OfAccount = "",
    issuance: _Issuance = "",
    device: _Device = "",
    start: _From = "",
    until: _To = "",
    status: _Status = "",
    force: Force = False,
    data: Data = None,
    settings: Settings = None,
) -> None:
    """Write bundles to a file, with the field names of EnergyTag's API."""

    def act(house: House) -> None:
        from app.files.certificates import as_csv, as_json
        from app.files.output import written
        from app.services.certificates import query

        choice = _choice(issuance, device, start, until, status)
        items = list(query.every(house, _sight(house, account), choice))
        with written(file, force=force) as out:
            out.write(as_json(items) if file.suffix == ".json" else as_csv(items))
        typer.echo(f"written: {len(items)} bundles", err=True)

    _run(settings, data, act)


def _choice(issuance: str, device: str, start: str, until: str, status: str = "") -> Choice:
    from app.services.certificates.accounts import Choice

    return Choice(issuance, device, start, until, status)


def _sight(house: House, account: str) -> Sight:
    """Return the administrator's sight: one account, or all of them."""
    from app.services.certificates.query import Sight
    from app.store import people

    with house.database.read() as session:
        known = frozenset(people.participants(session))
    return Sight(frozenset({account}) if account else known)


def _act(
    house: House,
    account: str,
    action: str,
    chosen: tuple[str, str, str, str],
    wh: int | None,
    to: str,
) -> None:
    from app.services.certificates.accounts import act
    from market.certificate_bundle import Action

    done = act(house, account, Action(action), _choice(*chosen), wh, to, ADMINISTRATOR)
    typer.echo(f"{action}: {done} Wh", err=True)


def _line(row: dict[str, object]) -> tuple[object, ...]:
    names = (
        "production_starting_interval",
        "certificate_bundle_status",
        "account_id",
        "bundle_quantity",
        "beneficiary",
        "issuance_id",
    )
    return tuple(row[name] for name in names)


def _run(
    settings: Path | None, data: Path | None, action: Callable[[House], int | None]
) -> NoReturn:
    from app.files.rows import TableFileError
    from market.certificate import CertificateError
    from metering.interval import IntervalError

    refused = (CertificateError, IntervalError, TableFileError)
    run("certificate", settings, data, action, *refused)
