"""A local month: its days, and the intervals that start in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from app.store.months import bounds_ms, month_of
from metering.interval import Interval

_MONTH: Final = re.compile(r"2[0-9]{3}-(0[1-9]|1[0-2])")


class MonthError(ValueError):
    """It is no month: write it as 2026-06 (422)."""


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
            MonthError: it is no month.
        """
        if not _MONTH.fullmatch(month):
            raise MonthError(f"{month[:20]!r} is no month: write it as YYYY-MM, such as 2026-06")
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
        first = date.fromisoformat(f"{self.month}-01")
        return [
            day
            for day in (first + timedelta(days=n) for n in range(31))
            if day.month == first.month
        ]

    def day_of(self, key: str) -> str:
        """Return the local day in which an interval starts."""
        return Interval.parse(key).start.astimezone(self.zone).date().isoformat()

    def last_interval(self, day: date) -> str:
        """Return the key of the last interval that starts on a local day."""
        midnight = datetime.combine(day + timedelta(days=1), time(), self.zone)
        return Interval.containing(midnight.astimezone(UTC)).previous().key
