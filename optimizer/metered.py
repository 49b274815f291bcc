"""Metered mode: what an interval's clearing is asked, once its meters have been read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from market.book import Book
from market.money import Price
from market.order import Side
from market.parties import MeteredPoint
from market.pricing import Rule
from market.tariff import price_bounds
from optimizer.problem import Problem


def metered_problem(key: str, rule: str, book: Book, points: Iterable[MeteredPoint]) -> Problem:
    """Return an interval's clearing problem. Where its bounds leave no room, nobody trades."""
    floor, ceiling = bounds(book, points)
    no_room = floor is not None and ceiling is not None and floor > ceiling
    return Problem(
        book=Book(()) if no_room else book,
        rule=Rule(rule),
        tie_key=key.encode(),
        floor=None if no_room else floor,
        ceiling=None if no_room else ceiling,
    )


def bounds(book: Book, points: Iterable[MeteredPoint]) -> tuple[Price | None, Price | None]:
    """Return the floor and the ceiling of a book, from the tariffs of those who stand in it."""
    tariffs = {point.point: point.tariff for point in points}
    return price_bounds(
        [tariffs[order.point] for order in book.orders if order.side is Side.OFFER],
        [tariffs[order.point] for order in book.orders if order.side is Side.BID],
    )


def payable(book: Book, rule: str, points: Iterable[MeteredPoint]) -> Book:
    """Return the book with no bid above the ceiling where each buyer pays what they bid.

    The rule asks no more than the ceiling of anybody; so the limit that is sealed is the price.
    """
    ceiling = bounds(book, points)[1]
    if ceiling is None or Rule(rule) is not Rule.PAY_AS_BID:
        return book
    return Book(
        tuple(
            replace(order, limit=min(order.limit, ceiling)) if order.side is Side.BID else order
            for order in book.orders
        )
    )
