"""Geometry of a day's prices: steps by quarter-hour, also where a day has 92 or 100. Pure.

Coordinates are those of the picture's view box, y downwards: time grows to the right, price
upwards, and prices below zero have their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from metering.interval import Interval
from web import present
from web.picture import Tick, round_step
from web.ports.tariffs import QuarterPrice

WIDTH: Final = 640
HEIGHT: Final = 220
LEFT, RIGHT, TOP, BOTTOM = 56, WIDTH - 12, 28, HEIGHT - 34
_HOURS: Final = 6  # from one mark to the next
_AIR: Final = 0.08
_CENT: Final = 10_000  # micro-euros


class Span(NamedTuple):
    """Quarter-hours that follow each other at one price; local times, the last its end."""

    start: str
    end: str
    drawn_micro_per_kwh: int
    fed_in_micro_per_kwh: int | None


@dataclass(frozen=True, slots=True)
class DayPicture:
    """Two stepped lines over a day, with the marks beside and below them."""

    drawn: str
    fed_in: str
    y_ticks: Sequence[Tick]
    x_ticks: Sequence[Tick]
    zero_y: float | None


def picture(day: Sequence[QuarterPrice], zone: str) -> DayPicture | None:
    """Return a day's picture; None without any price."""
    if not day:
        return None
    values = [each.drawn_micro_per_kwh for each in day]
    values += [e.fed_in_micro_per_kwh for e in day if e.fed_in_micro_per_kwh is not None]
    low, high = min(0, *values), max(0, *values)
    air = max(1, int((high - low) * _AIR))
    high += air
    low -= air if low else 0

    def y(value: int) -> float:
        return BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)

    def path(found: Sequence[int]) -> str:
        parts = [f"M{_x(0, len(day)):.1f} {y(found[0]):.1f}"]
        for number, value in enumerate(found):
            parts.append(f"V{y(value):.1f}H{_x(number + 1, len(day)):.1f}")
        return "".join(parts)

    fed_in = [e.fed_in_micro_per_kwh for e in day if e.fed_in_micro_per_kwh is not None]
    step = max(1, int(round_step((high - low) / _CENT) * _CENT))
    first = -(-low // step)
    return DayPicture(
        drawn=path([each.drawn_micro_per_kwh for each in day]),
        fed_in=path(fed_in) if fed_in else "",
        y_ticks=[
            Tick(y(n * step), f"{n * step / _CENT:g}".replace("-", "\u2212"))
            for n in range(first, high // step + 1)
        ],
        x_ticks=_hours(day, zone),
        zero_y=y(0) if low < 0 else None,
    )


def _x(number: int, count: int) -> float:
    return LEFT + number / count * (RIGHT - LEFT)


def _hours(day: Sequence[QuarterPrice], zone: str) -> list[Tick]:
    """Return the marks of the local hours, and of the day's end."""
    marks = []
    for number, each in enumerate(day):
        local = Interval.parse(each.key).start.astimezone(ZoneInfo(zone))
        if local.hour % _HOURS == 0 and local.minute == 0:
            marks.append(Tick(_x(number, len(day)), f"{local:%H:%M}"))
    return [*marks, Tick(_x(1, 1), "24:00")]


def spans(day: Sequence[QuarterPrice], zone: str) -> list[Span]:
    """Return the day as runs of one price, for the table beside the picture."""
    found = []
    for (drawn, fed_in), run in groupby(day, key=lambda each: each[1:]):
        quarters = list(run)
        start = present.quarter_start(quarters[0].key, zone)
        end = present.quarter_end(quarters[-1].key, zone)
        found.append(Span(start, end, drawn, fed_in))
    return found


def summary(day: Sequence[QuarterPrice], *, fees_only: bool) -> str:
    """Return the picture in one sentence."""
    if not day:
        return "No price is known."
    prices = [each.drawn_micro_per_kwh for each in day]
    low, high = present.price(min(prices)), present.price(max(prices))
    what = (
        "The grid fee on a kWh from outside the district"
        if fees_only
        else "A kWh from outside the district, with everything on it,"
    )
    cost = "is" if fees_only else "costs"
    return f"{what} {cost} {low} all day." if low == high else f"{what} {cost} {low} to {high}."
