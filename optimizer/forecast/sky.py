"""The irradiance of a clear sky, by pvlib: the one module that imports it, and a program.

pvlib takes about a second to import and a hundred megabytes to keep, for an answer that is wanted
once a day. So nothing imports this module: :func:`optimizer.forecast.solar.ask_clear_sky` runs it
as a process of its own, and time and memory go back with it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import pandas as pd
from pvlib.clearsky import haurwitz
from pvlib.solarposition import get_solarposition

from metering.interval import LENGTH_MS


def clear_sky(first_ms: int, quarters: int, latitude: float, longitude: float) -> Sequence[float]:
    """Return the global horizontal irradiance in W/m2 at the middle of each quarter-hour.

    Haurwitz' model (B. Haurwitz, Journal of Meteorology 3, 1946): it needs the sun's height alone,
    no table of turbidity, and what it gets wrong is a factor that the measured ratio takes up.
    """
    middles = pd.to_datetime(
        [first_ms + n * LENGTH_MS + LENGTH_MS // 2 for n in range(quarters)], unit="ms", utc=True
    )
    sun = get_solarposition(middles, latitude, longitude)
    values: list[float] = haurwitz(sun["apparent_zenith"])["ghi"].round(3).tolist()
    return values


if __name__ == "__main__":
    first, count, north, east = sys.argv[1:]
    sys.stdout.write(json.dumps(clear_sky(int(first), int(count), float(north), float(east))))
