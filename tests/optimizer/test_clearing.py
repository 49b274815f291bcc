"""Scenarios as tables, and what holds for every book."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.book import Book
from market.money import Price
from market.order import GRID, Order, Side
from market.pricing import PricingError, Rule
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.compiled import SolverError
from optimizer.problem import Clearing, Problem
from optimizer.welfare import Fills, solve_ticks
from tests.conftest import LONG

EXAMPLES = 20_000 if LONG else 500

SCENARIOS = [
    row
    for row in Path(__file__).with_name("clearing_scenarios.txt").read_text().splitlines()
    if not row.startswith("#")
]


def _price(text: str) -> Price | None:
    return None if text.strip() == "-" else Price(int(text))


def _scenario(row: str):
    name, rule, bounds, orders, price, welfare, allocations = (p.strip() for p in row.split("|"))
    floor, ceiling = (_price(text) for text in bounds.split(".."))
    found = [order.split() for order in orders.split(";") if order]
    book = Book(
        tuple(
            Order(i, Side(side), f"p-{i}", i, Energy(int(wh)), Price(int(limit)))
            for i, side, wh, limit in found
        )
    )
    problem = Problem(book, Rule(rule), b"key", floor, ceiling)
    expected = {i: int(wh) for i, wh in (pair.split() for pair in allocations.split(";") if pair)}
    middle, _, interval = price.partition(" [")
    lo, hi = interval.rstrip("]").split(",")
    return pytest.param(
        problem, _price(middle), (_price(lo), _price(hi)), int(welfare), expected, id=name
    )


@pytest.mark.parametrize(
    ("problem", "price", "interval", "welfare", "allocations"),
    [_scenario(row) for row in SCENARIOS],
)
def test_scenarios(problem, price, interval, welfare, allocations):
    found = clear(problem)
    assert (found.price, found.price_interval) == (price, interval)
    assert (found.welfare_micro, found.allocations) == (welfare, allocations)
    _assert_sound(problem, found)


LIMITS = st.integers(-6, 30)
ORDERS = st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 5000), LIMITS), max_size=10).map(
    lambda rows: tuple(
        Order(f"o{i}", side, f"p{i}", f"p{i}", Energy(wh), Price(limit))
        for i, (side, wh, limit) in enumerate(rows)
    )
)
PROBLEMS = st.builds(
    lambda orders, rule, bounds: Problem(
        Book(orders), rule, b"2026-06-23T09:00:00Z", Price(min(bounds)), Price(max(bounds))
    ),
    ORDERS,
    st.sampled_from(Rule),
    st.tuples(st.integers(0, 25), st.integers(0, 25)),
)


@settings(max_examples=EXAMPLES)
@given(problem=PROBLEMS)
def test_every_clearing_is_sound(problem):
    _assert_sound(problem, clear(problem))


def _assert_sound(problem: Problem, found: Clearing) -> None:
    """Welfare, limits, balance, bounds, trades: what holds under every rule."""
    orders = {order.order_id: order for order in problem.book.orders}
    got = dict.fromkeys(orders, 0)
    sums: Counter[str] = Counter()
    assert found.welfare_micro >= 0
    assert list(found.allocations) == sorted(orders)
    for trade in found.trades:
        assert trade.energy.wh > 0
        assert trade.amount == trade.price.of(trade.energy)
        assert trade.seller != trade.buyer
        sums[trade.seller] += trade.amount.micro
        sums[trade.buyer] -= trade.amount.micro
        for name, sign in ((trade.seller, 1), (trade.buyer, -1)):
            if name != GRID:
                got[name] += trade.energy.wh
                assert sign * (trade.price.micro_per_kwh - orders[name].limit.micro_per_kwh) >= 0
        if problem.floor is not None:
            assert problem.floor <= trade.price
        if problem.ceiling is not None:
            assert trade.price <= problem.ceiling
    assert got == found.allocations
    assert sum(sums.values()) == 0
    assert all(wh <= orders[i].quantity.wh for i, wh in got.items())
    assert sum(trade.energy.wh for trade in found.trades) == found.cleared.wh
    if found.grid_import.wh and problem.rule is Rule.UNIFORM:
        assert found.price == problem.ceiling
    if found.grid_export.wh and problem.rule is Rule.UNIFORM:
        assert found.price == problem.floor
    local = found.local_trades
    parties = {t.seller for t in local} | {t.buyer for t in local}
    assert len(local) <= max(0, len(parties) - 1)


@settings(max_examples=EXAMPLES)
@given(problem=PROBLEMS, data=st.data())
def test_places_in_the_book_do_not_matter(problem, data):
    shuffled = data.draw(st.permutations(problem.book.orders))
    again = clear(replace(problem, book=Book(tuple(shuffled))))
    assert repr(again) == repr(clear(problem))
    assert Book(tuple(shuffled)).digest() == problem.book.digest()


@settings(max_examples=EXAMPLES)
@given(problem=PROBLEMS)
def test_equal_orders_get_equal_shares_within_one_watt_hour(problem):
    found = clear(problem)
    groups: dict[tuple[Side, Price], list[tuple[int, int]]] = {}
    for order in problem.book.orders:
        pair = (order.quantity.wh, found.allocations[order.order_id])
        groups.setdefault((order.side, order.limit), []).append(pair)
    for group in groups.values():
        wanted, got = sum(wh for wh, _ in group), sum(share for _, share in group)
        assert all(abs(share - wh * got / wanted) < 1 for wh, share in group)


@settings(max_examples=EXAMPLES)
@given(first=PROBLEMS, second=PROBLEMS)
def test_a_warm_start_changes_nothing(first, second):
    """The LP starts from the basis of whatever was solved before; the merit order has no memory."""
    clear(second, solve_ticks)
    assert repr(clear(first, solve_ticks)) == repr(clear(first))


@settings(max_examples=EXAMPLES)
@given(problem=PROBLEMS, factor=st.integers(2, 9))
def test_scaled_quantities_scale_the_outcome_and_leave_the_price(problem, factor):
    """Where a tick is shared out, single watt-hours may move, since there is no half of one."""
    problem = replace(problem, rule=Rule.UNIFORM)
    scaled = tuple(
        replace(order, quantity=Energy(factor * order.quantity.wh)) for order in problem.book.orders
    )
    found, larger = clear(problem), clear(replace(problem, book=Book(scaled)))
    assert (larger.price, larger.price_interval) == (found.price, found.price_interval)
    assert larger.cleared.wh == factor * found.cleared.wh
    assert abs(larger.welfare_micro - factor * found.welfare_micro) <= factor  # of rounding
    for order_id, wh in found.allocations.items():
        assert abs(larger.allocations[order_id] - factor * wh) <= factor


@settings(max_examples=EXAMPLES)
@given(problem=PROBLEMS, wh=st.integers(1, 5000), limit=LIMITS)
def test_more_supply_never_raises_the_price(problem, wh, limit):
    problem = replace(problem, rule=Rule.UNIFORM)
    more = Order("more", Side.OFFER, "more", "", Energy(wh), Price(limit))
    with_more = clear(replace(problem, book=Book((*problem.book.orders, more))))
    before = clear(problem)
    for lower, upper in zip(with_more.price_interval, before.price_interval, strict=True):
        assert lower is None or upper is None or lower <= upper
    assert with_more.price is None or before.price is None or with_more.price <= before.price


def test_remainders_follow_the_tie_key():
    book = Book(
        (
            Order("a", Side.BID, "pa", "", Energy(1), Price(9)),
            Order("b", Side.OFFER, "pb", "", Energy(1), Price(1)),
            Order("c", Side.OFFER, "pc", "", Energy(1), Price(1)),
        )
    )
    winners = {
        max("bc", key=clear(Problem(book, Rule.UNIFORM, bytes([key]))).allocations.__getitem__)
        for key in range(16)
    }
    assert winners == {"b", "c"}


def test_one_owner_on_both_sides_sells_to_others_only():
    def order(name, side, owner, wh):
        return Order(name, side, owner, owner, Energy(wh), Price(5))

    book = Book(
        (
            order("p-bid", Side.BID, "p", 5),
            order("p-offer", Side.OFFER, "p", 5),
            order("q-offer", Side.OFFER, "q", 2),
        )
    )
    found = clear(Problem(book, Rule.UNIFORM, b"key"))
    assert {(t.seller, t.buyer) for t in found.trades} <= {("q-offer", "p-bid")}
    assert sum(t.energy.wh for t in found.trades) == found.cleared.wh
    alone = clear(Problem(Book(book.orders[:2]), Rule.UNIFORM, b"key"))
    assert (alone.price, alone.trades, alone.cleared.wh) == (None, (), 0)


@pytest.mark.parametrize("wrong", ["unbalanced", "too little", "dear before cheap"])
def test_a_wrong_answer_is_refused(wrong):
    book = Book(
        (
            Order("a", Side.BID, "a", "", Energy(10), Price(30)),
            Order("b", Side.OFFER, "b", "", Energy(10), Price(10)),
            Order("c", Side.OFFER, "c", "", Energy(10), Price(20)),
        )
    )

    def lying(ticks):
        fills = solve_ticks(ticks)
        bids, offers = fills.bids.copy(), fills.offers.copy()
        if wrong == "unbalanced":
            bids[0] -= 1
        elif wrong == "too little":
            bids[0] -= 1
            offers[0] -= 1
        else:
            offers = offers[::-1]
        return Fills(bids, offers, 0, 0)

    with pytest.raises(SolverError):
        clear(Problem(book, Rule.UNIFORM, b"key"), lying)


def test_a_backstop_that_pays_more_than_it_asks_is_refused():
    with pytest.raises(PricingError):
        Problem(Book(()), Rule.UNIFORM, b"", Price(9), Price(8))
    with pytest.raises(PricingError):
        Problem(Book(()), Rule.UNIFORM, b"", None, Price(10**10))


@pytest.mark.parametrize("rule", [Rule.MID_MARKET, Rule.SDR])
def test_a_rate_needs_both_bounds_once_there_is_somebody_to_trade_with(rule):
    bid = Order("a", Side.BID, "a", "", Energy(10), Price(30))
    offer = Order("b", Side.OFFER, "b", "", Energy(10), Price(10))
    for orders in ((), (bid,), (offer,)):
        found = clear(Problem(Book(orders), rule, b"", Price(9), None))
        assert (found.price, found.trades, found.cleared.wh) == (None, (), 0)
    with pytest.raises(PricingError, match="needs both"):
        Problem(Book((bid, offer)), rule, b"", Price(9), None)
