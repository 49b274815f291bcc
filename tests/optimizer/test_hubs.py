"""Clearing by hubs: scenarios as a table, and what holds for every book."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.book import Book
from market.money import Price, round_half_up
from market.order import GRID, Order, Side
from market.place import Level, Place, Product
from market.pricing import PricingError, Rule
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.hubs import book as hub_book
from optimizer.hubs import solve as hub_solve
from optimizer.hubs.clearing import clear_hubs
from optimizer.hubs.model import HubSolver
from optimizer.hubs.network import Face, network, pool_node, price_bounds
from optimizer.problem import Fees, Problem
from tests.conftest import LONG
from tests.optimizer.hub_books import KEY, PLACES, order, problem, problems
from tests.optimizer.pairwise_oracle import (
    best,
    bonus_at_best,
    bonus_of,
    most_by_hand,
    nearest_level,
)

SCENARIOS = [
    row
    for row in Path(__file__).with_name("hub_scenarios.txt").read_text().splitlines()
    if not row.startswith("#")
]
EXAMPLES = 20_000 if LONG else 500
SOME = EXAMPLES // 5  # where an oracle costs more than the engine


def parts(text):
    return [part.strip() for part in text.split(";") if part.strip()]


def micro(bound):
    return "-" if bound is None else str(bound.micro_per_kwh)


@pytest.mark.parametrize("row", SCENARIOS, ids=lambda row: row.partition("|")[0].strip())
def test_scenarios(row):
    _, rule, bounds, fees, orders, trades, hubs = row.split("|")
    found = clear_hubs(problem(rule, bounds, fees, orders))
    assert sorted(parts(trades)) == sorted(
        f"{t.seller}>{t.buyer} {t.energy.wh} {t.price.micro_per_kwh} {t.level.label} {t.product}"
        for t in found.trades
    )
    assert parts(hubs) == [
        f"{str(h.place) or '-'} {h.product} {h.price.micro_per_kwh} "
        f"[{micro(h.interval[0])},{micro(h.interval[1])}]"
        for h in found.hubs
    ]


@settings(max_examples=SOME)
@given(given_problem=problems())
def test_welfare_is_the_best_there_is_then_volume(given_problem):
    """Against the pairwise LP."""
    found = clear_hubs(given_problem)
    welfare = sum(wh * value for wh, value, _, _ in pairs_of(given_problem, found))
    assert welfare == best(given_problem)
    assert found.welfare_micro == round_half_up(welfare, 1000)
    bonus = sum(wh * bonus_of(bid, offer) for wh, _, bid, offer in pairs_of(given_problem, found))
    assert bonus == bonus_at_best(given_problem, welfare)


@settings(max_examples=SOME)
@given(given_problem=problems(most=3, wh=2))
def test_tiny_books_by_hand(given_problem):
    found = clear_hubs(given_problem)
    made = pairs_of(given_problem, found)
    reached = sum(wh * (8 * value + bonus_of(bid, offer)) for wh, value, bid, offer in made)
    assert reached == most_by_hand(given_problem)


@settings(max_examples=EXAMPLES)
@given(given_problem=problems(most=8), at=st.sampled_from(PLACES))
def test_what_always_holds(given_problem, at):
    """One book, one draw: all that is promised of every clearing by the margin."""
    found = clear_hubs(given_problem)
    check_sound(given_problem, found)
    check_prices_support_the_fills(given_problem, found)
    check_bounds(given_problem, found)
    check_equal_orders(given_problem, found)
    check_order_of_rows_and_basis(given_problem, found)
    check_scaled(given_problem, found)
    check_more_supply(given_problem, at)


@settings(max_examples=EXAMPLES)
@given(given_problem=problems(rules=tuple(Rule), owners=4))
def test_every_rule_and_owner(given_problem):
    """Under every rule, and where one owner stands on both sides."""
    found = clear_hubs(given_problem)
    check_sound(given_problem, found)
    rows = given_problem.book.orders[::-1]
    assert repr(clear_hubs(replace(given_problem, book=Book(rows)))) == repr(found)


def check_sound(given_problem, found):
    """Wishes, limits, balance, money, number of trades."""
    orders = {o.order_id: o for o in given_problem.book.orders}
    got, money = Counter(), Counter()
    for trade in found.trades:
        assert trade.energy.wh > 0
        assert trade.amount == trade.price.of(trade.energy)
        got[trade.seller] += trade.energy.wh
        got[trade.buyer] += trade.energy.wh
        money[trade.seller] += trade.amount.micro
        money[trade.buyer] -= trade.amount.micro
        check_trade(given_problem, trade, orders.get(trade.seller), orders.get(trade.buyer))
    assert sum(money.values()) == 0
    assert found.welfare_micro >= 0  # that of no trade
    assert found.allocations == {name: got[name] for name in sorted(orders)}
    assert all(got[name] <= o.quantity.wh for name, o in orders.items())
    assert found.grid_import.wh == got[GRID] - found.grid_export.wh
    assert found.cleared.wh == sum(trade.energy.wh for trade in found.trades)
    bids = sum(got[o.order_id] for o in orders.values() if o.side is Side.BID)
    assert found.cleared.wh == bids + found.grid_export.wh
    for made in trades_by_hub(found):
        sellers, buyers = {t.seller for t in made}, {t.buyer for t in made}
        if not owners_of(orders, sellers) & owners_of(orders, buyers):
            assert len(made) <= len(sellers) + len(buyers) - 1
    prices = {hub.price for hub in found.hubs}
    assert found.price == (prices.pop() if len(prices) == 1 else None)


def check_trade(given_problem, trade, offer, bid):
    """Nobody is worse off than their limit, and everybody gets what they wished for."""
    if bid and offer:
        green = offer.wish.product is Product.GREEN
        assert trade.product is offer.wish.product
        assert green or not bid.wish.only
        assert nearest_level(bid, offer) <= trade.level <= min(bid.wish.level, offer.wish.level)
        assert bid.participant != offer.participant
        worth = bid.limit + bid.wish.premium if green else bid.limit
        assert offer.limit <= trade.price
        assert trade.price + given_problem.fees.of(trade.level) <= worth
    elif bid:
        assert trade.price == given_problem.ceiling <= bid.limit
        assert bid.wish.level is Level.DISTRICT
        assert not bid.wish.only
    else:
        assert trade.price == given_problem.floor >= offer.limit
        assert offer.wish.level is Level.DISTRICT


def trades_by_hub(found):
    """The trades of each hub: they stand in the hubs' order."""
    trades = iter(found.trades)
    for hub in found.hubs:
        made = []
        while sum(trade.energy.wh for trade in made) < hub.cleared.wh:
            made.append(next(trades))
        assert {(t.level, t.product) for t in made} == {(hub.place.level, hub.product)}
        yield made


