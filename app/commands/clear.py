"""``wattloom clear``: clears the order book of a file; nothing is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.markup import escape

from app.files.book import read_book
from app.files.contracts import read_contracts
from app.files.result import (
    Contracted,
    ResultFileError,
    check_out,
    result_object,
    write_result,
)
from app.files.rows import INTEGER, TableFileError, off_tick
from market.book import Book, net_participants
from market.contracts import Contract, match_contracts
from market.money import Price
from market.order import MAX_PRICE_MICRO_PER_KWH, OrderError
from market.pricing import PricingError, Rule
from optimizer.clearing import clear
from optimizer.compiled import SolverError
from optimizer.problem import Clearing, Fees, Problem

MAX_TICK: Final = 10**9

Tell = Callable[[str], None]


class QuestionError(ValueError):
    """What was asked cannot be asked of this book: mend the option that the message names."""


@dataclass(frozen=True, slots=True)
class Question:
    """How a book is to be cleared. Prices are in micro-euros per kWh.

    ``retail`` and ``feed_in``: given, the supplier sells and buys any amount at them. ``limits``
    are other limits than the file's, by order id.

    Raises:
        QuestionError: the tick is no whole number of at least 1, or a fee is absurd.
    """

    rule: Rule = Rule.UNIFORM
    retail: int | None = None
    feed_in: int | None = None
    fees: Fees = Fees()
    tick: int = 1
    limits: Mapping[str, int] = field(default_factory=dict)
    contracts: Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.tick <= MAX_TICK:
            raise QuestionError(f"--tick {self.tick} is outside 1..{MAX_TICK} micro-euros per kWh")
        if (dearest := self.fees.district.micro_per_kwh) > MAX_PRICE_MICRO_PER_KWH:
            raise QuestionError(
                f"a fee of {dearest} is above {MAX_PRICE_MICRO_PER_KWH} micro-euros per kWh; "
                "check its unit"
            )

    def problem(self, book: Book, contracts: Sequence[Contract]) -> tuple[Problem, Contracted]:
        """Return what is left to be cleared of a book, and the trades under contracts before it.

        What people use themselves is taken out first, wherever it stands and whatever its wish;
        then the contracts. The digest that breaks ties is that of the whole book, with the limits
        asked for.
        """
        tie_key = book.digest()
        contracted, rest = match_contracts(net_participants(book.orders), contracts, tie_key)
        problem = Problem(
            Book(rest),
            self.rule,
            tie_key,
            floor=None if self.feed_in is None else Price(self.feed_in),
            ceiling=None if self.retail is None else Price(self.retail),
            fees=self.fees,
        )
        return problem, contracted


def clear_book(path: Path, out: Path, asked: Question, tell: Tell = lambda _: None) -> Clearing:
    """Clear the book of a CSV file and write the result as JSON; ``tell`` hears of each step.

    Raises:
        TableFileError, QuestionError, PricingError: mend the file or the options.
        ResultFileError: name another file for the result.
        SolverError: no exact optimum was found.
    """
    check_out(path, out)
    tell(f"Reading {path}")
    book = with_limits(read_book(path, asked.tick), asked.limits, asked.tick)
    contracts = read_contracts(asked.contracts, asked.tick) if asked.contracts else ()
    tell(f"Clearing {len(book.orders):,} orders")
    problem, contracted = asked.problem(book, contracts)
    clearing = clear(problem)
    tell(f"Writing {out}")
    told = contracted if asked.contracts else None
    write_result(out, result_object(book, problem, clearing, told))
    return clearing


def with_limits(book: Book, limits: Mapping[str, int], tick: int) -> Book:
    """Return the book with other limits for some orders, as if its file had said so.

    Raises:
        QuestionError: an id that the book does not have, or a price that it would refuse.
    """
    if unknown := sorted(limits.keys() - {order.order_id for order in book.orders}):
        raise QuestionError(f"--limit: the book has no order {unknown[0]!r}; check the id")
    for order_id, price in limits.items():
        if wrong := off_tick(price, tick):
            raise QuestionError(f"--limit {order_id}: {wrong}")
    try:
        return Book(
            tuple(
                replace(order, limit=Price(limits[order.order_id]))
                if order.order_id in limits
                else order
                for order in book.orders
            )
        )
    except OrderError as error:
        raise QuestionError(f"--limit: {error}") from error


def read_limits(texts: Iterable[str]) -> dict[str, int]:
    """Return the limits of ``ORDER_ID=PRICE``, prices in micro-euros per kWh.

    Raises:
        QuestionError: one is written otherwise, or names an order a second time.
    """
    limits: dict[str, int] = {}
    for text in texts:
        order_id, _, price = text.rpartition("=")
        if order_id in limits or not INTEGER.fullmatch(price):
            raise QuestionError(
                f"--limit {text[:80]!r}: write ORDER_ID=PRICE, micro-euros per kWh, "
                "once for an order"
            )
        limits[order_id] = int(price)
    return limits


def clear_shown(book: Path, out: Path, question: Callable[[], Question]) -> int:
    """Clear a book with a word on what is done, and say what came of it; return the exit code."""
    console = Console(stderr=True)
    try:
        with console.status("") as status:
            clearing = clear_book(book, out, question(), lambda text: status.update(escape(text)))
    except (TableFileError, QuestionError, ResultFileError, PricingError, SolverError) as error:
        typer.echo(f"wattloom clear: {error}", err=True)
        return 1
    typer.echo(
        f"{clearing.cleared.wh} Wh cleared at {_prices(clearing)}; the result is in {out}", err=True
    )
    return 0


def _prices(clearing: Clearing) -> str:
    if clearing.price is None:
        return f"{len(clearing.hubs)} prices" if len(clearing.hubs) > 1 else "no price"
    return f"{clearing.price.micro_per_kwh} micro-euros per kWh"
