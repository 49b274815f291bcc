"""The gate and the auction: the real engine's outcomes in rows and words, and cuts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
from sqlmodel import select

from app.clock import SimulatedClock
from app.jobs.forward import run_sessions
from app.services.forward.desk import ForwardDesk
from app.services.house import House
from app.services.keyring import Keyring
from app.store import log
from app.tables import (
    CheckpointRow,
    ForwardFillRow,
    ForwardOrderRow,
    ForwardPriceRow,
    ForwardResultRow,
    ForwardSessionRow,
    ForwardTradeRow,
)
from ledger_client.ledger import Ledger
from ledger_client.log import decode_entry
from optimizer.session.clearing import clear_session
from tests.app.district_kit import CEILING, FEED_IN
from tests.app.forward_kit import (
    FIRST,
    ForwardKit,
    block,
    by_interval,
    flexible,
    interval,
    steps,
    storage,
)
from tests.app.power_cuts import Fuse, PowerCutError, fused_database
from tests.conftest import LONG

GATE_MINUTE = 45


@pytest.fixture
def kit(sqlite_url: str, tmp_path: Path) -> Iterator[ForwardKit]:
    kit = ForwardKit(tmp_path, sqlite_url)
    kit.run()
    yield kit
    kit.close()


def clear(kit: ForwardKit) -> None:
    kit.to(GATE_MINUTE)
    run_sessions(kit.house, clear_session)


# --- The real engine -----------------------------------------------------------------------------


def test_every_kind_of_order_finds_its_place(kit: ForwardKit) -> None:
    """A block and a car take the roof's energy, and a battery moves some to the dear quarter."""
    kit.enter("solar", steps("offer", 3_000, 3_000, 3_000, 3_000, limit=FEED_IN), "roof")
    kit.enter("flat", block("bid", 500, 500, 500, 500, limit=CEILING), "heat")
    kit.enter("flat", block("bid", 100, 100, limit=CEILING, parent="heat"), "more")
    kit.enter("shop", flexible(3_000, 8_000, 2, limit=CEILING), "car")
    kit.enter("shop", storage(1_000, 4_000), "battery")
    clear(kit)
    assert kit.session_row().fallback is False
    outcome = kit.outcome()
    assert {outcome[name] for name in ("flat.heat", "flat.more", "shop.car")} == {"accepted"}
    assert outcome["solar.roof"] == "accepted"  # the supplier takes what nobody else wants
    fills = kit.fills()
    car = {name: wh for name, (wh, _) in fills.items() if name[0] == "shop.car"}
    assert sum(car.values()) == 3_000
    assert {time for _, time in car} <= {"10:00", "10:15"}
    assert all(wh <= 2_000 for wh in car.values())
    for time in ("10:00", "10:15", "10:30", "10:45"):
        assert fills["flat.heat", time] == (500, 500)


def test_a_linked_block_falls_with_its_parent(kit: ForwardKit) -> None:
    """What the child would gain is too little to carry the parent's loss."""
    kit.enter("solar", steps("offer", 2_000, 2_000, limit=FEED_IN))
    kit.enter("flat", block("bid", 1_000, 1_000, limit=FEED_IN - 50_000), "parent")
    kit.enter("flat", block("bid", 10, 10, limit=CEILING, parent="parent"), "child")
    clear(kit)
    assert kit.outcome()["flat.parent"] == "rejected"
    assert kit.outcome()["flat.child"] in {"rejected", "paradoxical"}
    assert [name for name, _ in kit.fills() if name.startswith("flat")] == []


def test_a_paradoxical_block_is_told_in_one_sentence(kit: ForwardKit) -> None:
    """All or nothing, and only half of it is wanted: at the price of the half it would gain."""
    kit.enter("flat", steps("bid", 1_000, limit=CEILING))
    kit.enter("solar", block("offer", 3_000, limit=FEED_IN + 20_000), "whole")
    kit.enter("shop", steps("offer", 400, limit=FEED_IN + 60_000))
    clear(kit)
    assert kit.outcome()["solar.whole"] == "paradoxical"
    page = ForwardDesk(kit.house).page("solar", None)
    assert page.cleared
    (mine,) = page.cleared.orders
    assert "taking it would have moved the prices" in mine.reason


