"""The weather file: expected irradiation as CSV, `time,w_per_m2`, in UTC."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

import numpy as np

from metering.interval import LENGTH_MS, to_ms
from optimizer.forecast.history import Floats

MAX_BYTES: Final = 8 * 1024 * 1024
_COLUMNS: Final = ["time", "w_per_m2"]
_MOST_W_PER_M2: Final = 1_500.0  # above the sun's own 1,361 W/m2: clouds' edges can add to it
_LONGEST_MS: Final = 3_600_000  # how long a value holds


class WeatherError(ValueError):
    """The weather file is refused whole: mend the row that the message names."""


def read_weather(content: bytes) -> Mapping[int, float]:
    """Return the irradiance on the horizontal in W/m2 by UTC milliseconds, in time order.

    Raises:
        WeatherError: too long, no UTF-8, another header, or a row with a vague or disordered time
            or a value outside 0..1500 W/m2; nothing of the file is used.
    """
    if len(content) > MAX_BYTES:
        raise WeatherError(f"the weather file has more than {MAX_BYTES} bytes: keep a year or two")
    try:
        rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        lines = [(rows.line_num, row) for row in rows if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise WeatherError(f"the weather file is no CSV in UTF-8: {error}") from error
    if not lines or [name.strip() for name in lines[0][1]] != _COLUMNS:
        raise WeatherError("the weather file must begin with the header time,w_per_m2")
    found: dict[int, float] = {}
    latest_ms = -1
    for number, row in lines[1:]:
        at_ms, value = _row(number, row)
        if at_ms <= latest_ms:
            raise WeatherError(f"row {number}: {row[0]!r:.40} is not after the row before: sort it")
        found[at_ms] = value
        latest_ms = at_ms
    return found


def _row(number: int, row: list[str]) -> tuple[int, float]:
    if len(row) != len(_COLUMNS):
        raise WeatherError(f"row {number}: {len(row)} columns instead of time,w_per_m2")
    try:
        moment = datetime.fromisoformat(row[0].strip())
        at_ms = to_ms(moment)
    except ValueError as error:
        raise WeatherError(
            f"row {number}: {row[0]!r:.40} is no UTC time such as 2026-06-23T09:00:00Z"
        ) from error
    if moment.utcoffset() != timedelta(0):
        raise WeatherError(f"row {number}: {row[0]!r:.40} is not UTC: convert it, and write Z")
    try:
        value = float(row[1])
    except ValueError:
        value = math.nan
    if not 0 <= value <= _MOST_W_PER_M2:
        raise WeatherError(
            f"row {number}: {row[1]!r:.40} is no irradiance of 0 to {_MOST_W_PER_M2:.0f} W/m2"
        )
    return at_ms, value


def by_quarter(weather: Mapping[int, float], first_ms: int, quarters: int) -> Floats:
    """Return the mean W/m2 of each quarter-hour, NaN where the file leaves part of it open.

    A value holds until the next one's time, an hour at most.
    """
    energy, known_ms = np.zeros(quarters), np.zeros(quarters)
    last_ms = first_ms + quarters * LENGTH_MS
    near = {ms: value for ms, value in weather.items() if first_ms - _LONGEST_MS < ms < last_ms}
    times = [*near, math.inf]
    for (begin_ms, until_ms), value in zip(pairwise(times), near.values(), strict=True):
        at_ms, end_ms = float(begin_ms), min(until_ms, begin_ms + _LONGEST_MS)
        while at_ms < end_ms:
            place = int((at_ms - first_ms) // LENGTH_MS)
            border_ms = min(end_ms, first_ms + (place + 1) * LENGTH_MS)
            if 0 <= place < quarters:
                energy[place] += value * (border_ms - at_ms)
                known_ms[place] += border_ms - at_ms
            at_ms = border_ms
    return np.where(known_ms == LENGTH_MS, energy / LENGTH_MS, np.nan)
