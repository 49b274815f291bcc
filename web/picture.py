"""Geometry of the pictures that the server draws as SVG: flows, prices, orders, splits.

Pure: view models in, coordinates out (in the units of each picture's own view box, y downwards).
Colours and fonts are the style sheet's business, since the content policy allows no inline style.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from web import present
from web.ports import FlowsNow, OrderLine

FLOW_WIDTH: Final = 480
_NODE_WIDTH: Final = 14
_LABEL_HEIGHT: Final = 52
_FLOW_HEIGHT: Final = 130
_GAP: Final = 14

ORDERS_WIDTH: Final = 480
ORDERS_HEIGHT: Final = 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 14, 46


@dataclass(frozen=True, slots=True)
class Node:
    """One end of a flow: a bar with two lines of text above it."""

    name: str
    value: str
    x: float
    y: float
    height: float
    side: str  # left, right
    kind: str  # solar, grid, home


@dataclass(frozen=True, slots=True)
class Ribbon:
    """One flow between two bars."""

    path: str
    kind: str  # shared, solar, grid
    title: str


@dataclass(frozen=True, slots=True)
class FlowPicture:
    """Where the power comes from (left) and where it goes (right)."""

    width: int
    height: float
    nodes: Sequence[Node]
    ribbons: Sequence[Ribbon]


def _ribbon_path(y_from: float, y_to: float, height: float) -> str:
    start, end = _NODE_WIDTH, FLOW_WIDTH - _NODE_WIDTH
    middle = (start + end) / 2
    low_from, low_to = y_from + height, y_to + height
    return (
        f"M{start} {y_from:.1f}C{middle} {y_from:.1f} {middle} {y_to:.1f} {end} {y_to:.1f}"
        f"V{low_to:.1f}C{middle} {low_to:.1f} {middle} {low_from:.1f} {start} {low_from:.1f}Z"
    )


def flow(flows: FlowsNow) -> FlowPicture:
    """Return the picture of the district's flows; band heights are in proportion to power."""
    total = max(flows.exporting_w + flows.from_grid_w, flows.importing_w + flows.to_grid_w, 1)

    def height(w: int) -> float:
        return w * _FLOW_HEIGHT / total

    upper = float(_LABEL_HEIGHT)
    left_lower = upper + max(height(flows.exporting_w), 2) + _GAP + _LABEL_HEIGHT
    right_lower = upper + max(height(flows.importing_w), 2) + _GAP + _LABEL_HEIGHT
    right = FLOW_WIDTH - _NODE_WIDTH
    ends = (
        ("Solar surplus", flows.exporting_w, 0, upper, "left", "solar"),
        ("From the grid", flows.from_grid_w, 0, left_lower, "left", "grid"),
        ("Drawn by buildings", flows.importing_w, right, upper, "right", "home"),
        ("To the grid", flows.to_grid_w, right, right_lower, "right", "grid"),
    )
    nodes = [
        Node(name, present.power(w), x, y, max(height(w), 2), side, kind)
        for name, w, x, y, side, kind in ends
    ]
    bands = (
        ("shared", flows.shared_w, upper, upper, "shared with neighbours"),
        ("solar", flows.to_grid_w, upper + height(flows.shared_w), right_lower, "to the grid"),
        ("grid", flows.from_grid_w, left_lower, upper + height(flows.shared_w), "from the grid"),
    )
    ribbons = [
        Ribbon(_ribbon_path(y_from, y_to, height(w)), kind, f"{present.power(w)} {text}")
        for kind, w, y_from, y_to, text in bands
        if w > 0
    ]
    bottom = max(node.y + node.height for node in nodes)
    return FlowPicture(FLOW_WIDTH, bottom + 4, nodes, ribbons)


