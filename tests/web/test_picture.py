"""The geometry of the pictures: proportions, order, and nothing outside the view box."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.web.web_fakes import ORDERS, RATE
from web import picture
from web.ports import FlowsNow, OrderLine

WATTS = st.integers(0, 10**7)


def flows(shared: int, from_grid: int, to_grid: int) -> FlowsNow:
    return FlowsNow(shared + to_grid, shared + from_grid, shared, from_grid, to_grid)


@given(WATTS, WATTS, WATTS)
def test_bands_fill_their_bars_and_stay_inside(shared: int, from_grid: int, to_grid: int) -> None:
    drawn = picture.flow(flows(shared, from_grid, to_grid))
    assert len(drawn.ribbons) == sum(w > 0 for w in (shared, from_grid, to_grid))
    for node in drawn.nodes:
        assert node.height >= 2
        assert node.y + node.height <= drawn.height
    heights = {node.name: node.height for node in drawn.nodes}
    total = shared + from_grid + to_grid
    if total and (shared + to_grid) * 130 / total > 2 and from_grid * 130 / total > 2:
        ratio = heights["From the grid"] / heights["Solar surplus"]
        assert abs(ratio - from_grid / (shared + to_grid)) < 1e-6


def test_no_flow_draws_no_ribbon_but_all_names() -> None:
    drawn = picture.flow(flows(0, 0, 0))
    assert drawn.ribbons == []
    assert {node.value for node in drawn.nodes} == {"0\u00a0kW"}


def test_position_stays_on_the_scale() -> None:
    assert picture.position(82, 82, 340) == 0
    assert picture.position(340, 82, 340) == 100
    assert picture.position(-5, 82, 340) == 0
    assert picture.position(999, 82, 340) == 100
    assert picture.position(5, 5, 5) == 50


@given(st.lists(st.integers(0, 10**9), max_size=6))
def test_stack_fills_the_bar(weights: list[int]) -> None:
    parts = picture.stack([(str(n), "", "k", weight) for n, weight in enumerate(weights)])
    assert len(parts) == sum(weight > 0 for weight in weights)
    if parts:
        assert abs(sum(part.width for part in parts) - 100) < 1e-6
        assert parts[0].x == 0


def test_only_what_is_owed_enters_the_split() -> None:
    parts = picture.owed_stack([("Energy", 500, "solar"), ("Levy", -100, "battery")])
    assert [part.name for part in parts] == ["Levy"]


def numbers(path: str) -> list[float]:
    return [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", path)]


def test_merit_order_rises_for_offers_and_falls_for_bids() -> None:
    drawn = picture.orders(ORDERS, RATE)
    assert drawn is not None
    offer_levels = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", drawn.offers)]
    bid_levels = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", drawn.bids)]
    assert offer_levels == sorted(offer_levels, reverse=True)  # y grows downwards
    assert bid_levels == sorted(bid_levels)
    assert all(0 <= n <= drawn.width for n in numbers(drawn.offers + drawn.bids))
    assert drawn.price_y is not None
    assert min(bid_levels) < drawn.price_y < max(offer_levels)
    assert drawn.y_ticks[0].at == drawn.bottom


def test_no_orders_no_picture() -> None:
    assert picture.orders([], None) is None
    free = OrderLine("offer", "1 other", 0, 100, 0, own=False)
    assert picture.orders([free], None) is None


@given(st.floats(0.001, 1e9))
def test_ticks_are_round_and_few(span: float) -> None:
    step = picture.round_step(span)
    assert step * 4 >= min(span, 0.8)
    assert f"{step:e}"[0] in "125"
