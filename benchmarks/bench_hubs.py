"""Clearing by hubs: 1,000 bids and 1,000 offers in 10 feeders, and the LP over pairs beside it.

Run: ``pytest benchmarks/bench_hubs.py`` (``make bench``). Times are of CPU, the median of books not
seen before; the compiled model and HiGHS's basis are those of the books before. Everything counts:
adding up to ticks, all solves, certificates, fair fills, prices, trades. The dense LP has a
variable per pair of orders and gives the welfare alone: no price, no trade, no rule for ties.
"""

from __future__ import annotations

import random
from statistics import median
from time import process_time

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import coo_array

from market.book import Book
from market.money import Price
from market.order import Order, Side
from market.place import Level, Place, Product, Wish
from market.pricing import Rule
from metering.quantities import Energy
from optimizer.hubs.clearing import clear_hubs
from optimizer.problem import Fees, Problem

KEY = b"2026-06-23T09:00:00Z"
FEES = Fees(Price(5_000), Price(10_000), Price(30_000))
BID_WISHES = ("", "", "", "green", "green+20000", "green-only", "local-first", "max-feeder")
OFFER_WISHES = ("", "green")
LIMIT_S = 0.5


def problem_of(each: int, buildings: int, seed: int, limit: int | None = None) -> Problem:
    """``each`` bids and offers over 10 feeders, all limits random, or all of a side alike."""
    rng = random.Random(seed)  # noqa: S311 - test data
    orders = []
    for i in range(2 * each):
        side = Side.BID if i < each else Side.OFFER
        place = f"F{rng.randrange(10)}" + (f"/B{rng.randrange(buildings)}" if buildings else "")
        wish = Wish.parse(rng.choice(BID_WISHES if side is Side.BID else OFFER_WISHES))
        price = Price(limit or rng.randint(50_000, 300_000))
        wh = Energy(rng.randint(50, 2_500))
        orders.append(Order(f"o{i}", side, f"p{i}", f"{i}", wh, price, Place.parse(place), wish))
    bounds = (None, None) if limit else (Price(60_000), Price(280_000))
    return Problem(Book(tuple(orders)), Rule.UNIFORM, KEY, *bounds, FEES)


def seconds(each: int, buildings: int, limit: int | None = None, books: int = 5) -> float:
    """Return the median CPU time of clearing, after two books that warm up."""
    times = []
    for seed in range(books + 2):
        problem = problem_of(each, buildings, seed, limit)
        start = process_time()
        clear_hubs(problem)
        times.append(process_time() - start)
    return median(times[2:])


def dense_welfare(problem: Problem) -> float:
    """Return the best welfare in micro-euros per 1000, from one variable per possible pair."""
    bids = [o for o in problem.book.orders if o.side is Side.BID]
    offers = [o for o in problem.book.orders if o.side is Side.OFFER]
    rows, columns, costs = [], [], []
    names = {o.order_id: i for i, o in enumerate(problem.book.orders)}
    pairs = [(b, o) for b in bids for o in offers]
    for bid, offer in pairs:
        level = bid.place.level_to(offer.place)
        green = offer.wish.product is Product.GREEN
        if level > min(bid.wish.level, offer.wish.level) or (bid.wish.only and not green):
            continue
        worth = bid.limit + bid.wish.premium if green else bid.limit
        cost = offer.limit + problem.fees.of(level)
        rows += [names[bid.order_id], names[offer.order_id]]
        columns += [len(costs)] * 2
        costs.append((cost - worth).micro_per_kwh)
    for order in problem.book.orders:
        if order.wish.level is Level.DISTRICT and not order.wish.only:
            outside = problem.ceiling if order.side is Side.BID else problem.floor
            gain = order.limit - outside if order.side is Side.BID else outside - order.limit
            rows.append(names[order.order_id])
            columns.append(len(costs))
            costs.append(-gain.micro_per_kwh)
    matrix = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(names), len(costs)))
    limits = [o.quantity.wh for o in problem.book.orders]
    return -linprog(costs, A_ub=matrix.tocsr(), b_ub=limits, method="highs").fun


def test_hubs() -> None:
    lines = [
        f"{each:>6} x {each:<6} {buildings or '-':>9} {name:>8} "
        f"{seconds(each, buildings, limit):>8.3f}"
        for each, buildings, name, limit in (
            (100, 0, "random", None),
            (1_000, 0, "random", None),
            (1_000, 10, "random", None),
            (1_000, 10, "equal", 200_000),
        )
    ]
    print("\n  orders  buildings a feeder   limits    CPU s", *lines, sep="\n")
    assert seconds(1_000, 0) < LIMIT_S


@pytest.mark.parametrize("each", [100, 300])
def test_against_the_dense_lp(each: int) -> None:
    problem = problem_of(each, 0, 99)
    start = process_time()
    dense = dense_welfare(problem)
    dense_s = process_time() - start
    found = clear_hubs(problem)
    ours_s = seconds(each, 0)
    print(f"\n{each} x {each}: dense pairwise LP {dense_s:.2f} s, hubs {ours_s:.3f} s")
    assert found.welfare_micro == pytest.approx(dense / 1000, abs=1)