def test_contracts_of_the_real_engine_are_delivered_and_proved(kit: ForwardKit) -> None:
    kit.enter("solar", steps("offer", 800, 800, 800, 800, limit=FEED_IN))
    kit.enter("flat", block("bid", 300, 300, 300, 300, limit=CEILING))
    kit.enter("shop", flexible(600, 2_000, 4, limit=CEILING))
    kit.to(GATE_MINUTE)
    clear(kit)
    for _ in range(3):
        kit.live(solar=(0, 900), flat=(300, 0), shop=(200, 0))
    for _ in range(2):
        kit.live(solar=(0, 900), flat=(400, 0), shop=(400, 0))
    found = kit.interval(interval(0))
    assert (found.mode, found.state) == ("forward", "sealed")
    assert found.traded_wh > 0
    for name in kit.homes:
        verdict = kit.prove(interval(0), name)
        assert verdict.code == 0, verdict
    kit.check()


# --- Cuts ----------------------------------------------------------------------------------------


def _rows(house: House) -> dict[str, object]:
    """All that must be the same whatever was cut: no salts, and no hashes over them."""
    wanted = {
        ForwardSessionRow: "first state gate_ms cleared_ms welfare_micro log_index fallback",
        ForwardOrderRow: "order_id version state text known_ms entered_by",
        ForwardResultRow: "order_id version outcome reason",
        ForwardFillRow: "order_id interval side wh local_wh",
        ForwardPriceRow: "interval price_micro_per_kwh traded_wh",
        ForwardTradeRow: "interval number seller_order buyer_order wh",
    }
    with house.database.read() as session:
        found: dict[str, object] = {
            table.__name__: sorted(
                repr([getattr(row, column) for column in columns.split()])
                for row in session.exec(select(table)).all()
            )
            for table, columns in wanted.items()
        }
        size = log.size(session)
        found["log"] = [decode_entry(log.entry(session, n))[0] for n in range(size)]
        found["checkpoints"] = sorted(row.size for row in session.exec(select(CheckpointRow)))
    return found


def _through_the_gate(kit: ForwardKit, folder: Path, fuse: Fuse) -> dict[str, object]:
    """Close, clear and open as the worker does, in a copy of the district."""
    database = fused_database(f"sqlite:///{folder / 'wattloom.db'}", fuse)
    with closing(database):
        keyring = Keyring.open(folder / "keys")
        gate = SimulatedClock(kit.start.start_ms + GATE_MINUTE * 60_000)
        house = House(kit.settings, database, keyring, gate, cast("Ledger", None))
        run_sessions(house, by_interval)
        return _rows(house)


def test_a_cut_at_any_step_leaves_nothing_half_done(kit: ForwardKit, tmp_path: Path) -> None:
    kit.enter("solar", steps("offer", 600, 600, limit=FEED_IN))
    kit.enter("flat", steps("bid", 400, 400, limit=CEILING))
    kit.close()
    template = tmp_path / "wattloom.db"

    def copied(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(template, folder)
        shutil.copytree(tmp_path / "keys", folder / "keys")
        return folder

    whole = Fuse()
    calm = _through_the_gate(kit, copied("calm"), whole)
    assert calm["log"][-1:] == ["session"]
    assert len(whole.steps) > 15
    for cut in range(0, len(whole.steps), 1 if LONG else 4):
        folder = copied(str(cut))
        with pytest.raises(PowerCutError):
            _through_the_gate(kit, folder, Fuse(cut))
        assert _through_the_gate(kit, folder, Fuse()) == calm, f"cut after step {cut}"
    again = _through_the_gate(kit, tmp_path / "calm", Fuse())
    assert again == calm  # there is nothing left to do


def test_two_workers_clear_once(kit: ForwardKit) -> None:
    kit.enter("solar", steps("offer", 600, limit=FEED_IN))
    kit.enter("flat", steps("bid", 400, limit=CEILING))
    kit.to(GATE_MINUTE)

    def meanwhile(problem):
        """Another worker comes first while this one searches."""
        run_sessions(kit.house, by_interval)
        return by_interval(problem)

    run_sessions(kit.house, meanwhile)
    assert kit.session_row().state == "cleared"
    assert len(kit.rows(ForwardResultRow)) == 2
    assert len(kit.rows(ForwardSessionRow, ForwardSessionRow.first > FIRST)) == 1
