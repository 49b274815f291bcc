"""``wattloom contract``: bilateral contracts between two participants, matched before the book."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from app.commands.shared import Data, Json, Settings, interval_of, run, show_json, show_table

if TYPE_CHECKING:
    from app.services.house import House
    from app.tables import ContractRow

contract_cli = typer.Typer(
    help="Write down, list and end contracts of two partners: a price, and a cap an interval.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

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
    data: Data = None,
    settings: Settings = None,
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
        row = contracts.add(house, agreed, interval_of(start), interval_of(until))
        typer.echo(f"{row.id} holds from {row.valid_from} on", err=True)

    _run(settings, data, act)


@contract_cli.command("list", epilog="Example: wattloom contract list --data data/demo --json")
def list_(
    *,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
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
    data: Data = None,
    settings: Settings = None,
) -> None:
    """End a contract, from the next interval on or later; what it gave stands."""

    def act(house: House) -> None:
        from app.services import contracts

        row = contracts.end(house, contract, interval_of(at))
        typer.echo(f"{row.id} ends: {row.ends} is the first interval without it", err=True)

    _run(settings, data, act)


def _run(
    settings: Path | None, data: Path | None, action: Callable[[House], int | None]
) -> NoReturn:
    from market.contracts import ContractError
    from metering.interval import IntervalError
    from metering.quantities import QuantityError

    refused = (ContractError, IntervalError, QuantityError)
    run("contract", settings, data, action, *refused)


def _show(rows: list[ContractRow], *, as_json: bool) -> None:
    if as_json:
        show_json([row.model_dump(exclude={"known_ms"}) for row in rows])
        return
    show_table(_COLUMNS, [[getattr(row, name) for name in _COLUMNS] for row in rows])
    typer.echo(f"contracts: {len(rows)}", err=True)
