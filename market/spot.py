"""A made-up day-ahead price for the demo, where no price was imported: labelled, never a market's.

A pure function of the interval, so that anybody can work it out again. ``docs/money.md``.
"""

from __future__ import annotations

import hashlib
from typing import Final

from market.money import Price
from metering.interval import Interval

SOURCE: Final = "synthetic"

# Euros per MWh by hour of the UTC day: a morning and an evening peak, and a noon that the sun
# presses down, in the summer half of the year (April to September) more than in the winter half.
_SUMMER: Final = (
    78, 74, 72, 74, 82, 96, 104, 92, 64, 38, 20, 8,
    2, 4, 16, 40, 78, 118, 142, 136, 118, 102, 92, 84,
)  # fmt: skip
_WINTER: Final = (
    84, 80, 78, 80, 90, 112, 134, 138, 124, 110, 100, 94,
    92, 96, 108, 132, 152, 158, 146, 128, 112, 102, 94, 88,
)  # fmt: skip
_WEEKEND: Final = -22
_SWING: Final = 12  # euros per MWh up or down from day to day


def synthetic(interval: Interval) -> Price:
    """Return the made-up day-ahead price of an interval: the hour's, the same in its quarters.

    Table of the half-year, less 22 euros per MWh on Saturday and Sunday (UTC), plus a day's shift
    of -12 to +12: the first four bytes of SHA-256 of the UTC date (YYYY-MM-DD), big-endian,
    modulo 25, less 12. So summer weekends have negative noons.
    """
    start = interval.start
    table = _SUMMER if 4 <= start.month <= 9 else _WINTER
    day = hashlib.sha256(f"{start:%Y-%m-%d}".encode()).digest()
    shift = int.from_bytes(day[:4], "big") % (2 * _SWING + 1) - _SWING
    euro_per_mwh = table[start.hour] + shift + (_WEEKEND if start.weekday() >= 5 else 0)
    return Price(euro_per_mwh * 1000)
