"""Reads the files of ``wattloom clear``: order books as CSV, bounded in size and memory.

A file is taken whole or not at all; whatever is wrong is named with its row (the header is row 1).
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from market.book import Book, BookError
from market.money import Price
from market.order import Order, OrderError, Side
from market.place import Place, PlaceError, Wish
from metering.quantities import Energy

REQUIRED: Final = ("order_id", "side", "participant", "quantity_wh", "price_micro_per_kwh")
OPTIONAL: Final = ("node", "product")
MAX_ORDERS: Final = 200_000
MAX_BYTES: Final = 64 * 2**20
MAX_FIELD_CHARACTERS: Final = 200

INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # Unicode's category Cc


class BookFileError(ValueError):
    """The file is refused for good: mend the row that the message names."""


class Node(NamedTuple):
    """Where an order stands: its place, and its metering point where the file names one."""

    place: Place
    point: str


def read_book(path: Path, tick: int = 1) -> Book:
    """Return the book of a CSV file: UTF-8, a header, one order per row, no order is skipped.

    Columns may stand in any order. ``node`` is FEEDER, FEEDER/BUILDING or FEEDER/BUILDING/POINT;
    ``product`` holds a bid's wish in the words of :meth:`market.place.Wish.parse`, for an offer
    ``any`` or ``green``, and how far it goes. Every price is a multiple of ``tick`` micro-euros per
    kWh.

    Raises:
        BookFileError: the file or one of its rows cannot be read; names the row and the field.
    """
    taken = _Rows()
    for number, fields in rows_of(path):
        try:
            node = _node(fields.get("node", ""))
            taken.add(number, _order(number, fields, node, tick), node.point)
        except (OrderError, PlaceError) as error:
            raise BookFileError(f"row {number}: {error}") from error
    try:
        return Book(tuple(taken.orders))
    except BookError as error:
        raise BookFileError(f"{path}: {error}") from error


def rows_of(
    path: Path, required: Sequence[str] = REQUIRED, optional: Sequence[str] = OPTIONAL
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV file by number, as values by column; blank lines are left out.

    Raises:
        BookFileError: the file or one of its rows cannot be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BookFileError(f"{path} is larger than {MAX_BYTES} bytes: split it")
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = numbered_rows(csv.reader(file, strict=True))
            header = [name.strip() for name in next(rows, (1, []))[1]]
            check_header(header, required, optional)
            for number, values in rows:
                if values:
                    yield number, named_fields(number, header, values)
    except OSError as error:
        raise BookFileError(f"cannot read {path}: {error.strerror}; check its name") from error
    except UnicodeDecodeError as error:
        raise BookFileError(f"{path} is not UTF-8: save it as UTF-8") from error


def off_tick(price_micro_per_kwh: int, tick: int) -> str:
    """Return what is wrong with a price that is no multiple of the tick, '' of one that is."""
    if price_micro_per_kwh % tick == 0:
        return ""
    below = price_micro_per_kwh // tick * tick
    return (
        f"{price_micro_per_kwh} is not a multiple of the tick {tick}: "
        f"write {below} or {below + tick}"
    )


@dataclass(slots=True)
class _Rows:
    """The orders read so far, and in which row their ids and metering points stand."""

    orders: list[Order] = field(default_factory=list)
    row_of_id: dict[str, int] = field(default_factory=dict)
    row_of_point: dict[str, tuple[Side, int]] = field(default_factory=dict)

    def add(self, number: int, order: Order, point: str) -> None:
        """Take an order in.

        Raises:
            BookFileError: too many orders, an id that stands already, or a metering point (as
                ``node`` names it, '' for none) on both sides.
        """
        if len(self.orders) == MAX_ORDERS:
            raise BookFileError(f"row {number}: more than {MAX_ORDERS} orders; split the book")
        first = self.row_of_id.setdefault(order.order_id, number)
        if first != number:
            raise BookFileError(
                f"row {number}: order id {order.order_id!r} stands in row {first} already; "
                "ids differ"
            )
        side, row = self.row_of_point.setdefault(point, (order.side, number))
        if point and side is not order.side:
            raise BookFileError(
                f"row {number}: metering point {point!r} stands on the other side in row {row}; "
                "enter what is left after its own use"
            )
        self.orders.append(order)


def numbered_rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with their numbers, the header's being 1.

    Raises:
        BookFileError: the file is no CSV from some row on.
    """
    number = 0
    try:
        for number, values in enumerate(reader, start=1):
            yield number, values
    except csv.Error as error:
        raise BookFileError(
            f"row {number + 1}: {error}; is a quote left open, or the file cut short?"
        ) from error


