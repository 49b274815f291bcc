"""Versions of corrections: scenario tables with postings, and what any sequence of them keeps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.correction import (
    Correction,
    CorrectionError,
    Metered,
    Settled,
    closing_day,
    correct,
)
from market.money import Money, Price
from market.settlement import Direction, SettledEnergy
from market.tariff import Tariff
from tests.conftest import LONG

# energy 20, grid fee 9, local fee 4, levy 2, feed-in 8 ct/kWh, VAT 19 %
TARIFF = "200000 90000 40000 20000 80000 190000"
# the same with a feed-in price of -3 ct/kWh: whoever feeds in pays
NEGATIVE = "200000 90000 40000 20000 -30000 190000"

# Per scenario the first settlement (import: local own residual, export: local own residual, what
# the local energy cost), then each version: what became known (import export), and the postings
# that it books in micro-euros.
SCENARIOS = {
    "pitfall 2: a gap estimated, then scaled to the register difference": (
        TARIFF, "0 0 100 | 0 0 0 | 0",
        {
            "150 0": "receivable -18445 supplier 10000 grid 4500 levy 1000 vat 2945",
        },
    ),
    "pitfall 3: a second correction by value": (
        TARIFF, "0 0 100 | 0 0 0 | 0",
        {
            "150 0": "receivable -18445 supplier 10000 grid 4500 levy 1000 vat 2945",
            "140 0": "receivable 3689 supplier -2000 grid -900 levy -200 vat -589",
        },
    ),
    "pitfall 3: corrected back to the first value leaves nothing": (
        TARIFF, "0 0 100 | 0 0 0 | 0",
        {
            "133 7": "receivable -11614 supplier 6040 grid 2970 levy 660 vat 1944",
            "100 0": "receivable 11614 supplier -6040 grid -2970 levy -660 vat -1944",
        },
    ),
    "pitfall 3: a seller short buys the gap at retail": (
        TARIFF, "0 0 0 | 1000 0 0 | 0",
        {
            "0 700": "receivable -110670 supplier 60000 grid 27000 levy 6000 vat 17670",
            "0 900": "receivable 73780 supplier -40000 grid -18000 levy -4000 vat -11780",
        },
    ),
    "pitfall 3: a buyer short sells the excess back at feed-in": (
        TARIFF, "1000 0 0 | 0 0 0 | 150000",
        {
            "600 0": "receivable 60560 supplier -32000 grid -16000 levy -8000 vat -4560",
            "0 0": "receivable 90840 supplier -48000 grid -24000 levy -12000 vat -6840",
        },
    ),
    "pitfall 3: both at once, own energy after local": (
        TARIFF, "300 200 0 | 0 0 0 | 49500",
        {
            "400 50": "receivable 19140 supplier -12000 grid -4000 levy -2000 vat -1140",
            "600 0": "receivable -56030 supplier 32000 grid 13000 levy 4000 vat 7030",
        },
    ),
    "pitfall 9: feed-in is negative, and a buyer short pays for giving back": (
        NEGATIVE, "1000 0 0 | 0 0 0 | 100000",
        {
            "600 0": "receivable 16560 supplier 12000 grid -16000 levy -8000 vat -4560",
            "1000 0": "receivable -16560 supplier -12000 grid 16000 levy 8000 vat 4560",
        },
    ),
    "pitfall 9: feed-in is negative, and more was fed in than was estimated": (
        NEGATIVE, "0 0 0 | 0 0 0 | 0",
        {
            "0 500": "receivable -15000 supplier 15000",
            "0 501": "receivable -30 supplier 30",
        },
    ),
    "nothing new": (TARIFF, "600 0 50 | 10 0 5 | 99000", {"650 15": ""}),
}  # fmt: skip


def settled(tariff: str, first: str) -> Settled:
    """A point as it was settled at first, from a scenario's words."""
    *prices, vat_ppm = map(int, tariff.split())
    drawn, fed_in, (cost,) = ([int(word) for word in part.split()] for part in first.split("|"))
    return Settled(
        "p",
        Tariff(*map(Price, prices), vat_ppm),
        SettledEnergy("1", Direction.IMPORT, False, sum(drawn), *drawn),
        SettledEnergy("1", Direction.EXPORT, False, sum(fed_in), *fed_in),
        Money(cost),
    )


def versions(first: Settled, known: list[Metered]) -> list[Correction]:
    """Each version against the one before."""
    before = [None, *known]
    return [
        correct(f"i/1/{number}", first, now, was)
        for number, (now, was) in enumerate(zip(known, before, strict=False), 1)
    ]


def booked(words: str) -> dict[str, int]:
    parts = words.split()
    found: Counter[str] = Counter()
    for name, micro in zip(parts[::2], parts[1::2], strict=True):
        found["receivable:p" if name == "receivable" else name] += int(micro)
    return {name: micro for name, micro in found.items() if micro}


