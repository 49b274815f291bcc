"""Geometry and words of the balance page: stacked bars per day or month, and sentences. Pure.

Upwards stands what was used, by where it came from; downwards what was fed into the grid.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from market.balance import Flows, Year
from web import present
from web.picture import Tick, round_step
from web.ports.balance import BalancePage, Bar, Figures

WIDTH: Final = 960
LEFT, RIGHT, TOP, BOTTOM = 62, 948, 34, 330
HEIGHT: Final = 372
_GAP: Final = 0.22  # of a bar's room
_KWH: Final = 1_000
_PER_TONNE: Final = 1_000_000_000
_PER_KG: Final = 1_000_000
_PER_DAY: Final = 96


@dataclass(frozen=True, slots=True)
class Block:
    """One part of a bar."""

    x: float
    y: float
    width: float
    height: float
    kind: str  # self, local, grid, out


@dataclass(frozen=True, slots=True)
class Bars:
    """The picture: blocks, the line of zero, and the axes."""

    blocks: Sequence[Block]
    zero_y: float
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


def parts(flows: Flows) -> tuple[int, int, int, int]:
    """Return self-used, local and own, from the grid, to the grid, in Wh: the picture's parts."""
    self_used = min(flows.self_used_wh, flows.made_here_wh)
    return (
        self_used,
        flows.made_here_wh - self_used,
        flows.consumption_wh - flows.made_here_wh,
        flows.production_wh - flows.used_here_wh,
    )


def draw(page: BalancePage) -> Bars | None:
    """Return the picture of a page, None where there is nothing to draw."""
    if not page.bars:
        return None
    slots = _slots(page)
    high = max(sum(parts(bar.flows)[:3]) for bar in page.bars)
    low = max(parts(bar.flows)[3] for bar in page.bars)
    if not high + low:
        return None
    scale = (BOTTOM - TOP) / (high + low)
    zero, room = TOP + high * scale, (RIGHT - LEFT) / len(slots)
    blocks = []
    for bar in page.bars:
        left = LEFT + room * (slots.index(bar.start) + _GAP / 2)
        blocks += _stacked(bar, left, room * (1 - _GAP), zero, scale)
    step = round_step((high + low) / _KWH) * _KWH
    return Bars(
        blocks=blocks,
        zero_y=zero,
        x_ticks=[
            Tick(LEFT + room * (n + 0.5), _short(start, page.span))
            for n, start in enumerate(slots)
            if page.span == "year" or n % 5 == 4 or n == 0
        ],
        y_ticks=[
            Tick(zero - n * step * scale, f"{abs(n) * step / _KWH:g}")
            for n in range(-int(low / step), int(high / step) + 1)
        ],
    )


def _stacked(bar: Bar, left: float, width: float, zero: float, scale: float) -> list[Block]:
    *used, out = parts(bar.flows)
    blocks, y = [], zero
    for kind, wh in zip(("self", "local", "grid"), used, strict=True):
        y -= wh * scale
        blocks.append(Block(left, y, width, wh * scale, kind))
    blocks.append(Block(left, zero, width, out * scale, "out"))
    return [block for block in blocks if block.height > 0]


def _slots(page: BalancePage) -> list[str]:
    """Return every day of the month, or every month of the year, whether it has a bar or not."""
    if page.span == "year":
        return [f"{page.at}-{number:02}" for number in range(1, 13)]
    year, month = int(page.at[:4]), int(page.at[5:])
    return [f"{page.at}-{day:02}" for day in range(1, calendar.monthrange(year, month)[1] + 1)]


def _short(start: str, span: str) -> str:
    return f"{date.fromisoformat(f'{start}-01'):%b}" if span == "year" else f"{int(start[-2:])}"


def name(at: str) -> str:
    """Return a year, a month or a day as people write it."""
    if len(at) == len("2026"):
        return at
    if len(at) == len("2026-06"):
        return f"{date.fromisoformat(f'{at}-01'):%B %Y}"
    return present.date(at)


def summary(page: BalancePage, total: Figures) -> str:
    """Return the page's first sentence."""
    flows = total.flows
    who = "you" if page.whose else "the district"
    text = f"In {name(page.at)} {who} used {present.energy(flows.consumption_wh)}"
    if flows.self_sufficiency_ppm is not None:
        least = "" if flows.complete else "at least "
        text += f" and made {least}{present.share(flows.self_sufficiency_ppm)} of it"
        text += " without the grid" if page.whose else " itself"
    if flows.production_wh:
        to_grid = flows.production_wh - flows.used_here_wh
        text += f"; {present.energy(to_grid)} went to the grid"
    return f"{text}."


def change(now_ppm: int | None, before_ppm: int | None) -> str:
    """Return by how many percentage points a share changed."""
    if now_ppm is None or before_ppm is None:
        return "–"
    points = now_ppm - before_ppm
    text = f"{abs(points) / 10_000:.1f}"
    sign = 0 if text == "0.0" else points
    return f"{present.signed(text, sign, plus=True)}{present.NBSP}points"


def covered(figures: Figures) -> str:
    """Return how much of a time the figures hold."""
    if figures.settled >= figures.of:
        return "complete"
    if figures.settled < _PER_DAY:
        return f"so far {present.count(figures.settled, 'quarter-hour', 'quarter-hours')}"
    return f"{_days(figures.settled)} of {_days(figures.of)} days"


def _days(quarters: int) -> str:
    return f"{quarters / _PER_DAY:.1f}".removesuffix(".0")


def verdict(year: Year) -> str:
    """Return in a sentence or two whether this is a positive-energy district."""
    flows, first, last = year.flows, name(year.months[0].name), name(year.months[-1].name)
    surplus = present.energy(abs(flows.surplus_wh))
    more = "more than it used" if flows.surplus_wh > 0 else "less than it used"
    if year.positive is None:
        text = (
            f"Not known yet: a year has {_days(year.of)} days, and {_days(year.settled)} of those "
            f"from {first} to {last} are settled."
        )
        return f"{text} In these it made {surplus} {more}." if year.settled else text
    told = "Yes" if year.positive else "No"
    return f"{told}: from {first} to {last} the district made {surplus} {more}."


def carbon(mg: int) -> str:
    """Return a mass of CO2 in kilograms, from a tonne on in tonnes."""
    if abs(mg) >= _PER_TONNE:
        return present.signed(f"{abs(mg) / _PER_TONNE:,.2f}{present.NBSP}t", mg)
    return present.signed(f"{abs(mg) / _PER_KG:,.1f}{present.NBSP}kg", mg)
