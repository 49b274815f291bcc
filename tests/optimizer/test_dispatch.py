"""Which engine clears a book, and that it makes no difference where both could."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.book import Book
from market.money import Price
from market.order import Order, Side
from market.place import Place, Wish
from market.pricing import Rule
from metering.quantities import Energy
from optimizer.clearing import clear, needs_hubs
from optimizer.compiled import SolverTimeoutError
from optimizer.hubs.clearing import clear_hubs
from optimizer.problem import Fees, Problem
from tests.conftest import LONG

PLACES = [Place(), Place("F1"), Place("F1", "B1"), Place("F2", "B1")]
GREEN = Wish.parse("green")


def _order(name, side, place="F1/B1", wish=""):
    limit = Price(30 if side is Side.BID else 5)
    where = Place.parse(place), Wish.parse(wish)
    return Order(name, side, f"p-{name}", name, Energy(10), limit, *where)


@pytest.mark.parametrize(
    ("bid_wish", "offer_wish", "fees", "expected"),
    [
        ("", "", Fees(), False),
        ("", "green", Fees(), False),  # nobody asks for it
        ("", "local-first", Fees(), False),  # means nothing for an offer
        ("green", "", Fees(), True),
        ("local-first", "", Fees(), True),
        ("max-feeder", "", Fees(), True),
        ("", "max-building", Fees(), True),
        ("", "", Fees(Price(1), Price(1), Price(1)), True),
    ],
)
def test_hubs_are_for_what_one_balance_cannot_tell_apart(bid_wish, offer_wish, fees, expected):
    book = Book((_order("a", Side.BID, wish=bid_wish), _order("b", Side.OFFER, wish=offer_wish)))
    assert needs_hubs(Problem(book, Rule.UNIFORM, b"key", Price(5), Price(30), fees)) is expected


def test_hubs_are_held_to_the_time_limit_and_the_merit_order_needs_none():
    plain = Book((_order("a", Side.BID), _order("b", Side.OFFER)))
    near = Book((_order("a", Side.BID, wish="max-feeder"), _order("b", Side.OFFER)))
    assert clear(Problem(plain, Rule.UNIFORM, b"key"), time_limit_s=0).cleared == Energy(10)
    with pytest.raises(SolverTimeoutError):
        clear(Problem(near, Rule.UNIFORM, b"key"), time_limit_s=0)
    assert clear(Problem(near, Rule.UNIFORM, b"key"), time_limit_s=60).cleared == Energy(10)


ROWS = st.lists(
    st.tuples(
        st.sampled_from(Side), st.integers(1, 50), st.integers(-5, 30), st.sampled_from(PLACES)
    ),
    max_size=8,
)


@settings(max_examples=5_000 if LONG else 150)
@given(
    rows=ROWS,
    rule=st.sampled_from(Rule),
    bounds=st.tuples(st.integers(0, 25), st.integers(0, 25)).map(sorted),
)
def test_hubs_and_one_balance_agree_where_nothing_matters(rows, rule, bounds):
    orders = tuple(
        Order(f"o{i}", side, f"p{i}", f"m{i}", Energy(wh), Price(limit), place)
        for i, (side, wh, limit, place) in enumerate(rows)
    )
    problem = Problem(Book(orders), rule, b"key", *map(Price, bounds))
    ours, hubs = clear(problem), clear_hubs(problem)
    assert replace(hubs, hubs=(), price_interval=ours.price_interval) == ours
