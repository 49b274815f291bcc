"""The merit-order picture by numbers: steps add up, prices stand at their height, all inside."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import LONG
from tests.web.market_fakes import BANDS, HIDDEN, MARKET, MINE, NEGATIVE, PAGES
from web import curves
from web.curves import BOTTOM, LEFT, RIGHT, TOP, Curves
from web.ports.market import Band, MarketPage

MOST_WH = 7_500  # the longer side of MARKET


def drawn(page: MarketPage = MARKET) -> Curves:
    picture = curves.draw(page)
    assert picture is not None
    return picture


def corners(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path)]


def wh(x: float) -> float:
    return (x - LEFT) / (RIGHT - LEFT) * MOST_WH


def test_steps_add_up_in_kwh() -> None:
    offers, bids = corners(drawn().offers), corners(drawn().bids)
    assert [round(wh(x)) for x, _ in offers[:-1]] == pytest.approx([0, 3_100, 3_100, 7_500], abs=2)
    assert [round(wh(x)) for x, _ in bids[:-1]] == pytest.approx([0, 4_200, 4_200, 5_500], abs=2)


def test_a_side_ends_where_it_has_no_more_energy() -> None:
    *_, offered, offers_end = corners(drawn().offers)
    *_, wanted, bids_end = corners(drawn().bids)
    assert offers_end == (offered[0], TOP)
    assert bids_end == (wanted[0], BOTTOM)


def test_a_tick_is_flat_and_a_band_slants_within_its_box() -> None:
    picture = drawn()
    (_, flat), (_, same), (_, low), (_, high), _ = corners(picture.offers)
    assert flat == same
    assert high < low < flat  # upwards is a lower y
    (_, dear), (_, same), (_, first), (_, last), _ = corners(picture.bids)
    assert dear == same < first < last
    boxes = {box.kind: box for box in picture.boxes if box.kind != "interval"}
    assert boxes["offers"].y == pytest.approx(high, abs=0.1)
    assert boxes["offers"].y + boxes["offers"].height == pytest.approx(low, abs=0.1)
    assert wh(boxes["offers"].x) == pytest.approx(3_100)
    assert boxes["offers"].width == pytest.approx((RIGHT - LEFT) * 4_400 / MOST_WH)


def test_prices_stand_at_their_height() -> None:
    picture = drawn()
    by_kind = {level.kind: level.y for level in picture.levels}
    marks = {float(tick.text): tick.at for tick in picture.y_ticks}
    (c0, y0), (c1, y1) = list(marks.items())[:2]

    def y(cents: float) -> float:
        return y0 + (cents - c0) * (y1 - y0) / (c1 - c0)

    assert by_kind == pytest.approx({"floor": y(8.2), "ceiling": y(15.2), "price": y(11.85)})
    (interval,) = [box for box in picture.boxes if box.kind == "interval"]
    assert interval.y == pytest.approx(y(12.5))
    assert interval.y + interval.height == pytest.approx(y(11.2))
    assert (interval.x, interval.width) == (LEFT, RIGHT - LEFT)
    assert picture.cleared_x is not None
    assert wh(picture.cleared_x) == pytest.approx(4_030)


def area(path: str) -> float:
    """What a closed path holds, in Wh x view box units of height."""
    around = [(wh(x), y) for x, y in corners(path)]
    pairs = zip(around, around[1:] + around[:1], strict=True)
    return abs(sum(x * after_y - after_x * y for (x, y), (after_x, after_y) in pairs)) / 2


def test_gains_are_the_areas_between_limits_and_price() -> None:
    picture = drawn()
    heights = {float(tick.text): tick.at for tick in picture.y_ticks}
    cent = (heights[0] - heights[10]) / 10
    gains = {gain.kind: area(gain.path) / cent for gain in picture.gains}
    # Bids: 4,030 Wh at 15.20. Offers: 3,100 Wh at 8.20, then 930 of 4,400 Wh from 10.00 to 14.00.
    last = 10 + 4 * 930 / 4_400
    sellers = 3_100 * (11.85 - 8.2) + 930 * (11.85 - (10 + last) / 2)
    assert gains == pytest.approx({"bids": 4_030 * (15.2 - 11.85), "offers": sellers}, rel=1e-2)


def test_gains_are_drawn_only_where_the_best_limits_traded() -> None:
    assert drawn(replace(MARKET, rule="mid-market")).gains == []
    one_tick = replace(MARKET, rule="mid-market", bands=BANDS[:1] + BANDS[2:], own=())
    assert [gain.kind for gain in drawn(one_tick).gains] == ["bids"]
    assert drawn(replace(MARKET, price_micro_per_kwh=None)).gains == []
    assert drawn(replace(MARKET, traded_wh=0)).gains == []


def test_labels_of_prices_never_cover_each_other() -> None:
    near = replace(MARKET, floor_micro_per_kwh=118_000, ceiling_micro_per_kwh=119_000)
    for page in (near, MARKET, PAGES[NEGATIVE]):
        places = sorted(level.label_y for level in drawn(page).levels)
        assert all(after - before >= 50 for before, after in pairwise(places))
        assert all(TOP <= place <= BOTTOM for place in places)


def test_one_sees_ones_own_orders_at_their_limits() -> None:
    bid, offer = drawn().marks
    assert (bid.kind, offer.kind) == ("bids", "offers")
    assert wh(bid.x) == pytest.approx(0)
    assert wh(bid.x + bid.width) == pytest.approx(640)
    assert wh(bid.x + bid.traded_width) == pytest.approx(600)
    assert wh(offer.x) == pytest.approx(3_100)  # where its band begins
    assert "Your offer of 0.48\u00a0kWh at 12.50\u00a0ct/kWh: 0.06\u00a0kWh sold" in offer.title
    twice = drawn(replace(MARKET, own=(MINE[0], MINE[0])))
    assert [round(wh(mark.x)) for mark in twice.marks] == [0, 640]


def test_a_hidden_side_leaves_ones_own_alone() -> None:
    picture = drawn(PAGES[HIDDEN])
    assert picture.offers == ""
    (offer,) = [mark for mark in picture.marks if mark.kind == "offers"]
    assert offer.x == LEFT


def test_negative_prices_stand_below_zero() -> None:
    picture = drawn(PAGES[NEGATIVE])
    assert picture.zero_y is not None
    assert TOP < picture.zero_y < BOTTOM
    price = next(level for level in picture.levels if level.kind == "price")
    assert price.y > picture.zero_y
    assert "\u22123.00" in price.text
    assert any(tick.text.startswith("\u2212") for tick in picture.y_ticks)
    assert drawn().zero_y is None


def test_nothing_is_no_picture() -> None:
    assert curves.draw(replace(MARKET, bands=(), own=())) is None


def test_one_price_alone_is_no_band() -> None:
    picture = drawn(replace(MARKET, price_interval_micro_per_kwh=(118_500, 118_500)))
    assert [box for box in picture.boxes if box.kind == "interval"] == []
    assert "price" in {level.kind for level in picture.levels}


def test_several_prices_draw_no_line() -> None:
    picture = drawn(replace(MARKET, price_micro_per_kwh=None, price_interval_micro_per_kwh=None))
    assert {level.kind for level in picture.levels} == {"floor", "ceiling"}


bands = st.lists(
    st.builds(
        lambda side, low, span, quantity: Band(side, low, low + span, quantity, quantity // 2),
        st.sampled_from(["bid", "offer"]),
        st.integers(-(10**9), 10**9),
        st.sampled_from([0, 10_000, 250_000]),
        st.integers(1, 10**12),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=20_000 if LONG else 500)
@given(bands, st.none() | st.integers(-(10**9), 10**9))
def test_everything_stays_inside_and_adds_up(book: list[Band], price: int | None) -> None:
    offers = sorted((b for b in book if b.side == "offer"), key=lambda b: b.low_micro_per_kwh)
    page = replace(MARKET, bands=offers, own=(), price_micro_per_kwh=price, traded_wh=0)
    page = replace(page, price_interval_micro_per_kwh=None)
    picture = curves.draw(page)
    if picture is None:
        assert not offers
        return
    points = corners(picture.offers)
    assert points[-1][0] == pytest.approx(RIGHT, abs=0.1)
    for (x, _), (after, _) in pairwise(points):
        assert x <= after
    heights = [y for _, y in points] + [level.y for level in picture.levels]
    heights += [tick.at for tick in picture.y_ticks]
    assert all(TOP - 0.1 <= y <= BOTTOM + 0.1 for y in heights)
    assert all(LEFT - 0.1 <= tick.at <= RIGHT + 0.1 for tick in picture.x_ticks)
    assert 1 <= len(picture.y_ticks) <= 12


def test_a_little_energy_has_more_than_one_mark() -> None:
    little = replace(MARKET, bands=(Band("offer", 0, 0, 30, 30),), own=(), traded_wh=30)
    assert [tick.text for tick in drawn(little).x_ticks] == ["0", "0.01", "0.02", "0.03"]


def test_the_fakes_are_in_the_pages_order() -> None:
    assert [band.side for band in BANDS] == ["bid", "bid", "offer", "offer"]
