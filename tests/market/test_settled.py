"""Settled rows, what they add to sums and bills, and what a correction changes of that."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.correction import Metered, Settled, correct
from market.money import Money, Price
from market.parties import MeteredPoint, metered_book, own_transfers
from market.place import Place
from market.settled import (
    BillKey,
    BillSum,
    Contracted,
    Imbalance,
    Record,
    SettledError,
    Sums,
    buckets,
    corrected,
    records,
)
from market.settlement import Kind, Settlement, settle
from market.tariff import Tariff
from market.trade import make_trade
from metering.interval import Interval
from metering.localtime import next_month
from metering.quantities import Energy

TARIFF = Tariff(
    Price(200_000), Price(90_000), Price(40_000), Price(20_000), Price(80_000), vat_ppm=190_000
)
KEY = "2026-06-23T09:00:00Z"
OSLO = ZoneInfo("Europe/Oslo")


def point(name: str, import_wh: int, export_wh: int, owner: str = "") -> MeteredPoint:
    return MeteredPoint(
        name, owner or name, Energy(import_wh), Energy(export_wh), estimated=False, tariff=TARIFF,
        supplier="city", balance_party="brp", place=Place("north", "1"),
    )  # fmt: skip


def settled(*points: MeteredPoint, sold_wh: int) -> Settlement:
    """Settle points of which ``sun`` sells to ``flat`` at 165,000 micro-euros per kWh."""
    own = own_transfers(points)
    book = metered_book(points, own, {})
    trades = [make_trade("sun-offer", "flat-bid", sold_wh, Price(165_000))] if sold_wh else []
    return settle(KEY, points, own, book, trades, {}, {})


def of(settlement: Settlement) -> dict[str, Record]:
    found = records(settlement.points, settlement.statements)
    return {each.settled.point: each for each in found}


# interval, zone: UTC hour, local day, local month
BUCKETS = """
2026-10-24T22:00:00Z | 2026-10-24T22:00:00Z 2026-10-25 2026-10 | 00:00, the day of 100 begins
2026-10-25T00:45:00Z | 2026-10-25T00:00:00Z 2026-10-25 2026-10 | 02:45 for the first time
2026-10-25T01:45:00Z | 2026-10-25T01:00:00Z 2026-10-25 2026-10 | 02:45 for the second time
2026-10-25T22:45:00Z | 2026-10-25T22:00:00Z 2026-10-25 2026-10 | 23:45, its last
2026-10-25T23:00:00Z | 2026-10-25T23:00:00Z 2026-10-26 2026-10 | 00:00 of the next
2027-03-27T23:00:00Z | 2027-03-27T23:00:00Z 2027-03-28 2027-03 | 00:00, the day of 92 begins
2027-03-28T01:00:00Z | 2027-03-28T01:00:00Z 2027-03-28 2027-03 | 03:00, an hour is left out
2027-03-28T21:45:00Z | 2027-03-28T21:00:00Z 2027-03-28 2027-03 | 23:45, its last
2026-12-31T23:00:00Z | 2026-12-31T23:00:00Z 2027-01-01 2027-01 | the new year is an hour early
"""


@pytest.mark.parametrize("row", BUCKETS.strip().splitlines())
def test_the_buckets_of_an_interval(row: str) -> None:
    key, expected, _ = (part.strip() for part in row.split("|"))
    assert [each.start for each in buckets(Interval.parse(key), OSLO)] == expected.split()


def test_months_follow_each_other() -> None:
    assert [next_month(month) for month in ("2026-09", "2026-12")] == ["2026-10", "2027-01"]


def test_a_record_holds_row_sums_and_bill() -> None:
    found = of(settled(point("sun", 0, 900), point("flat", 500, 0), sold_wh=300))
    flat, sun = found["flat"], found["sun"]
    assert (flat.settled.supplier, flat.settled.building) == ("city", "1")
    assert flat.sums == Sums(
        1, 0, 500, 300, 0, 200, 0, 0, 0, 0,
        wallet_micro=-49_500,
        memo_micro=-(40_000 + 18_000 + 10_000 + 12_000) - 24_605,
        # normal: 500 Wh at 310,000 with 19 % VAT
        saving_micro=184_450 - 49_500 - 80_000 - 24_605,
    )  # fmt: skip
    assert flat.bill[BillKey("flat", "flat", Kind.LOCAL_BUY, 190_000, "city")] == BillSum(
        1, 300, -49_500, 165_000, 165_000
    )
    assert sun.sums.wallet_micro == 49_500
    assert sun.sums.memo_micro == 600 * 80
    assert sun.sums.saving_micro == 49_500 - 300 * 80
    assert sum(each.sums.wallet_micro for each in found.values()) == 0


def test_short_and_long_are_the_residual_beside_contracts() -> None:
    settlement = settled(point("sun", 0, 900), point("flat", 500, 0), sold_wh=300)
    contracted = {"flat": Contracted(300, 0)}
    rows = records(settlement.points, settlement.statements, contracted)
    flat, sun = (each.settled for each in rows)
    assert (flat.contracted, flat.imbalance) == (Contracted(300, 0), Imbalance(200, 0))
    assert (sun.contracted, sun.imbalance) == (Contracted(0, 0), None)
    assert of(settlement)["flat"].settled.contracted is None


def test_a_statement_of_unknown_points_is_refused() -> None:
    settlement = settled(point("sun", 0, 900), point("flat", 500, 0), sold_wh=300)
    with pytest.raises(SettledError, match="flat"):
        records(settlement.points[1:], settlement.statements)


ENERGY = st.integers(0, 3_000)


@given(drawn=ENERGY, fed_in=ENERGY, share=st.integers(0, 100), now=st.tuples(ENERGY, ENERGY))
def test_a_correction_changes_sums_by_what_a_new_row_would_add(
    drawn: int, fed_in: int, share: int, now: tuple[int, int]
) -> None:
    """Row by row: local + own + residual = metered, and the old sums plus the change are the new.

    What was saved stays what was paid less than on the normal tariff, on the energy known now.
    """
    sold_wh = min(drawn, fed_in) * share // 100
    found = of(settled(point("sun", 0, fed_in), point("flat", drawn, 0), sold_wh=sold_wh))["flat"]
    row = found.settled
    bought = Money(
        -sum(total.micro for key, total in found.bill.items() if key.kind == "local-buy")
    )
    as_settled = Settled("flat", TARIFF, row.drawn, row.fed_in, bought)
    done = correct("c", as_settled, Metered(*now))
    change = corrected(row, done, TARIFF, 1)
    after = change.settled
    for part in (after.drawn, after.fed_in):
        assert part.local_wh + part.own_wh + part.residual_wh == part.wh
    assert (after.drawn.wh, after.fed_in.wh, after.version) == (*now, 1)
    total = [old + more for old, more in zip(found.sums, change.sums, strict=True)]
    assert total[2:10] == list(Sums.of(after, ()))[2:10]
    normal = TARIFF.feed_in.of(Energy(now[1])) - TARIFF.cost_of_import(Energy(now[0]))
    paid = found.sums.wallet_micro + found.sums.memo_micro + done.amount.micro
    assert after.saving_micro == total[-1] == paid - normal.micro
    assert sum(each.micro for each in change.bill.values()) == done.amount.micro


def test_a_correction_follows_its_row() -> None:
    row = of(settled(point("sun", 0, 900), point("flat", 500, 0), sold_wh=300))["flat"].settled
    done = correct("c", Settled("flat", TARIFF, row.drawn, row.fed_in), Metered(400, 0))
    again = corrected(row, done, TARIFF, 1).settled
    with pytest.raises(SettledError, match="version 1"):
        corrected(again, done, TARIFF, 1)
