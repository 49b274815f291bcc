"""Files of ``wattloom clear``: reads BOOK.csv, writes RESULT.json."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from market.book import Book, BookError, net_participants
from market.money import Price
from market.order import GRID, Order, OrderError, Side
from market.pricing import Rule
from market.trade import Fill, Trade, make_trade, north_west
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.problem import Clearing, Problem

REQUIRED: Final = ("order_id", "side", "participant", "quantity_wh", "price_micro_per_kwh")
OPTIONAL: Final = ("node", "product")
MAX_ORDERS: Final = 200_000
MAX_BYTES: Final = 64 * 2**20
MAX_FIELD_CHARACTERS: Final = 200

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")


class BookFileError(ValueError):
    """The file is refused for good: mend the row that the message names."""


class ResultFileError(ValueError):
    """The result cannot be written there: name another file."""


def clear_command(
    book: Path,
    retail: int | None,
    feed_in: int | None,
    rule: Rule,
    out: Path,
) -> Clearing:
    """Clear the book of a CSV file and write the result as JSON.

    ``retail`` and ``feed_in`` are in micro-euros per kWh; given, the supplier sells and buys any
    amount at them. A participant on both sides is netted first.

    Raises:
        BookFileError, PricingError: mend the file or the arguments.
        ResultFileError: name another file for the result.
        SolverError: no exact optimum was found.
    """
    with _in_words(out):
        _check_out(book, out)
    orders = read_book(book)
    netted = Book(net_participants(orders.orders))
    problem = Problem(
        netted,
        rule,
        orders.digest(),
        floor=None if feed_in is None else Price(feed_in),
        ceiling=None if retail is None else Price(retail),
    )
    clearing = clear(problem)
    result = result_object(orders, problem, clearing)
    with _in_words(out):
        out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return clearing


@contextmanager
def _in_words(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResultFileError(
            f"cannot write {out}: {error.strerror}; name another --out"
        ) from error


def _check_out(book: Path, out: Path) -> None:
    """Refuse before the work what could not be written after it."""
    if out.is_dir():
        raise ResultFileError(f"{out} is a folder: name a file in it with --out")
    if not out.parent.is_dir():
        raise ResultFileError(f"there is no folder {out.parent}: make it, or name another --out")
    if book.exists() and out.exists() and out.samefile(book):
        raise ResultFileError(f"{out} is the order book itself: name another file with --out")


def read_book(path: Path) -> Book:
    """Return the book of a CSV file: UTF-8, a header, one order per row, no order is skipped.

    Columns may stand in any order. ``node`` is information only (there is no network here); all
    rows must be of one ``product``, since energies of two products do not match each other.

    Raises:
        BookFileError: the file or one of its rows cannot be read; names the row (the header is
            row 1) and the field.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BookFileError(f"{path} is larger than {MAX_BYTES} bytes: split the book")
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read_rows(csv.reader(file, strict=True))
    except OSError as error:
        raise BookFileError(f"cannot read {path}: {error.strerror}; check its name") from error
    except UnicodeDecodeError as error:
        raise BookFileError(f"{path} is not UTF-8: save it as UTF-8") from error
    except BookError as error:
        raise BookFileError(f"{path}: {error}") from error


def result_object(book: Book, problem: Problem, clearing: Clearing) -> dict[str, object]:
    """Return RESULT.json's object: who is who in ``trades`` are participants, or ``grid``.

    ``allocations`` names every order of the file; one that netting used up gets 0.
    """
    lo, hi = clearing.price_interval
    result: dict[str, object] = {
        "price_micro_per_kwh": _micro(clearing.price),
        "price_interval_micro_per_kwh": [_micro(lo), _micro(hi)],
        "cleared_wh": clearing.cleared.wh,
        "welfare_micro": clearing.welfare_micro,
        "allocations": {
            order_id: clearing.allocations.get(order_id, 0)
            for order_id in sorted(order.order_id for order in book.orders)
        },
        "trades": [
            {
                "seller": trade.seller,
                "buyer": trade.buyer,
                "wh": trade.energy.wh,
                "price_micro_per_kwh": trade.price.micro_per_kwh,
                "amount_micro": trade.amount.micro,
            }
            for trade in _between_participants(book, clearing.trades)
        ],
    }
    if problem.floor is not None or problem.ceiling is not None:
        result["grid_import_wh"] = clearing.grid_import.wh
        result["grid_export_wh"] = clearing.grid_export.wh
    return result


