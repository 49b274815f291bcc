"""Settlement on tariffs with fees by level, tax and an imbalance price: tables, then invariants."""

from collections import Counter
from dataclasses import replace

import pytest

from market.correction import Metered, Settled, correct
from market.money import Money, Price
from market.parties import MeteredPoint, OwnTransfer, as_near, metered_book, own_transfers
from market.place import Level, Place
from market.settlement import (
    MemoQuantities,
    Settlement,
    SettlementError,
    saving,
    saving_by_point,
    settle,
)
from market.tariff import Tariff, TariffError
from market.trade import make_trade
from metering.quantities import Energy

KEY = "2026-06-23T09:00:00Z"
TARIFF = Tariff(
    energy=Price(120_000),
    grid_fee=Price(90_000),
    local_grid_fee=Price(40_000),
    levy=Price(10_000),
    feed_in=Price(80_000),
    vat_ppm=250_000,
    local_fee_building=Price(0),
    local_fee_feeder=Price(20_000),
    tax=Price(20_000),
)


def point(name: str, who: str, place: str, wh: tuple[int, int], **more: object) -> MeteredPoint:
    return MeteredPoint(
        name, who, Energy(wh[0]), Energy(wh[1]), False, TARIFF, place=Place.parse(place), **more
    )


def settled(*trades: tuple[int, Level]) -> Settlement:
    """A flat that draws 1,000 Wh buys these energies at 10 ct; its owner's roof gives it 100 Wh."""
    points = [
        point("1", "roof", "f/b", (0, 900), supplier="north"),
        point("2", "flat", "f/b", (1_000, 0), supplier="south"),
        point("3", "flat", "f/c", (0, 100)),
    ]
    own = own_transfers(points)
    assert own == (OwnTransfer("3", "2", 100),)
    made = [
        replace(make_trade("1-offer", "2-bid", wh, Price(100_000)), level=level)
        for wh, level in trades
    ]
    return settle(KEY, points, own, metered_book(points, own, {}), made, {}, {})


def lines(settlement: Settlement, who: str) -> list[tuple[str, int, int]]:
    statement = next(s for s in settlement.statements if s.participant == who)
    return [(line.kind.value, line.wh, line.micro) for line in statement.lines]


# Pitfalls 6 and 7: each component for itself, the fee by how far energy comes, VAT on all of it.
# The flat draws 1,000 Wh: 300 from its building, 200 from its feeder (and 100 of its own), 250
# from the district, 150 from outside.
LEVELS = [
    ("local-buy", 300, -30_000),
    ("local-buy", 200, -20_000),
    ("local-buy", 250, -25_000),
    ("residual-import", 150, -18_000),
    ("local-fee", 250, -10_000),
    ("local-fee-feeder", 300, -6_000),
    ("local-fee-building", 300, 0),
    ("grid-fee", 150, -13_500),
    ("levy", 1_000, -10_000),
    ("tax", 1_000, -20_000),
    ("vat", 1_000, -38_125),
]
POSTINGS = {
    "grid": 29_500,
    "levy": 10_000,
    "receivable:flat": -115_625,
    "receivable:roof": 12_000,
    "supplier:north": -12_000,
    "supplier:south": 18_000,
    "tax": 20_000,
    "vat": 38_125,
    "wallet:flat": -75_000,
    "wallet:roof": 75_000,
}


def test_pitfalls_6_and_7_fees_by_level_and_vat_on_all() -> None:
    found = settled((300, Level.BUILDING), (200, Level.FEEDER), (250, Level.DISTRICT))
    assert lines(found, "flat") == LEVELS
    assert lines(found, "roof")[-1] == ("residual-export", 150, 12_000)
    posted: Counter[str] = Counter()
    for entry in found.entries:
        for posting in entry.postings:
            posted[posting.account] += posting.micro
    assert posted == POSTINGS
    assert sum(posted.values()) == 0


def test_the_saving_is_against_the_outside_fee_on_all_that_was_metered() -> None:
    found = settled((300, Level.BUILDING), (200, Level.FEEDER), (250, Level.DISTRICT))
    normal = (120_000 + 90_000 + 10_000 + 20_000) * 125 // 100
    flat = normal - (115_625 + 75_000)
    assert saving_by_point(found) == {
        "1": Money(75_000 + 12_000 - 72_000),
        "2": Money(flat),
        "3": Money(-8_000),
    }
    assert saving(found) == {"flat": Money(flat - 8_000), "roof": Money(15_000)}