def check_header(
    header: Sequence[str],
    required: Sequence[str] = REQUIRED,
    optional: Sequence[str] = OPTIONAL,
) -> None:
    """Refuse a header that lacks a required column, or has an unknown or a double one.

    Raises:
        BookFileError: says which.
    """
    for separator, name in ((";", "';'"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise BookFileError(
                f"row 1: the columns are separated by {name}: save the file with commas"
            )
    missing = [name for name in required if name not in header]
    unknown = [name for name in header if name not in (*required, *optional)]
    twice = [name for name, count in Counter(header).items() if count > 1]
    if missing or unknown or twice:
        raise BookFileError(
            f"row 1: missing columns {missing}, unknown {unknown}, double {twice}; "
            f"write {','.join(required)} and, if you like, {','.join(optional)}"
        )


def named_fields(
    number: int,
    header: Sequence[str],
    values: Sequence[str],
    most_characters: int = MAX_FIELD_CHARACTERS,
) -> dict[str, str]:
    """Return a row's values by the names of the header, outer blanks taken off.

    Raises:
        BookFileError: another number of values, one longer than ``most_characters``, or one with
            a control character.
    """
    if len(values) != len(header):
        raise BookFileError(
            f"row {number}: {len(values)} fields where the header has {len(header)}; "
            "is the file cut short?"
        )
    if (longest := max(map(len, values))) > most_characters:
        raise BookFileError(
            f"row {number}: a field of {longest} characters; {most_characters} are allowed"
        )
    fields = dict(zip(header, map(str.strip, values), strict=True))
    for name, value in fields.items():
        if _CONTROL.search(value):
            raise BookFileError(
                f"row {number}: {name} {value[:40]!r} holds a control character: take it out"
            )
    return fields


def _order(number: int, fields: dict[str, str], node: Node, tick: int) -> Order:
    if fields["side"] not in tuple(Side):
        raise BookFileError(f"row {number}: side {fields['side']!r} is neither bid nor offer")
    side = Side(fields["side"])
    price = integer(number, "price_micro_per_kwh", fields)
    if wrong := off_tick(price, tick):
        raise BookFileError(f"row {number}: price_micro_per_kwh {wrong}")
    return Order(
        fields["order_id"],
        side,
        fields["participant"],
        node.point or fields["participant"],
        Energy(integer(number, "quantity_wh", fields)),
        Price(price),
        node.place,
        _wish(side, fields.get("product", "")),
    )


# Books name few places and wishes, many times each; what is kept is bounded by MAX_ORDERS.
@cache
def _node(text: str) -> Node:
    place, slash, point = text, "", ""
    if text.count("/") == 2:
        place, slash, point = text.rpartition("/")
    if slash and not point:
        raise PlaceError(
            f"{text[:80]!r} is no node: write FEEDER/BUILDING or FEEDER/BUILDING/POINT"
        )
    return Node(Place.parse(place), point)


@cache
def _wish(side: Side, words: str) -> Wish:
    wish = Wish.parse(words)
    if side is Side.OFFER and wish != Wish(wish.product, level=wish.level):
        raise PlaceError(
            f"product {words!r}: an offer says what its energy is, any or green, and how far it "
            "goes, max-building or max-feeder; other wishes are for bids"
        )
    return wish


def integer(number: int, name: str, fields: dict[str, str]) -> int:
    """Return a field's whole number.

    Raises:
        BookFileError: it is none of at most 18 digits.
    """
    if not INTEGER.fullmatch(fields[name]):
        raise BookFileError(
            f"row {number}: {name} {fields[name][:40]!r} is not a whole number of at most 18 digits"
        )
    return int(fields[name])
