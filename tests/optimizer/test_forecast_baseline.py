"""The baseline against its definition in wall-clock arithmetic, whatever the clock does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.interval import LENGTH_MS, Interval
from optimizer.forecast.baseline import baseline
from optimizer.forecast.history import (
    HORIZON,
    MISSING,
    WEEK,
    Calendar,
    ForecastError,
    History,
    to_floats,
    to_wh,
)
from tests.conftest import LONG

BERLIN = ZoneInfo("Europe/Berlin")
# The first quarter that is forecast: an ordinary noon, and noons around both changes of the clock.
ISSUES = (
    "2026-06-23T10:15:00Z",
    "2026-10-24T10:15:00Z",  # ahead: the day of 100 quarters
    "2026-10-31T11:15:00Z",  # a week after it
    "2027-03-27T11:15:00Z",  # ahead: the day of 92
    "2027-04-03T10:15:00Z",
)


@cache
def calendar(issue: str) -> Calendar:
    first = Interval.containing_ms(Interval.parse(issue).start_ms - 4 * WEEK * LENGTH_MS)
    return Calendar.of(first, 4 * WEEK + HORIZON, BERLIN)


def measured_at(first: Interval, wh: list[int], wall: datetime) -> list[int]:
    """What was measured at a wall time: nothing, one value, or two where it happened twice."""
    moments = []
    for fold in (0, 1):
        moment = wall.replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)
        if moment.astimezone(BERLIN).replace(tzinfo=None) == wall and moment not in moments:
            moments.append(moment)
    places = [int((moment - first.start) / timedelta(minutes=15)) for moment in moments]
    return [wh[at] for at in places if 0 <= at < len(wh) and wh[at] != MISSING]


def by_definition(first: Interval, wh: list[int], target: Interval) -> float | None:
    """The rule of the baseline, word by word."""
    wall = target.start.astimezone(BERLIN).replace(tzinfo=None)
    weeks = [v for n in (1, 2, 3, 4) for v in measured_at(first, wh, wall - timedelta(weeks=n))]
    if weeks:
        return sum(weeks) / len(weeks)
    for days in range(1, 7):
        if found := measured_at(first, wh, wall - timedelta(days=days)):
            return float(found[-1])
    return None


@settings(max_examples=20_000 if LONG else 500)
@given(
    issue=st.sampled_from(ISSUES),
    seed=st.integers(0, 2**32 - 1),
    known=st.floats(0, 1),
    days=st.integers(0, 28),
    ahead=st.integers(0, HORIZON - 1),
)
def test_the_baseline_is_its_definition(
    issue: str, seed: int, known: float, days: int, ahead: int
) -> None:
    random, dates = np.random.default_rng(seed), calendar(issue)
    wh = random.integers(0, 4_000, 4 * WEEK)
    wh[random.random(4 * WEEK) > known] = MISSING
    wh[: (28 - days) * 96] = MISSING  # a young point
    column = 4 * WEEK + ahead
    (told,) = baseline(to_floats(wh[None, :]), dates, slice(column, column + 1))[0]
    target = Interval.containing_ms(dates.first.start_ms + column * LENGTH_MS)
    expected = by_definition(dates.first, wh.tolist(), target)
    assert (None if np.isnan(told) else told) == pytest.approx(expected)


def place(dates: Calendar, moment: str) -> int:
    return (Interval.parse(moment).start_ms - dates.first.start_ms) // LENGTH_MS


@pytest.mark.parametrize(("day", "quarters"), [("2026-10-25", 100), ("2027-03-28", 92)])
def test_a_local_day_has_as_many_quarters_as_the_clock_makes(day: str, quarters: int) -> None:
    issue = "2026-10-24T10:15:00Z" if quarters == 100 else "2027-03-27T11:15:00Z"
    ordinal = datetime.fromisoformat(day).date().toordinal()
    assert int((calendar(issue).day == ordinal).sum()) == quarters


@pytest.mark.parametrize(
    ("issue", "target", "sources"),
    [
        # The hour that happens twice takes what the week before has once.
        ("2026-10-24T10:15:00Z", "2026-10-25T00:15:00Z", ["2026-10-18T00:15:00Z"]),
        ("2026-10-24T10:15:00Z", "2026-10-25T01:15:00Z", ["2026-10-18T00:15:00Z"]),
        # A week later, both of that hour's count.
        (
            "2026-10-31T11:15:00Z",
            "2026-11-01T01:15:00Z",
            ["2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z"],
        ),
        # Wall time, not distance: after the change a quarter lies an hour away in UTC.
        ("2027-03-27T11:15:00Z", "2027-03-28T07:00:00Z", ["2027-03-21T08:00:00Z"]),
        # The hour that the clock skipped has nothing to look back at.
        ("2027-04-03T10:15:00Z", "2027-04-04T00:15:00Z", []),
    ],
)
def test_where_it_looks_when_the_clock_changes(issue: str, target: str, sources: list[str]) -> None:
    dates = calendar(issue)
    found = dates.back(7, slice(place(dates, target), place(dates, target) + 1))[0]
    assert [each for each in found if each != MISSING] == [place(dates, s) for s in sources]


def test_rounding_and_what_is_unknown() -> None:
    assert to_wh(np.array([0.5, 1.49, 2.5, -3.0, np.nan])) == [1, 1, 3, 0, None]


def test_a_history_takes_what_is_its_own() -> None:
    upto = Interval.parse("2026-06-23T10:15:00Z")
    last, old = upto.previous().key, "2020-01-01T00:00:00Z"
    rows = [(last, "a", 7, 8), (last, "stranger", 9, 9), (old, "a", 9, 9)]
    history = History.of(upto, 1, BERLIN, ["a", "b"], rows)
    assert history.next == upto
    assert (history.import_wh[0, -1], history.export_wh[0, -1]) == (7, 8)
    assert int((history.import_wh != MISSING).sum()) == 1


def test_a_history_has_whole_weeks() -> None:
    empty = np.zeros((1, 95), dtype=np.int64)
    with pytest.raises(ForecastError, match="whole weeks"):
        History(Interval.parse(ISSUES[0]), BERLIN, ("a",), empty, empty)
