"""However often one asks "what if", the answers hold what the market page shows, and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.market.bands import side_of
from app.services.market.whatif import Change, Scene, less, middles, seen
from app.tables import OrderRow
from market.book import Book
from market.money import Price
from market.order import Order, Side
from market.parties import MeteredPoint
from market.place import Place, Wish
from market.pricing import Rule
from market.tariff import Tariff
from market.trade import Trade
from metering.quantities import Energy
from optimizer.problem import Fees, Problem
from tests.conftest import LONG
from web.ports.market import Band, Outcome, QuestionError

KEY, ME = "2026-06-23T09:00:00Z", "me"
TARIFF = Tariff(Price(200_000), Price(90_000), Price(40_000), Price(20_000), Price(80_000), 190_000)
FLOOR, CEILING = TARIFF.floor, TARIFF.ceiling
CENT = 10_000

Entry = tuple[str, int, int]  # participant, Wh, micro-euros per kWh


def rows(bids: list[Entry], offers: list[Entry]) -> list[OrderRow]:
    """One metering point for each order."""
    return [
        OrderRow(
            interval=KEY,
            order_id=f"{side}{n}-{side}",
            point=f"{side}{n}",
            participant=who,
            side=side,
            wh=wh,
            limit_micro_per_kwh=limit,
            cleared_wh=0,
            salt=b"",
        )
        for side, entries in (("bid", bids), ("offer", offers))
        for n, (who, wh, limit) in enumerate(entries)
    ]


def scene(orders: list[OrderRow], rule: Rule = Rule.UNIFORM, fees: Fees = Fees()) -> Scene:
    book = Book(
        tuple(
            Order(
                row.order_id,
                Side(row.side),
                row.participant,
                row.point,
                Energy(row.wh),
                Price(row.limit_micro_per_kwh),
                Place.parse(row.place or ""),
                Wish.parse(row.wish or ""),
            )
            for row in orders
        )
    )
    points = [
        MeteredPoint(
            point=row.point,
            participant=row.participant,
            imported=Energy(row.wh if row.side == "bid" else 0),
            exported=Energy(row.wh if row.side == "offer" else 0),
            estimated=False,
            tariff=TARIFF,
        )
        for row in orders
    ]
    problem = Problem(book, rule, KEY.encode(), FLOOR, CEILING, fees)
    return Scene(KEY, ME, seen(problem, middles(orders, frozenset({ME}))), book, points)


def bands(orders: list[OrderRow]) -> list[Band]:
    mine = frozenset({ME})
    return [band for side in Side for band, _ in side_of(orders, side, mine).bands]


QUESTIONS = [
    Change(rule, bid_limit=limit, bid_percent=percent)
    for rule in (Rule.UNIFORM, Rule.PAY_AS_BID)
    for limit in (None, 11 * CENT, 173_333)
    for percent in (100, 37)
]


@settings(max_examples=20_000 if LONG else 500)
@given(st.integers(0, 2**48), st.sampled_from(QUESTIONS))
def test_what_the_page_hides_moves_no_answer(seed, question) -> None:
    """Neighbours' limits within their bands are their own business."""
    chance = np.random.default_rng(seed)

    def five() -> list[tuple[int, int]]:
        limits = chance.integers(8 * CENT, 25 * CENT, 5, endpoint=True)
        return list(zip(chance.integers(1, 901, 5).tolist(), limits.tolist(), strict=True))

    def within(side: list[tuple[int, int]]) -> list[tuple[int, int]]:
        limits = [limit for _, limit in side]
        lowest, highest = min(limits), max(limits)
        between = chance.integers(lowest, highest, 3, endpoint=True).tolist()
        turned = chance.permutation([lowest, highest, *between]).tolist()
        return [(wh, limit) for (wh, _), limit in zip(side, turned, strict=True)]

    def book(buying: list[tuple[int, int]], selling: list[tuple[int, int]]) -> list[OrderRow]:
        neighbours = [(f"b{n}", *entry) for n, entry in enumerate(buying)]
        return rows(
            [*neighbours, (ME, 300, 20 * CENT)],
            [(f"s{n}", *entry) for n, entry in enumerate(selling)],
        )

    bids, offers = five(), five()
    one, other = book(bids, offers), book(within(bids), within(offers))
    assert bands(one) == bands(other)
    assert scene(one).outcome(question) == scene(other).outcome(question)


def test_bands_of_one_tick_are_the_very_book() -> None:
    orders = rows(
        [*((f"b{n}", 100 + n, 25 * CENT) for n in range(5)), (ME, 300, 20 * CENT)],
        [(f"s{n}", 200, 8 * CENT) for n in range(5)],
    )
    exact = [each for each in orders if each.participant != ME]
    assert middles(exact, frozenset({ME})) == {}
    assert middles(orders, frozenset({ME})) != {}  # my own limit made the last band wider


