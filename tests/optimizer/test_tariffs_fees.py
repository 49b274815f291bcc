"""Fees enter before matching: nobody is worse off all-in, and equal fees change nothing."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.agents import Instruction, Standing, with_wishes
from market.money import Price
from market.parties import MeteredPoint, metered_book, own_transfers
from market.place import Level, Place
from market.settlement import saving_by_point, settle
from market.tariff import Tariff
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.fallback import fall_back
from optimizer.metered import fees, metered_problem, payable
from optimizer.problem import Fees
from tests.conftest import LONG

KEY = "2026-06-23T09:00:00Z"
RULES = ("mid-market", "uniform", "pay-as-bid", "sdr")
BASE = Tariff(
    Price(200_000), Price(90_000), Price(40_000), Price(20_000), Price(80_000), 190_000,
    local_fee_building=Price(0), local_fee_feeder=Price(20_000),
)  # fmt: skip


def point(n: int, place: str, wh: tuple[int, int], tariff: Tariff = BASE) -> MeteredPoint:
    return MeteredPoint(
        str(n), f"p{n}", Energy(wh[0]), Energy(wh[1]), False, tariff, place=Place.parse(place)
    )


def book_of(points: list[MeteredPoint], rule: str):
    own = own_transfers(points)
    stands = {p.point: Standing(p.place, False, Instruction()) for p in points}
    book = metered_book(points, own, {})
    return with_wishes(book, stands, placed=fees(book, rule, points) != Fees()), own


def cleared(points: list[MeteredPoint], rule: str):
    book, _ = book_of(points, rule)
    return clear(metered_problem(KEY, rule, payable(book, rule, points), points))


# A roof feeds 600 Wh into building f/b. Who buys how much, at what net price, and at which level?
# Retail 20 + 9 ct; local fees 0, 2 and 4 ct; feed-in 8 ct. Mid-market in the building:
# (8 + 29 - 0) / 2 = 18.5 ct, in the feeder (8 + 29 - 2) / 2 = 17.5, in the district 16.5.
NEAR = [
    (("f/b", 400), ("f/c", 500), ("g/d", 500), [(2, 400, 185_000, 0), (3, 200, 175_000, 1)]),
    (("f/c", 100), ("f/c", 100), ("g/d", 900), [
        (2, 100, 175_000, 1), (3, 100, 175_000, 1), (4, 400, 165_000, 2)]),
    (("g/d", 900), ("g/d", 300), ("g/e", 0), [(2, 450, 165_000, 2), (3, 150, 165_000, 2)]),
]  # fmt: skip


@pytest.mark.parametrize("row", NEAR)
def test_pitfall_7_near_energy_first_at_its_own_price(row: tuple) -> None:
    *homes, expected = row
    points = [point(1, "f/b", (0, 600))]
    points += [point(n, place, (wh, 0)) for n, (place, wh) in enumerate(homes, 2) if wh]
    found = cleared(points, "mid-market")
    told = [
        (int(t.buyer[0]), t.energy.wh, t.price.micro_per_kwh, int(t.level))
        for t in found.local_trades
    ]
    assert sorted(told) == expected


def test_the_fees_are_the_lower_medians_of_the_buyers() -> None:
    dear = replace(BASE, local_grid_fee=Price(60_000), local_fee_feeder=Price(10_000))
    one = replace(BASE, local_fee_building=None, local_fee_feeder=None)
    both = [point(1, "f/b", (0, 9)), point(2, "f/b", (9, 0)), point(3, "f/b", (9, 0), dear)]
    book = metered_book(both, (), {})
    assert fees(book, "mid-market", both) == Fees(Price(0), Price(10_000), Price(40_000))
    assert fees(book, "pay-as-bid", both) == Fees()
    flat = [replace(each, tariff=one) for each in both]
    assert fees(metered_book(flat, (), {}), "uniform", flat) == Fees()


wh = st.integers(0, 5_000)
fee = st.integers(0, 90_000)


@st.composite
def a_tariff(draw: st.DrawFn) -> Tariff:
    building, feeder, district = sorted(draw(st.tuples(fee, fee, fee)))
    energy, feed_in = draw(st.tuples(st.integers(50_000, 300_000), st.integers(-60_000, 120_000)))
    return Tariff(
        Price(energy), Price(max(district, 90_000)), Price(district), Price(20_000),
        Price(feed_in), 190_000, Price(building), Price(feeder), Price(draw(fee)),
    )  # fmt: skip


@st.composite
def districts(draw: st.DrawFn) -> list[MeteredPoint]:
    """Up to seven points in three buildings, on one tariff or on up to three."""
    tariffs = draw(st.lists(a_tariff(), min_size=1, max_size=3))
    places = st.sampled_from(["f/a", "f/b", "g/c"])
    return [
        point(n, draw(places), (draw(wh), draw(wh)), draw(st.sampled_from(tariffs)))
        for n in range(draw(st.integers(2, 7)))
    ]


@settings(max_examples=4_000 if LONG else 40, deadline=None)
@given(districts(), st.sampled_from(RULES))
def test_nobody_is_worse_off_all_in_whatever_the_levels(
    points: list[MeteredPoint], rule: str
) -> None:
    """Per point: a rounding of each line apart (at most 10 lines and a VAT on each trade)."""
    book, own = book_of(points, rule)
    given_ = metered_problem(KEY, rule, payable(book, rule, points), points)
    if rule == "sdr" and given_.floor is not None and given_.floor < Price(0):
        return  # the rule is void there
    for found in (clear(given_), fall_back(given_)):
        trades = found.local_trades
        settlement = settle(KEY, points, own, book, trades, {}, {})
        for name, saved in saving_by_point(settlement).items():
            lines = sum(1 for s in settlement.statements for x in s.lines if x.point == name)
            assert saved.micro >= -2 * (lines + 6), (name, saved, trades)


@settings(max_examples=2_000 if LONG else 25, deadline=None)
@given(districts(), st.sampled_from(RULES))
def test_where_all_fees_are_equal_nothing_changes(points: list[MeteredPoint], rule: str) -> None:
    equal = [
        replace(p, tariff=replace(p.tariff, local_fee_building=None, local_fee_feeder=None))
        for p in points
    ]
    said = [
        replace(
            p,
            tariff=replace(
                p.tariff,
                local_fee_building=p.tariff.local_grid_fee,
                local_fee_feeder=p.tariff.local_grid_fee,
            ),
        )
        for p in points
    ]
    one, other = (book_of(each, rule)[0] for each in (equal, said))
    assert one == other
    assert all(order.place == Place() for order in one.orders)
    problem = metered_problem(KEY, rule, one, equal)
    assert (problem.fees, problem.book.orders) == (
        Fees(),
        one.orders if problem.book.orders else (),
    )
    assert problem == metered_problem(KEY, rule, other, said)


def test_a_level_is_as_far_as_the_hub() -> None:
    found = cleared([point(1, "f/b", (0, 100)), point(2, "f/b", (100, 0))], "uniform")
    assert [t.level for t in found.local_trades] == [Level.BUILDING]
