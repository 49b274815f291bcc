"""The learned model: a ridge regression per point and direction on what was known a day before."""

from __future__ import annotations

from typing import Final

import numpy as np

from optimizer.forecast.baseline import baseline, latest
from optimizer.forecast.history import DAY, HORIZON, Calendar, Floats

VERSION: Final = "learned-1"
FEWEST_DAYS: Final = 14
_DAILY_HARMONICS: Final = (1, 2, 3, 4)
_WEEKLY_HARMONICS: Final = (1, 2)
_RIDGE: Final = 1e-3  # of the number of rows; the columns have variance 1
_MINUTES: Final = 1440


def learned(floats: Floats, calendar: Calendar, sun: Floats | None) -> Floats:
    """Return the expected Wh of the horizon, a row per point; NaN where history is too short.

    One regression for the first day ahead and one for the second: each is trained on nothing but
    what is known that long before (the same quarter one or two days earlier, the baseline, the
    calendar, the sun), so that it sees no future while it learns. Deterministic: the normal
    equations (A. Hoerl and R. Kennard, Technometrics 12, 1970) have one solution.
    """
    every = slice(0, len(calendar.day))
    common = _calendar_columns(calendar)
    if sun is not None:
        common = np.column_stack([common, sun / 1000])
    usual = baseline(floats, calendar, every)
    expected = np.full((len(floats), HORIZON), np.nan)
    for lead in (1, 2):
        lagged = latest(floats, calendar, lead, every)
        lagged = np.where(np.isnan(lagged), usual, lagged)
        ahead = slice(len(calendar.day) - HORIZON + (lead - 1) * DAY, None)
        ahead = slice(ahead.start, ahead.start + DAY)
        for row in range(len(floats)):
            columns = np.column_stack([common, usual[row], lagged[row]])
            places = slice((lead - 1) * DAY, lead * DAY)
            expected[row, places] = _regress(columns, floats[row], ahead)
    return expected


def _calendar_columns(calendar: Calendar) -> Floats:
    day = 2 * np.pi * calendar.minute / _MINUTES
    week = 2 * np.pi * (calendar.day % 7 + calendar.minute / _MINUTES) / 7
    waves = [wave(k * day) for k in _DAILY_HARMONICS for wave in (np.sin, np.cos)]
    waves += [wave(k * week) for k in _WEEKLY_HARMONICS for wave in (np.sin, np.cos)]
    weekend = np.isin(calendar.day % 7, (6, 0))  # of an ordinal: Saturday 6, Sunday 0
    return np.column_stack([*waves, weekend])


def _regress(columns: Floats, wanted: Floats, ahead: slice) -> Floats:
    """Fit all complete rows and return what they say of ``ahead``, never above the highest seen."""
    complete = np.asarray(np.isfinite(columns).all(axis=1))
    rows = complete & np.isfinite(wanted)
    if rows.sum() < FEWEST_DAYS * DAY:
        return np.full(ahead.stop - ahead.start, np.nan)
    mean, spread = columns[rows].mean(axis=0), columns[rows].std(axis=0)
    scaled = (columns - mean) / np.where(spread > 0, spread, 1)
    known, centre = scaled[rows], wanted[rows].mean()
    normal = known.T @ known + _RIDGE * len(known) * np.eye(known.shape[1])
    weights = np.linalg.solve(normal, known.T @ (wanted[rows] - centre))
    told: Floats = np.clip(scaled[ahead] @ weights + centre, 0, wanted[rows].max())
    return np.where(complete[ahead], told, np.nan)
