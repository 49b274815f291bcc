"""Which session an interval belongs to, and when its gate closes. ``docs/market.md``."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from market.session_orders import MAX_INTERVALS
from metering.interval import LENGTH_MS, Interval, from_ms, to_ms

DAY: Final = 96  # this many intervals mean the local day, which may have 92 or 100 of them


class Span(NamedTuple):
    """Consecutive intervals: the first one, and how many."""

    first: Interval
    intervals: int

    @property
    def keys(self) -> list[str]:
        """The intervals' keys, in order."""
        return [self.at(n).key for n in range(self.intervals)]

    @property
    def last(self) -> Interval:
        """The last interval."""
        return self.at(self.intervals - 1)

    def at(self, number: int) -> Interval:
        """Return the interval of a number, from 0."""
        return Interval.containing_ms(self.first.start_ms + number * LENGTH_MS)


def span_of(moment_ms: int, intervals: int, zone: ZoneInfo) -> Span:
    """Return the session that holds a moment.

    With 96 intervals it is the local day, from midnight to midnight: 92 where the clocks go
    forward. A day that is longer than a session may be makes two of equal length (of 100: twice
    50). With fewer, sessions follow each other in whole multiples of their length, counted from
    1970 (UTC), as payment periods do.
    """
    if intervals < DAY:
        length_ms = intervals * LENGTH_MS
        return Span(Interval.containing_ms(moment_ms - moment_ms % length_ms), intervals)
    day = from_ms(moment_ms).astimezone(zone).date()
    start_ms, end_ms = (
        to_ms(datetime.combine(day + timedelta(days=n), time(), zone)) for n in (0, 1)
    )
    whole = Span(Interval.containing_ms(start_ms), (end_ms - start_ms) // LENGTH_MS)
    if whole.intervals <= MAX_INTERVALS:
        return whole
    half = whole.intervals // 2
    middle = whole.at(half)
    if moment_ms < middle.start_ms:
        return Span(whole.first, half)
    return Span(middle, whole.intervals - half)


def next_span(now_ms: int, gate_closure_s: int, intervals: int, zone: ZoneInfo) -> Span:
    """Return the first session whose gate is still open at ``now_ms``."""
    closing = span_of(now_ms + gate_closure_s * 1000, intervals, zone)
    return span_of(closing.last.end_ms, intervals, zone)


def gate_ms(span: Span, gate_closure_s: int) -> int:
    """Return the moment from which on a session's orders are final."""
    return span.first.start_ms - gate_closure_s * 1000