def position(value: int, low: int, high: int) -> float:
    """Return where ``value`` stands between ``low`` and ``high``, from 0 to 100, kept inside."""
    if high <= low:
        return 50.0
    return min(100.0, max(0.0, (value - low) * 100 / (high - low)))


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a stacked bar, 100 units wide in all."""

    name: str
    value: str
    kind: str
    x: float
    width: float


def stack(parts: Sequence[tuple[str, str, str, int]]) -> Sequence[Part]:
    """Return a stacked bar of (name, text, kind, weight >= 0); parts of weight 0 are left out."""
    total = sum(weight for *_, weight in parts)
    bar: list[Part] = []
    x = 0.0
    for name, value, kind, weight in parts:
        if weight > 0:
            width = weight * 100 / total
            bar.append(Part(name, value, kind, x, width))
            x += width
    return bar


def owed_stack(bill: Sequence[tuple[str, int, str]]) -> Sequence[Part]:
    """Return the stacked bar of what is owed in a bill of (name, micro, kind)."""
    return stack([(name, present.money(micro), kind, max(0, -micro)) for name, micro, kind in bill])


@dataclass(frozen=True, slots=True)
class Tick:
    """One labelled mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class OrderPicture:
    """The order book as two step lines: offers rising, bids falling, and where they meet."""

    width: int
    height: int
    offers: str
    bids: str
    left: float
    right: float
    top: float
    bottom: float
    price_y: float | None
    cleared_x: float | None
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


def round_step(span: float) -> float:
    """Return a round tick distance (1, 2 or 5 times a power of ten) for about four ticks.

    It is 0.002 or more: labels tell no finer figures.
    """
    step = 0.01
    while step * 4 < span:
        step *= 10
    for divisor in (5, 2):
        if step / divisor * 4 >= span:
            return step / divisor
    return step


def _steps(orders: Sequence[OrderLine], x: float, y: float, left: float, bottom: float) -> str:
    """Return the path of a step line; ``x`` is pixels per Wh, ``y`` pixels per micro-euro."""
    path, wh = "", 0
    for order in orders:
        level = bottom - order.limit_micro_per_kwh * y
        path += f"{'L' if path else 'M'}{left + wh * x:.1f} {level:.1f}"
        wh += order.quantity_wh
        path += f"H{left + wh * x:.1f}"
    return path


def orders(lines: Sequence[OrderLine], price_micro_per_kwh: int | None) -> OrderPicture | None:
    """Return the merit-order picture, or None when there is nothing to draw."""
    offers = sorted((o for o in lines if o.side == "offer"), key=lambda o: o.limit_micro_per_kwh)
    bids = sorted((o for o in lines if o.side == "bid"), key=lambda o: -o.limit_micro_per_kwh)
    most_wh = max(sum(o.quantity_wh for o in offers), sum(o.quantity_wh for o in bids))
    highest = max((o.limit_micro_per_kwh for o in lines), default=0)
    if most_wh <= 0 or highest <= 0:
        return None
    right, bottom = ORDERS_WIDTH - _RIGHT, ORDERS_HEIGHT - _BOTTOM
    x, y = (right - _LEFT) / most_wh, (bottom - _TOP) / (highest * 1.08)
    cleared_wh = sum(o.cleared_wh for o in offers)
    y_step = round_step(highest / present.MICRO_PER_CENT) * present.MICRO_PER_CENT
    x_step = round_step(most_wh / 1000) * 1000
    return OrderPicture(
        width=ORDERS_WIDTH,
        height=ORDERS_HEIGHT,
        offers=_steps(offers, x, y, _LEFT, bottom),
        bids=_steps(bids, x, y, _LEFT, bottom),
        left=_LEFT,
        right=right,
        top=_TOP,
        bottom=bottom,
        price_y=None if price_micro_per_kwh is None else bottom - price_micro_per_kwh * y,
        cleared_x=_LEFT + cleared_wh * x if cleared_wh else None,
        x_ticks=[
            Tick(_LEFT + n * x_step * x, f"{n * x_step / 1000:g}")
            for n in range(int(most_wh / x_step) + 1)
        ],
        y_ticks=[
            Tick(bottom - n * y_step * y, f"{n * y_step / present.MICRO_PER_CENT:g}")
            for n in range(int(highest * 1.08 / y_step) + 1)
        ],
    )
