"""Which intervals make a session: local days of 92, 96 and 100 quarter-hours, and shorter ones."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.forward.calendar import gate_ms, next_span, span_of
from metering.interval import Interval, to_ms

BERLIN = ZoneInfo("Europe/Berlin")


def ms(key: str) -> int:
    return to_ms(Interval.parse(key).start)


@pytest.mark.parametrize(
    ("inside", "first", "intervals"),
    [
        ("2026-06-23T09:00:00Z", "2026-06-22T22:00:00Z", 96),
        ("2026-06-22T22:00:00Z", "2026-06-22T22:00:00Z", 96),
        ("2026-06-22T21:45:00Z", "2026-06-21T22:00:00Z", 96),
        ("2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", 92),
        ("2026-10-25T10:15:00Z", "2026-10-24T22:00:00Z", 50),
        ("2026-10-25T10:30:00Z", "2026-10-25T10:30:00Z", 50),
        ("2026-10-25T22:45:00Z", "2026-10-25T10:30:00Z", 50),
    ],
)
def test_a_session_of_a_day_is_the_local_day_in_halves_where_it_is_too_long(
    inside: str, first: str, intervals: int
) -> None:
    span = span_of(ms(inside), 96, BERLIN)
    assert (span.first.key, span.intervals, len(span.keys)) == (first, intervals, intervals)


def test_shorter_sessions_are_counted_from_1970() -> None:
    span = span_of(ms("2026-06-23T09:45:00Z"), 4, BERLIN)
    assert span.keys == [f"2026-06-23T09:{minute}:00Z" for minute in ("00", "15", "30", "45")]
    assert span.last.key == "2026-06-23T09:45:00Z"


MOMENTS = st.integers(ms("2020-01-01T00:00:00Z"), ms("2040-01-01T00:00:00Z"))
ZONES = st.sampled_from(["Europe/Berlin", "UTC", "America/Santiago", "Australia/Lord_Howe"])


@given(MOMENTS, st.integers(1, 96), ZONES)
def test_sessions_follow_each_other_without_a_gap(moment: int, length: int, zone: str) -> None:
    tz = ZoneInfo(zone)
    span = span_of(moment, length, tz)
    assert span.first.start_ms <= moment < span.last.end_ms
    following = span_of(span.last.end_ms, length, tz)
    assert following.first == span.last.next()
    assert span_of(following.first.start_ms - 1, length, tz) == span


@given(MOMENTS, st.integers(1, 96), st.integers(0, 172_800), ZONES)
def test_the_next_session_is_the_first_whose_gate_is_open(
    now: int, length: int, closure: int, zone: str
) -> None:
    tz = ZoneInfo(zone)
    span = next_span(now, closure, length, tz)
    assert gate_ms(span, closure) > now
    before = span_of(span.first.start_ms - 1, length, tz)
    assert gate_ms(before, closure) <= now
