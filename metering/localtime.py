"""Local days (``2026-06-23``) and months (``2026-06``) as intervals.

A day begins with the quarter-hour at its midnight and has 92, 96 or 100 of them; an interval
belongs to the day and the month in which it starts.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from metering.interval import Interval, IntervalError

_DAY: Final = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}")
_MONTH: Final = re.compile(r"2[0-9]{3}-(0[1-9]|1[0-2])")
_YEARS: Final = range(2000, 2999)


class LocalTimeError(ValueError):
    """A text names no day or month: have it written as the message says (422)."""


def parse_day(text: str) -> date:
    """Return the day that a text names.

    Raises:
        LocalTimeError: it names none of the years 2000-2998.
    """
    try:
        if _DAY.fullmatch(text) and (day := date.fromisoformat(text)).year in _YEARS:
            return day
    except ValueError:
        pass
    raise LocalTimeError(f"{text[:20]!r} is no day: write it as YYYY-MM-DD, such as 2026-06-23")


def parse_month(text: str) -> date:
    """Return the first day of the month that a text names.

    Raises:
        LocalTimeError: it names none of the years 2000-2998.
    """
    if _MONTH.fullmatch(text) and int(text[:4]) in _YEARS:
        return date.fromisoformat(f"{text}-01")
    raise LocalTimeError(f"{text[:20]!r} is no month: write it as YYYY-MM, such as 2026-06")


def day_of(moment: datetime, zone: tzinfo) -> date:
    """Return the local day of a moment."""
    return moment.astimezone(zone).date()


def month_of(moment: datetime, zone: tzinfo) -> str:
    """Return the local month of a moment."""
    return f"{moment.astimezone(zone):%Y-%m}"


def day_start(day: date, zone: tzinfo) -> Interval:
    """Return the interval with which a local day begins.

    Where clocks skip midnight it is the first moment of the day, and of two midnights the first.

    Raises:
        IntervalError: the zone is off the quarter-hour grid then, or the year not in 1970-2999.
    """
    try:
        moment = datetime.combine(day, time(), zone).astimezone(UTC)
    except OverflowError as error:
        raise IntervalError(f"{day} is not in the years 1970-2999") from error
    return Interval(moment)


def month_start(month: str, zone: tzinfo) -> Interval:
    """Return the interval with which a local month begins.

    Raises:
        LocalTimeError: it is none.
        IntervalError: see :func:`day_start`.
    """
    return day_start(parse_month(month), zone)


def days_of(month: str) -> list[date]:
    """Return the days of a month, in order.

    Raises:
        LocalTimeError: it is none.
    """
    first = parse_month(month)
    return [first + timedelta(days=n) for n in range(monthrange(first.year, first.month)[1])]


def next_month(month: str) -> str:
    """Return the month after."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04}-{number % 12 + 1:02}"


def month_before(month: str) -> str:
    """Return the month before."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year - (number == 1):04}-{(number - 2) % 12 + 1:02}"