@pytest.mark.parametrize("case", SCENARIOS)
def test_scenarios(case: str) -> None:
    tariff, first, expected = SCENARIOS[case]
    known = [Metered(*map(int, words.split())) for words in expected]
    found = versions(settled(tariff, first), known)
    told = [{p.account: p.micro for p in each.entry.postings} for each in found]
    assert told == [booked(words) for words in expected.values()]
    for each, now in zip(found, known, strict=True):
        assert sum(p.micro for p in each.entry.postings) == 0
        assert (each.drawn.wh, each.fed_in.wh) == now
        assert each.amount.micro == booked(expected[f"{now[0]} {now[1]}"]).get("receivable:p", 0)


WH = st.integers(0, 5_000)
PARTS = st.tuples(WH, WH, WH)
TARIFFS = st.builds(
    lambda prices, feed_in, vat: Tariff(*map(Price, prices), Price(feed_in), vat),
    st.tuples(*[st.integers(0, 300_001)] * 4),
    st.integers(-90_001, 90_001),
    st.integers(0, 1_000_000),
)
KNOWN = st.lists(st.builds(Metered, WH, WH), min_size=1, max_size=5)


@settings(max_examples=4_000 if LONG else 100)
@given(PARTS, PARTS, st.integers(-99_999, 999_999), TARIFFS, KNOWN)
def test_any_sequence_ends_where_its_last_value_alone_would(drawn, fed_in, cost, tariff, known):
    first = Settled(
        "p",
        tariff,
        SettledEnergy("1", Direction.IMPORT, False, sum(drawn), *drawn),
        SettledEnergy("1", Direction.EXPORT, False, sum(fed_in), *fed_in),
        Money(cost),
        "s",
    )
    found = versions(first, known)
    once = correct("i/1/1", first, known[-1])
    assert _sums(found) == _sums([once])
    assert (found[-1].drawn, found[-1].fed_in) == (once.drawn, once.fed_in)
    back = versions(first, [*known, Metered(sum(drawn), sum(fed_in))])
    assert _sums(back) == ({}, {})
    for each in back:
        assert sum(p.micro for p in each.entry.postings) == 0
        assert {p.account for p in each.entry.postings} <= {
            "receivable:p", "supplier:s", "grid", "levy", "vat"
        }  # fmt: skip


def _sums(found: list[Correction]) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    """What corrections come to by account, and by kind of line in Wh and money."""
    accounts: Counter[str] = Counter()
    wh: Counter[str] = Counter()
    micro: Counter[str] = Counter()
    for each in found:
        for posting in each.entry.postings:
            accounts[posting.account] += posting.micro
        for line in each.lines:
            wh[line.kind] += line.wh
            micro[line.kind] += line.micro
    return (
        {name: value for name, value in accounts.items() if value},
        {kind: (wh[kind], micro[kind]) for kind in wh if wh[kind] or micro[kind]},
    )


def test_pitfall_7_what_is_left_of_local_energy_came_from_as_near_as_it_can() -> None:
    """1000 Wh: 200 from the building, 300 from the feeder, the rest from the district."""
    first = settled(TARIFF, "1000 0 0 | 0 0 0 | 150000")
    fees = replace(first.tariff, local_fee_feeder=Price(30_000), local_fee_building=Price(10_000))
    first = replace(first, tariff=fees, feeder_wh=300, building_wh=200)
    one, two = versions(first, [Metered(400, 0), Metered(150, 0)])
    assert _fees(one) == {
        "local-fee": (-500, 20_000), "local-fee-feeder": (-100, 3_000)
    }  # fmt: skip
    assert _fees(two) == {
        "local-fee-feeder": (-200, 6_000), "local-fee-building": (-50, 500)
    }  # fmt: skip
    back = versions(first, [Metered(150, 0), Metered(1000, 0)])
    assert _sums(back) == ({}, {})


def test_vat_of_a_correction_rounds_on_all_that_was_drawn_local_energy_included() -> None:
    """19 % of 89,502 (49,502 of it local) are 17,005.38; with 1 Wh more, of 89,722, 17,047.18."""
    first = settled("120000 90000 30000 10000 80000 190000", "1000 0 0 | 0 0 0 | 49502")
    (found,) = versions(first, [Metered(1001, 0)])
    assert [line.micro for line in found.lines if line.kind == "vat"] == [17_005 - 17_047]


def _fees(found: Correction) -> dict[str, tuple[int, int]]:
    return {line.kind: (line.wh, line.micro) for line in found.lines if "local" in line.kind}


def test_an_energy_below_0_is_refused() -> None:
    with pytest.raises(CorrectionError, match="below 0"):
        correct("i/1/1", settled(TARIFF, "0 0 1 | 0 0 0 | 0"), Metered(-1, 0))


@pytest.mark.parametrize(
    ("today", "months", "first"),
    [
        ("2026-06-23", 36, "2023-06-23"),
        ("2026-03-31", 1, "2026-02-28"),
        ("2024-03-31", 1, "2024-02-29"),
        ("2026-01-15", 1, "2025-12-15"),
        ("2026-12-31", 12, "2025-12-31"),
        ("2028-02-29", 12, "2027-02-28"),
    ],
)
def test_the_closing_day_goes_by_the_calendar(today: str, months: int, first: str) -> None:
    assert closing_day(date.fromisoformat(today), months) == date.fromisoformat(first)
