"""Every plain price rule on metered points: from energies to trades, money and what is left."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from market.money import Price
from market.parties import MeteredPoint, metered_book, own_transfers
from market.settlement import Settlement, settle
from market.tariff import Tariff
from market.trade import Trade
from metering.quantities import Energy
from optimizer.clearing import clear
from optimizer.metered import metered_problem, payable

KEY = "2026-06-23T09:00:00Z"
PLAIN = Tariff(
    energy=Price(200_000),
    grid_fee=Price(90_000),
    local_grid_fee=Price(40_000),
    levy=Price(20_000),
    feed_in=Price(80_000),
    vat_ppm=190_000,
)
TARIFFS = {
    "": PLAIN,
    "@cheap": replace(PLAIN, energy=Price(50_000)),
    "@dear": replace(PLAIN, feed_in=Price(200_000)),
    "@neg": replace(PLAIN, energy=Price(-40_000), feed_in=Price(-40_000)),
}
SCENARIOS = [
    row
    for row in Path(__file__).with_name("interval_scenarios.txt").read_text().splitlines()
    if not row.startswith("#")
]


def point(text: str) -> MeteredPoint:
    match = re.fullmatch(r"([\w.]+)(@\w+)?: (~?)(\d+)/(\d+)", text.strip())
    assert match, text
    name, tariff, estimated, drawn, fed_in = match.groups()
    return MeteredPoint(
        name,
        name.partition(".")[0],
        Energy(int(drawn)),
        Energy(int(fed_in)),
        bool(estimated),
        TARIFFS[tariff or ""],
    )


def told(trade: Trade) -> str:
    seller, buyer = trade.seller.removesuffix("-offer"), trade.buyer.removesuffix("-bid")
    return f"{seller}>{buyer} {trade.energy.wh}={trade.amount.micro}"


def left(settlement: Settlement) -> set[str]:
    """Return what each point has with its supplier: drawn below 0, fed in above."""
    found: dict[str, str] = {}
    for statement in settlement.statements:
        for row in statement.metered:
            if row.residual_wh:
                sign = -1 if row.direction == "import" else 1
                found[row.point] = f"{found.get(row.point, row.point)} {sign * row.residual_wh}"
    return set(found.values())


def cells(text: str) -> set[str]:
    return {cell.strip() for cell in text.split(";") if cell.strip()}


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.partition("|")[0].strip()) for row in SCENARIOS]
)
def test_intervals(row: str) -> None:
    _, rule, metered, price, trades, residual = (cell.strip() for cell in row.split("|"))
    points = [point(text) for text in metered.split(";")]
    for order in (points, points[::-1]):  # the place of a point means nothing
        own = own_transfers(order)
        book = payable(metered_book(order, own, {}), rule, order)
        clearing = clear(metered_problem(KEY, rule, book, order))
        local = clearing.local_trades
        prices = {trade.price.micro_per_kwh for trade in local}
        assert (str(*prices) if len(prices) == 1 else "-") == price
        assert {told(trade) for trade in local} == cells(trades)
        found = settle(KEY, order, own, book, local, {}, {})
        assert left(found) == cells(residual)
        assert all(sum(p.micro for p in entry.postings) == 0 for entry in found.entries)
