"""A forward session's whole life: orders, gate, auction, delivery, seal and a proof that holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.forward import run_sessions
from app.services.forward import orders as forward_orders
from app.services.forward.results import order_text, result_text
from app.store import forward, log, people
from app.tables import CheckpointRow, ForwardTradeRow, OrderRow, TradeRow
from ledger_client.log import decode_entry
from ledger_client.merkle import leaf_hash, root
from optimizer.compiled import SolverError
from tests.app.district_kit import CEILING, FEED_IN, key
from tests.app.forward_kit import FIRST, MIDDLE, ForwardKit, interval, steps


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[ForwardKit]:
    kit = ForwardKit(tmp_path, database_url)
    kit.run()
    yield kit
    kit.close()


@pytest.fixture
def plain(sqlite_url: str, tmp_path: Path) -> Iterator[ForwardKit]:
    kit = ForwardKit(tmp_path, sqlite_url)
    kit.run()
    yield kit
    kit.close()


def agree(kit: ForwardKit) -> None:
    """In each quarter-hour of the session solar sells 600 Wh, two thirds of it to the flat."""
    kit.enter("solar", steps("offer", 600, 600, 600, 600, limit=FEED_IN))
    kit.enter("flat", steps("bid", 400, 400, 400, 400, limit=CEILING))
    kit.enter("shop", steps("bid", 200, 200, 200, 200, limit=CEILING))


def reach_the_session(kit: ForwardKit) -> None:
    for _ in range(4):
        kit.live(solar=(0, 900), flat=(300, 0), shop=(200, 0))


def test_from_orders_to_proofs(kit: ForwardKit) -> None:
    agree(kit)
    reach_the_session(kit)
    assert kit.interval(key(0)).mode == "metered"  # nobody could enter orders for it
    assert kit.session_row().state == "cleared"
    assert kit.prices() == [MIDDLE] * 4
    kit.live(solar=(0, 900), flat=(500, 0), shop=(200, 0))  # more than agreed
    kit.live(solar=(0, 300), flat=(500, 0), shop=(500, 0))  # solar is short
    kit.live(solar=(0, 600), flat=(100, 0), shop=(250, 0))  # the flat is short
    assert kit.session_row().state == "cleared"
    kit.live(silent=["flat"], solar=(0, 600), flat=(400, 0), shop=(200, 0))  # no reading
    rows = kit.rows(TradeRow)
    solar, flat, shop = (kit.homes[name].point for name in kit.homes)
    found = {(row.interval, row.buyer_order): row.wh for row in rows if row.interval >= FIRST}
    assert {row.seller_order for row in rows} == {f"{solar}-offer"}
    assert found == {
        (interval(0), f"{flat}-bid"): 400,
        (interval(0), f"{shop}-bid"): 200,
        (interval(1), f"{flat}-bid"): 200,
        (interval(1), f"{shop}-bid"): 100,
        (interval(2), f"{flat}-bid"): 100,
        (interval(2), f"{shop}-bid"): 200,
        (interval(3), f"{shop}-bid"): 200,
    }
    assert {row.price_micro_per_kwh for row in rows if row.interval >= FIRST} == {MIDDLE}
    for number in range(4):
        found_row = kit.interval(interval(number))
        assert (found_row.mode, found_row.rule, found_row.state) == ("forward", "uniform", "sealed")
        assert kit.seal(interval(number)).price == MIDDLE
    for number, name in ((0, "solar"), (1, "flat"), (3, "flat"), (3, "shop")):
        verdict = kit.prove(interval(number), name)
        assert verdict.code == 0, verdict
    assert kit.session_row().state == "sealed"
    kit.check()


def test_orders_say_what_was_metered_at_the_strictest_limit(plain: ForwardKit) -> None:
    plain.enter("solar", steps("offer", 300, limit=FEED_IN))
    plain.enter("solar", steps("offer", 300, limit=FEED_IN + 10_000))
    plain.enter("flat", steps("bid", 400, limit=CEILING))
    plain.enter("flat", steps("bid", 200, limit=CEILING - 20_000))
    reach_the_session(plain)
    plain.live(solar=(0, 900), flat=(500, 0), shop=(200, 0))
    rows = {row.order_id: row for row in plain.rows(OrderRow, OrderRow.interval == FIRST)}
    solar, flat, shop = (plain.homes[name].point for name in plain.homes)
    assert {
        order_id: (row.wh, row.limit_micro_per_kwh, row.cleared_wh)
        for order_id, row in rows.items()
    } == {
        f"{solar}-offer": (900, FEED_IN + 10_000, 500),
        f"{flat}-bid": (500, CEILING - 20_000, 500),
        f"{shop}-bid": (200, CEILING, 0),  # it agreed on nothing: its own ceiling
    }


def test_the_session_is_in_the_log_before_it_is_delivered(plain: ForwardKit) -> None:
    agree(plain)
    plain.enter("shop", steps("bid", 50, limit=CEILING), "gone")
    forward_orders.cancel(plain.house, "shop", "shop", FIRST, "gone")
    plain.quarter(solar=(0, 900), flat=(300, 0))
    plain.to(45)
    plain.run()
    row = plain.session_row()
    assert row.log_index is not None
    kind, text = decode_entry(plain.ask(lambda session: log.entry(session, row.log_index)))
    entry = json.loads(text)
    assert kind == "session"
    assert entry["prices"] == [MIDDLE] * 4
    assert (entry["first"], entry["intervals"], entry["orders"], entry["fallback"]) == (
        FIRST,
        4,
        3,
        0,
    )
    assert {c.size for c in plain.rows(CheckpointRow)} >= {row.log_index + 1}
    origin = plain.settings.origin
    with plain.database.read() as session:
        orders = forward.entered(forward.final_orders(session, FIRST))
        results = forward.results(session, FIRST)
        fills = forward.fills(session, FIRST)
    prefix = b"wattloom-leaf-session-order-v1\0"
    leaves = [leaf_hash(prefix + o.salt + order_text(origin, o)) for o in orders]
    assert root(leaves).hex() == entry["order_root"]
    prefix = b"wattloom-leaf-session-result-v1\0"
    leaves = [
        leaf_hash(
            prefix + r.salt + result_text(origin, r, [f for f in fills if f.order_id == r.order_id])
        )
        for r in results
    ]
    assert root(leaves).hex() == entry["results_root"]


def test_nobody_enters_anything(plain: ForwardKit) -> None:
    reach_the_session(plain)
    assert plain.prices() == [None] * 4
    plain.live(solar=(0, 900), flat=(500, 0), shop=(200, 0))
    row = plain.interval(FIRST)
    assert (row.state, row.mode, row.price_micro_per_kwh, row.traded_wh) == (
        "sealed",
        "forward",
        None,
        0,
    )
    for name in plain.homes:
        assert plain.prove(FIRST, name).code == 0
    plain.check()


def test_who_has_used_up_their_credit_buys_nothing(plain: ForwardKit) -> None:
    agree(plain)
    with plain.database.write() as session:
        people.participants(session)["flat"].credit_limit_micro = -(10**9)
    reach_the_session(plain)
    assert plain.outcome() == {"flat.1": "left-out", "shop.1": "accepted", "solar.1": "accepted"}
    assert plain.fills()["solar.1", "10:00"] == (600, 200)  # the supplier is meant to take the rest
    reason = {r.order_id: r.reason for r in plain.ask(lambda s: forward.results(s, FIRST))}
    assert "credit line was used up" in reason["flat.1"]


def test_the_same_orders_in_another_order_give_the_same(sqlite_url: str, tmp_path: Path) -> None:
    found = []
    for turn in (1, -1):
        folder = tmp_path / str(turn)
        folder.mkdir()
        kit = ForwardKit(folder, f"sqlite:///{folder / 'd.db'}")
        kit.run()
        orders = [
            ("solar", "offer", 501),
            ("flat", "bid", 400),
            ("shop", "bid", 401),
        ]
        for who, side, wh in orders[::turn]:
            kit.enter(who, steps(side, wh, limit=CEILING), "x")
        if turn < 0:  # changed and changed back: the final version counts
            kit.enter("flat", steps("bid", 1, limit=CEILING), "x")
            kit.enter("flat", steps("bid", 400, limit=CEILING), "x")
        kit.to(45)
        kit.run()
        rows = kit.rows(ForwardTradeRow)
        found.append(
            (
                sorted((r.interval, r.seller_order, r.buyer_order, r.wh) for r in rows),
                kit.fills(),
                kit.prices(),
            )
        )
        kit.close()
    assert found[0] == found[1]
    assert found[0][0]


def test_an_interval_waits_for_its_session(plain: ForwardKit) -> None:
    """Should the auction fail, its intervals stand still; metering and other people's do not."""

    def fails(_problem):
        raise SolverError("no answer")

    agree(plain)
    for _ in range(2):
        plain.quarter(solar=(0, 900), flat=(300, 0))
    plain.to(45)
    run_sessions(plain.house, fails)
    assert plain.session_row().state == "closed"
    assert any("stands still" in notice.text for notice in plain.notices())
    plain.run()
    assert plain.session_row().state == "cleared"
    assert plain.session_row().fallback is False


def test_a_session_without_any_answer_closes_all_the_same(
    plain: ForwardKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its first interval begins it ends without contracts, marked: nothing waits for it."""

    def fails(_problem):
        raise SolverError("no answer")

    monkeypatch.setattr("tests.app.forward_kit.by_interval", fails)
    monkeypatch.setattr("app.worker.clear_session", fails)
    agree(plain)
    reach_the_session(plain)
    row = plain.session_row()
    assert (row.state, row.fallback, row.optimal) == ("cleared", True, False)
    assert set(plain.outcome().values()) == {"rejected"}
    plain.live(solar=(0, 900), flat=(500, 0), shop=(200, 0))
    assert plain.state(FIRST) == "sealed"
    assert plain.prove(FIRST, "flat").code == 0
    plain.check()
