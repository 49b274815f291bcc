"""Geometry of a cleared session's picture: what was traded as bars, the price as a step line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from metering.interval import Interval
from web import present
from web.picture import Tick, round_step
from web.ports.forward import SessionInterval

WIDTH: Final = 720
HEIGHT: Final = 350
_LEFT, _RIGHT, _TOP, _MIDDLE, _BOTTOM = 58, 14, 36, 224, 46
_GAP: Final = 48  # between the panels: the labels of both stand in it
_TICKS: Final = 8  # at most so many times along the axis


@dataclass(frozen=True, slots=True)
class Bar:
    """What was traded in one interval: all of it, and one's own share of it below."""

    x: float
    width: float
    y: float
    height: float
    own_height: float
    title: str


@dataclass(frozen=True, slots=True)
class SessionPicture:
    """Two panels over one axis of time: the price above, the energy below."""

    width: int
    height: int
    left: float
    right: float
    price_bottom: float
    bottom: float
    zero_y: float | None  # where a price of 0 lies, when it is in between
    price: str  # path; broken where nothing was traded
    bars: Sequence[Bar]
    price_ticks: Sequence[Tick]
    energy_ticks: Sequence[Tick]
    time_ticks: Sequence[Tick]


def draw(intervals: Sequence[SessionInterval], zone: str) -> SessionPicture | None:
    """Return the picture of a session, or None when nothing was traded in it."""
    prices = [i.price_micro_per_kwh for i in intervals if i.price_micro_per_kwh is not None]
    if not prices:
        return None
    left, right, bottom = float(_LEFT), float(WIDTH - _RIGHT), float(HEIGHT - _BOTTOM)
    step = (right - left) / len(intervals)
    low, high = min(0, *prices), max(0, *prices) or 1
    scale = (_MIDDLE - _GAP - _TOP) / (high - low)
    most_wh = max(*(max(i.traded_wh, i.bought_wh, i.sold_wh) for i in intervals), 1)

    def y(micro: float) -> float:
        return _MIDDLE - _GAP - (micro - low) * scale

    return SessionPicture(
        width=WIDTH,
        height=HEIGHT,
        left=left,
        right=right,
        price_bottom=_MIDDLE - _GAP,
        bottom=bottom,
        zero_y=y(0) if low < 0 else None,
        price=_path([i.price_micro_per_kwh for i in intervals], left, step, y),
        bars=[
            _bar(each, left + n * step, step, bottom, (bottom - _MIDDLE) / most_wh, zone)
            for n, each in enumerate(intervals)
        ],
        price_ticks=_price_ticks(low, high, y),
        energy_ticks=_energy_ticks(most_wh, bottom),
        time_ticks=_time_ticks(intervals, left, step, zone),
    )


def countdown(left_ms: int) -> str:
    """Return a time that is left in words, such as 2 h 05 min."""
    minutes = max(0, left_ms) // 60_000
    hours, rest = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours}{present.NBSP}h {rest:02d}{present.NBSP}min"
    return f"{rest}{present.NBSP}min" if rest else "less than a minute"


def _path(
    prices: Sequence[int | None], left: float, step: float, y: Callable[[float], float]
) -> str:
    """Return the price's step line, with a gap where nothing was traded."""
    path, drawing = "", False
    for n, price in enumerate(prices):
        if price is not None:
            path += f"{'V' if drawing else f'M{left + n * step:.1f} '}{y(price):.1f}"
            path += f"H{left + (n + 1) * step:.1f}"
        drawing = price is not None
    return path


def _bar(
    each: SessionInterval, x: float, step: float, bottom: float, scale: float, zone: str
) -> Bar:
    own_wh = max(each.bought_wh, each.sold_wh)
    all_wh = max(each.traded_wh, own_wh)
    gap = min(2.0, step / 5)
    return Bar(
        x=x + gap / 2,
        width=step - gap,
        y=bottom - all_wh * scale,
        height=all_wh * scale,
        own_height=own_wh * scale,
        title=f"{present.quarter(each.key, zone)}: {present.price(each.price_micro_per_kwh)}",
    )


def _price_ticks(low: int, high: int, y: Callable[[float], float]) -> list[Tick]:
    step = round_step((high - low) / present.MICRO_PER_CENT) * present.MICRO_PER_CENT
    first = -(-low // step)
    return [
        Tick(y(n * step), present.cents(int(n * step)).removesuffix(".00"))
        for n in range(int(first), int(high // step) + 1)
    ]


def _energy_ticks(most_wh: int, bottom: float) -> list[Tick]:
    step = round_step(most_wh / 1000 * 1.6) * 1000
    scale = (bottom - _MIDDLE) / most_wh
    return [
        Tick(bottom - n * step * scale, f"{n * step / 1000:g}")
        for n in range(int(most_wh / step) + 1)
    ]


def _time_ticks(
    intervals: Sequence[SessionInterval], left: float, step: float, zone: str
) -> list[Tick]:
    """Return the local times at which about eight of the intervals begin."""
    every = next(n for n in (1, 2, 4, 8, 12, 16) if len(intervals) / n <= _TICKS)
    return [
        Tick(
            left + n * step,
            f"{present.local(Interval.parse(intervals[n].key).start_ms, zone):%H:%M}",
        )
        for n in range(0, len(intervals), every)
    ]
