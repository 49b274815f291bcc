"""What was measured, by local calendar: the quarters that a forecast looks back at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from metering.interval import LENGTH_MS, Interval, from_ms

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

MISSING: Final = -1
DAY: Final = 96  # quarters of 24 hours; a local day may have 92 or 100
WEEK: Final = 7 * DAY
HORIZON: Final = 2 * DAY


class ForecastError(ValueError):
    """Nothing can be forecast from this: mend what the message names."""


@dataclass(frozen=True)
class Calendar:
    """Consecutive quarter-hours and where they stand in the local calendar.

    ``day`` is the proleptic ordinal of the local date, ``minute`` that of the local wall clock.
    """

    first: Interval
    day: Integers
    minute: Integers

    @classmethod
    def of(cls, first: Interval, quarters: int, zone: ZoneInfo) -> Calendar:
        """Return the calendar of ``quarters`` from ``first`` on."""
        moments = [
            from_ms(first.start_ms + n * LENGTH_MS).astimezone(zone) for n in range(quarters)
        ]
        return cls(
            first,
            np.array([moment.toordinal() for moment in moments], dtype=np.int64),
            np.array([moment.hour * 60 + moment.minute for moment in moments], dtype=np.int64),
        )

    @cached_property
    def _places(self) -> dict[tuple[int, int], list[int]]:
        places: dict[tuple[int, int], list[int]] = {}
        for place, when in enumerate(zip(self.day.tolist(), self.minute.tolist(), strict=True)):
            places.setdefault(when, []).append(place)
        return places

    def back(self, days: int, columns: slice) -> NDArray[np.intp]:
        """Return the places of the same wall time ``days`` local dates earlier, two per column.

        MISSING stands where there is none: before the first quarter, in the hour that the clock
        skips, and as the second place unless the clock was put back then.
        """
        found = np.full((len(self.day[columns]), 2), MISSING, dtype=np.intp)
        when = zip(self.day[columns].tolist(), self.minute[columns].tolist(), strict=True)
        for row, (day, minute) in enumerate(when):
            places = self._places.get((day - days, minute), ())
            found[row, : len(places)] = places
        return found


@dataclass(frozen=True)
class History:
    """What was measured up to now: a row per point, a column per quarter-hour, in Wh.

    ``first`` is the first column's quarter-hour; the forecast begins right after the last column.
    MISSING stands where nothing was measured: estimates are no history.

    Raises:
        ForecastError: the arrays are not of one shape, or no whole weeks.
    """

    first: Interval
    zone: ZoneInfo
    points: tuple[str, ...]
    import_wh: Integers
    export_wh: Integers

    def __post_init__(self) -> None:
        shape = (len(self.points), self.quarters)
        if not self.import_wh.shape == self.export_wh.shape == shape or self.quarters % WEEK:
            raise ForecastError(
                f"a history has a row per point and whole weeks of {WEEK} quarter-hours, not "
                f"{self.import_wh.shape} and {self.export_wh.shape} for {len(self.points)} points"
            )

    @classmethod
    def of(
        cls,
        upto: Interval,
        weeks: int,
        zone: ZoneInfo,
        points: Sequence[str],
        measured: Iterable[tuple[str, str, int, int]],
    ) -> History:
        """Return the history of the ``weeks`` before ``upto``, the first quarter to be forecast.

        ``measured``: (interval key, point, import in Wh, export in Wh) in any order; what is of
        another time or point is left aside.
        """
        first_ms = upto.start_ms - weeks * WEEK * LENGTH_MS
        keys = [Interval.containing_ms(first_ms + n * LENGTH_MS).key for n in range(weeks * WEEK)]
        columns = {key: column for column, key in enumerate(keys)}
        rows = {point: row for row, point in enumerate(points)}
        wh = np.full((2, len(rows), len(columns)), MISSING, dtype=np.int64)
        for key, point, import_wh, export_wh in measured:
            column, row = columns.get(key), rows.get(point)
            if column is not None and row is not None:
                wh[:, row, column] = import_wh, export_wh
        return cls(Interval.containing_ms(first_ms), zone, tuple(points), wh[0], wh[1])

    @property
    def quarters(self) -> int:
        """How many quarter-hours it holds."""
        return int(self.import_wh.shape[-1])

    @property
    def next(self) -> Interval:
        """The first quarter-hour that is forecast."""
        return Interval.containing_ms(self.first.start_ms + self.quarters * LENGTH_MS)

    @cached_property
    def calendar(self) -> Calendar:
        """The calendar of the history and of what is forecast."""
        return Calendar.of(self.first, self.quarters + HORIZON, self.zone)


def to_floats(wh: Integers) -> Floats:
    """Return Wh with NaN where they are MISSING, and room for what is forecast."""
    floats = np.where(wh == MISSING, np.nan, wh)
    return np.concatenate([floats, np.full((len(wh), HORIZON), np.nan)], axis=1)


def to_wh(floats: Floats) -> list[int | None]:
    """Return whole Wh, rounded half up and never negative; None where there is no forecast."""
    rounded = np.floor(np.maximum(floats, 0) + 0.5)
    return [None if np.isnan(value) else int(value) for value in rounded]


def looked_up(floats: Floats, places: NDArray[np.intp]) -> Floats:
    """Return ``floats[..., places]``, NaN where a place is MISSING."""
    return np.where(places == MISSING, np.nan, floats[..., places])
