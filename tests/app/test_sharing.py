"""Intervals in sharing mode: who gets what, what stands in the statements, and that it verifies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.services.sharing import keys
from app.store import sharing as store
from app.tables import OrderRow, ParticipantRow
from metering.interval import Interval
from tests.app.district_kit import CEILING, TOP_UP, Kit
from tests.app.sharing_kit import NAMES, after, csv, key_file, shared, sharing_kit

MakeKit = Callable[..., Kit]


@pytest.fixture
def make(database_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    yield from _kits(tmp_path, database_url)


@pytest.fixture
def make_plain(sqlite_url: str, tmp_path: Path) -> Iterator[MakeKit]:
    yield from _kits(tmp_path, sqlite_url)


def _kits(folder: Path, url: str) -> Iterator[MakeKit]:
    kits: list[Kit] = []

    def make(**options: object) -> Kit:
        kits.append(sharing_kit(folder, url, **options))
        return kits[-1]

    yield make
    for kit in kits:
        kit.check()
        kit.close()


def verified(kit: Kit, interval: str) -> None:
    for name in NAMES:
        verdict = kit.prove(interval, name)
        assert verdict.code == 0, verdict


def test_a_day_of_sharing(make: MakeKit) -> None:
    kit = make()
    shares = [("flat", 500_000), ("shop", 300_000)]
    (number,) = keys.take(kit.house, "keys.csv", key_file(kit, shares, terms="static,again,100000"))
    drawn = {"solar": (40, 1_000), "flat": (200, 0), "shop": (900, 0), "lone": (400, 0)}
    for _ in range(2):
        kit.live(**drawn)
    # Before midnight no key holds: all is fed in, and sealed as such.
    assert shared(kit, after(0)) == {}
    before = kit.interval(after(0))
    assert (before.price_micro_per_kwh, before.rule, before.mode) == (None, "sharing", "sharing")
    # After it: flat leaves 300 Wh of its half, which shop gets in the second round.
    assert shared(kit, after(1)) == {
        ("solar", "flat"): (200, 20_000),
        ("solar", "shop"): (600, 60_000),
    }
    row, seal = kit.interval(after(1)), kit.seal(after(1))
    assert (row.price_micro_per_kwh, row.traded_wh) == (100_000, 800)
    assert (seal.price, seal.rule, seal.mode) == (100_000, "sharing", "sharing")
    orders = {(o.participant, o.side, o.wh, o.cleared_wh) for o in kit.orders(after(1))}
    assert orders == {
        ("solar", "offer", 1_000, 800),
        ("flat", "bid", 200, 200),
        ("shop", "bid", 900, 600),
    }
    assert kit.wallets()["solar"] == TOP_UP + 80_000
    assert kit.wallets()["lone"] == TOP_UP
    own = kit.statement(after(1), "flat")["metered"][0]
    assert (own["local_wh"], own["residual_wh"]) == (200, 0)
    for interval in (after(0), after(1)):
        verified(kit, interval)
    with kit.database.read() as session:
        assert [each.state for each in keys.listed(session, kit.house)] == ["holds"]
    assert number == 1


def test_several_roofs_serve_in_proportion_to_their_surplus(make_plain: MakeKit) -> None:
    kit = make_plain()
    rows = [
        f"<{roof}>,2026-06-24,equal,,,<{member}>,"
        for roof in ("solar", "roof")
        for member in ("flat", "shop")
    ]
    keys.take(kit.house, "keys.csv", csv(kit, rows))
    kit.live()
    kit.live(solar=(0, 600), roof=(0, 200), flat=(100, 0), shop=(900, 0))
    assert {pair: wh for pair, (wh, _) in shared(kit, after(1)).items()} == {
        ("solar", "flat"): 75,
        ("solar", "shop"): 525,
        ("roof", "flat"): 25,
        ("roof", "shop"): 175,
    }
    assert kit.seal(after(1)).counts.trades == 4
    verified(kit, after(1))


def test_without_a_price_energy_is_given_away(make_plain: MakeKit) -> None:
    """The buyer owes local fee, levy and VAT; the seller earns nothing, and less than feed-in."""
    kit = make_plain()
    keys.take(kit.house, "keys.csv", key_file(kit, [("flat", "")], terms="by-volume,,"))
    kit.live()
    kit.live(solar=(0, 1_000), flat=(1_000, 0))
    assert shared(kit, after(1)) == {("solar", "flat"): (1_000, 0)}
    assert kit.interval(after(1)).price_micro_per_kwh == kit.seal(after(1)).price == 0
    lines = {line["kind"]: line["micro"] for line in kit.statement(after(1), "flat")["lines"]}
    assert lines == {"local-buy": 0, "local-fee": -40_000, "levy": -20_000, "vat": -11_400}
    (offer,) = [order for order in kit.orders(after(1)) if order.side == "offer"]
    assert offer.limit_micro_per_kwh == 0
    assert kit.wallets()["solar"] == TOP_UP
    verified(kit, after(1))


def test_who_is_past_the_credit_line_takes_no_part(make_plain: MakeKit) -> None:
    kit = make_plain(top_up_micro=0)
    with kit.database.write() as session:
        session.get_one(ParticipantRow, "flat").credit_limit_micro = 0
    shares = [("flat", 500_000), ("shop", 500_000)]
    keys.take(kit.house, "keys.csv", key_file(kit, shares, terms="static,again,90000"))
    kit.live()
    kit.live(solar=(0, 1_000), flat=(900, 0), shop=(900, 0))
    assert shared(kit, after(1)) == {("solar", "shop"): (900, 81_000)}
    verified(kit, after(1))


def test_a_tariff_that_became_cheaper_keeps_a_member_aside(make_plain: MakeKit) -> None:
    kit = make_plain()
    content = key_file(kit, [("flat", "")], terms=f"equal,,{CEILING}")
    keys.take(kit.house, "keys.csv", content)
    kit.live(solar=(0, 1_000), flat=(900, 0))
    kit.reprice(energy_micro_per_kwh=199_999)
    kit.live(solar=(0, 1_000), flat=(900, 0))
    assert shared(kit, after(1)) == {}
    assert kit.interval(after(1)).price_micro_per_kwh is None
    assert {order.side for order in kit.orders(after(1))} == {"bid", "offer"}
    verified(kit, after(1))


def test_an_estimated_member_takes_no_part_and_is_corrected_as_residual(
    make_plain: MakeKit,
) -> None:
    """Nobody's share is computed anew: what the others got stands."""
    kit = make_plain()
    keys.take(
        kit.house, "keys.csv", key_file(kit, [("flat", ""), ("shop", "")], terms="equal,,90000")
    )
    kit.live()
    kit.live(silent=["flat"], solar=(0, 600), flat=(300, 0), shop=(900, 0))
    assert shared(kit, after(1)) == {("solar", "shop"): (600, 54_000)}
    orders = kit.rows(OrderRow)
    kit.live()
    assert kit.corrections("flat").keys() == {after(1), after(2)}
    assert kit.rows(OrderRow, OrderRow.interval <= after(1)) == orders
    assert shared(kit, after(1)) == {("solar", "shop"): (600, 54_000)}
    verified(kit, after(1))


def test_a_new_version_replaces_the_old_one_at_its_midnight(make_plain: MakeKit) -> None:
    """On the day that summer time ends it holds for 100 quarter-hours."""
    kit = make_plain()
    for number, (member, day) in enumerate((("flat", "2026-10-25"), ("shop", "2026-10-26"))):
        content = key_file(kit, [(member, "")], terms="equal,,90000", day=day)
        assert keys.take(kit.house, f"{number}.csv", content) == [number + 1]
    interval = Interval.parse("2026-10-24T21:45:00Z")
    held = []
    for _ in range(103):
        holding = kit.ask(lambda session, key=interval.key: store.keys(session, key))
        held += [share.point for key in holding for share in key.shares] or [""]
        interval = interval.next()
    assert held == [""] + [kit.homes["flat"].point] * 100 + [kit.homes["shop"].point] * 2


def test_the_mode_is_that_of_when_the_interval_opened(make_plain: MakeKit) -> None:
    kit = make_plain()
    kit.worker.run_due()
    row = kit.interval(after(0))
    assert (row.state, row.mode, row.rule) == ("open", "sharing", "sharing")
