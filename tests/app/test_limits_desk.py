"""The page of standing limits over the database: what a form means, views, last day's trades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.limits.desk import LimitsDesk, to_asked, to_instruction
from app.tables import InstructionRow
from market.agents import Instruction, InstructionError, Strategy
from market.money import Price
from market.place import Level, Product, Wish
from tests.app.district_kit import CEILING, FEED_IN, RATE, Kit, key
from web.ports import RefusedError
from web.ports.limits import AskedLimits

OWN = AskedLimits(strategy="own-limits")
SURPLUS = {"solar": (0, 900), "flat": (300, 0), "shop": (200, 0)}


@pytest.fixture
def kit(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, sqlite_url, changes={"price_tick_micro_per_kwh": 10})
    yield kit
    kit.close()


MEANINGS = {
    "nothing": (AskedLimits(), Instruction()),
    "a comma": (replace(OWN, buy="24,5"), (245_000, None)),
    "a point": (replace(OWN, buy=" 24.5 "), (245_000, None)),
    "less than nothing": (replace(OWN, sell="-3.25"), (None, -32_500)),
    "a typographic minus": (replace(OWN, sell="\u22123"), (None, -30_000)),
    "a plus": (replace(OWN, buy="+0.0001", sell="0"), (1, 0)),
    "a share": (AskedLimits("greedy", share="12.5"), Instruction(Strategy.GREEDY, 125_000)),
    "what another choice takes is left aside": (
        AskedLimits("grid-parity", share="x", buy="nan", sell="1", premium="y"),
        Instruction(),
    ),
    "a wish": (
        AskedLimits(green="premium", premium="2", local_first="yes", level="feeder"),
        Instruction(wish=Wish(Product.GREEN, Price(20_000), local_first=True, level=Level.FEEDER)),
    ),
    "green at no premium": (
        AskedLimits(green="premium", premium="0"),
        Instruction(wish=Wish(Product.GREEN)),
    ),
    "green only": (AskedLimits(green="only"), Instruction(wish=Wish(Product.GREEN, only=True))),
}


@pytest.mark.parametrize("case", MEANINGS)
def test_what_a_form_means(case: str) -> None:
    asked, meant = MEANINGS[case]
    if isinstance(meant, tuple):
        buy, sell = (None if micro is None else Price(micro) for micro in meant)
        meant = Instruction(Strategy.OWN_LIMITS, buy_all_in=buy, sell=sell)
    assert to_instruction(asked) == meant
    assert to_instruction(to_asked(meant)) == meant


WRONG = [
    *(("buy", replace(OWN, buy=text)) for text in (
        "nan", "NaN", "inf", "1e3", "0x10", "--3", "3-", "1.2.3", "24 500", "١٢", "abc", "-",
        "1,23456", "100000", "-100000", "9" * 30, "<b>",
    )),
    ("sell", replace(OWN, sell="1.00001")),
    ("buy", OWN),
    ("share", AskedLimits("greedy")),
    ("share", AskedLimits("greedy", share="-1")),
    ("share", AskedLimits("by-forecast", share="100.1")),
    ("share", AskedLimits("by-forecast", share="10 %")),
    ("premium", AskedLimits(green="premium")),
    ("premium", AskedLimits(green="premium", premium="-1")),
    ("premium", AskedLimits(green="premium", premium="99999")),
    ("green", AskedLimits(green="blue")),
    ("strategy", AskedLimits(strategy="lucky")),
    ("strategy", AskedLimits(level="street")),
]  # fmt: skip


@pytest.mark.parametrize(("field", "asked"), WRONG)
def test_what_is_wrong_is_said_of_its_field(field: str, asked: AskedLimits) -> None:
    with pytest.raises(InstructionError) as error:
        to_instruction(asked)
    assert error.value.field == field
    assert len(str(error.value)) < 160


@given(st.builds(AskedLimits, *[st.text(max_size=12)] * 8))
def test_no_form_is_a_surprise(asked: AskedLimits) -> None:
    for strategy in Strategy:
        for green in ("any", "premium", "only"):
            form = replace(asked, strategy=strategy.value, green=green, level="feeder")
            try:
                found = to_instruction(form)
            except InstructionError:
                continue
            assert to_instruction(to_asked(found)) == found


def test_the_page_and_a_preview(kit: Kit) -> None:
    desk = LimitsDesk(kit.house)
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    flat, solar = kit.homes["flat"].point, kit.homes["solar"].point
    page = desk.limits("flat")
    (point,) = page.points
    assert (page.next_key, page.expected_micro_per_kwh) == (key(3), None)
    assert (point.point, point.place, point.has_building, point.green) == (flat, "f", False, False)
    assert (point.ceiling_micro_per_kwh, point.floor_micro_per_kwh) == (CEILING, FEED_IN)
    assert point.retail_all_in_micro_per_kwh == 368_900
    assert point.now.buy.all_in_micro_per_kwh == 368_900
    (found,) = point.now.outcomes
    saving = (368_900 - 267_750) * 600 // 1000  # (165,000 + 40,000 + 20,000) x 1.19
    assert (found.side, found.wh, found.kept_wh) == ("bid", 600, 600)
    assert (found.saving_micro, found.kept_saving_micro) == (saving, saving)
    strict = replace(OWN, buy="26", sell="16.5001")
    assert desk.preview("flat", flat, replace(strict, sell="")).outcomes[0].kept_wh == 0
    with pytest.raises(RefusedError) as refused:
        desk.preview("solar", solar, strict)  # off the tick of 10 micro-euros
    assert refused.value.field == "sell"
    sold = desk.preview("solar", solar, replace(strict, sell="16.5")).outcomes[0]
    assert (sold.side, sold.kept_wh, sold.kept_intervals) == ("offer", 1_000, 2)
    assert sold.kept_saving_micro == (RATE - FEED_IN) * 1_000 // 1000
    with pytest.raises(RefusedError):
        desk.preview("flat", solar, AskedLimits())
    assert kit.rows(InstructionRow) == []


def test_entering_and_taking_up_again(kit: Kit) -> None:
    desk, flat = LimitsDesk(kit.house), kit.homes["flat"].point
    greedy = AskedLimits("greedy", share="20")
    assert desk.enter("flat", flat, greedy, "prosumer")
    assert not desk.enter("flat", flat, greedy, "prosumer")
    assert desk.enter("flat", flat, replace(OWN, buy="30"), "building-manager")
    assert desk.repeat("flat", flat, 1, "prosumer")
    (point,) = desk.limits("flat").points
    assert [(line.version, line.state, line.repeats) for line in point.versions] == [
        (3, "holds", 1),
        (2, "past", None),
        (1, "past", None),
        (0, "past", None),
    ]
    assert point.now.asked == greedy
    with pytest.raises(RefusedError) as refused:
        desk.enter("flat", flat, AskedLimits(level="building"), "prosumer")
    assert refused.value.field == "level"
    with pytest.raises(RefusedError):
        desk.repeat("flat", flat, 9, "prosumer")


def test_a_premium_shows_what_green_energy_may_cost(kit: Kit) -> None:
    kit.move_to("flat", "building", "b1")
    desk, flat = LimitsDesk(kit.house), kit.homes["flat"].point
    view = desk.preview("flat", flat, AskedLimits(green="premium", premium="2", level="building"))
    assert view.buy_green is not None
    assert view.buy_green.net_micro_per_kwh == CEILING + 20_000
    assert view.buy_green.all_in_micro_per_kwh == 392_700
