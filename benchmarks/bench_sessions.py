"""Clearing a forward session: ours against fresh Pyomo + appsi_highs on the same model.

Run: ``pytest benchmarks/bench_sessions.py`` (``make bench``). A session of 96 intervals with 100
step orders each, 50 blocks, 20 cars (and some batteries) at a gap of 1e-3. Ours is end to end:
data, model, choice of blocks, prices, whole watt-hours, trades, certificate. The contender builds
the same Pyomo model and solves its mixed-integer program once, with no price yet.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import median
from time import process_time

import pytest
from pyomo.contrib.appsi.solvers.highs import Highs

from market.money import PPM, Price
from market.order import Order, Side
from market.session_orders import BlockOrder, FlexibleOrder, Session, StepOrder, StorageOrder
from market.sessions import SessionBook, SessionProblem
from metering.quantities import Energy, Power
from optimizer.session.clearing import clear_session
from optimizer.session.data import data_of
from optimizer.session.model import session_model

INTERVALS, STEPS, BLOCKS, CARS = 96, 100, 50, 20
KEY = "2026-06-23T00:00:00Z"


def problem_of(batteries: int, seed: int) -> SessionProblem:
    """Steps around 0.24 (bids) and 0.18 (offers) EUR/kWh, two waves over the day."""
    rng = random.Random(seed)  # noqa: S311 - test data
    steps = []
    for t in range(INTERVALS):
        wave = int(40_000 * math.sin(4 * math.pi * t / INTERVALS))
        for i in range(STEPS):
            side, low = (Side.BID, 140_000) if i % 2 else (Side.OFFER, 80_000)
            price = Price(rng.randrange(low + wave, low + 200_000 + wave, 100))
            order = Order(
                f"s{t}-{i}", side, f"p{i}", f"p{i}", Energy(rng.randint(50, 2_500)), price
            )
            steps.append(StepOrder(t, order))
    book = SessionBook(
        Session(KEY, INTERVALS),
        tuple(steps),
        tuple(_block(rng, b) for b in range(BLOCKS)),
        tuple(_car(rng, c) for c in range(CARS)),
        tuple(_battery(rng, z) for z in range(batteries)),
    )
    floors, ceilings = (Price(80_000),) * INTERVALS, (Price(300_000),) * INTERVALS
    return SessionProblem(book, KEY.encode(), floors, ceilings)


def _block(rng: random.Random, number: int) -> BlockOrder:
    length = rng.randint(2, 12)
    return BlockOrder(
        f"b{number}",
        rng.choice(list(Side)),
        f"q{number}",
        f"q{number}",
        rng.randint(0, INTERVALS - length),
        tuple(rng.randint(200, 4_000) for _ in range(length)),
        Price(rng.randrange(160_000, 240_000, 100)),
        rng.choice([PPM, PPM, PPM // 2, 0]),
    )


def _car(rng: random.Random, number: int) -> FlexibleOrder:
    length, watts = rng.randint(8, 40), rng.choice([3_700, 7_400, 11_000])
    start, energy = rng.randint(0, INTERVALS - length), rng.randint(1_000, 7_400)
    limit = Price(rng.randrange(150_000, 300_000, 100))
    name, end = f"c{number}", start + length
    return FlexibleOrder(name, name, name, Energy(energy), Power(watts), start, end, limit)


def _battery(rng: random.Random, number: int) -> StorageOrder:
    name, capacity = f"z{number}", Energy(rng.randint(5_000, 20_000))
    power, gain = Power(5_000), Price(rng.choice([0, 10_000, 30_000]))
    rest = (Energy(2_500), Energy(2_000), power, power, 900_000, gain)
    return StorageOrder(name, name, name, capacity, *rest)


def fresh_pyomo(problem: SessionProblem) -> float:
    """Build the Pyomo model anew and hand it to appsi_highs; the objective."""
    model = session_model(data_of(problem))
    solver = Highs()
    solver.highs_options = {"mip_rel_gap": problem.gap_ppm / PPM, "threads": 1}
    return float(solver.solve(model).best_feasible_objective)


def contenders(problem: SessionProblem) -> dict[str, Callable[[], object]]:
    """Return what is compared, each ready to run on this session."""
    return {
        "fresh Pyomo + appsi": lambda: fresh_pyomo(problem),
        "ours, end to end": lambda: clear_session(problem),
    }


@pytest.mark.parametrize("batteries", [0, 5])
@pytest.mark.parametrize("contender", ["fresh Pyomo + appsi", "ours, end to end"])
def test_session(benchmark, batteries: int, contender: str) -> None:
    """Time one contender on sessions that it has not seen."""
    runs = iter([contenders(problem_of(batteries, seed))[contender] for seed in range(4)])
    next(runs)()
    benchmark.group = f"96 x 100 orders, 50 blocks, 20 cars, {batteries} batteries"
    benchmark.pedantic(lambda run: run(), setup=lambda: ((next(runs),), {}), rounds=3)


def test_session_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    """Print CPU seconds and ratios; every session has its answer within 10 of them."""
    lines = [f"{'batteries':>9} {'contender':>20} {'s':>7} {'x appsi':>8} {'gap ppm':>8}"]
    for batteries in (0, 5, 20):
        times: dict[str, list[float]] = {}
        gaps = []
        for seed in range(3):
            problem = problem_of(batteries, seed)
            for name, run in contenders(problem).items():
                start = process_time()
                found = run()
                times.setdefault(name, []).append(process_time() - start)
            gaps.append(found.gap_ppm)
            assert found.optimal
            assert not found.fallback
        base = median(times["fresh Pyomo + appsi"])
        lines += [
            f"{batteries:>9} {name:>20} {median(seconds):>7.2f} {median(seconds) / base:>8.2f} "
            f"{max(gaps) if name.startswith('ours') else 1000:>8}"
            for name, seconds in times.items()
        ]
        assert max(times["ours, end to end"]) < 10
    with capsys.disabled():
        print("\n" + "\n".join(lines))
