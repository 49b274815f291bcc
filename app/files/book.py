"""Reads the files of ``wattloom clear``: order books as CSV, bounded in size and memory.

A file is taken whole or not at all; whatever is wrong is named with its row (the header is row 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple

from app.files.rows import Source, TableFileError, integer, name_of, once, price, rows_of
from market.book import Book, BookError
from market.order import Order, OrderError, Side
from market.place import Place, PlaceError, Wish
from metering.quantities import Energy

REQUIRED: Final = ("order_id", "side", "participant", "quantity_wh", "price_micro_per_kwh")
OPTIONAL: Final = ("node", "product")
MAX_ORDERS: Final = 200_000


class Node(NamedTuple):
    """Where an order stands: its place, and its metering point where the file names one."""

    place: Place
    point: str


def read_book(source: Source, tick: int = 1) -> Book:
    """Return the book of a CSV file: UTF-8, a header, one order per row, no order is skipped.

    Columns may stand in any order. ``node`` is FEEDER, FEEDER/BUILDING or FEEDER/BUILDING/POINT;
    ``product`` holds a bid's wish in the words of :meth:`market.place.Wish.parse`, for an offer
    ``any`` or ``green``, and how far it goes. Every price is a multiple of ``tick`` micro-euros per
    kWh.

    Raises:
        TableFileError: the file or one of its rows cannot be read; names the row and the field.
    """
    taken = _Rows()
    for number, fields in rows_of(source, REQUIRED, OPTIONAL):
        try:
            node = _node(fields.get("node", ""))
            taken.add(number, _order(number, fields, node, tick), node.point)
        except (OrderError, PlaceError) as error:
            raise TableFileError(f"row {number}: {error}") from error
    try:
        return Book(tuple(taken.orders))
    except BookError as error:
        raise TableFileError(f"{name_of(source)}: {error}") from error


@dataclass(slots=True)
class _Rows:
    """The orders read so far, and in which row their ids and metering points stand."""

    orders: list[Order] = field(default_factory=list)
    row_of_id: dict[str, int] = field(default_factory=dict)
    row_of_point: dict[str, tuple[Side, int]] = field(default_factory=dict)

    def add(self, number: int, order: Order, point: str) -> None:
        """Take an order in.

        Raises:
            TableFileError: too many orders, an id that stands already, or a metering point (as
                ``node`` names it, '' for none) on both sides.
        """
        if len(self.orders) == MAX_ORDERS:
            raise TableFileError(f"row {number}: more than {MAX_ORDERS} orders; split the book")
        once(number, "order", order.order_id, self.row_of_id)
        side, row = self.row_of_point.setdefault(point, (order.side, number))
        if point and side is not order.side:
            raise TableFileError(
                f"row {number}: metering point {point!r} stands on the other side in row {row}; "
                "enter what is left after its own use"
            )
        self.orders.append(order)


def _order(number: int, fields: dict[str, str], node: Node, tick: int) -> Order:
    if fields["side"] not in tuple(Side):
        raise TableFileError(f"row {number}: side {fields['side']!r} is neither bid nor offer")
    side = Side(fields["side"])
    return Order(
        fields["order_id"],
        side,
        fields["participant"],
        node.point or fields["participant"],
        Energy(integer(number, "quantity_wh", fields["quantity_wh"])),
        price(number, "price_micro_per_kwh", fields["price_micro_per_kwh"], tick),
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
