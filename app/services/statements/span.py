"""A local month: its days, and the intervals that start in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from app.store.months import bounds_ms, month_of
from metering.interval import Interval
from metering.localtime import day_of, day_start, days_of


@dataclass(frozen=True, slots=True)
class Span:
    """A local month as [``first``, ``after``) interval keys and [``start_ms``, ``end_ms``)."""

    month: str
    zone: ZoneInfo
    start_ms: int
    end_ms: int

    @classmethod
    def of(cls, month: str, zone: ZoneInfo) -> Span:
        """Return a month's span.

        Raises:
            LocalTimeError: it is no month.
        """
        return cls(month, zone, *bounds_ms(month, zone))

    @classmethod
    def holding(cls, at_ms: int, zone: ZoneInfo) -> Span:
        """Return the month of a moment in UTC milliseconds."""
        return cls.of(month_of(at_ms, zone), zone)

    def next(self) -> Span:
        """Return the month after."""
        return Span.holding(self.end_ms, self.zone)

    @property
    def first(self) -> str:
        """The key of the first interval."""
        return Interval.containing_ms(self.start_ms).key

    @property
    def after(self) -> str:
        """The key of the first interval of the month after."""
        return Interval.containing_ms(self.end_ms).key

    @property
    def days(self) -> list[date]:
        """The local days."""
        return days_of(self.month)

    def day_of(self, key: str) -> str:
        """Return the local day in which an interval starts."""
        return day_of(Interval.parse(key).start, self.zone).isoformat()

    def last_interval(self, day: date) -> str:
        """Return the key of the last interval that starts on a local day."""
        return day_start(day + timedelta(days=1), self.zone).previous().key
