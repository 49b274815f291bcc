"""A thousand random books with ties and negative prices, judged from the definition.

The oracles are scipy's linear programme over single orders, the dual function written out, and
trying every allocation of tiny books. None knows of ticks, merit order or HiGHS arrays.
"""

from collections import defaultdict
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from market.book import Book
from market.money import Price
from market.order import Order, Side
from market.pricing import Rule
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.problem import Clearing, Problem
from tests.conftest import LONG

BOOKS = 1_000 if LONG else 150
TINY_BOOKS = 400 if LONG else 60
BACKSTOPS = [(None, None), (-20, 60), (30, 30), (None, 25), (0, None), (-40, -10)]
FAR = 10**6  # beyond every price here


def _problem(seed: int, fewest: int, most: int, most_wh: int) -> Problem:
    rng = np.random.default_rng(seed)
    spread = int(rng.choice([3, 10, 80]))  # few prices make ties
    orders = tuple(
        Order(
            f"o{i:02}",
            (Side.BID, Side.OFFER)[rng.integers(2)],
            f"p{i:02}",
            f"m{i:02}",
            Energy(int(rng.integers(1, most_wh, endpoint=True))),
            Price(int(rng.integers(-spread, spread, endpoint=True))),
        )
        for i in range(rng.integers(fewest, most, endpoint=True))
    )
    floor, ceiling = (None if p is None else Price(p) for p in BACKSTOPS[rng.integers(6)])
    return Problem(Book(orders), Rule.UNIFORM, b"key", floor, ceiling)


def _rows(problem: Problem) -> list[tuple[int, int, int]]:
    """Return (sign, limit, Wh) of the orders by id: +1 for a bid, -1 for an offer."""
    return [
        (1 if o.side is Side.BID else -1, o.limit.micro_per_kwh, o.quantity.wh)
        for o in sorted(problem.book.orders, key=lambda o: o.order_id)
    ]


def _bounds(problem: Problem) -> tuple[int | None, int | None]:
    return tuple(None if p is None else p.micro_per_kwh for p in (problem.floor, problem.ceiling))


def _welfare(problem: Problem, shares: list[int]) -> int | None:
    """Return the welfare of an allocation (micro-euros x 1000), None where nothing balances it."""
    floor, ceiling = _bounds(problem)
    rows = _rows(problem)
    drawn = sum(sign * wh for (sign, _, _), wh in zip(rows, shares, strict=True))
    outside = ceiling if drawn > 0 else floor
    if drawn and outside is None:
        return None
    value = sum(sign * limit * wh for (sign, limit, _), wh in zip(rows, shares, strict=True))
    return value - drawn * (outside or 0)


def _regret(problem: Problem, price: int) -> int:
    """Return the dual function: what all could gain if they traded what they like at a price."""
    return sum(max(0, sign * (limit - price)) * wh for sign, limit, wh in _rows(problem))


def _best(problem: Problem) -> float:
    floor, ceiling = _bounds(problem)
    flows = [(sign, limit, (0, wh)) for sign, limit, wh in _rows(problem)]
    flows += [] if ceiling is None else [(-1, ceiling, (0, None))]
    flows += [] if floor is None else [(1, floor, (0, None))]
    found = linprog(
        [-sign * limit for sign, limit, _ in flows],
        A_eq=np.array([[sign for sign, _, _ in flows]]),
        b_eq=[0],
        bounds=[bounds for _, _, bounds in flows],
    )
    assert found.status == 0
    return -found.fun


@pytest.mark.parametrize("seed", range(BOOKS))
def test_a_random_book(seed):
    problem = _problem(seed, 6, 60, 5_000)
    found = clear(problem)
    shares = list(found.allocations.values())
    assert all(0 <= got <= wh for got, (_, _, wh) in zip(shares, _rows(problem), strict=True))
    welfare = _welfare(problem, shares)
    assert welfare == pytest.approx(_best(problem), abs=0.01)  # both are whole
    assert found.welfare_micro == (2 * welfare + 1000) // 2000
    _assert_price(problem, found, welfare)
    _assert_ties(problem, found)
    places = np.random.default_rng(seed).permutation(len(problem.book.orders))
    shuffled = Book(tuple(problem.book.orders[place] for place in places))
    again = clear(replace(problem, book=shuffled))
    assert repr(again).encode() == repr(found).encode()


def _assert_price(problem: Problem, found: Clearing, welfare: int) -> None:
    """The interval holds just the prices where the dual function is the welfare; it is convex."""
    lo, hi = (None if p is None else p.micro_per_kwh for p in found.price_interval)
    floor, ceiling = _bounds(problem)
    for end, bound, step in ((lo, floor, -1), (hi, ceiling, 1)):
        if end is None:
            assert bound is None
            assert _regret(problem, step * FAR) == welfare
        else:
            assert _regret(problem, end) == welfare
            assert end == bound or _regret(problem, end + step) > welfare
    traded = any(found.allocations.values())
    assert found.price == (Price((lo + hi) // 2) if traded else None)


def _assert_ties(problem: Problem, found: Clearing) -> None:
    groups = defaultdict(list)
    for row, got in zip(_rows(problem), found.allocations.values(), strict=True):
        groups[row[:2]].append((row[2], got))
    for group in groups.values():
        wanted, got = (sum(column) for column in zip(*group, strict=True))
        assert all(abs(share * wanted - wh * got) < wanted for wh, share in group)


@pytest.mark.parametrize("seed", range(TINY_BOOKS))
def test_a_tiny_book_against_every_allocation(seed):
    """Maximum welfare, and among those the most that orders trade."""
    problem = _problem(seed, 1, 5, 4)
    allocations = product(*[range(wh + 1) for _, _, wh in _rows(problem)])
    worths = [(_welfare(problem, shares), sum(shares)) for shares in allocations]
    best = max(worth for worth in worths if worth[0] is not None)
    shares = list(clear(problem).allocations.values())
    assert (_welfare(problem, shares), sum(shares)) == best
