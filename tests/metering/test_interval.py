"""An interval has one key, and a key of the years 2000-2999 one interval."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.interval import LENGTH, LENGTH_MS, Interval, IntervalError, to_ms

FIRST = datetime(2000, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime(2999, 12, 31, 23, 45, tzinfo=UTC)
starts = st.integers(0, (LAST - FIRST) // LENGTH).map(lambda n: FIRST + n * LENGTH)


@given(starts)
def test_key_and_interval_are_one_to_one(start: datetime) -> None:
    interval = Interval(start)
    assert len(interval.key) == 20
    assert Interval.parse(interval.key) == interval
    assert datetime.fromisoformat(interval.key) == start


@given(starts, st.integers(0, LENGTH_MS - 1))
def test_every_moment_of_an_interval_is_in_it(start: datetime, offset_ms: int) -> None:
    assert Interval.containing_ms(to_ms(start) + offset_ms) == Interval(start)
    assert Interval.containing(start + timedelta(milliseconds=offset_ms)) == Interval(start)


@given(starts.filter(lambda start: start != LAST))
def test_neighbours_meet(start: datetime) -> None:
    interval = Interval(start)
    assert interval.next().previous() == interval < interval.next()
    assert interval.end == interval.next().start


@pytest.mark.parametrize(
    "key",
    [
        "2026-6-23T9:0:0Z",
        "2026-06-23T9:00:00Z",
        "２０２６-06-23T09:00:00Z",
        "2026-06-23T09:00:00z",
        "2026-06-23t09:00:00Z",
        "2026-06-23T09:00:00+00:00",
        "2026-06-23 09:00:00Z",
        " 2026-06-23T09:00:00Z",
        "2026-06-23T09:00:00Z\n",
        "2026-06-23T09:00:00Z\x00",
        "2026-06-31T09:00:00Z",
        "2026-06-23T24:00:00Z",
        "yesterday",
        "",
    ],
)
def test_another_spelling_is_no_key(key: str) -> None:
    with pytest.raises(IntervalError, match=r"is not an interval key .*: write its UTC start as"):
        Interval.parse(key)


@given(st.text(alphabet="0123456789-T:Z ٣", max_size=22))
def test_whatever_is_taken_for_a_key_is_the_key(text: str) -> None:
    try:
        interval = Interval.parse(text)
    except IntervalError:
        return
    assert interval.key == text


@pytest.mark.parametrize("year", ["0001", "0999", "1970", "1999", "3000", "9999"])
def test_keys_of_other_years_are_refused(year: str) -> None:
    with pytest.raises(IntervalError, match="not an interval key of the years 2000-2999"):
        Interval.parse(f"{year}-12-31T23:45:00Z")


@pytest.mark.parametrize("moment_ms", [-(10**18), -1, 32_503_680_000_000, 10**18])
def test_moments_of_other_years_are_in_no_interval(moment_ms: int) -> None:
    with pytest.raises(IntervalError, match="not in the years 1970-2999: check"):
        Interval.containing_ms(moment_ms)


@pytest.mark.parametrize("year", [1, 999, 1969, 3000, 9999])
def test_no_interval_is_born_in_other_years(year: int) -> None:
    with pytest.raises(IntervalError, match="not in the years 1970-2999: check"):
        Interval(datetime(year, 12, 31, 23, 45, tzinfo=UTC))


def test_a_meter_without_a_clock_has_an_interval_but_no_key_of_ours() -> None:
    interval = Interval.containing_ms(5)
    assert interval.key == "1970-01-01T00:00:00Z"
    with pytest.raises(IntervalError):
        Interval.parse(interval.key)


def test_there_is_nothing_before_the_first_and_after_the_last() -> None:
    assert Interval(LAST).end == datetime(3000, 1, 1, tzinfo=UTC)
    with pytest.raises(IntervalError):
        Interval(LAST).next()
    with pytest.raises(IntervalError):
        Interval(EPOCH).previous()


@pytest.mark.parametrize(
    ("start", "advice"),
    [
        (datetime(2026, 6, 23, 9, tzinfo=UTC).replace(tzinfo=None), "add its zone"),
        (datetime(2026, 6, 23, 9, tzinfo=timezone(timedelta(hours=2))), "convert it first"),
        (datetime(2026, 6, 23, 9, 7, tzinfo=UTC), "minute 0, 15, 30 or 45"),
    ],
)
def test_a_vague_or_odd_start_is_refused_with_advice(start: datetime, advice: str) -> None:
    with pytest.raises(IntervalError, match=advice):
        Interval(start)
