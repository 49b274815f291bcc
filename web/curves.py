"""Geometry of the merit-order picture: supply, demand, price and one's own orders. Pure.

Coordinates are those of the picture's view box, y downwards: energy grows to the right, price
upwards, and prices below zero have their place. Colours are the style sheet's business.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from web import present
from web.picture import Tick, round_step
from web.ports.market import Band, MarketPage, MyOrder

WIDTH: Final = 640
HEIGHT: Final = 460
LEFT, RIGHT, TOP, BOTTOM = 58, WIDTH - 96, 56, HEIGHT - 60  # prices are named on the right
_AIR: Final = 0.06  # of the span of prices, above and below
_LABEL: Final = 54  # height that the two lines of a price's label take


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: several limits drawn together, or the band of prices that clear the book."""

    x: float
    y: float
    width: float
    height: float
    kind: str  # offers, bids, interval


@dataclass(frozen=True, slots=True)
class Mark:
    """One of the viewer's own orders: a thick step at its limit, and how much of it traded."""

    x: float
    y: float
    width: float
    traded_width: float
    kind: str  # offers, bids
    title: str


@dataclass(frozen=True, slots=True)
class Level:
    """A price drawn across the picture; its label stands beside it, ``label_y`` is its middle."""

    y: float
    kind: str  # price, floor, ceiling
    name: str
    text: str
    label_y: float


@dataclass(frozen=True, slots=True)
class Gain:
    """What a side gains by a single price: the area between its limits and the price."""

    kind: str  # offers, bids
    path: str


@dataclass(frozen=True, slots=True)
class Curves:
    """The whole picture."""

    offers: str  # path, '' where there is nothing to draw
    bids: str
    gains: Sequence[Gain]
    boxes: Sequence[Box]
    levels: Sequence[Level]
    marks: Sequence[Mark]
    cleared_x: float | None
    zero_y: float | None  # where prices below zero begin, if any do
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


@dataclass(frozen=True, slots=True)
class Scale:
    """Where an energy and a price stand in the picture."""

    most_wh: int
    low: float  # micro-euros per kWh
    high: float

    def x(self, wh: float) -> float:
        """Return the place of an energy."""
        return LEFT + wh * (RIGHT - LEFT) / self.most_wh

    def y(self, micro_per_kwh: float) -> float:
        """Return the place of a price."""
        return BOTTOM - (micro_per_kwh - self.low) * (BOTTOM - TOP) / (self.high - self.low)


def draw(page: MarketPage) -> Curves | None:
    """Return the picture of a cleared interval, or None when there is nothing to draw."""
    scale = _scale(page)
    if scale is None:
        return None
    sides = {"offer": _of(page.bands, "offer"), "bid": _of(page.bands, "bid")}
    return Curves(
        offers=_path(sides["offer"], scale),
        bids=_path(sides["bid"], scale),
        gains=_gains(page, sides, scale),
        boxes=[
            *_interval(page, scale),
            *_boxes(sides["offer"], scale),
            *_boxes(sides["bid"], scale),
        ],
        levels=_levels(page, scale),
        marks=_marks(page, scale),
        cleared_x=scale.x(page.traded_wh) if page.traded_wh else None,
        zero_y=scale.y(0) if scale.low < 0 else None,
        x_ticks=_ticks(0, scale.most_wh, 1000, scale.x),
        y_ticks=_ticks(scale.low, scale.high, present.MICRO_PER_CENT, scale.y),
    )


def _of(bands: Sequence[Band], side: str) -> list[Band]:
    """Return a side's bands in the order of its curve, which is the page's: bids fall."""
    return [band for band in bands if band.side == side]


def _scale(page: MarketPage) -> Scale | None:
    """Return the scale on which everything has its place, zero included."""
    energies = [page.traded_wh]
    for side in ("offer", "bid"):
        energies.append(sum(band.quantity_wh for band in page.bands if band.side == side))
        energies.append(sum(order.quantity_wh for order in page.own if order.side == side))
    prices = [0, *(order.limit_micro_per_kwh for order in page.own)]
    prices += [band.low_micro_per_kwh for band in page.bands]
    prices += [band.high_micro_per_kwh for band in page.bands]
    prices += [*(page.price_interval_micro_per_kwh or ())]
    single = (page.price_micro_per_kwh, page.floor_micro_per_kwh, page.ceiling_micro_per_kwh)
    prices += [price for price in single if price is not None]
    if not (page.bands or page.own):
        return None
    low, high = min(prices), max(prices)
    span = max(high - low, present.MICRO_PER_CENT)
    return Scale(max(energies), low - _AIR * span * (low < 0), high + _AIR * span)


def _steps(bands: Sequence[Band]) -> list[tuple[int, int]]:
    """Return the corners of a side's curve as (Wh, micro-euros per kWh)."""
    corners, wh = [], 0
    for band in bands:
        ends = (band.low_micro_per_kwh, band.high_micro_per_kwh)
        first, last = ends if band.side == "offer" else ends[::-1]
        corners += [(wh, first), (wh + band.quantity_wh, last)]
        wh += band.quantity_wh
    return corners


def _path(bands: Sequence[Band], scale: Scale) -> str:
    """Return a step line: flat at a tick, slanting where several limits stand together.

    It ends where the side has no more energy to trade: bids on the ground, offers at the top.
    """
    if not bands:
        return ""
    corners = _steps(bands)
    end = BOTTOM if bands[0].side == "bid" else TOP
    return _line(corners, scale) + f"L{scale.x(corners[-1][0]):.1f} {end:.1f}"


