"""The state machine: every step once, in any order, by any number of workers, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, text
from sqlmodel import SQLModel, select

from app.db import Database
from app.jobs.anchor import anchor
from app.jobs.clear import clear_interval
from app.jobs.correct import correct_estimates
from app.jobs.finalise import finalise
from app.jobs.meter import meter
from app.jobs.pay import pay
from app.jobs.seal import seal
from app.jobs.settle import settle_interval
from app.services.house import House
from app.store import intervals
from app.tables import (
    IntervalRow,
    JournalEntry,
    NoticeRow,
    OrderRow,
    SlotRow,
    StatementRow,
    TradeRow,
)
from app.worker import Worker
from tests.app.district_kit import START, Kit, key
from tests.conftest import LONG

TRADE = {"solar": (0, 900), "flat": (300, 0), "shop": (200, 0)}
STEPS: dict[str, Callable[[House, str], object]] = {
    "meter": meter,
    "clear": clear_interval,
    "settle": settle_interval,
    "seal": seal,
    "correct": lambda house, _key: correct_estimates(house),
    "pay": lambda house, _key: pay(house),
    "anchor": lambda house, _key: anchor(house),
    "finalise": lambda house, _key: finalise(house),
}


@pytest.fixture
def kit(database_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, database_url)
    yield kit
    kit.check()
    kit.close()


@pytest.fixture
def plain(sqlite_url: str, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(tmp_path, sqlite_url)
    yield kit
    kit.close()


def content(kit: Kit) -> dict[str, list[str]]:
    """Every row of every table."""
    with kit.database.read() as session:
        connection = session.connection()
        return {
            name: sorted(map(repr, connection.execute(select(table)).all()))
            for name, table in SQLModel.metadata.tables.items()
        }


def outcome(kit: Kit) -> dict[str, Any]:
    """What must be the same whoever worked: no row ids, no salts, no hashes over salts."""
    wanted: dict[type[Any], str] = {
        IntervalRow: "key state payment anchor price_micro_per_kwh traded_wh seal_index",
        SlotRow: "interval point position estimated import_wh export_wh count",
        OrderRow: "interval order_id wh cleared_wh",
        TradeRow: "interval number seller_order buyer_order wh amount_micro",
        StatementRow: "interval participant sum_micro closing_carry_micro",
        JournalEntry: "ref kind",
        NoticeRow: "ref level",
    }
    found = {
        table.__name__: sorted(
            repr([getattr(row, column) for column in columns.split()]) for row in kit.rows(table)
        )
        for table, columns in wanted.items()
    }
    return found | {"wallets": kit.wallets(), "payments": kit.payments()}


# --- One worker ----------------------------------------------------------------------------------


def test_an_intervals_way(kit: Kit) -> None:
    kit.quarter(**TRADE)
    way = []
    for step in ("meter", "clear", "settle", "seal"):
        kit.to(20)
        if not way:
            kit.worker._open_and_close()
        way.append(kit.state(key(0)))
        STEPS[step](kit.house, key(0))
    way.append(kit.state(key(0)))
    assert way == ["closed", "metered", "cleared", "settled", "sealed"]


def test_nothing_happens_before_the_grace_is_over(kit: Kit) -> None:
    kit.quarter(**TRADE)
    kit.to(19.999)
    kit.worker.run_due()
    assert (kit.state(key(0)), kit.state(key(1))) == ("closed", "open")
    kit.to(20)
    kit.worker.run_due()
    assert (kit.state(key(0)), kit.state(key(1))) == ("sealed", "open")


def test_everything_again_changes_nothing(kit: Kit) -> None:
    kit.live(silent=["flat"], **TRADE)
    kit.live(**TRADE)
    before = content(kit)
    blocks = kit.node.stats().blocks
    kit.worker.run_due()
    for number in range(2):
        for step in STEPS.values():
            step(kit.house, key(number))
    assert content(kit) == before
    assert kit.node.stats().blocks == blocks


def _come_to(folder: Path, steps: list[str]) -> dict[str, Any]:
    kit = Kit(folder, f"sqlite:///{folder / 'd.db'}")
    kit.quarter(**TRADE)
    kit.to(20)
    kit.worker._open_and_close()
    for step in steps:
        STEPS[step](kit.house, key(0))
    kit.worker.run_due()
    kit.check()
    found = outcome(kit)
    kit.close()
    return found


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _come_to(tmp_path_factory.mktemp("order"), [])


@settings(max_examples=100 if LONG else 12)
@given(order=st.lists(st.sampled_from(sorted(STEPS)), min_size=4, max_size=14))
def test_steps_in_any_order_come_to_the_same(
    tmp_path_factory: pytest.TempPathFactory, in_order: dict[str, Any], order: list[str]
) -> None:
    assert _come_to(tmp_path_factory.mktemp("order"), order) == in_order


def test_a_worker_that_was_away_catches_up(kit: Kit) -> None:
    for _ in range(4):
        kit.quarter(**TRADE)
    sealed: list[str] = []
    kit.worker = Worker(kit.house, sealed.append)
    kit.settle()
    assert sealed == [key(n) for n in range(4)]
    assert {row.payment for row in kit.rows(IntervalRow) if row.key < key(4)} == {"confirmed"}
    assert kit.state(key(4)) == "open"
    for name in kit.names:
        assert kit.prove(key(3), name).code == 0


def test_without_a_district_point_there_are_no_intervals(plain: Kit) -> None:
    with plain.database.write() as session:
        intervals.ensure_through(session, START.start_ms - 1, "mid-market")
    assert plain.rows(IntervalRow) == []


# --- Two workers ---------------------------------------------------------------------------------


def _race(kit: Kit, count: int = 2) -> list[BaseException]:
    """Let several workers, each with connections of its own, do what is due at once."""
    start = threading.Barrier(count)

    def work() -> None:
        database = Database(kit.url)
        house = House(kit.settings, database, kit.keyring, kit.clock, kit.ledger)
        with closing(database):
            start.wait()
            Worker(house).run_due()

    with ThreadPoolExecutor(count) as pool:
        done = [pool.submit(work) for _ in range(count)]
    return [error for each in done if (error := each.exception()) is not None]


def test_two_workers_settle_an_interval_once(kit: Kit, tmp_path: Path) -> None:
    quiet = tmp_path / "alone"
    quiet.mkdir()
    alone = Kit(quiet, f"sqlite:///{quiet / 'd.db'}")
    for each in (kit, alone):
        for number in range(5):
            each.quarter(silent=["flat"] if number == 1 else [], **TRADE)
            each.clock.advance_to(each.clock.now_ms() + 300_000)
            if each is kit:
                assert _race(kit, 3) == []
            else:
                alone.worker.run_due()
    assert outcome(kit) == outcome(alone)
    assert kit.corrections("flat") == alone.corrections("flat") != {}
    assert kit.node.stats().transfers_confirmed == len(kit.payments())
    alone.close()


def test_two_workers_catch_up_together(kit: Kit) -> None:
    for number in range(4):
        kit.quarter(silent=["shop"] if number == 2 else [], **TRADE)
    kit.to(65)
    assert _race(kit, 3) == []
    assert [kit.state(key(n)) for n in range(5)] == ["sealed"] * 4 + ["open"]
    count = kit.ask(lambda s: s.exec(select(func.count()).select_from(JournalEntry)).one())
    assert count == 1 + 2 * 4 + 2  # the top-ups, local and memo of each, two corrections


def test_readings_come_in_while_workers_work(kit: Kit) -> None:
    """Each reading stands in exactly the seal that its receipt names."""
    kit.quarter(**TRADE)
    held = [kit.sign("solar", kit.clock.now_ms() - n) for n in range(60, 0, -1)]
    kit.to(20)
    statuses: list[int] = []

    def send() -> None:
        for reading in held:
            statuses.extend(kit.send([reading]))

    gateway = threading.Thread(target=send)
    gateway.start()
    failed = _race(kit)
    gateway.join()
    assert failed == []
    assert statuses == [200] * 60
    kit.live(**TRADE)
    promised = kit.ask(
        lambda s: s.execute(
            text("SELECT seal_interval, count(*) FROM reading GROUP BY seal_interval")
        ).all()
    )
    counted = {n: kit.seal(key(n)).counts.readings for n in range(2)}
    assert {interval: n for interval, n in promised if interval < key(2)} == {
        key(n): count for n, count in counted.items()
    }


# --- What does not add up ------------------------------------------------------------------------


def test_a_settlement_that_does_not_add_up_stops_its_interval_not_metering(kit: Kit) -> None:
    kit.live(**TRADE)
    kit.quarter(**TRADE)
    kit.to(35)
    kit.worker._open_and_close()
    meter(kit.house, key(1))
    clear_interval(kit.house, key(1))
    with kit.database.write() as session:
        row = session.get_one(TradeRow, (key(1), 0))
        right, row.wh = row.wh, row.wh + 1_000  # more than was metered
    before = kit.postings()
    kit.settle()
    kit.live(**TRADE)
    kit.live(**TRADE)
    assert [kit.state(key(n)) for n in range(4)] == ["sealed", "cleared", "metered", "metered"]
    assert kit.postings() == before
    (alarm,) = kit.notices("alarm/")
    assert alarm.ref == f"alarm/{key(1)}/cleared"
    assert alarm.level == "alarm"
    with kit.database.write() as session:
        row = session.get_one(TradeRow, (key(1), 0))
        row.wh = right
    kit.worker.run_due()  # a person mended it: everything goes on
    assert [kit.state(key(n)) for n in range(4)] == ["sealed"] * 4
