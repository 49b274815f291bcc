"""The baseline: the mean of the same weekday and quarter, over four weeks."""

from __future__ import annotations

from typing import Final

import numpy as np

from optimizer.forecast.history import Calendar, Floats, looked_up

VERSION: Final = "baseline-1"
_WEEKS: Final = (7, 14, 21, 28)  # local dates back
_DAYS: Final = range(1, 7)


def baseline(floats: Floats, calendar: Calendar, columns: slice) -> Floats:
    """Return the expected Wh of ``columns``, a row per point; NaN where nothing is known.

    It is the mean of what was measured on the local dates 7, 14, 21 and 28 days earlier at the
    same wall time, as many as there are: both quarters where the clock was put back then, none
    where it skipped them. A point too young for all of these takes the nearest of the six days
    before on which that quarter was measured.
    """
    total = np.zeros((len(floats), len(calendar.day[columns])))
    count = np.zeros_like(total)
    for days in _WEEKS:
        found = looked_up(floats, calendar.back(days, columns))
        known = ~np.isnan(found)
        total += np.where(known, found, 0).sum(axis=2)
        count += known.sum(axis=2)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    for days in _DAYS:
        if not np.isnan(mean).any():
            break
        mean = np.where(np.isnan(mean), latest(floats, calendar, days, columns), mean)
    return mean


def latest(floats: Floats, calendar: Calendar, days: int, columns: slice) -> Floats:
    """Return what the same wall time measured ``days`` earlier, the later of two; else NaN."""
    found = looked_up(floats, calendar.back(days, columns))
    return np.where(np.isnan(found[..., 1]), found[..., 0], found[..., 1])