def owners_of(orders, names):
    return {orders[name].participant for name in names if name != GRID}


def pairs_of(given_problem, found):
    """What each trade is worth: (Wh, value per kWh at the trade's own level, bid, offer)."""
    orders = {o.order_id: o for o in given_problem.book.orders}
    made = []
    for trade in found.trades:
        offer, bid = orders.get(trade.seller), orders.get(trade.buyer)
        if bid and offer:
            worth = bid.limit - offer.limit - given_problem.fees.of(trade.level)
            if trade.product is Product.GREEN:
                worth += bid.wish.premium
        elif bid:
            worth = bid.limit - given_problem.ceiling
        else:
            worth = given_problem.floor - offer.limit
        made.append((trade.energy.wh, worth.micro_per_kwh, bid, offer))
    return made


def check_bounds(given_problem, found):
    """Prices are the floor of the middle of their bounds, and between the supplier's.

    In the district a price is feed-in at least and, for any energy, retail less the fee at most
    (unless the fee leaves no room between them); where the supplier buys, it is feed-in.
    """
    floor, ceiling = given_problem.floor, given_problem.ceiling
    exported = {trade.product for trade in found.trades if trade.buyer == GRID}
    for hub in found.hubs:
        low, high = hub.interval
        if low is not None and high is not None:
            assert hub.price.micro_per_kwh == (low + high).micro_per_kwh // 2
        if hub.place == Place():
            assert floor is None or floor <= hub.price
            assert hub.product not in exported or hub.price == floor
            cap = None if ceiling is None else ceiling - given_problem.fees.district
            if cap is not None and hub.product is Product.ANY and (floor is None or floor <= cap):
                assert hub.price <= cap


