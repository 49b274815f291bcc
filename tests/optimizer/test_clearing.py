"""Scenarios as tables, and what holds for every book."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
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


def _book_of(orders: int, seed: int) -> Problem:
    """Return a random problem, from a seed, since 20,000 of them are tried."""
    chance = np.random.default_rng(seed)
    feed_in, retail = sorted(chance.integers(0, 26, 2).tolist())
    rows = zip(
        chance.integers(0, 2, orders).tolist(),
        chance.integers(1, (60, 5001)[seed % 2], orders).tolist(),
        chance.integers(-6, 31, orders).tolist(),
        strict=True,
    )
    book = Book(
        tuple(
            Order(f"o{i}", tuple(Side)[side], f"p{i}", f"p{i}", Energy(wh), Price(limit))
            for i, (side, wh, limit) in enumerate(rows)
        )
    )
    return Problem(book, Rule.UNIFORM, b"2026-06-23T09:00:00Z", Price(feed_in), Price(retail))


PROBLEMS = st.builds(_book_of, st.integers(0, 10) | st.integers(4, 10), st.integers(0, 2**48))
NEW_OFFERS = st.builds(
    lambda wh, limit: Order("more", Side.OFFER, "more", "", Energy(wh), Price(limit)),
    st.integers(1, 5000),
    st.integers(-6, 30),
)


@settings(max_examples=EXAMPLES)
@given(problem=PROBLEMS, more=NEW_OFFERS)
def test_what_always_holds(problem, more):
    """One book, one draw: all that is promised of one balance at a uniform price."""
    found = clear(problem)
    _assert_sound(problem, found)
    _assert_equal_orders(problem, found)
    _assert_nobody_regrets_a_watt_hour(problem, found)
    # The LP starts from the basis of whatever was solved before; the merit order has no memory.
    assert repr(clear(problem, solve_ticks)) == repr(found)
    _assert_places_in_the_book_do_not_matter(problem, found)
    _assert_scaled_quantities_scale_the_outcome(problem, found)
    _assert_more_supply_never_raises_the_price(problem, found, more)


@settings(max_examples=EXAMPLES)
@given(problem=PROBLEMS, rule=st.sampled_from(sorted(set(Rule) - {Rule.UNIFORM})))
def test_what_holds_under_the_other_rules(problem, rule):
    problem = replace(problem, rule=rule)
    found = clear(problem)
    _assert_sound(problem, found)
    _assert_equal_orders(problem, found)
    assert repr(clear(problem, solve_ticks)) == repr(found)
    _assert_places_in_the_book_do_not_matter(problem, found)


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


def _assert_equal_orders(problem: Problem, found: Clearing) -> None:
    """Orders of one side and limit share pro-rata, to the watt-hour."""
    groups: dict[tuple[Side, Price], list[tuple[int, int]]] = {}
    for order in problem.book.orders:
        pair = (order.quantity.wh, found.allocations[order.order_id])
        groups.setdefault((order.side, order.limit), []).append(pair)
    for group in groups.values():
        wanted, got = sum(wh for wh, _ in group), sum(share for _, share in group)
        assert all(abs(share * wanted - wh * got) < wanted for wh, share in group)


def _assert_nobody_regrets_a_watt_hour(problem: Problem, found: Clearing) -> None:
    """At every price of the interval all have what is best for them: strong duality."""
    for price in found.price_interval:
        for order in problem.book.orders if price is not None else ():
            gain = (order.limit - price).micro_per_kwh * (1 if order.side is Side.BID else -1)
            got = found.allocations[order.order_id]
            assert gain <= 0 or got == order.quantity.wh
            assert gain >= 0 or got == 0


def _assert_places_in_the_book_do_not_matter(problem: Problem, found: Clearing) -> None:
    rows = problem.book.orders
    turned = Book((*rows[len(rows) // 2 :], *rows[: len(rows) // 2])[::-1])
    assert repr(clear(replace(problem, book=turned))) == repr(found)
    assert turned.digest() == problem.book.digest()


def _assert_scaled_quantities_scale_the_outcome(problem: Problem, found: Clearing) -> None:
    """Where a tick is shared out, single watt-hours may move, since there is no half of one."""
    factor = 7
    scaled = tuple(
        replace(order, quantity=Energy(factor * order.quantity.wh)) for order in problem.book.orders
    )
    larger = clear(replace(problem, book=Book(scaled)))
    assert (larger.price, larger.price_interval) == (found.price, found.price_interval)
    assert larger.cleared.wh == factor * found.cleared.wh
    assert abs(larger.welfare_micro - factor * found.welfare_micro) <= factor  # of rounding
    for order_id, wh in found.allocations.items():
        assert abs(larger.allocations[order_id] - factor * wh) <= factor


def _assert_more_supply_never_raises_the_price(
    problem: Problem, before: Clearing, more: Order
) -> None:
    with_more = clear(replace(problem, book=Book((*problem.book.orders, more))))
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
