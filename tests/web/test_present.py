"""Units become text: each with its unit, its sign, and the local time's name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.interval import Interval, from_ms, to_ms
from web import present

N = present.NBSP


@pytest.mark.parametrize(
    ("wh", "text"),
    [
        (0, "0.00 kWh"),
        (5, "0.01 kWh"),
        (1_250, "1.25 kWh"),
        (9_999, "10.00 kWh"),
        (15_510, "15.5 kWh"),
        (1_234_560, "1,235 kWh"),
        (-1_250, "−1.25 kWh"),
    ],
)
def test_energy(wh: int, text: str) -> None:
    assert present.energy(wh) == text.replace(" ", N)


@pytest.mark.parametrize(
    ("w", "text"),
    [
        (0, "0 kW"),
        (49, "0 kW"),
        (-49, "0 kW"),
        (50, "0.1 kW"),
        (9_949, "9.9 kW"),
        (9_950, "10 kW"),
        (62_400, "62 kW"),
        (-4_320, "−4.3 kW"),
    ],
)
def test_power(w: int, text: str) -> None:
    assert present.power(w) == text.replace(" ", N)


def test_import_is_positive_and_said_in_words() -> None:
    assert present.point_power(1_240) == f"draws 1.2{N}kW"
    assert present.point_power(-4_320) == f"feeds in 4.3{N}kW"
    assert present.point_power(0) == f"0{N}kW"


@pytest.mark.parametrize(
    ("micro", "text"),
    [(340_300, "34.03 ct/kWh"), (0, "0.00 ct/kWh"), (-15_000, "−1.50 ct/kWh"), (50, "0.01 ct/kWh")],
)
def test_price(micro: int, text: str) -> None:
    assert present.price(micro) == text.replace(" ", N)


def test_no_trade_is_not_a_price_of_zero() -> None:
    assert present.price(None) == "no trade"
    assert present.share(None) == "not known yet"


@pytest.mark.parametrize(
    ("micro", "plus", "text"),
    [
        (0, False, "€0.00"),
        (31_200, False, "€0.0312"),
        (31_200, True, "+€0.0312"),
        (-31_200, True, "−€0.0312"),
        (4_812_345, False, "€4.81"),
        (-1_234_567_890, False, "−€1,234.57"),
    ],
)
def test_money(micro: int, plus: bool, text: str) -> None:
    assert present.money(micro, plus=plus) == text


def test_exact_money_holds_every_micro_euro() -> None:
    assert present.exact_money(1) == "€0.000001"
    assert present.exact_money(-12, plus=True) == "−€0.000012"


def test_per_kwh() -> None:
    assert present.per_kwh(87_400, 295) == f"29.63{N}ct/kWh"
    assert present.per_kwh(87_400, 0) == "–"


ZONE = "Europe/Berlin"


def test_local_time_carries_the_zone() -> None:
    moment = Interval.parse("2026-06-23T09:15:00Z").start_ms
    assert present.clock(moment, ZONE) == "11:15 CEST"
    assert present.day(moment, ZONE) == "Tue 23 Jun 2026"
    assert present.next_close(moment + 1, ZONE) == "11:30 CEST"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("2026-06-23T09:00:00Z", "11:00–11:15 CEST"),
        ("2026-10-25T00:45:00Z", "02:45 CEST–02:00 CET"),
        ("2026-10-25T01:45:00Z", "02:45–03:00 CET"),
        ("2026-03-29T00:45:00Z", "01:45 CET–03:00 CEST"),
    ],
)
def test_quarter_over_a_change_of_clocks(key: str, text: str) -> None:
    assert present.quarter(key, ZONE) == text


@given(st.integers(-(10**15), 10**15))
def test_money_reads_back_within_its_rounding(micro: int) -> None:
    text = present.exact_money(micro).replace("€", "").replace(",", "").replace("−", "-")
    whole, fraction = text.lstrip("-").split(".")
    assert (int(whole) * 1_000_000 + int(fraction)) * (-1 if text.startswith("-") else 1) == micro


@given(st.integers(-(10**12), 10**12))
def test_every_quantity_carries_its_unit(value: int) -> None:
    assert re.fullmatch(r"−?[\d,]+(\.\d+)?\u00a0kWh", present.energy(value))
    assert re.fullmatch(r"−?[\d,]+(\.\d+)?\u00a0kW", present.power(value))
    assert re.fullmatch(r"−?[\d,]+\.\d\d\u00a0ct/kWh", present.price(value))
    assert re.fullmatch(r"[+−]?€[\d,]+\.\d{2,4}", present.money(value, plus=True))


@given(st.integers(1_051_896, 4_000_000))  # from 2000 on
def test_quarters_start_where_the_one_before_ended(n: int) -> None:
    start = to_ms(from_ms(n * 900_000))
    one, two = Interval.containing_ms(start), Interval.containing_ms(start).next()
    ends = present.quarter(one.key, ZONE).split("–")[1].split(" ")[0]
    assert present.quarter(two.key, ZONE).startswith(ends)


def test_every_step_of_the_verifier_has_plain_words() -> None:
    source = (Path(__file__).parents[2] / "ledger_client" / "verify.py").read_text("utf-8")
    begun = set(re.findall(r'\.begin\("(\w+)"\)', source))
    assert len(begun) > 10
    assert begun <= set(present.STEP_WORDS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no bid", "No bid."),
        ("no bid.", "No bid."),
        ("is the file cut short?", "Is the file cut short?"),
    ],
)
def test_an_error_reads_as_a_sentence(text: str, told: str) -> None:
    assert present.sentence(text) == told
