"""The metered market with places, wishes, every rule, negative prices, and the fallback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.jobs import clear as clear_job
from app.services.limits import instructions
from app.store import log, tariffs
from app.tables import MeteringPointRow, TariffRow, TradeRow
from ledger_client.log import decode_entry
from ledger_client.verify import HubPrice, render
from market.agents import Instruction, Strategy
from market.money import Price
from market.place import Level, Product, Wish
from optimizer.clearing import clear
from optimizer.compiled import SolverError
from optimizer.problem import Clearing, Problem
from tests.app.district_kit import CEILING, FEED_IN, RATE, TOP_UP, Kit, key
from web.ports import Role, Viewer

MakeKit = Callable[..., Kit]
SCARCE: Any = {"solar": (0, 100), "flat": (300, 0), "shop": (200, 0)}
SURPLUS: Any = {"solar": (0, 900), "flat": (300, 0), "shop": (200, 0)}
SEAL_OF_BEFORE = {
    "clock", "counts", "district", "engine_version", "interval", "late_root", "order_root",
    "price", "roster_root", "roster_size", "rule", "settlement_root", "tariff_hash", "tree_root",
}  # fmt: skip


@pytest.fixture
def make(database_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    yield from _kits(tmp_path, database_url)


@pytest.fixture
def make_plain(sqlite_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    yield from _kits(tmp_path, sqlite_url)


def _kits(folder: Path, url: str) -> Iterator[MakeKit]:
    kits: list[Kit] = []

    def make(**options: object) -> Kit:
        kits.append(Kit(folder, url, **options))
        return kits[-1]

    yield make
    for kit in kits:
        kit.check()
        kit.close()


def instruct(kit: Kit, name: str, **more: Any) -> None:
    instructions.enter(kit.house, name, kit.homes[name].point, Instruction(**more), "prosumer")


def place(kit: Kit, **where: str) -> None:
    """Put homes into buildings of the feeder; the solar roof is green."""
    for name, building in where.items():
        kit.move_to(name, "building", building)
    with kit.database.write() as session:
        session.get_one(MeteringPointRow, kit.homes["solar"].point).green = True


def proofs_hold(kit: Kit, interval: str) -> None:
    for name in kit.names:
        verdict = kit.prove(interval, name)
        assert verdict.code == 0, render(verdict)


def trades(kit: Kit, interval: str) -> list[tuple[str, str, int, int]]:
    """(seller, buyer, Wh, price) by home."""
    points = {home.point: name for name, home in kit.homes.items()}
    rows = kit.rows(TradeRow, TradeRow.interval == interval)
    return sorted(
        (points[r.seller_order[:18]], points[r.buyer_order[:18]], r.wh, r.price_micro_per_kwh)
        for r in rows
    )


def sealed_keys(kit: Kit, interval: str) -> set[str]:
    index = kit.interval(interval).seal_index or 0
    entry = kit.ask(lambda session: log.entry(session, index))
    return set(json.loads(decode_entry(entry)[1]))


# --- Without a wish, all is as before ------------------------------------------------------------


def test_seals_and_orders_without_a_wish_are_those_of_before(make_plain: MakeKit) -> None:
    """Wherever points stand and whatever they feed in: no leaf gains a field."""
    kit = make_plain()
    place(kit, solar="b1", flat="b2")
    instruct(kit, "shop", strategy=Strategy.GREEDY, share_ppm=100_000)
    for _ in range(2):
        kit.live(**SURPLUS)
    for interval in (key(0), key(1)):
        assert sealed_keys(kit, interval) == SEAL_OF_BEFORE
        assert {(row.place, row.wish) for row in kit.orders(interval)} == {(None, None)}
        assert kit.interval(interval).hub_prices is None
        assert kit.interval(interval).fallback is None
        proofs_hold(kit, interval)


# --- Rules ---------------------------------------------------------------------------------------


def test_pay_as_bid_settles_at_each_buyers_limit(make_plain: MakeKit) -> None:
    kit = make_plain(changes={"rule": "pay-as-bid"})
    instruct(kit, "flat", strategy=Strategy.GREEDY, share_ppm=500_000)
    for _ in range(2):
        kit.live(**SURPLUS)
    assert {price for *_, price in trades(kit, key(0))} == {CEILING}
    assert kit.seal(key(0)).price == CEILING
    assert trades(kit, key(1)) == [("solar", "flat", 300, RATE), ("solar", "shop", 200, CEILING)]
    assert (kit.seal(key(1)).price, kit.interval(key(1)).traded_wh) == (None, 500)
    assert kit.seal(key(1)).hub_prices == ()
    earned = (500 * CEILING + 300 * RATE + 200 * CEILING) // 1000
    assert kit.wallets()["solar"] == TOP_UP + earned
    for interval in (key(0), key(1)):
        proofs_hold(kit, interval)


def test_pay_as_bid_caps_a_bid_at_the_districts_ceiling(make_plain: MakeKit) -> None:
    """One odd tariff is above the median: its bid stands in the book at what it has to pay."""
    kit = make_plain(changes={"rule": "pay-as-bid"})
    with kit.database.write() as session:
        odd = session.get_one(TariffRow, "t").model_dump() | {"id": "odd"}
        session.add(TariffRow(**odd | {"energy_micro_per_kwh": 300_000}))
        tariffs.ensure(session)
    kit.move_to("flat", "tariff", "odd")
    kit.live(**SURPLUS)
    assert {price for *_, price in trades(kit, key(0))} == {CEILING}
    assert {o.limit_micro_per_kwh for o in kit.orders(key(0))} == {CEILING, FEED_IN}
    proofs_hold(kit, key(0))


def test_the_supply_demand_ratio_settles(make_plain: MakeKit) -> None:
    """r = 100 / 500: 250,000 x 80,000 / (170,000 x 0.2 + 80,000), rounded down; then r > 1."""
    kit = make_plain(changes={"rule": "sdr"})
    kit.live(**SCARCE)
    kit.live(**SURPLUS)
    assert [kit.seal(key(n)).price for n in range(2)] == [175_438, FEED_IN]
    proofs_hold(kit, key(0))
    proofs_hold(kit, key(1))


# --- Places and products -------------------------------------------------------------------------


def test_the_higher_premium_buys_the_scarce_green_energy(make_plain: MakeKit) -> None:
    """Limits compete, whoever's hash comes first; the price is between the two premiums."""
    kit = make_plain(changes={"rule": "uniform"})
    place(kit)
    kit.worker.run_due()
    for number, (winner, loser) in enumerate((("flat", "shop"), ("shop", "flat"))):
        instruct(kit, winner, wish=Wish(Product.GREEN, Price(30_000)))
        instruct(kit, loser, wish=Wish(Product.GREEN, Price(10_000)))
        kit.live(**SCARCE)  # had begun before
        interval = kit.live(**SCARCE)
        ((_, buyer, wh, price),) = trades(kit, interval)
        assert (buyer, wh) == (winner, 100)
        assert CEILING + 10_000 <= price <= CEILING + 30_000
        assert kit.seal(interval).hub_prices == (HubPrice("district", price, "green"),)
        assert {order.instruction for order in kit.orders(interval)} == {None, number + 1}
        proofs_hold(kit, interval)


