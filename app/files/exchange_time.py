"""Times of a file as intervals: none is vague, and none is moved to where it might have belonged.

A time without a zone of its own is local time of the mapping's zone: the hour that a spring day
lacks is refused, and in the hour that an autumn day has twice the rows' order tells which is which.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from app.files.exchange_mapping import ISO, TimeRule
from metering.interval import LENGTH, Interval, IntervalError

_ISO_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*", re.ASCII)
_MIDNIGHT: Final = re.compile(r"(?<!\d)24:00(?::00)?(?!\d)")
_NONE: Final = timedelta(0)


class TimeRefusedError(ValueError):
    """The time of a row is refused for good: mend it as the message says."""


class Wall(NamedTuple):
    """What a clock on the wall showed (labelled UTC), and its distance from UTC where told."""

    shown: datetime
    offset: timedelta | None


class Clock:
    """Turns the times of one file into intervals, row by row in the file's order.

    ``zone`` is the district's. Raises :class:`TimeRefusedError` at once where the rule's own zone
    is neither that nor UTC.
    """

    def __init__(self, rule: TimeRule, zone: ZoneInfo) -> None:
        if rule.zone not in ("", "UTC", zone.key):
            raise TimeRefusedError(
                f"the mapping's zone is {rule.zone}, the district's is {zone.key}: this is a file "
                "for another zone; times are taken in the district's zone or in UTC"
            )
        self._rule, self._zone = rule, zone
        self._twice: dict[tuple[str, datetime], list[int]] = {}
        self._last: dict[str, datetime] = {}

    def interval(self, number: int, series: str, text: str) -> Interval:
        """Return the interval of a row of a series (a point's register).

        Raises:
            TimeRefusedError: the time is vague, does not exist, is of another zone or is not on
                the quarter.
        """
        try:
            moment = self._moment(number, series, _read(text, self._rule))
            return Interval(moment - LENGTH if self._rule.label == "end" else moment)
        except IntervalError as error:
            raise TimeRefusedError(f"{text!r}: {error}") from error
        except (ValueError, OverflowError) as error:
            raise TimeRefusedError(
                str(error)
                if isinstance(error, TimeRefusedError)
                else f"{text!r} is no time such as {self._sample()}"
            ) from error

    def lonely(self) -> list[tuple[int, str]]:
        """Return rows (number, time) of a doubled hour that the file has once alone."""
        return sorted(
            (rows[0], f"{shown:%Y-%m-%d %H:%M}")
            for (_, shown), rows in self._twice.items()
            if len(rows) == 1
        )

    def _moment(self, number: int, series: str, wall: Wall) -> datetime:
        if wall.offset is not None:
            return self._told(wall.shown, wall.offset)
        if not self._rule.zone:
            raise TimeRefusedError(
                f"{wall.shown:%Y-%m-%d %H:%M} names no zone, and neither does the mapping: write "
                "it with its zone (such as 'Z'), or set zone in [time]"
            )
        zone = UTC if self._rule.zone == "UTC" else self._zone
        early, late = (wall.shown.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        moment = early.astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=UTC, fold=0) != wall.shown:
            raise TimeRefusedError(
                f"{wall.shown:%H:%M} does not exist on {wall.shown:%Y-%m-%d} in {self._rule.zone}: "
                "the clock was put forward; is the zone right?"
            )
        if early.utcoffset() != late.utcoffset():
            moment = self._doubled(number, series, wall.shown, moment, late.astimezone(UTC))
        self._last[series] = moment
        return moment

    def _told(self, shown: datetime, offset: timedelta) -> datetime:
        moment = shown - offset
        here = moment.astimezone(self._zone).utcoffset()
        if offset not in (_NONE, here):
            raise TimeRefusedError(
                f"{shown:%Y-%m-%d %H:%M} is {_signed(offset)} from UTC, and {self._zone.key} was "
                f"{_signed(here or _NONE)}: this is a file for another zone"
            )
        return moment

    def _doubled(
        self, number: int, series: str, shown: datetime, early: datetime, late: datetime
    ) -> datetime:
        rows = self._twice.setdefault((series, shown), [])
        rows.append(number)
        if len(rows) > len((early, late)):
            raise TimeRefusedError(
                f"{shown:%Y-%m-%d %H:%M} comes twice in {self._rule.zone}, and it stands in rows "
                f"{', '.join(map(str, rows))}"
            )
        moment = (early, late)[len(rows) - 1]
        if series in self._last and moment <= self._last[series]:
            raise TimeRefusedError(
                f"{shown:%Y-%m-%d %H:%M} comes twice in {self._rule.zone}: only rows in time order "
                "tell which is which; sort them, or write times with their zone"
            )
        return moment

    def _sample(self) -> str:
        at = datetime(2026, 6, 23, 9, tzinfo=UTC)
        return repr(written(at, self._rule, self._zone))


def _read(text: str, rule: TimeRule) -> Wall:
    later = _NONE
    if rule.label == "end" and _MIDNIGHT.search(text):
        text, later = _MIDNIGHT.sub("00:00", text), timedelta(days=1)
    if rule.format == ISO:
        if not _ISO_TIME.fullmatch(text):
            raise ValueError
        told = datetime.fromisoformat(text)
        return Wall(told.replace(tzinfo=UTC) + later, told.utcoffset())
    found = time.strptime(text, rule.format)
    offset = timedelta(seconds=found.tm_gmtoff) if "%z" in rule.format else None
    return Wall(datetime(*found[:6], tzinfo=UTC) + later, offset)


def written(moment: datetime, rule: TimeRule, zone: ZoneInfo) -> str:
    """Return a moment as a file has it: in UTC, or without a zone in the rule's own."""
    local = moment.astimezone(zone) if rule.zone == zone.key else moment.astimezone(UTC)
    if rule.format != ISO:
        return local.strftime(rule.format)
    return local.strftime("%Y-%m-%dT%H:%M" if rule.zone else "%Y-%m-%dT%H:%M:%SZ")


def _signed(offset: timedelta) -> str:
    minutes = offset // timedelta(minutes=1)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
