"""A feeder's losses over a day as bars around a line at 0; geometry alone, floats end here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from web.ports.losses import QuarterLoss

WIDTH: Final = 800
HEIGHT: Final = 120


@dataclass(frozen=True, slots=True)
class Bar:
    """One quarter-hour's bar."""

    x: float
    y: float
    width: float
    height: float
    estimated: bool


@dataclass(frozen=True, slots=True)
class Bars:
    """All bars, the height of the line at 0, and what the highest and the lowest bar stand for."""

    bars: Sequence[Bar]
    zero: float
    high_wh: int
    low_wh: int


def draw(quarters: Sequence[QuarterLoss]) -> Bars:
    """Return the bars of a day's quarter-hours, in time order from left to right."""
    high = max(0, *(each.loss_wh for each in quarters), 0)
    low = min(0, *(each.loss_wh for each in quarters), 0)
    unit = HEIGHT / max(1, high - low)
    zero = high * unit
    width = WIDTH / max(1, len(quarters))
    bars = [
        Bar(
            x=round(place * width, 2),
            y=round(zero - max(0, each.loss_wh) * unit, 2),
            width=round(max(1.0, width - 1), 2),
            height=round(abs(each.loss_wh) * unit, 2),
            estimated=each.estimated,
        )
        for place, each in enumerate(quarters)
    ]
    return Bars(bars, round(zero, 2), high, low)