def _line(corners: Sequence[tuple[float, float]], scale: Scale) -> str:
    points = [f"{scale.x(wh):.1f} {scale.y(price):.1f}" for wh, price in corners]
    return "M" + "L".join(points)


def _gains(page: MarketPage, sides: Mapping[str, Sequence[Band]], scale: Scale) -> list[Gain]:
    """Return the areas between limits and price, as far as energy was traded.

    Only where the best limits are those that traded: under a uniform price, or on one tick.
    """
    price, areas = page.price_micro_per_kwh, []
    for side, bands in sides.items():
        if price is None or not bands or not (page.rule == "uniform" or len(bands) == 1):
            continue
        corners = _until(_steps(bands), page.traded_wh)
        if len(corners) > 1:
            closed = [(0, price), *corners, (corners[-1][0], price)]
            areas.append(Gain(f"{side}s", _line(closed, scale) + "Z"))
    return areas


def _until(corners: Sequence[tuple[int, int]], most_wh: int) -> list[tuple[float, float]]:
    """Return a curve as far as an energy, cut through its last piece."""
    kept: list[tuple[float, float]] = list(corners[:1])
    for (left, first), (right, last) in pairwise(corners):
        if left >= most_wh:
            break
        share = min(1.0, (most_wh - left) / (right - left)) if right > left else 1.0
        kept.append((left + share * (right - left), first + share * (last - first)))
    return kept


def _boxes(bands: Sequence[Band], scale: Scale) -> list[Box]:
    boxes, wh = [], 0
    for band in bands:
        left, wh = scale.x(wh), wh + band.quantity_wh
        top, bottom = scale.y(band.high_micro_per_kwh), scale.y(band.low_micro_per_kwh)
        if not band.exact:
            boxes.append(Box(left, top, scale.x(wh) - left, bottom - top, f"{band.side}s"))
    return boxes


def _interval(page: MarketPage, scale: Scale) -> list[Box]:
    """Return the prices that clear the book, where it is not one alone."""
    low, high = page.price_interval_micro_per_kwh or (0, 0)
    if low == high:
        return []
    top = scale.y(high)
    return [Box(LEFT, top, RIGHT - LEFT, scale.y(low) - top, "interval")]


def _levels(page: MarketPage, scale: Scale) -> list[Level]:
    """Return the lines across the picture: what bounds the price, then the price itself."""
    lines = [
        ("floor", page.floor_micro_per_kwh, "feed-in"),
        ("ceiling", page.ceiling_micro_per_kwh, "supplier"),
        ("price", page.price_micro_per_kwh, "price"),
    ]
    known = [(kind, price, name) for kind, price, name in lines if price is not None]
    places = _apart([scale.y(price) for _, price, _ in known])
    return [
        Level(scale.y(price), kind, name, present.cents(price), place)
        for (kind, price, name), place in zip(known, places, strict=True)
    ]


def _apart(wanted: Sequence[float]) -> list[float]:
    """Return places for labels near the wanted ones, so that none covers another."""
    order = sorted(range(len(wanted)), key=lambda n: wanted[n])
    places, free = list(wanted), float(TOP)
    for n in order:
        places[n] = max(wanted[n], free)
        free = places[n] + _LABEL
    free = float(BOTTOM)
    for n in reversed(order):
        places[n] = min(places[n], free)
        free = places[n] - _LABEL
    return places


def _marks(page: MarketPage, scale: Scale) -> list[Mark]:
    """Return one's own orders, each at its limit and at the beginning of its band.

    Within a band its place is arbitrary: the true one would tell how much stands before it.
    """
    starts = _starts(page.bands)
    used: dict[tuple[str, int | None], int] = defaultdict(int)
    marks = []
    for order in sorted(page.own, key=lambda o: (o.side, o.limit_micro_per_kwh, o.point)):
        place = (order.side, order.band)
        begin = used[place] + (0 if order.band is None else starts[order.band])
        used[place] += order.quantity_wh
        left = scale.x(begin)
        marks.append(
            Mark(
                x=left,
                y=scale.y(order.limit_micro_per_kwh),
                width=scale.x(begin + order.quantity_wh) - left,
                traded_width=scale.x(begin + order.traded_wh) - left,
                kind=f"{order.side}s",
                title=_title(order),
            )
        )
    return marks


def _starts(bands: Sequence[Band]) -> list[int]:
    """Return at which Wh of its side's curve each band begins."""
    reached: dict[str, int] = defaultdict(int)
    starts = []
    for band in bands:
        starts.append(reached[band.side])
        reached[band.side] += band.quantity_wh
    return starts


def _title(order: MyOrder) -> str:
    does = "sold" if order.side == "offer" else "bought"
    return (
        f"Your {order.side} of {present.energy(order.quantity_wh)} at "
        f"{present.price(order.limit_micro_per_kwh)}: {present.energy(order.traded_wh)} {does}"
    )


def _ticks(low: float, high: float, unit: int, place: Callable[[float], float]) -> list[Tick]:
    """Return round marks between two values, labelled in ``unit``."""
    step = round_step((high - low) / unit)
    first, last = math.ceil(low / unit / step), math.floor(high / unit / step)
    return [
        Tick(place(n * step * unit), f"{n * step:g}".replace("-", present.MINUS))
        for n in range(first, last + 1)
    ]