def _between_participants(book: Book, trades: Sequence[Trade]) -> list[Trade]:
    """Return the trades of orders as trades of participants.

    Orders of one participant at one price count as one, so that the walk over participants is
    again at most sellers + buyers - 1 long; one order each leaves the trades as they are.
    """
    owner = {order.order_id: order.participant for order in book.orders} | {GRID: GRID}
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


def _read_rows(reader: Iterator[list[str]]) -> Book:
    rows = _numbered(reader)
    _, first = next(rows, (1, []))
    header = [name.strip() for name in first]
    _check_header(header)
    orders: list[Order] = []
    row_of: dict[str, int] = {}
    product: str | None = None
    for number, values in rows:
        if not values:
            continue  # a blank line, often the last one
        if len(orders) == MAX_ORDERS:
            raise BookFileError(f"row {number}: more than {MAX_ORDERS} orders; split the book")
        fields = _fields(number, header, values)
        order = _order(number, fields)
        if order.order_id in row_of:
            raise BookFileError(
                f"row {number}: order id {order.order_id!r} stands in row "
                f"{row_of[order.order_id]} already; ids differ"
            )
        if product is not None and fields.get("product", "") != product:
            raise BookFileError(
                f"row {number}: product {fields.get('product', '')!r} beside {product!r}; "
                "clear one product per book"
            )
        product = fields.get("product", "")
        row_of[order.order_id] = number
        orders.append(order)
    return Book(tuple(orders))


def _numbered(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with their numbers, the header's being 1."""
    number = 0
    try:
        for number, values in enumerate(reader, start=1):
            yield number, values
    except csv.Error as error:
        raise BookFileError(
            f"row {number + 1}: {error}; is a quote left open, or the file cut short?"
        ) from error


def _check_header(header: Sequence[str]) -> None:
    for separator, name in ((";", "';'"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise BookFileError(
                f"row 1: the columns are separated by {name}: save the file with commas"
            )
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in REQUIRED + OPTIONAL]
    twice = [name for name, count in Counter(header).items() if count > 1]
    if missing or unknown or twice:
        raise BookFileError(
            f"row 1: missing columns {missing}, unknown {unknown}, double {twice}; "
            f"write {','.join(REQUIRED)} and, if you like, {','.join(OPTIONAL)}"
        )


def _fields(number: int, header: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    if len(values) != len(header):
        raise BookFileError(
            f"row {number}: {len(values)} fields where the header has {len(header)}; "
            "is the file cut short?"
        )
    if (longest := max(map(len, values))) > MAX_FIELD_CHARACTERS:
        raise BookFileError(
            f"row {number}: a field of {longest} characters; {MAX_FIELD_CHARACTERS} are allowed"
        )
    fields = dict(zip(header, map(str.strip, values), strict=True))
    for name, value in fields.items():
        if any(unicodedata.category(character) == "Cc" for character in value):
            raise BookFileError(
                f"row {number}: {name} {value[:40]!r} holds a control character: take it out"
            )
    return fields


def _order(number: int, fields: dict[str, str]) -> Order:
    if fields["side"] not in tuple(Side):
        raise BookFileError(f"row {number}: side {fields['side']!r} is neither bid nor offer")
    try:
        return Order(
            fields["order_id"],
            Side(fields["side"]),
            fields["participant"],
            fields["participant"],
            Energy(_integer(number, "quantity_wh", fields)),
            Price(_integer(number, "price_micro_per_kwh", fields)),
        )
    except OrderError as error:
        raise BookFileError(f"row {number}: {error}") from error


def _integer(number: int, name: str, fields: dict[str, str]) -> int:
    if not _INTEGER.fullmatch(fields[name]):
        raise BookFileError(
            f"row {number}: {name} {fields[name][:40]!r} is not a whole number of at most 18 digits"
        )
    return int(fields[name])


def _micro(price: Price | None) -> int | None:
    return None if price is None else price.micro_per_kwh
