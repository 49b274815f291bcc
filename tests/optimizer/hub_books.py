"""Books for the tests of the hubs: from rows of a table, and random ones."""

from functools import partial

import numpy as np
from hypothesis import strategies as st

from market.book import Book
from market.money import Price
from market.order import Order, Side
from market.place import Level, Place, Product, Wish
from market.pricing import Rule
from metering.quantities import Energy
from optimizer.problem import Fees, Problem

KEY = b"2026-06-23T09:00:00Z"
PLACES = [Place.parse(text) for text in ("", "F", "G", "F/A", "F/B", "G/A")]


def price(text):
    return None if text.strip() == "-" else Price(int(text))


def order(text):
    """An order of ``id side Wh limit place wish...``."""
    name, side, wh, limit, place, *wish = text.split()
    return Order(
        name,
        Side(side),
        f"p-{name}",
        name,
        Energy(int(wh)),
        Price(int(limit)),
        Place.parse("" if place == "-" else place),
        Wish.parse(" ".join(wish)),
    )


def problem(rule, bounds, fees, orders):
    """A problem of the columns of a scenario."""
    return Problem(
        Book(tuple(order(text) for text in orders.split(";") if text.strip())),
        Rule(rule.strip()),
        KEY,
        *(price(text) for text in bounds.split("..")),
        Fees(*(Price(int(fee)) for fee in fees.split(","))),
    )


def book_of(orders, seed, *, wh, limits, rules, owners):
    """Return a random problem; its numbers are small, so that ties abound.

    Made from a seed, since 20,000 of them are tried: drawing every number by itself costs more
    than clearing the book. The first orders of a seed are the same however many are asked for.
    """
    chance = np.random.default_rng(seed)

    def upto(least, most):
        return int(chance.integers(least, most, endpoint=True))

    def one_of(things):
        return things[upto(0, len(things) - 1)]

    def wish(side, place):
        level = Level(upto(place.level, Level.DISTRICT))
        product, local_first = one_of(tuple(Product)), bool(upto(0, 1))
        if side is Side.OFFER or product is Product.ANY:
            return Wish(product, local_first=local_first, level=level)
        premium = one_of((None, 0, 0, 3, 7))
        return Wish(product, Price(premium or 0), premium is None, local_first, level=level)

    rule = one_of(rules)
    low, high = sorted((upto(0, 18), upto(0, 18)))
    at_a_rate = rule in (Rule.MID_MARKET, Rule.SDR)
    floor = Price(low) if at_a_rate or upto(0, 1) else None
    ceiling = Price(high) if at_a_rate or upto(0, 1) else None
    fees = sorted(one_of((0, 0, 1, 2, 5)) for _ in range(3))
    rows = []
    for i in range(orders):
        side, place = one_of(tuple(Side)), one_of(PLACES)
        owner = f"p{i}" if owners is None else f"p{upto(1, owners)}"
        quantity, limit = Energy(upto(1, wh)), Price(upto(*limits))
        order_wish = wish(side, place)
        rows.append(Order(f"o{i}", side, owner, f"o{i}", quantity, limit, place, order_wish))
    return Problem(Book(tuple(rows)), rule, KEY, floor, ceiling, Fees(*map(Price, fees)))


def problems(*, most=9, wh=30, limits=(-5, 20), rules=(Rule.UNIFORM,), owners=None):
    """Random problems of ``book_of`` with up to ``most`` orders."""
    return st.builds(
        partial(book_of, wh=wh, limits=limits, rules=rules, owners=owners),
        st.integers(0, most) | st.integers(most // 2, most),
        st.integers(0, 2**48),
    )