def check_equal_orders(given_problem, found):
    """Who differs in nothing but quantity shares pro-rata, to the watt-hour."""
    groups = {}
    for o in given_problem.book.orders:
        pair = (o.quantity.wh, found.allocations[o.order_id])
        groups.setdefault((o.side, o.limit, o.place, o.wish), []).append(pair)
    for group in groups.values():
        wanted, got = (sum(column) for column in zip(*group, strict=True))
        assert all(abs(share * wanted - wh * got) < wanted for wh, share in group)


def check_order_of_rows_and_basis(given_problem, found):
    """Other rows first, and a solver that knows no basis and no book but this: byte for byte."""
    rows = given_problem.book.orders
    turned = Book((*rows[len(rows) // 2 :], *rows[: len(rows) // 2])[::-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_solve, "_SOLVER", HubSolver())
        assert repr(clear_hubs(replace(given_problem, book=turned))) == repr(found)


def check_scaled(given_problem, found):
    """Three times the quantities: three times the welfare and the volume at the same prices."""
    rows = [replace(o, quantity=Energy(3 * o.quantity.wh)) for o in given_problem.book.orders]
    larger = clear_hubs(replace(given_problem, book=Book(tuple(rows))))
    value = [
        sum(wh * v for wh, v, _, _ in pairs_of(given_problem, each)) for each in (larger, found)
    ]
    assert value[0] == 3 * value[1]
    assert larger.cleared.wh == 3 * found.cleared.wh
    prices = {(h.place, h.product): (h.price, h.interval) for h in larger.hubs}
    for h in found.hubs:
        # Which of two hubs of one price is used may follow the larger numbers' remainders.
        assert prices.get((h.place, h.product), (h.price, h.interval)) == (h.price, h.interval)


def check_prices_support_the_fills(given_problem, found):
    """At the hubs' prices nobody would rather have bought or sold elsewhere, more or less.

    That is complementary slackness, and so strong duality.
    """
    orders = given_problem.book.orders
    for taken in orders:
        chances = [gain for _, gain in gains(given_problem, found, taken)] + [0]
        if found.allocations[taken.order_id] < taken.quantity.wh:
            assert max(chances) == 0, taken
        for trade in found.trades:
            if taken.order_id in (trade.seller, trade.buyer):
                here = gain_of(given_problem, taken, trade)
                assert here == max(chances), (taken, trade)


def gains(given_problem, found, taken):
    """What a kWh would bring an order at every price that stands, the supplier's included."""
    for hub in found.hubs:
        inside = taken.place.level <= hub.place.level <= taken.wish.level
        if inside and taken.place.at(hub.place.level) == hub.place:
            if taken.side is Side.BID and (hub.product is Product.GREEN or not taken.wish.only):
                fee = given_problem.fees.of(hub.place.level)
                yield hub, worth(taken, hub.product) - (hub.price + fee).micro_per_kwh
            elif taken.side is Side.OFFER and hub.product is taken.wish.product:
                yield hub, (hub.price - taken.limit).micro_per_kwh
    if taken.wish.level is Level.DISTRICT:
        floor, ceiling = given_problem.floor, given_problem.ceiling
        if taken.side is Side.BID and ceiling is not None and not taken.wish.only:
            yield None, (taken.limit - ceiling).micro_per_kwh
        if taken.side is Side.OFFER and floor is not None:
            yield None, (floor - taken.limit).micro_per_kwh


def worth(bid, product):
    green = product is Product.GREEN
    return (bid.limit + bid.wish.premium if green else bid.limit).micro_per_kwh


def gain_of(given_problem, taken, trade):
    if taken.side is Side.OFFER:
        return (trade.price - taken.limit).micro_per_kwh
    fee = Price(0) if trade.seller == GRID else given_problem.fees.of(trade.level)
    return worth(taken, trade.product) - (trade.price + fee).micro_per_kwh


NO_PLACES = st.builds(
    lambda rows, rule, bounds: Problem(
        Book(
            tuple(
                Order(f"o{i}", side, f"p{who}", f"o{i}", Energy(wh), Price(limit), place)
                for i, (side, wh, limit, place, who) in enumerate(rows)
            )
        ),
        rule,
        KEY,
        Price(min(bounds)),
        Price(max(bounds)),
    ),
    st.lists(
        st.tuples(
            st.sampled_from(Side),
            st.integers(1, 30),
            st.integers(-5, 20),
            st.sampled_from(PLACES),
            st.integers(1, 8),
        ),
        max_size=12,
    ),
    st.sampled_from(Rule),
    st.tuples(st.integers(0, 18), st.integers(0, 18)),
)


@settings(max_examples=SOME)
@given(given_problem=NO_PLACES)
def test_where_nothing_matters_it_is_one_balance(given_problem):
    """Places without fees and wishes make no difference: the one balance finds the same."""
    assert replace(clear_hubs(given_problem), hubs=()) == clear(given_problem)


@settings(max_examples=SOME)
@given(given_problem=problems())
def test_places_that_vanish_do_not_change_the_welfare(given_problem):
    found = clear_hubs(given_problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_book, "_matters", lambda *_: True)
        every = clear_hubs(given_problem)
    value = [
        sum(wh * v for wh, v, _, _ in pairs_of(given_problem, clearing))
        for clearing in (found, every)
    ]
    assert value[0] == value[1]
    assert found.cleared == every.cleared


def check_more_supply(given_problem, at):
    """Neither bound of any pool rises, wherever the energy is offered (gross substitutes)."""
    more = order(f"more offer 11 -5 {at if str(at) else '-'}")
    before = bounds_of(given_problem)
    after = bounds_of(replace(given_problem, book=Book((*given_problem.book.orders, more))))
    for pool in before.keys() & after.keys():
        for old, new in zip(before[pool], after[pool], strict=True):
            assert new <= old, pool  # an endless bound is beyond all others


def bounds_of(given_problem):
    """The lowest and the highest price of every pool, from any optimum."""
    book = hub_book.hub_book(given_problem)
    net = network(book, given_problem)
    whole = Face(np.zeros_like(net.most), net.most)
    flow = hub_solve.solve(book, net, net.eighths, whole)
    lowest, highest = price_bounds(net, flow, whole)
    return {
        (place, product): (int(lowest[node]), int(highest[node]))
        for i, place in enumerate(book.places)
        for product in Product
        if (node := pool_node(i, product))
    }


def test_absurd_numbers_are_told_apart():
    """Prices a micro apart, far from 0, and 10^12 Wh: still exact."""
    top = 10**9
    rows = (
        f"a bid {10**12} {top} F; b bid {10**12} {top - 1} G; c bid 7 {-top} G max-feeder;"
        f"s offer {10**12 + 0} {top - 3} F; t offer 5 {-top} G max-feeder"
    )
    found = clear_hubs(problem("uniform", "-..-", "0,1,2", rows))
    assert found.allocations == {"a": 10**12, "b": 5, "c": 0, "s": 10**12, "t": 5}


def test_local_first_bids_get_the_near_energy_and_the_supplier_serves_the_others():
    rows = "; ".join(
        [
            *(f"n{i} bid 10 30 F" for i in range(4)),
            "l bid 10 30 F local-first",
            "s offer 10 10 F",
        ]
    )
    found = clear_hubs(problem("uniform", "8..30", "0,0,0", rows))
    assert [(t.seller, t.energy.wh) for t in found.trades if t.buyer == "l"] == [("s", 10)]
    assert found.grid_import.wh == 40


def test_a_rate_that_is_void_is_refused():
    rows = "a bid 10 30 F; s offer 10 -9 F max-feeder"
    with pytest.raises(PricingError, match="supply-demand ratio"):
        clear_hubs(problem("sdr", "-5..30", "0,0,0", rows))


def test_fees_cannot_fall_with_the_distance():
    with pytest.raises(PricingError, match="fall with the distance"):
        Fees(Price(3), Price(2), Price(5))
