"""The fallback: what mid-market would give, in plain integers, with wishes set aside."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.book import Book
from market.money import Price
from market.order import GRID, Order, Side
from market.place import Level, Place, Wish
from market.pricing import Rule
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.fallback import fall_back
from optimizer.problem import Fees, Problem
from tests.conftest import LONG

PLACES = [Place(), Place("F1"), Place("F1", "B1"), Place("F1", "B2"), Place("F2", "B1")]
WISHES = ["", "green+3", "green-only", "local-first", "max-feeder"]
STANDS = [
    (place, wish)
    for place in PLACES
    for wish in map(Wish.parse, WISHES)
    if wish.level >= place.level
]
EXAMPLES = 20_000 if LONG else 500


def _orders(stands):
    row = st.tuples(
        st.sampled_from(Side),
        st.integers(1, 60),
        st.integers(-6, 30),
        st.integers(0, 5),
        stands,
    )
    return st.lists(row, max_size=8).map(
        lambda rows: tuple(
            Order(f"o{i}", side, f"p{who}", f"m{i}", Energy(wh), Price(limit), *stand)
            for i, (side, wh, limit, who, stand) in enumerate(rows)
        )
    )


BOUNDS = st.tuples(st.integers(-9, 25), st.integers(-9, 25)).map(sorted)
PLAIN = _orders(st.just(()))
ANY_PLACE = _orders(st.sampled_from(STANDS))


@settings(max_examples=EXAMPLES)
@given(orders=PLAIN, bounds=BOUNDS)
def test_it_is_the_mid_market_rule_where_nothing_is_wished(orders, bounds):
    problem = Problem(Book(orders), Rule.MID_MARKET, b"key", *map(Price, bounds))
    expected = clear(problem)
    found = fall_back(replace(problem, rule=Rule.UNIFORM))
    assert found.fallback
    assert not expected.fallback
    same = {"fallback": False, "price_interval": expected.price_interval}
    assert replace(found, **same) == expected


@settings(max_examples=EXAMPLES)
@given(orders=ANY_PLACE, bounds=BOUNDS, fees=st.tuples(*[st.integers(0, 3)] * 3), data=st.data())
def test_whatever_the_book_nobody_is_worse_off_and_places_do_not_matter(orders, bounds, fees, data):
    steps = [Price(sum(fees[: n + 1])) for n in range(3)]
    problem = Problem(Book(orders), Rule.UNIFORM, b"key", *map(Price, bounds), Fees(*steps))
    found = fall_back(problem)
    by_id = {order.order_id: order for order in orders}
    got = dict.fromkeys(sorted(by_id), 0)
    for trade in found.trades:
        fee = problem.fees.of(trade.level) if trade in found.local_trades else Price(0)
        for name, best in ((trade.seller, trade.price), (trade.buyer, trade.price + fee)):
            if name != GRID:
                order = by_id[name]
                got[name] += trade.energy.wh
                assert best >= order.limit if order.side is Side.OFFER else best <= order.limit
        assert trade.amount == trade.price.of(trade.energy)
    for trade in found.local_trades:
        seller, buyer = by_id[trade.seller], by_id[trade.buyer]
        assert seller.participant != buyer.participant
        assert {seller.wish.only, buyer.wish.only} == {False}
        assert Level.FEEDER not in (seller.wish.level, buyer.wish.level)
        if trade.level is not Level.DISTRICT:
            assert seller.place.at(trade.level) == buyer.place.at(trade.level) != Place()
    assert got == found.allocations
    assert all(wh <= by_id[i].quantity.wh for i, wh in got.items())
    assert found.welfare_micro >= 0
    shuffled = tuple(data.draw(st.permutations(orders)))
    assert repr(fall_back(replace(problem, book=Book(shuffled)))) == repr(found)


def test_without_both_bounds_only_the_supplier_trades():
    bid = Order("a", Side.BID, "pa", "a", Energy(10), Price(30))
    offer = Order("b", Side.OFFER, "pb", "b", Energy(10), Price(5))
    found = fall_back(Problem(Book((bid, offer)), Rule.UNIFORM, b"key", None, Price(30)))
    assert (found.price, found.local_trades, found.price_interval) == (None, (), (None, None))
    assert (found.allocations, found.grid_import.wh) == ({"a": 10, "b": 0}, 10)


@pytest.mark.parametrize(
    ("seller", "buyer", "level"),
    [
        ("F1/B1", "F1/B1", Level.BUILDING),
        ("F1/B1", "F1/B2", Level.FEEDER),
        ("F1/B1", "F1", Level.FEEDER),
        ("F1/B1", "F2/B1", Level.DISTRICT),
        ("F1", "", Level.DISTRICT),
    ],
)
def test_the_level_is_that_of_the_lowest_place_which_holds_both(seller, buyer, level):
    orders = (
        Order("a", Side.OFFER, "pa", "a", Energy(10), Price(5), Place.parse(seller)),
        Order("b", Side.BID, "pb", "b", Energy(10), Price(30), Place.parse(buyer)),
    )
    bounds = (Price(8), Price(30))
    [trade] = fall_back(Problem(Book(orders), Rule.UNIFORM, b"key", *bounds)).trades
    assert trade.level is level
