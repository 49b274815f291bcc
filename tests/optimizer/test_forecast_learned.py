"""The learned model: it finds what the baseline cannot, sees no future, and knows its limits."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from metering.interval import LENGTH_MS, Interval
from optimizer.forecast.engine import Model, Site, forecast
from optimizer.forecast.history import DAY, HORIZON, MISSING, WEEK, History, Integers

UPTO = Interval.parse("2026-06-23T10:15:00Z")
SITE = Site("52.52", "13.41", {})


def history(imports: Integers) -> History:
    first = Interval.containing_ms(UPTO.start_ms - imports.shape[1] * LENGTH_MS)
    points = tuple(f"p{n}" for n in range(len(imports)))
    return History(first, ZoneInfo("Europe/Berlin"), points, imports, np.zeros_like(imports))


def rising(weeks: int) -> Integers:
    """A load that swings by the day and rises by 2 Wh every day: the mean of weeks lags behind."""
    at = np.arange(weeks * WEEK + HORIZON)
    return (1_000 + 300 * np.sin(2 * np.pi * at / DAY) + 2 * (at // DAY)).astype(np.int64)


def test_it_is_nearer_than_the_baseline_where_the_load_moves() -> None:
    wh = rising(8)
    past, ahead = wh[None, :-HORIZON], wh[-HORIZON:]
    (by_mean,) = forecast(history(past), SITE, Model.BASELINE).points
    (by_regression,) = forecast(history(past), SITE, Model.LEARNED).points
    errors = [
        np.abs(np.array(found.import_wh, dtype=float) - ahead).mean()
        for found in (by_mean, by_regression)
    ]
    assert by_regression.import_model == "learned-1"
    assert errors[0] > 30, "four weeks back the load was 35 Wh lower on average"
    assert errors[1] < errors[0] / 3


def test_it_gives_the_same_twice_and_never_less_than_nothing() -> None:
    random = np.random.default_rng(7)
    noise = history(random.integers(0, 50, (3, 8 * WEEK)))
    first, second = (forecast(noise, SITE, Model.LEARNED) for _ in range(2))
    assert first == second
    assert all(0 <= wh < 50 for each in first.points for wh in each.import_wh if wh is not None)


@pytest.mark.parametrize(("days", "model"), [(13, "baseline-1"), (30, "learned-1")])
def test_with_too_little_history_the_baseline_stands_in_and_it_says_so(
    days: int, model: str
) -> None:
    wh = rising(8)[:-HORIZON].copy()
    wh[: 8 * WEEK - days * DAY] = MISSING
    found = forecast(history(wh[None, :]), SITE, Model.LEARNED)
    assert found.points[0].import_model == model
    assert ("1 of 1 series have less than 14 days" in found.remark) == (model == "baseline-1")
    if model == "baseline-1":
        assert found.points == forecast(history(wh[None, :]), SITE, Model.BASELINE).points


def test_a_day_that_was_lost_costs_little() -> None:
    """The baseline stands in for yesterday's quarters, and the second day looks past them."""
    wh = rising(8)[None, :-HORIZON].copy()
    first = forecast(history(wh), SITE, Model.LEARNED).points[0].import_wh
    wh[0, -DAY:] = MISSING  # the last day was lost
    second = forecast(history(wh), SITE, Model.LEARNED).points[0].import_wh
    assert None not in second
    assert max(abs((a or 0) - (b or 0)) for a, b in zip(first, second, strict=True)) < 60