def test_places_and_wishes_of_others_are_left_out_and_the_fee_is_kept() -> None:
    orders = rows(
        [*((f"b{n}", 100, 25 * CENT) for n in range(5)), (ME, 300, 25 * CENT)],
        [(f"s{n}", 100, 8 * CENT) for n in range(5)],
    )
    plain = scene(orders, fees=Fees(district=Price(4 * CENT))).problem
    for n, row in enumerate(orders):
        row.place = f"N/H{n % 3}"
        row.wish = "green" if row.side == "offer" else ("green-only", "max-feeder")[n % 2]
    told = scene(orders, fees=Fees(district=Price(4 * CENT))).problem
    assert told == plain
    assert told.fees == Fees()
    assert told.ceiling == Price(21 * CENT)
    limits = {o.side: o.limit.micro_per_kwh for o in told.book.orders}
    assert limits == {Side.BID: 21 * CENT, Side.OFFER: 8 * CENT}


OUTCOMES = [
    ("scarce: the ceiling", Rule.UNIFORM, Change(), 25 * CENT),
    ("plenty: the floor", Rule.UNIFORM, Change(bid_percent=0), 8 * CENT),
    ("the middle", Rule.MID_MARKET, Change(), 165_000),
]


@pytest.mark.parametrize(
    ("rule", "change", "price"), [pytest.param(*row[1:], id=row[0]) for row in OUTCOMES]
)
def test_prices(rule: Rule, change: Change, price: int) -> None:
    orders = rows(
        [*((f"b{n}", 100, 25 * CENT) for n in range(4)), (ME, 300, 25 * CENT)],
        [(f"s{n}", 110, 8 * CENT) for n in range(5)],
    )
    assert scene(orders, rule).outcome(change).price_micro_per_kwh == price


def test_own_energy_stays_what_it_was() -> None:
    """Behind the book, 40 Wh of mine went from my roof to my flat."""
    orders = rows(
        [*((f"b{n}", 100, 25 * CENT) for n in range(5)), (ME, 300, 25 * CENT)],
        [(f"s{n}", 110, 8 * CENT) for n in range(5)],
    )
    found = scene(orders)
    flat = found.points[5]
    roof = replace(flat, point="roof", imported=Energy(0), exported=Energy(40))
    drawn = replace(flat, imported=Energy(340))
    found = replace(found, points=[*found.points[:5], drawn, *found.points[6:], roof])
    for percent, wh in ((100, 300), (50, 150), (0, 0)):
        outcome = found.outcome(Change(bid_percent=percent))
        assert outcome.bought_wh + outcome.drawn_wh == wh
        assert (outcome.sold_wh, outcome.fed_in_wh) == (0, 0)
    fee_and_levy = Price(60_000).of(Energy(40)).micro
    assert outcome.all_in_micro == -fee_and_levy - fee_and_levy * 19 // 100


def test_absurd_quantities_are_refused() -> None:
    orders = rows([(ME, 10**12, 25 * CENT)], [(f"s{n}", 1, 8 * CENT) for n in range(5)])
    with pytest.raises(QuestionError, match="quantity"):
        scene(orders).outcome(Change(bid_percent=200))
    with pytest.raises(QuestionError, match="limit"):
        scene(orders).outcome(Change(bid_limit=10**9 + 1))
    nothing: Outcome = scene(orders).outcome(Change(bid_percent=0))
    assert (nothing.bought_wh, nothing.drawn_wh, nothing.all_in_micro) == (0, 0, 0)


def test_ones_own_contract_stays_and_the_rest_is_asked_about() -> None:
    orders = rows(
        [*((f"b{n}", 100, 25 * CENT) for n in range(5)), (ME, 300, 25 * CENT)],
        [(f"s{n}", 200, 8 * CENT) for n in range(5)],
    )
    plain = scene(orders)
    price, energy = Price(15 * CENT), Energy(120)
    trade = Trade("offer0-offer", "bid5-bid", energy, price, price.of(energy))
    left = less(plain.book, [trade])
    assert {o.order_id: o.quantity.wh for o in left.orders if o.quantity.wh in {80, 180}} == {
        "offer0-offer": 80,
        "bid5-bid": 180,
    }
    found = replace(plain, problem=replace(plain.problem, book=left), agreed=[trade])
    # Supply is plentiful, so the rest costs the feed-in price.
    assert found.outcome(Change()).bought_wh == 300
    assert found.outcome(Change(bid_limit=7 * CENT)).bought_wh == 120
    assert found.outcome(Change(bid_percent=50)).bought_wh == 120 + 90
    nothing_else = found.outcome(Change(bid_percent=0))
    assert (nothing_else.bought_wh, nothing_else.drawn_wh) == (120, 0)
    taxed = 120 * (150 + 40 + 20)  # agreed price, local fee, levy, in micro-euros
    assert nothing_else.all_in_micro == -taxed - taxed * 19 // 100
