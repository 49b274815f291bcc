"""``wattloom contract``: bilateral contracts between two participants, matched before the book."""

from __future__ import annotations

import json as json_text
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from app.services.house import House
    from app.tables import ContractRow
    from metering.interval import Interval

contract_cli = typer.Typer(
    help="Write down, list and end contracts of two partners: a price, and a cap an interval.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Data = Annotated[Path | None, typer.Option(help="Folder of the district, in place of `data`.")]
_Settings = Annotated[Path | None, typer.Option(help="TOML file with the district's settings.")]
_Id = Annotated[str, typer.Argument(help="The contract's name, never used again.")]
_COLUMNS = ("id", "seller", "buyer", "price_micro_per_kwh", "cap_wh", "valid_from", "ends")


@contract_cli.command(
    epilog="Example: wattloom contract add k1 home-5 school --price 120000 --cap 2500 "
    "--data data/demo"
)
def add(
    contract: _Id,
    seller: Annotated[str, typer.Argument(help="Participant who sells.")],
    buyer: Annotated[str, typer.Argument(help="Participant who buys.")],
    price: Annotated[int, typer.Option(help="Net price, micro-euros per kWh; may be negative.")],
    cap: Annotated[int, typer.Option(help="At most so many Wh an interval.")],
    *,
    seller_point: Annotated[str, typer.Option(help="Only this metering point sells.")] = "",
    buyer_point: Annotated[str, typer.Option(help="Only this metering point buys.")] = "",
    start: Annotated[str, typer.Option("--from", help="First interval, by its key.")] = "",
    until: Annotated[str, typer.Option(help="First interval without it, by its key.")] = "",
    data: _Data = None,
    settings: _Settings = None,
) -> None:
    """Write down what both partners signed; it holds from the next interval on, or later."""

    def act(house: House) -> None:
        from app.services import contracts
        from market.contracts import Contract
        from market.money import Price
        from metering.quantities import Energy

        agreed = Contract(
            contract, seller, buyer, Price(price), Energy(cap), seller_point, buyer_point
        )
        row = contracts.add(house, agreed, _interval(start), _interval(until))
        typer.echo(f"{row.id} holds from {row.valid_from} on", err=True)

    _run(settings, data, act)


@contract_cli.command("list", epilog="Example: wattloom contract list --data data/demo --json")
def list_(
    *,
    data: _Data = None,
    settings: _Settings = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every contract there ever was."""

    def act(house: House) -> None:
        from app.services import contracts

        _show(contracts.listed(house), as_json=json)

    _run(settings, data, act)


@contract_cli.command(epilog="Example: wattloom contract end k1 --data data/demo")
def end(
    contract: _Id,
    *,
    at: Annotated[str, typer.Option(help="First interval without it, by its key.")] = "",
    data: _Data = None,
    settings: _Settings = None,
) -> None:
    """End a contract, from the next interval on or later; what it gave stands."""

    def act(house: House) -> None:
        from app.services import contracts

        row = contracts.end(house, contract, _interval(at))
        typer.echo(f"{row.id} ends: {row.ends} is the first interval without it", err=True)

    _run(settings, data, act)


def _interval(key: str) -> Interval | None:
    from metering.interval import Interval

    return Interval.parse(key) if key else None


def _run(settings: Path | None, data: Path | None, action: Callable[[House], None]) -> NoReturn:
    """Open the house, act, and exit 0; 1 with a line that says why."""
    from app.db import DatabaseError
    from app.services.bank_errors import BankError
    from app.services.bank_house import open_house
    from app.services.keyring import KeyringError
    from app.settings import SettingsError, load_settings
    from market.contracts import ContractError
    from metering.interval import IntervalError
    from metering.quantities import QuantityError
    from metering.signing import SigningError

    expected = (
        BankError,
        ContractError,
        DatabaseError,
        IntervalError,
        KeyringError,
        QuantityError,
        SettingsError,
        SigningError,
        OSError,
    )
    overrides: dict[str, object] = {"data": data} if data else {}
    try:
        with open_house(load_settings(settings, **overrides)) as house:
            action(house)
    except expected as error:
        typer.echo(f"wattloom contract: {error}", err=True)
        raise typer.Exit(1) from error
    raise typer.Exit


def _show(rows: list[ContractRow], *, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if as_json:
        values = [row.model_dump(exclude={"known_ms"}) for row in rows]
        typer.echo(json_text.dumps(values, ensure_ascii=False, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = row.model_dump()
        table.add_row(*(Text(str("" if cells[name] is None else cells[name])) for name in _COLUMNS))
    Console(highlight=False, soft_wrap=False).print(table)
    typer.echo(f"contracts: {len(rows)}", err=True)