def test_energy_stays_in_the_building_where_that_is_wished(make_plain: MakeKit) -> None:
    kit = make_plain()
    place(kit, solar="b1", flat="b1", shop="b2")
    instruct(kit, "flat", wish=Wish(level=Level.BUILDING))
    instruct(kit, "shop", wish=Wish(level=Level.BUILDING))
    for _ in range(2):
        kit.live(**SURPLUS)
    assert trades(kit, key(1)) == [("solar", "flat", 300, RATE)]
    seal = kit.seal(key(1))
    assert seal.price == RATE
    assert {(hub.level, hub.place) for hub in seal.hub_prices} == {("building", "f/b1")}
    (row,) = kit.rows(TradeRow, TradeRow.interval == key(1))
    assert row.level == Level.BUILDING
    proofs_hold(kit, key(1))


def test_green_only_waits_for_green_energy(make_plain: MakeKit) -> None:
    kit = make_plain()
    instruct(kit, "flat", wish=Wish(Product.GREEN, only=True))
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    place(kit)  # from here on the roof is known to be green
    kit.live(**SURPLUS)
    bought = [{buyer: wh for _, buyer, wh, _ in trades(kit, key(n))} for n in range(3)]
    assert bought == [
        {"flat": 300, "shop": 200},
        {"shop": 200},
        {"flat": 300, "shop": 200},
    ]
    for number in range(3):
        proofs_hold(kit, key(number))


# --- Negative prices -----------------------------------------------------------------------------


def make_negative(kit: Kit) -> None:
    """Feeding in costs 20 ct/kWh, and the ceiling is 7: energy is given away with money on top."""
    kit.reprice(feed_in_micro_per_kwh=-200_000, energy_micro_per_kwh=20_000)


def test_at_a_negative_price_the_seller_pays(make_plain: MakeKit) -> None:
    negative(make_plain(), "mid-market", -65_000)


@pytest.mark.parametrize(("rule", "due"), [("uniform", -200_000), ("pay-as-bid", 70_000)])
def test_each_rule_takes_negative_limits(make_plain: MakeKit, rule: str, due: int) -> None:
    negative(make_plain(changes={"rule": rule}), rule, due)


