"""Bilateral contracts in the district: before the book, sealed with the orders, and proven."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from app.cli import cli
from app.commands.audit import audit
from app.commands.interval_export import export_interval
from app.services import contracts
from app.services.limits import instructions
from app.store import market
from app.tables import ContractRow, TradeRow
from ledger_client.verify import Agreed, render
from market.agents import Instruction
from market.contracts import Contract, ContractError
from market.money import Price
from market.place import Product, Wish
from metering.interval import Interval
from metering.quantities import Energy
from tests.app.district_kit import CEILING, RATE, START, TOP_UP, Kit, key

MakeKit = Callable[..., Kit]
SURPLUS: Any = {"solar": (0, 900), "flat": (300, 0), "shop": (200, 0)}
AGREED = Contract("k1", "solar", "flat", Price(120_000), Energy(250))


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


def trades(kit: Kit, interval: str) -> list[tuple[str, int, int, str | None]]:
    """(buyer, Wh, price, contract) in their order."""
    points = {home.point: name for name, home in kit.homes.items()}
    rows = kit.rows(TradeRow, TradeRow.interval == interval)
    return [
        (points[r.buyer_order[:18]], r.wh, r.price_micro_per_kwh, r.contract)
        for r in sorted(rows, key=lambda r: r.number)
    ]


def proofs_hold(kit: Kit, interval: str) -> None:
    for name in kit.names:
        verdict = kit.prove(interval, name)
        assert verdict.code == 0, render(verdict)


def test_partners_come_first_at_their_price_up_to_the_cap(make: MakeKit) -> None:
    kit = make()
    contracts.add(kit.house, AGREED, None, None)
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    assert contracts.end(kit.house, "k1", None).ends == key(3)
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    without = [("flat", 300, RATE, None), ("shop", 200, RATE, None)]
    agreed = [("flat", 50, RATE, None), ("flat", 250, 120_000, "k1"), ("shop", 200, RATE, None)]
    assert [sorted(trades(kit, key(n)), key=lambda t: t[:2]) for n in range(4)] == [
        without,
        agreed,
        agreed,
        without,
    ]
    assert trades(kit, key(1))[0][3] == "k1"
    (bid,) = [o for o in kit.orders(key(1)) if o.participant == "flat"]
    assert (bid.wh, bid.cleared_wh) == (300, 300)
    assert {kit.seal(key(n)).price for n in range(4)} == {RATE}
    assert {kit.interval(key(n)).traded_wh for n in range(4)} == {500}
    less = 2 * 250 * (RATE - 120_000)
    assert kit.wallets()["flat"] == TOP_UP - (4 * 300 * RATE - less) // 1000
    for number in range(4):
        proofs_hold(kit, key(number))


def test_a_contract_alone_needs_no_price_of_the_market(make_plain: MakeKit) -> None:
    """All is agreed: no local price, and the agreed one may be above the ceiling, or negative."""
    kit = make_plain()
    dear = replace(AGREED, price=Price(CEILING + 50_000), cap=Energy(10**6))
    contracts.add(kit.house, dear, None, Interval.parse(key(2)))
    paid = replace(AGREED, contract_id="k2", price=Price(-30_000), cap=Energy(10**6))
    contracts.add(kit.house, paid, Interval.parse(key(2)), None)
    for _ in range(3):
        kit.live(solar=(0, 900), flat=(300, 0))
    assert trades(kit, key(1)) == [("flat", 300, CEILING + 50_000, "k1")]
    assert trades(kit, key(2)) == [("flat", 300, -30_000, "k2")]
    assert kit.statement(key(2), "flat")["sum_micro"] == 9_000
    for number in range(3):
        assert (kit.seal(key(number)).price is None) is (number > 0)
        proofs_hold(kit, key(number))


def test_a_contract_beside_wishes_and_pay_as_bid(make_plain: MakeKit) -> None:
    kit = make_plain(changes={"rule": "pay-as-bid"})
    contracts.add(kit.house, AGREED, None, None)
    asked = Instruction(wish=Wish(Product.GREEN, only=True))
    instructions.enter(kit.house, "flat", kit.homes["flat"].point, asked, "prosumer")
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    assert trades(kit, key(1)) == [("flat", 250, 120_000, "k1"), ("shop", 200, CEILING, None)]
    proofs_hold(kit, key(1))


def test_the_open_book_is_what_contracts_leave(make_plain: MakeKit) -> None:
    kit = make_plain()
    contracts.add(kit.house, AGREED, None, None)
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    for number, taken in ((0, 0), (1, 250)):
        full = kit.ask(lambda s, n=number: market.book(s, key(n)))
        rest = kit.ask(lambda s, n=number: market.open_book(s, key(n)))
        gone = [
            (a.participant, a.quantity.wh - b.quantity.wh)
            for a, b in zip(full.orders, rest.orders, strict=True)
        ]
        assert sorted(gone) == [("flat", taken), ("shop", 0), ("solar", taken)]


def test_the_leaf_says_what_was_agreed(make_plain: MakeKit) -> None:
    kit = make_plain()
    point = kit.homes["flat"].point
    contracts.add(kit.house, replace(AGREED, buyer_point=point), None, None)
    kit.live(**SURPLUS)
    kit.live(**SURPLUS)
    with kit.database.read() as session:
        found = {
            row.participant: market.leaves.agreed(row)
            for row in market.leaves.orders(session, key(1))
        }
    agreed = (Agreed(250, "k1", 120_000),)
    assert found == {"solar": agreed, "flat": agreed, "shop": ()}


def test_what_is_refused_writes_nothing(make_plain: MakeKit) -> None:
    kit = make_plain(changes={"price_tick_micro_per_kwh": 1_000})
    kit.live(**SURPLUS)
    solar, now, later = kit.homes["solar"].point, START, Interval.parse(key(9))
    add = [
        (replace(AGREED, buyer="nobody"), None, None),
        (replace(AGREED, buyer_point=solar), None, None),
        (replace(AGREED, seller_point="1" * 18), None, None),
        (replace(AGREED, price=Price(120_001)), None, None),
        (AGREED, now, None),
        (AGREED, later, later),
        (AGREED, None, Interval.parse(key(2))),
    ]
    for contract, start, ends in add:
        with pytest.raises(ContractError):
            contracts.add(kit.house, contract, start, ends)
    assert kit.rows(ContractRow) == []
    contracts.add(kit.house, AGREED, None, later)
    with pytest.raises(ContractError, match="already"):
        contracts.add(kit.house, AGREED, None, None)
    for name, ends in (("k9", None), ("k1", now), ("k1", later)):
        with pytest.raises(ContractError):
            contracts.end(kit.house, name, ends)
    assert contracts.end(kit.house, "k1", None).ends == key(2)
    assert [row.ends for row in contracts.listed(kit.house)] == [key(2)]


def test_the_audit_works_contracts_out_of_the_leaves(make_plain: MakeKit) -> None:
    kit = make_plain()
    contracts.add(kit.house, AGREED, None, None)
    second = replace(AGREED, contract_id="k2", buyer="shop", price=Price(90_000), cap=Energy(700))
    contracts.add(kit.house, second, None, None)
    for _ in range(2):
        kit.live(**SURPLUS)
    for interval in (key(0), key(1)):
        verdict = audit(interval, export_interval(kit.house, interval), kit.keys())
        assert verdict.code == 0, verdict
    assert {contract for *_, contract in trades(kit, key(1))} == {"k1", "k2", None}


def test_the_command_line(make_plain: MakeKit, tmp_path: Path) -> None:
    kit = make_plain()
    kit.live(**SURPLUS)
    settings = tmp_path / "district.toml"
    settings.write_text(
        f'data = "{kit.folder}"\ndatabase_url = "{kit.url}"\norigin = "{kit.settings.origin}"\n'
    )

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["contract", *words, "--settings", str(settings)])

    terms = ("--price", "-5000", "--cap", "250")
    assert "k1 holds from" in run("add", "k1", "solar", "flat", *terms).stderr
    for words, reason in (
        (("k1", "solar", "flat", *terms), "already"),
        (("k2", "solar", "nobody", *terms), "no participant"),
        (("k2", "solar", "solar", *terms), "cannot sell to itself"),
        (("k2", "solar", "flat", "--price", "1", "--cap", "0"), "outside"),
        (("k2", "solar", "flat", *terms, "--from", "tomorrow"), "tomorrow"),
    ):
        refused = run("add", *words)
        assert refused.exit_code == 1
        assert reason in refused.stderr
    (row,) = json.loads(run("list", "--json").stdout)
    assert (row["id"], row["price_micro_per_kwh"], row["ends"]) == ("k1", -5_000, None)
    assert "k1 ends" in run("end", "k1").stderr
    assert "already" in run("end", "k1").stderr
    assert "k1" in run("list").stdout
