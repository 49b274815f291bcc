"""Local days and months, over the nights in which clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from metering.interval import IntervalError
from metering.localtime import (
    LocalTimeError,
    day_of,
    day_start,
    days_of,
    month_before,
    month_of,
    month_start,
    next_month,
    parse_day,
    parse_month,
)

OSLO = ZoneInfo("Europe/Oslo")


@pytest.mark.parametrize(
    ("day", "key"),
    [
        (date(2026, 10, 25), "2026-10-24T22:00:00Z"),
        (date(2026, 10, 26), "2026-10-25T23:00:00Z"),
        (date(2027, 3, 28), "2027-03-27T23:00:00Z"),
        (date(2027, 3, 29), "2027-03-28T22:00:00Z"),
    ],
)
def test_a_day_begins_at_its_midnight(day: date, key: str) -> None:
    first = day_start(day, OSLO)
    assert first.key == key
    assert day_of(first.start, OSLO) == day
    assert day_of(first.previous().start, OSLO) < day


def test_where_clocks_skip_midnight_a_day_begins_later() -> None:
    beirut = ZoneInfo("Asia/Beirut")
    assert day_start(date(2026, 3, 29), beirut).key == "2026-03-28T22:00:00Z"
    assert day_of(datetime(2026, 3, 28, 22, tzinfo=UTC), beirut) == date(2026, 3, 29)


@pytest.mark.parametrize("day", [date.min, date.max])
def test_a_day_beyond_the_calendar_of_intervals_is_refused(day: date) -> None:
    for zone in (OSLO, ZoneInfo("America/New_York")):
        with pytest.raises(IntervalError, match="years 1970"):
            day_start(day, zone)


@pytest.mark.parametrize("month", ["2026-01", "2026-02", "2026-10", "2026-12", "2028-02"])
def test_months_follow_each_other_without_a_gap(month: str) -> None:
    first, after = month_start(month, OSLO), month_start(next_month(month), OSLO)
    assert month_of(first.start, OSLO) == month_of(after.previous().start, OSLO) == month
    assert month_before(next_month(month)) == month
    days = days_of(month)
    assert (days[0].day, days[-1]) == (1, day_of(after.previous().start, OSLO))


@pytest.mark.parametrize(
    "month", ["2026-13", "2026-00", "2026-6", "2026", "", "2026-06-01", "x", "2999-01", "٢026-06"]
)
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(LocalTimeError, match="is no month: write it as YYYY-MM"):
        parse_month(month)


@pytest.mark.parametrize("day", ["2026-06-31", "20260623", "2026-W26-2", "", "1999-12-31", "x"])
def test_what_is_no_day_is_refused(day: str) -> None:
    with pytest.raises(LocalTimeError, match="is no day: write it as YYYY-MM-DD"):
        parse_day(day)
