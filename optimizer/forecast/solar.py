"""Solar power: the sun's irradiance times what each roof lately fed in under it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.forecast.history import DAY, HORIZON, Floats

VERSION: Final = "solar-1"
_TIMEOUT_S: Final = 60
DARK_W_PER_M2: Final = 20.0  # less than this, and a ratio to it means nothing
_RECENT_DAYS: Final = 14
_MOST_AT_NIGHT: Final = 0.05
_FEWEST_WEATHER_DAYS: Final = 3
_CLEAR_DAYS: Final = 0.9  # quantile of a roof's ratio to the clear sky that a bright day reaches


class SkyError(Exception):
    """The clear sky could not be worked out: forecast solar power without it, tell a person."""


def ask_clear_sky(first_ms: int, quarters: int, latitude: str, longitude: str) -> Floats:
    """Return :func:`optimizer.forecast.sky.clear_sky`, worked out by a process of its own.

    Raises:
        SkyError: the process failed, or did not answer in time.
    """
    question = [str(first_ms), str(quarters), latitude, longitude]
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "optimizer.forecast.sky", *question],
            check=True,
            capture_output=True,
            timeout=_TIMEOUT_S,
            text=True,
        )
        found = np.array(json.loads(answer.stdout), dtype=np.float64)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SkyError(f"the clear sky could not be worked out: {last[:200]}") from error
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise SkyError(f"the clear sky could not be worked out: {error}") from error
    if found.shape != (quarters,) or not np.isfinite(found).all():
        raise SkyError(f"the clear sky has not {quarters} numbers: {answer.stdout[:80]!r}")
    return found


def follows_the_sun(exports: Floats, clear: Floats) -> NDArray[np.bool_]:
    """Return which points feed in, and at most a twentieth of it in the dark: solar roofs.

    ``exports``: a row per point, in Wh, NaN where unknown; ``clear``: W/m2 of the same columns.
    """
    wh = np.nan_to_num(exports)
    total, at_night = wh.sum(axis=1), wh[:, clear < DARK_W_PER_M2].sum(axis=1)
    solar: NDArray[np.bool_] = (total > 0) & (at_night <= _MOST_AT_NIGHT * total)
    return solar


def solar(exports: Floats, clear: Floats, weather: Floats) -> Floats:
    """Return the expected export of the horizon in Wh, a row per point; NaN where none is known.

    Per time of day (UTC, since the sun knows no summer time), a point's ratio is the median of
    export / irradiance over the last 14 days: it holds the roof's size, tilt and shade and what
    the household uses itself. Where a weather file tells the irradiance ahead, the ratio is taken
    against what the file told of the days before; with less than three of those, it is the ninth
    decile against the clear sky, which bright days reach. Elsewhere the clear sky stands in, with
    the median ratio to it: bright as lately.

    All three arrays end with the horizon; ``weather`` is NaN where the file says nothing.
    """
    past, ahead = slice(-HORIZON - _RECENT_DAYS * DAY, -HORIZON), slice(-HORIZON, None)
    recent = exports[:, past]
    usual = clear[ahead] * _ratio(recent, clear[past], 0.5)
    told = weather[past]
    bright = np.isfinite(told) & (told >= DARK_W_PER_M2)
    if bright.sum() >= _FEWEST_WEATHER_DAYS * (clear[past] >= DARK_W_PER_M2).sum() / _RECENT_DAYS:
        foreseen = weather[ahead] * _ratio(recent, told, 0.5)
    else:
        foreseen = weather[ahead] * _ratio(recent, clear[past], _CLEAR_DAYS)
    expected = np.where(np.isfinite(foreseen), foreseen, usual)
    return np.where(clear[ahead] < DARK_W_PER_M2, 0.0, expected)


def _ratio(exports: Floats, irradiance: Floats, quantile: float) -> Floats:
    """Return the ratio for each column of the horizon; the point's overall one where none is known.

    The columns are whole days up to the horizon's first, so a column's time of day is its number
    modulo 96.
    """
    bright = np.where(irradiance >= DARK_W_PER_M2, irradiance, np.nan)
    by_day = (exports / bright).reshape(len(exports), _RECENT_DAYS, DAY)
    unknown = np.asarray(np.isnan(by_day).all(axis=1))
    filled = np.where(unknown[:, None, :], 0.0, by_day)
    ratio = np.nanquantile(filled, quantile, axis=1)
    both = np.isfinite(exports / bright)
    light = np.where(both, bright, 0.0).sum(axis=1)
    overall = np.where(both, exports, 0.0).sum(axis=1) / np.where(light > 0, light, np.nan)
    return np.tile(np.where(unknown, overall[:, None], ratio), (1, HORIZON // DAY))
