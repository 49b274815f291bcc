"""Books for the tests of the hubs: from rows of a table, and random ones."""

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


@st.composite
def wishes(draw, side, place):
    """A wish that fits a side and a place."""
    level = draw(st.sampled_from([level for level in Level if level >= place.level]))
    product = draw(st.sampled_from(Product))
    if side is Side.OFFER or product is Product.ANY:
        return Wish(product, local_first=draw(st.booleans()), level=level)
    premium = draw(st.sampled_from([None, 0, 0, 3, 7]))
    return Wish(product, Price(premium or 0), premium is None, draw(st.booleans()), level=level)


@st.composite
def problems(draw, *, most=9, wh=30, limits=(-5, 20), rules=(Rule.UNIFORM,), owners=None):
    """A random problem; its numbers are small, so that ties abound."""
    rows = []
    for i in range(draw(st.integers(0, most))):
        side = draw(st.sampled_from(Side))
        place = draw(st.sampled_from(PLACES))
        owner = f"p{i}" if owners is None else f"p{draw(st.integers(1, owners))}"
        rows.append(
            Order(
                f"o{i}",
                side,
                owner,
                f"o{i}",
                Energy(draw(st.integers(1, wh))),
                Price(draw(st.integers(*limits))),
                place,
                draw(wishes(side, place)),
            )
        )
    rule = draw(st.sampled_from(rules))
    low, high = sorted((draw(st.integers(0, 18)), draw(st.integers(0, 18))))
    at_a_rate = rule in (Rule.MID_MARKET, Rule.SDR)
    floor = Price(low) if at_a_rate or draw(st.booleans()) else None
    ceiling = Price(high) if at_a_rate or draw(st.booleans()) else None
    fees = sorted(draw(st.lists(st.sampled_from([0, 0, 1, 2, 5]), min_size=3, max_size=3)))
    return Problem(Book(tuple(rows)), rule, KEY, floor, ceiling, Fees(*map(Price, fees)))