def negative(kit: Kit, rule: str, due: int) -> None:
    make_negative(kit)
    instruct(kit, "shop", strategy=Strategy.OWN_LIMITS, buy_all_in=Price(-50_000))
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    assert kit.interval(key(0)).price_micro_per_kwh == due
    for *_, wh, each in trades(kit, key(1)):
        assert wh > 0
        assert each == due or rule == "pay-as-bid"
    rows = kit.rows(TradeRow)
    assert all(r.amount_micro == (2 * r.price_micro_per_kwh * r.wh + 1000) // 2000 for r in rows)
    sold = sum(r.amount_micro for r in rows)
    assert kit.wallets()["solar"] == TOP_UP + sold
    if rule != "pay-as-bid":
        assert sold < 0
        assert kit.wallets()["flat"] > TOP_UP
    export = next(
        line
        for line in kit.statement(key(0), "solar")["lines"]
        if line["kind"] == "residual-export"
    )
    assert export["micro"] == -200 * export["wh"]  # what is left over costs its owner, too
    proofs_hold(kit, key(1))


def test_negative_prices_show_on_the_pages(make_plain: MakeKit) -> None:
    kit = make_plain()
    make_negative(kit)
    kit.live(**SURPLUS)
    views = kit.views("flat")
    own = views.participant(Viewer(Role.PROSUMER, "solar", "t"), "solar")
    quarter = next(line for line in own.quarters if line.key == key(0))
    assert quarter.price_micro_per_kwh == -65_000
    assert quarter.energy_micro < 0
    assert quarter.saving_micro == 135 * 500  # sold at -6.5 instead of -20 ct/kWh
    district = views.district(Viewer(Role.MANAGER, None, "t"))
    assert district.feed_in_micro_per_kwh == -200_000
    # Net -65,000 + 40,000 + 20,000, less VAT: the buyer earns half a cent per kWh.
    assert district.local_all_in_micro_per_kwh == -5_950
    page = views.interval(Viewer(Role.PROSUMER, "flat", "t"), key(0))
    assert {line.price_micro_per_kwh for line in page.trades} == {-65_000}
    assert page.postings_sum_micro == 0


def test_a_limit_to_curtail_below_is_the_sellers_floor(make_plain: MakeKit) -> None:
    """Nothing is sold below it; the metered energy is fed in, since it cannot be undone."""
    kit = make_plain()
    make_negative(kit)
    instruct(kit, "solar", strategy=Strategy.OWN_LIMITS, sell=Price(0))
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    assert [kit.interval(key(n)).traded_wh for n in range(2)] == [500, 0]
    (export,) = [
        line
        for line in kit.statement(key(1), "solar")["lines"]
        if line["kind"] == "residual-export"
    ]
    assert (export["wh"], export["micro"]) == (900, -180_000)
    proofs_hold(kit, key(1))


# --- The engine takes its time -------------------------------------------------------------------


def test_readings_come_in_while_the_engine_works(
    make: MakeKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction is open meanwhile, and what a second worker did by then stands."""
    kit = make()
    asked = 0

    def slow(problem: Problem, **_: object) -> Clearing:
        nonlocal asked
        asked += 1
        kit.read(after_ms=20_000 * asked)
        if asked == 1:
            clear_job.clear_interval(kit.house, key(0))
            assert kit.state(key(0)) == "cleared"
        return clear(problem)

    monkeypatch.setattr(clear_job, "clear", slow)
    kit.live(**SURPLUS)
    assert (asked, kit.state(key(0)), kit.interval(key(0)).traded_wh) == (2, "sealed", 500)
    assert len(kit.rows(TradeRow)) == 2
    proofs_hold(kit, key(0))


# --- The fallback --------------------------------------------------------------------------------


def test_the_fallback_closes_what_the_engine_cannot(
    make: MakeKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = make(changes={"rule": "uniform"})
    instruct(kit, "flat", wish=Wish(Product.GREEN, Price(30_000)))

    def fails(problem: object, **_: object) -> object:
        raise SolverError("no optimum within 10 s")

    kit.live(**SURPLUS)
    with monkeypatch.context() as patched:
        patched.setattr(clear_job, "clear", fails)
        kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    row, seal = kit.interval(key(1)), kit.seal(key(1))
    assert (row.state, row.price_micro_per_kwh, row.traded_wh) == ("sealed", RATE, 500)
    assert (row.fallback, seal.fallback, seal.rule, seal.hub_prices) == (True, 1, "uniform", ())
    (notice,) = kit.notices("alarm/")
    assert notice.level == "alarm"
    assert "no optimum within 10 s" in notice.text
    assert key(1) in notice.text
    assert [kit.seal(key(n)).fallback for n in (0, 2)] == [0, 0]
    for number in range(3):
        proofs_hold(kit, key(number))


def test_a_rule_that_is_void_for_these_prices_falls_back(make_plain: MakeKit) -> None:
    """The supply-demand ratio is not defined for a negative feed-in price."""
    kit = make_plain(changes={"rule": "sdr"})
    make_negative(kit)
    kit.live(**SURPLUS)
    assert kit.interval(key(0)).price_micro_per_kwh == -65_000
    assert (kit.seal(key(0)).rule, kit.seal(key(0)).fallback) == ("sdr", 1)
    assert len(kit.notices("alarm/")) == 1
    proofs_hold(kit, key(0))