def test_one_local_fee_has_one_line_wherever_energy_comes_from() -> None:
    flat = replace(TARIFF, local_fee_building=None, local_fee_feeder=None, tax=Price(0))
    points = [point("1", "roof", "f/b", (0, 500)), point("2", "flat", "f/b", (500, 0))]
    points = [replace(each, tariff=flat) for each in points]
    trade = replace(make_trade("1-offer", "2-bid", 500, Price(100_000)), level=Level.BUILDING)
    found = settle(KEY, points, (), metered_book(points, (), {}), [trade], {}, {})
    kinds = [kind for kind, *_ in lines(found, "flat")]
    assert kinds == ["local-buy", "local-fee", "levy", "vat"]


def test_the_imbalance_price_replaces_both_retail_and_feed_in_and_not_the_normal_tariff() -> None:
    short = replace(TARIFF, imbalance=Price(-30_000))
    points = [replace(point("1", "p", "f/b", (1_000, 500)), tariff=short)]
    found = settle(KEY, points, (), metered_book(points, (), {}), [], {}, {})
    assert [line[::2] for line in lines(found, "p")][:1] == [("residual-import", 30_000)]
    assert ("residual-export", 500, -15_000) in lines(found, "p")
    normal = -(240 * 1_250) + 40_000
    paid = 30_000 - 90_000 - 10_000 - 20_000
    assert saving(found)["p"] == Money(paid + round(paid * 0.25) - 15_000 - normal)


# What a correction leaves of 750 Wh bought and 100 of the own roof: newly metered import, and the
# totals that lines then show by level (building, feeder, district) and as residual.
CORRECTED = [
    (1_200, (300, 300, 250, 350)),
    (1_000, (300, 300, 250, 150)),
    (700, (300, 300, 100, 0)),
    (450, (300, 150, 0, 0)),
    (120, (120, 0, 0, 0)),
    (0, (0, 0, 0, 0)),
]


@pytest.mark.parametrize(("now_wh", "due"), CORRECTED)
def test_a_correction_takes_the_farthest_energy_first(
    now_wh: int, due: tuple[int, int, int, int]
) -> None:
    found = settled((300, Level.BUILDING), (200, Level.FEEDER), (250, Level.DISTRICT))
    statement = next(s for s in found.statements if s.participant == "flat")
    drawn, fed_in = (row for row in statement.metered if row.point == "2")
    buys = sum(line.micro for line in statement.lines if line.kind.value == "local-buy")
    as_settled = Settled(
        "flat",
        TARIFF,
        drawn,
        fed_in,
        Money(-buys),
        supplier="south",
        feeder_wh=300,
        building_wh=300,
    )
    done = correct("ref", as_settled, Metered(now_wh, 0))
    total: Counter[str] = Counter()
    for line in (*statement.lines, *done.lines):
        total[line.kind.value] += line.wh
    kinds = ("local-fee-building", "local-fee-feeder", "local-fee", "residual-import")
    assert tuple(total[kind] for kind in kinds) == due
    accounts = {posting.account for posting in done.entry.postings}
    assert "supplier" not in accounts
    assert not accounts or "supplier:south" in accounts


def test_fees_that_fall_with_the_distance_are_refused() -> None:
    with pytest.raises(TariffError, match="falls with the distance"):
        replace(TARIFF, local_fee_building=Price(50_000))
    with pytest.raises(TariffError, match="missing or unknown"):
        Tariff.of(TARIFF.payload() | {"odd": 1})
    with pytest.raises(SettlementError, match="not part of"):
        MemoQuantities(0, 100, 0, 60, 50)


# A trade without a level (sharing, forward): seller's and buyer's place, and the level it gets.
@pytest.mark.parametrize(
    ("seller", "buyer", "level"),
    [
        ("f/b", "f/b", Level.BUILDING),
        ("f/b", "f/c", Level.FEEDER),
        ("f", "f", Level.FEEDER),
        ("f/b", "g/b", Level.DISTRICT),
        ("", "", Level.DISTRICT),
    ],
)
def test_where_fees_go_by_level_a_trade_gets_that_of_its_places(
    seller: str, buyer: str, level: Level
) -> None:
    points = [point("1", "a", seller, (0, 10)), point("2", "b", buyer, (10, 0))]
    book = metered_book(points, (), {})
    trades = [make_trade("1-offer", "2-bid", 10, Price(1))]
    assert [trade.level for trade in as_near(trades, book, points)] == [level]
    one_fee = replace(TARIFF, local_fee_building=None, local_fee_feeder=None)
    flat = [replace(each, tariff=one_fee) for each in points]
    assert list(as_near(trades, book, flat)) == trades
