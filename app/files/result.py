"""Writes RESULT.json of ``wattloom clear``: whole, or not at all."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from market.book import Book
from market.contracts import ContractTrade
from market.money import Price
from market.order import GRID, Order
from market.place import Level, Place, Product, Wish
from market.trade import Fill, Trade, make_trade, north_west, traded_wh
from metering.quantities import Energy
from optimizer.problem import AT_A_RATE, Clearing, Fees, Hub, Problem

Contracted = Sequence[ContractTrade]


class ResultFileError(ValueError):
    """The result cannot be written there: name another file."""


def check_out(book: Path, out: Path) -> None:
    """Refuse before the work what could not be written after it.

    Raises:
        ResultFileError: ``out`` is a folder, stands in none, or is the book.
    """
    with _in_words(out):
        if out.is_dir():
            raise ResultFileError(f"{out} is a folder: name a file in it with --out")
        if not out.parent.is_dir():
            raise ResultFileError(
                f"there is no folder {out.parent}: make it, or name another --out"
            )
        if book.exists() and out.exists() and out.samefile(book):
            raise ResultFileError(f"{out} is the order book itself: name another file with --out")


def write_result(out: Path, result: dict[str, object]) -> None:
    """Write the result; a file that stood there before is replaced at once, or stays as it was.

    Raises:
        ResultFileError: it cannot be written; nothing is left half-written.
    """
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    with _in_words(out):
        if out.exists() and not out.is_file():
            out.write_text(text, encoding="utf-8")  # a pipe or a terminal
            return
        target = out.resolve()
        draft = target.with_name(f".wattloom-{os.getpid()}.draft")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def _in_words(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResultFileError(
            f"cannot write {out}: {error.strerror}; name another --out"
        ) from error


def result_object(
    book: Book, problem: Problem, clearing: Clearing, contracted: Contracted | None = None
) -> dict[str, object]:
    """Return RESULT.json's object: who is who in ``trades`` are participants, or ``grid``.

    ``allocations`` names every order of the file; one that netting used up gets 0. Hubs, and
    levels and products of trades, are there where places, wishes or fees are. Trades under
    contracts (None: there were none to look for) come first and count in the allocations; price,
    cleared energy and welfare are those of the book that they leave.
    """
    hubs = has_hubs(book, problem)
    if hubs and not clearing.hubs:
        clearing = _one_hub(book, problem, clearing)
    agreed = contracted or ()
    taken = traded_wh(trade for _, trade in agreed)
    trades = [
        _trade_object(between, hubs=hubs) | {"contract": contract_id}
        for contract_id, trade in agreed
        for between in by_pairs(book, [trade])
    ]
    found = (by_pairs if hubs else between_participants)(book, clearing.trades)
    trades += [_trade_object(trade, hubs=hubs) for trade in found]
    result: dict[str, object] = {
        "price_micro_per_kwh": _micro(clearing.price),
        "price_interval_micro_per_kwh": [_micro(price) for price in clearing.price_interval],
        "cleared_wh": clearing.cleared.wh,
        "welfare_micro": clearing.welfare_micro,
        "allocations": {
            order_id: clearing.allocations.get(order_id, 0) + taken[order_id]
            for order_id in sorted(order.order_id for order in book.orders)
        },
        "trades": trades,
    }
    if hubs:
        result["hubs"] = [_hub_object(hub) for hub in clearing.hubs]
    if contracted is not None:
        result["contracted_wh"] = sum(trade.energy.wh for _, trade in contracted)
    if problem.floor is not None or problem.ceiling is not None:
        result["grid_import_wh"] = clearing.grid_import.wh
        result["grid_export_wh"] = clearing.grid_export.wh
    return result


def _one_hub(book: Book, problem: Problem, clearing: Clearing) -> Clearing:
    """Return what one balance cleared, told as by a hub: places made no difference to it.

    Each trade travels as far as its places are apart. At a fixed rate the supplier serves beside
    the hub, else through it.
    """
    place = {order.order_id: order.place for order in book.orders} | {GRID: Place()}
    trades = tuple(
        replace(trade, level=place[trade.seller].level_to(place[trade.buyer]))
        for trade in clearing.trades
    )
    if clearing.price is None:
        return replace(clearing, trades=trades)
    through = clearing.local_trades if problem.rule in AT_A_RATE else trades
    cleared = Energy(sum(trade.energy.wh for trade in through))
    hub = Hub(Place(), Product.ANY, clearing.price, clearing.price_interval, cleared)
    return replace(clearing, trades=trades, hubs=(hub,))


def has_hubs(book: Book, problem: Problem) -> bool:
    """Return whether the result tells of hubs: some order says a place or a wish, or fees are due.

    It depends on what was asked, not on what came out, so that a book's results look alike.
    """

    def stands(order: Order) -> bool:
        return order.place != Place() or order.wish != Wish()

    return problem.fees != Fees() or any(map(stands, book.orders))


def between_participants(book: Book, trades: Sequence[Trade]) -> list[Trade]:
    """Return the trades of orders as trades of participants.

    Orders of one participant at one price count as one, so that the walk over participants is
    again at most sellers + buyers - 1 long; one order each leaves the trades as they are.
    """
    owner = _owners(book)
    at_price: dict[Price, list[Trade]] = defaultdict(list)
    for trade in trades:
        at_price[trade.price].append(trade)
    result: list[Trade] = []
    for price, group in at_price.items():
        sold: Counter[str] = Counter()
        bought: Counter[str] = Counter()
        for trade in group:
            sold[owner[trade.seller]] += trade.energy.wh
            bought[owner[trade.buyer]] += trade.energy.wh
        sellers = [Fill(name, name, wh) for name, wh in sold.items()]
        buyers = [Fill(name, name, wh) for name, wh in bought.items()]
        result += [make_trade(*pair, price) for pair in north_west(sellers, buyers)]
    return result


def by_pairs(book: Book, trades: Sequence[Trade]) -> list[Trade]:
    """Return the trades of orders as trades of participants, each pair's added up.

    Pairs stay as they are, since how far energy travels is a matter of the pair.
    """
    owner = _owners(book)
    totals: dict[tuple[str, str, Price, Level, Product], int] = defaultdict(int)
    for t in trades:
        totals[owner[t.seller], owner[t.buyer], t.price, t.level, t.product] += t.energy.wh
    return [
        Trade(seller, buyer, Energy(wh), price, price.of(Energy(wh)), level, product)
        for (seller, buyer, price, level, product), wh in totals.items()
    ]


def _owners(book: Book) -> dict[str, str]:
    return {order.order_id: order.participant for order in book.orders} | {GRID: GRID}


def _trade_object(trade: Trade, *, hubs: bool) -> dict[str, object]:
    plain: dict[str, object] = {
        "seller": trade.seller,
        "buyer": trade.buyer,
        "wh": trade.energy.wh,
        "price_micro_per_kwh": trade.price.micro_per_kwh,
        "amount_micro": trade.amount.micro,
    }
    return plain | {"level": trade.level.label, "product": str(trade.product)} if hubs else plain


def _hub_object(hub: Hub) -> dict[str, object]:
    return {
        "place": str(hub.place),
        "level": hub.place.level.label,
        "product": str(hub.product),
        "price_micro_per_kwh": hub.price.micro_per_kwh,
        "price_interval_micro_per_kwh": [_micro(price) for price in hub.interval],
        "cleared_wh": hub.cleared.wh,
    }


def _micro(price: Price | None) -> int | None:
    return None if price is None else price.micro_per_kwh
