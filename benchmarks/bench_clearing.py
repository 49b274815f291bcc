"""Clearing one interval: ours against bare HiGHS arrays and the merit order.

Run: ``pytest benchmarks/bench_clearing.py`` (``make bench``). Besides pytest-benchmark's table the
last test prints the ratios of medians measured side by side; the ratios, not the times, carry over
to other machines. Every run gets a book it has not seen; the model is compiled once per size, and
HiGHS starts from the basis of the book before. The ratios are of CPU time, since all run on one
core, and the garbage collector rests, as in ``timeit``.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from statistics import median
from time import process_time

import highspy
import numpy as np
import pytest

from market.book import Book
from market.money import Price
from market.order import Order, Side
from market.pricing import Rule
from metering.quantities import Energy
from optimizer import merit_order
from optimizer.clearing import clear, ticks_of_problem
from optimizer.problem import Problem
from optimizer.welfare import solve_ticks

SIZES = (100, 1_000, 10_000, 100_000)
TICK_MICRO_PER_KWH = 100  # 1e-4 EUR/kWh
BOOKS = ("ticks", "distinct")


def book_of(size: int, kind: str, seed: int) -> Book:
    """Half bids around 0.24 EUR/kWh, half offers around 0.18, 50 to 2,500 Wh each."""
    rng = random.Random(seed)  # noqa: S311 - test data
    prices = rng.sample(range(80_000, 340_000), size) if kind == "distinct" else None
    orders = []
    for i in range(size):
        side = Side.BID if i % 2 else Side.OFFER
        low, high = (140_000, 340_000) if side is Side.BID else (80_000, 280_000)
        price = rng.randrange(low, high, TICK_MICRO_PER_KWH) if prices is None else prices[i]
        wh = rng.randint(50, 2_500)
        orders.append(Order(f"o{i:06}", side, f"p{i:06}", f"p{i:06}", Energy(wh), Price(price)))
    return Book(tuple(orders))


def bare_highs(prices: np.ndarray, wh: np.ndarray, is_bid: np.ndarray) -> np.ndarray:
    """One variable per order and one balance, presolve off: build, run, extract."""
    size = len(wh)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = size, 1
    lp.col_cost_ = np.where(is_bid, -prices, prices)
    lp.col_lower_, lp.col_upper_ = np.zeros(size), wh
    lp.row_lower_ = lp.row_upper_ = np.zeros(1)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.array([0, size], dtype=np.int32)
    lp.a_matrix_.index_ = np.arange(size, dtype=np.int32)
    lp.a_matrix_.value_ = np.where(is_bid, 1.0, -1.0)
    highs = highspy.Highs()
    highs.silent()
    highs.setOptionValue("presolve", "off")
    highs.passModel(lp)
    highs.run()
    return np.array(highs.getSolution().col_value)


def arrays_of(book: Book) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return limits, quantities and sides of a book."""
    return (
        np.array([float(o.limit.micro_per_kwh) for o in book.orders]),
        np.array([float(o.quantity.wh) for o in book.orders]),
        np.array([o.side is Side.BID for o in book.orders]),
    )


def contenders(book: Book) -> dict[str, Callable[[], object]]:
    """Return what is compared, each ready to run on this book; reading objects counts as ours."""
    problem = Problem(book, Rule.UNIFORM, b"2026-06-23T09:00:00Z")
    arrays = arrays_of(book)
    return {
        "bare HiGHS": lambda: bare_highs(*arrays),
        "merit order": lambda: merit_order.solve_ticks(ticks_of_problem(problem)),
        "ours, LP": lambda: solve_ticks(ticks_of_problem(problem)),
        "ours, end to end": lambda: clear(problem),
    }


@pytest.mark.parametrize("kind", BOOKS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("contender", ["bare HiGHS", "merit order", "ours, LP", "ours, end to end"])
def test_clearing(benchmark, size: int, kind: str, contender: str) -> None:
    """Time one contender on books of one size."""
    runs = iter([contenders(book_of(size, kind, seed))[contender] for seed in range(4)])
    next(runs)()  # compiles the model of this size
    benchmark.group = f"{size} orders, {kind}"
    benchmark.pedantic(lambda run: run(), setup=lambda: ((next(runs),), {}), rounds=3)


def test_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    """Print all ratios; 10,000 orders end to end take at most 3 times the bare arrays."""
    lines = [f"{'orders':>8} {'prices':>9} {'contender':>18} {'ms':>9} {'x bare HiGHS':>13}"]
    for size in SIZES:
        for kind in BOOKS:
            books = [contenders(book_of(size, kind, seed)) for seed in range(6)]
            for run in books[0].values():
                run()
            times = {name: median(_seconds(book[name]) for book in books[1:]) for name in books[0]}
            lines += [
                f"{size:>8} {kind:>9} {name:>18} {seconds * 1000:>9.2f} "
                f"{seconds / times['bare HiGHS']:>13.2f}"
                for name, seconds in times.items()
            ]
            if size == 10_000:
                assert times["ours, end to end"] <= 3 * times["bare HiGHS"]
    with capsys.disabled():
        print("\n" + "\n".join(lines))


def _seconds(run: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    try:
        start = process_time()
        run()
        return process_time() - start
    finally:
        gc.enable()
