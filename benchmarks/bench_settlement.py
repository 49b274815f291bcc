"""An interval of 100, 1,000 and 10,000 metering points: cleared, settled, journalled, rolled up.

Run: ``pytest benchmarks/bench_settlement.py`` (``make bench``). The wall's time of clearing and
settling (journal, settled rows, roll-ups, bill lines and planned payments are in its transaction)
is printed as a ratio to the limit of 2 s per 1,000 points, on SQLite and on PostgreSQL, with
metering and sealing beside it. Then the same interval after a year of history against a day of it,
filled in bulk, and the correction of one reading, against 1 s.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from app.jobs.clear import clear_interval
from app.jobs.correct import correct_estimates
from app.jobs.finalise import finalise
from app.jobs.meter import meter
from app.jobs.seal import seal
from app.jobs.settle import settle_interval
from app.store import intervals
from benchmarks.history import fill
from tests.app.district_kit import GRACE_MS, Kit, key
from tests.conftest import postgres_cluster, postgres_url, sqlite_url

__all__ = ["postgres_cluster", "postgres_url", "sqlite_url"]

LIMIT_S_PER_1000 = 2.0
CORRECTION_LIMIT_S = 1.0
CHUNK = 250  # readings that a batch holds
ROUNDS = 3
GROWTH_POINTS = 4
GROWTH_ROUNDS = 12
MOST_GROWTH = 1.3
STEPS: Mapping[str, Callable[..., None]] = {
    "meter": meter,
    "clear": clear_interval,
    "settle": settle_interval,
    "seal": seal,
}
Figures = Mapping[str, float]  # seconds by step


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    return str(request.getfixturevalue(fixture))


def names(count: int) -> list[str]:
    return [f"home-{number:05}" for number in range(count)]


@pytest.fixture
def kit_of(tmp_path: Path, url: str) -> Iterator[Callable[[int], Kit]]:
    made: list[Kit] = []

    def make(count: int) -> Kit:
        kit = Kit(tmp_path, url, names=names(count), changes={"settle_every": 96})
        made.append(kit)
        read_all(kit)
        return kit

    yield make
    for kit in made:
        kit.close()


def read_all(kit: Kit, silent: frozenset[str] = frozenset()) -> None:
    reading = [name for name in kit.homes if name not in silent]
    for at in range(0, len(reading), CHUNK):
        kit.read(*reading[at : at + CHUNK])


def pass_quarter(kit: Kit, silent: frozenset[str] = frozenset()) -> str:
    """Let a quarter-hour pass in which every home trades; return it closed."""
    moment = kit.clock.now_ms()
    for number, home in enumerate(kit.homes.values()):
        home.use(*((0, 900) if number % 3 == 0 else (300 + number % 40, 0)))
    kit.clock.advance_to(moment - moment % 900_000 + 900_000)
    read_all(kit, silent)
    kit.clock.advance_to(kit.clock.now_ms() + GRACE_MS)
    interval = key((kit.clock.now_ms() - kit.start.start_ms) // 900_000 - 1)
    with kit.database.write() as session:
        intervals.ensure_through(session, kit.clock.now_ms(), kit.settings.rule)
        session.flush()
        intervals.get(session, interval).state = "closed"
    return interval


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def settle_one(kit: Kit) -> Figures:
    interval = pass_quarter(kit)
    found = {
        name: timed(lambda step=step: step(kit.house, interval)) for name, step in STEPS.items()
    }
    return found | {"finalise": timed(lambda: finalise(kit.house))}


def least(rounds: list[Figures]) -> dict[str, float]:
    return {name: min(each[name] for each in rounds) for name in rounds[0]}


def middle(rounds: list[Figures]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def in_words(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {1000 * each:,.0f} ms" for name, each in figures.items())


@pytest.mark.parametrize("count", [100, 1_000, 10_000])
def test_an_interval(
    kit_of: Callable[[int], Kit], count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = kit_of(count)
    settle_one(kit)  # the points join the roster
    best = least([settle_one(kit) for _ in range(ROUNDS)])
    taken, limit = best["clear"] + best["settle"], LIMIT_S_PER_1000 * max(1, count / 1000)
    with capsys.disabled():
        engine = kit.database.engine.dialect.name
        print(f"\n{count:,} points, {engine}: {in_words(best)}")
        print(f"cleared, settled, rolled up in {taken:.2f} s, ratio {taken / limit:.2f} of {limit}")
    assert taken <= limit


def test_growth_with_history(
    kit_of: Callable[[int], Kit], capsys: pytest.CaptureFixture[str]
) -> None:
    kit = kit_of(GROWTH_POINTS)
    settle_one(kit)
    model = key(0)
    fill(kit.database, model, days=1)
    day = middle([settle_one(kit) for _ in range(GROWTH_ROUNDS)])
    fill(kit.database, model, days=364, skip=1)
    year = middle([settle_one(kit) for _ in range(GROWTH_ROUNDS)])
    ratio = sum(year.values()) / sum(day.values())
    with capsys.disabled():
        print(f"\n{kit.database.engine.dialect.name}, {GROWTH_POINTS} points")
        print(f"after a day of history:  {in_words(day)}")
        print(f"after a year of history: {in_words(year)}; ratio {ratio:.2f}")
    assert ratio <= MOST_GROWTH


def test_a_correction(kit_of: Callable[[int], Kit], capsys: pytest.CaptureFixture[str]) -> None:
    """One meter of 1,000 misses a border, in a district with a month of history."""
    kit = kit_of(1_000)
    settle_one(kit)
    silent = frozenset(names(1))
    for quiet in (silent, frozenset[str]()):
        interval = pass_quarter(kit, quiet)
        for step in STEPS.values():
            step(kit.house, interval)
    done: list[bool] = []
    taken = timed(lambda: done.append(correct_estimates(kit.house)))
    with capsys.disabled():
        engine = kit.database.engine.dialect.name
        print(f"\n{engine}: a gap of two intervals corrected in {1000 * taken:,.0f} ms, ")
        print(f"ratio {taken / CORRECTION_LIMIT_S:.2f} of {CORRECTION_LIMIT_S} s")
    assert done == [True]
    assert taken <= CORRECTION_LIMIT_S
