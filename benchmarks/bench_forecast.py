"""What a day's forecast costs: 100 points with weeks behind them, from rows to rows.

The clear sky alone is worked out by a process of its own, whose second is mostly the import of
pvlib; the worker's own memory is told beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from app.jobs import forecast as job
from benchmarks.memory import peak_megabytes
from optimizer.forecast.solar import ask_clear_sky
from tests.app.district_kit import START, Kit
from tests.app.forecast_kit import district, measure, weeks_back

POINTS = 100
WEEKS = {"baseline": 4, "learned": 8}


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture that is used here."""

    extra_info: dict[str, object]

    def pedantic(self, target: object, args: tuple[object, ...], rounds: int) -> object: ...


@pytest.fixture(params=WEEKS)
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    """A hundred homes with as many weeks behind them as the model looks at."""
    names = tuple(f"home{number:03}" for number in range(POINTS))
    url = f"sqlite:///{tmp_path / 'bench.db'}"
    kit = district(tmp_path, url, names, forecast_model=request.param)
    measure(kit, weeks_back(START, WEEKS[request.param]), START)
    yield kit
    kit.close()


@pytest.mark.benchmark(group=f"a forecast run, {POINTS} points")
def test_run(benchmark: Benchmark, kit: Kit) -> None:
    before = peak_megabytes("self")
    made = benchmark.pedantic(job.make, args=(kit.house, START.start_ms), rounds=3)
    assert isinstance(made, job.Made)
    assert (len(made.forecast.points), len(made.prices)) == (POINTS, 192)
    assert made.fault == ""
    benchmark.extra_info["more MiB at its peak"] = peak_megabytes("self") - before


@pytest.mark.benchmark(group="the clear sky of four weeks and two days")
def test_sky(benchmark: Benchmark) -> None:
    found = benchmark.pedantic(
        ask_clear_sky, args=(START.start_ms, 2_880, "52.52", "13.41"), rounds=3
    )
    assert len(found) == 2_880
