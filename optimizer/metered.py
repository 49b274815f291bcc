"""Metered mode: what an interval's clearing is asked, once its meters have been read.

Limits in the book are net of the fee on energy from anywhere in the district. Where tariffs have a
lower fee on what comes from nearer, the engine matches by the difference (``fees``): near energy
may cost a buyer more at the hub, and still no more all-in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median_low

from market.book import Book
from market.money import Price
from market.order import Order, Side
from market.parties import MeteredPoint
from market.place import Level
from market.pricing import Rule
from market.tariff import Tariff, price_bounds
from optimizer.problem import Fees, Problem


def metered_problem(key: str, rule: str, book: Book, points: Iterable[MeteredPoint]) -> Problem:
    """Return an interval's clearing problem. Where its bounds leave no room, nobody trades."""
    points = tuple(points)
    floor, ceiling = bounds(book, points)
    due = fees(book, rule, points)
    no_room = floor is not None and ceiling is not None and floor > ceiling
    return Problem(
        book=Book(()) if no_room else _bearing(book, due, points),
        rule=Rule(rule),
        tie_key=key.encode(),
        floor=None if no_room else floor,
        ceiling=None if no_room else ceiling,
        fees=due,
    )


def bounds(book: Book, points: Iterable[MeteredPoint]) -> tuple[Price | None, Price | None]:
    """Return the floor and the ceiling of a book, from the tariffs of those who stand in it.

    The ceiling is that of energy from the own building.
    """
    tariffs = {point.point: point.tariff for point in points}
    return price_bounds(
        [tariffs[order.point] for order in book.orders if order.side is Side.OFFER],
        [tariffs[order.point] for order in book.orders if order.side is Side.BID],
        Level.BUILDING,
    )


def fees(book: Book, rule: str, points: Iterable[MeteredPoint]) -> Fees:
    """Return what energy from farther costs on top of energy from the building, for all buyers.

    From the three local fees of the buyers' tariffs, the lower median each where these differ.
    Where each buyer pays what they bid, tariffs that differ leave all fees equal: then the limit
    that is sealed is the price, for whoever checks it with their own tariff alone.
    """
    tariffs = {point.point: point.tariff for point in points}
    buying = [tariffs[order.point] for order in book.orders if order.side is Side.BID]
    steps = {(_nearer(each, Level.BUILDING), _nearer(each, Level.FEEDER)) for each in buying}
    if not buying or (Rule(rule) is Rule.PAY_AS_BID and len(steps) > 1):
        return Fees()
    building, feeder, district = (
        median_low([each.local_fee(level) for each in buying]) for level in Level
    )
    return Fees(Price(0), feeder - building, district - building)


def _nearer(tariff: Tariff, level: Level) -> Price:
    """Return how much less the fee of a level is than that of the district."""
    return tariff.local_fee(Level.DISTRICT) - tariff.local_fee(level)


def _bearing(book: Book, due: Fees, points: Sequence[MeteredPoint]) -> Book:
    """Return the book with bids at what they bear at the hub of their building.

    That is the limit and the fee of the district, less the fee of the building; and less where a
    tariff has smaller steps than ``due``, so that at no level its buyer pays more than they bear.
    """
    if due == Fees():
        return book
    tariffs = {point.point: point.tariff for point in points}

    def one(order: Order) -> Order:
        if order.side is Side.OFFER:
            return order
        own = tariffs[order.point]
        room = min(_nearer(own, level) + due.of(level) for level in Level)
        return replace(order, limit=order.limit + room)

    return Book(tuple(one(order) for order in book.orders))


def payable(book: Book, rule: str, points: Sequence[MeteredPoint]) -> Book:
    """Return the book with no bid above the ceiling where each buyer pays what they bid.

    The rule asks no more than the ceiling of anybody; so the limit that is sealed is the price.
    """
    ceiling = bounds(book, points)[1]
    if ceiling is None or Rule(rule) is not Rule.PAY_AS_BID:
        return book
    most = ceiling - fees(book, rule, points).district
    return Book(
        tuple(
            replace(order, limit=min(order.limit, most)) if order.side is Side.BID else order
            for order in book.orders
        )
    )
