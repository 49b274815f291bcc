"""Geometry and text of the forecast page: two step lines of energy, one of price, and scores.

Pure, as :mod:`web.picture`: view models in, coordinates of the picture's own view box out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from metering.interval import Interval
from web import present
from web.picture import Tick, round_step
from web.ports.forecasts import ForecastQuarter, ScoreLine

WIDTH: Final = 960
LEFT, RIGHT = 58, 948
ENERGY: Final = (28, 236)  # top and bottom of the upper picture
PRICE: Final = (292, 356)
HEIGHT: Final = 390
_TICK_HOURS: Final = 6
_BARELY: Final = 0.05


@dataclass(frozen=True, slots=True)
class Outlook:
    """The picture; a path is '' where it has nothing to show."""

    imports: str
    exports: str
    prices: str
    hours: Sequence[Tick]
    days: Sequence[Tick]  # local midnights, with the day that begins
    energy_ticks: Sequence[Tick]
    price_ticks: Sequence[Tick]
    height: int


def draw(quarters: Sequence[ForecastQuarter], zone: str) -> Outlook | None:
    """Return the picture of the quarter-hours ahead, or None where nothing is known of them."""
    imports = [each.import_wh for each in quarters]
    exports = [each.export_wh for each in quarters]
    prices = [each.price_micro_per_kwh for each in quarters]
    known = [wh for wh in (*imports, *exports) if wh is not None]
    if not known:
        return None
    step = (RIGHT - LEFT) / len(quarters)
    top_wh = max(*known, 1)
    priced = [price for price in prices if price is not None]
    low, high = _price_range(priced)
    starts = [present.local(Interval.parse(each.key).start_ms, zone) for each in quarters]
    return Outlook(
        imports=_steps(imports, step, 0, top_wh, ENERGY),
        exports=_steps(exports, step, 0, top_wh, ENERGY) if any(exports) else "",
        prices=_steps(prices, step, low, high, PRICE),
        hours=[
            Tick(LEFT + at * step, f"{start:%H:%M}")
            for at, start in enumerate(starts)
            if start.minute == 0 and start.hour % _TICK_HOURS == 0
        ],
        days=[
            Tick(LEFT + (at + 1) * step, f"{later:%a} {later.day} {later:%b}")
            for at, (start, later) in enumerate(pairwise(starts))
            if start.date() != later.date()
        ],
        energy_ticks=_ticks(0, top_wh, round_step(top_wh / 1000) * 1000, 1000, ENERGY),
        price_ticks=[
            Tick(_y(each, low, high, PRICE), f"{each / present.MICRO_PER_CENT:.1f}")
            for each in sorted({min(priced), max(priced)})
        ]
        if priced
        else [],
        height=HEIGHT if priced else ENERGY[1] + 46,
    )


def _price_range(priced: Sequence[int]) -> tuple[float, float]:
    """Return the picture's lowest and highest price: a flat line runs through the middle."""
    low, high = min(priced, default=0), max(priced, default=0)
    room = max((high - low) / 4, present.MICRO_PER_CENT)
    return low - room, high + room


def _y(value: float, low: float, high: float, band: tuple[int, int]) -> float:
    top, bottom = band
    return round(bottom - (value - low) / (high - low) * (bottom - top), 1)


def _steps(
    values: Sequence[int | None], step: float, low: float, high: float, band: tuple[int, int]
) -> str:
    """Return a step line with a gap wherever a value is None."""
    path, before = "", False
    for at, value in enumerate(values):
        if value is not None:
            path += f"{'L' if before else 'M'}{LEFT + at * step:.1f} {_y(value, low, high, band)}"
            path += f"H{LEFT + (at + 1) * step:.1f}"
        before = value is not None
    return path


def _ticks(
    low: float, high: float, step: float, unit: float, band: tuple[int, int]
) -> Sequence[Tick]:
    return [
        Tick(_y(low + n * step, low, high, band), f"{(low + n * step) / unit:g}")
        for n in range(int((high - low) / step + 1e-9) + 1)
    ]


def summary(quarters: Sequence[ForecastQuarter], zone: str) -> str:
    """Return the picture in a sentence."""
    drawn = [each for each in quarters if each.import_wh is not None]
    total = sum(each.import_wh or 0 for each in drawn)
    fed_in = sum(each.export_wh or 0 for each in quarters)
    text = f"In the next {present.count(len(quarters) // 4, 'hour', 'hours')} "
    text += f"{present.energy(total)} will probably be drawn"
    if fed_in:
        most = max(quarters, key=lambda each: each.export_wh or 0)
        start = Interval.parse(most.key).start_ms
        text += f" and {present.energy(fed_in)} fed in, most of it around "
        text += f"{present.clock(start, zone)} on {present.day(start, zone)}"
    else:
        text += " and nothing fed in"
    return f"{text}."


def by_day(
    quarters: Sequence[ForecastQuarter], zone: str
) -> Sequence[tuple[str, Sequence[ForecastQuarter]]]:
    """Return the quarter-hours by local day, in time order."""
    days: dict[str, list[ForecastQuarter]] = {}
    for each in quarters:
        days.setdefault(present.quarter_day(each.key, zone), []).append(each)
    return list(days.items())


def mean_wh(sum_wh: int, quarters: int, *, plus: bool = False) -> str:
    """Return a mean per quarter-hour in Wh, one decimal below ten."""
    mean = sum_wh / quarters
    text = f"{abs(mean):,.1f}" if abs(mean) < 10 else f"{abs(mean):,.0f}"
    sign = 0 if abs(mean) < _BARELY else 1 if mean > 0 else -1
    return f"{present.signed(text, sign, plus=plus)}{present.NBSP}Wh"


def skill(line: ScoreLine) -> str:
    """Return how much smaller the mean error was than that of yesterday's values, in percent."""
    if line.persistence_abs_wh == 0:
        return f"0{present.NBSP}%" if line.abs_wh == 0 else "–"
    percent = 100 - 100 * line.abs_wh / line.persistence_abs_wh
    return f"{present.signed(f'{abs(percent):.0f}', round(percent), plus=True)}{present.NBSP}%"
