"""Points that only measure, forward sessions with a move, older folders, and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from sqlmodel import col
from typer.testing import CliRunner

from app.cli import cli
from app.services.forward import orders
from app.services.forward.book import Wanted
from app.services.forward.orders import ForwardError
from app.services.registry import changes
from app.services.registry.wanted import Change
from app.store import registry
from app.tables import (
    FeederRow,
    LinkRow,
    MeteringPointRow,
    OrderRow,
    ParticipantRow,
    SettledRow,
    SupplierRow,
)
from market.registry import RegistryError, Role
from metering.interval import Interval
from tests.app.district_kit import CEILING, FEED_IN, Kit, key
from tests.app.forward_kit import FIRST, ForwardKit, interval, steps

TRADE = {"solar": (0, 900), "flat": (300, 0), "shop": (200, 0)}


def test_a_point_that_only_measures_is_sealed_and_never_settled(
    database_url: str, tmp_path: Path
) -> None:
    """The shop's meter becomes the roof's sub-meter: read, in the seal, and in no sum."""
    kit = Kit(tmp_path, database_url)
    shop = kit.homes["shop"].point
    with kit.database.write() as session:
        session.execute(
            update(MeteringPointRow)
            .where(col(MeteringPointRow.gsrn) == shop)
            .values(purpose="production", participant="solar")
        )
        session.execute(
            update(LinkRow)
            .where(col(LinkRow.point) == shop, col(LinkRow.role) == "participant")
            .values(target="solar")
        )
    kit.live(**TRADE)
    assert kit.roster(key(0)) == {"solar", "flat", "shop"}
    assert kit.energy(key(0), "shop") == (200, 0, False)
    assert kit.seal(key(0)).roster_size == 3
    assert {row.point for row in kit.orders(key(0))} == {
        kit.homes[name].point for name in ("solar", "flat")
    }
    assert kit.rows(SettledRow, SettledRow.point == shop) == []
    assert {each["point"] for each in kit.statement(key(0), "solar")["metered"]} == {
        kit.homes["solar"].point
    }
    assert kit.prove(key(0), "solar").code == 0
    kit.check()
    kit.close()


def test_no_forward_order_outlives_a_move(sqlite_url: str, tmp_path: Path) -> None:
    kit = ForwardKit(tmp_path, sqlite_url)
    kit.run()
    kit.enter("solar", steps("offer", 600, 600, 600, 600, limit=FEED_IN), "roof")
    kit.enter("flat", steps("bid", 400, 400, 400, 400, limit=CEILING), "own")
    kit.enter("shop", steps("bid", 200, 200, 200, 200, limit=CEILING), "shop")
    flat, second = kit.homes["flat"].point, Interval.parse(interval(1))
    move = Change([flat], second, {Role.PARTICIPANT: "shop"})
    changes.enter(kit.house, move, "manager")
    for who in ("flat", "shop"):
        wanted = [Wanted("late", flat, steps("bid", 100, limit=CEILING))]
        with pytest.raises(ForwardError, match="changes hands in this session"):
            orders.enter(kit.house, who, who, FIRST, wanted)
    for _ in range(3):
        kit.live(**TRADE)
    assert kit.outcome()["flat.own"] == "left-out"
    with pytest.raises(RegistryError, match=r"metered or cleared already .* choose 2026-06-23T11"):
        changes.undo(kit.house, [flat], second, "manager")
    for _ in range(3):
        kit.live(**TRADE)
    rows = kit.rows(OrderRow, OrderRow.point == flat)
    assert {row.interval[11:16]: row.participant for row in rows} == {
        **{f"09:{minute:02d}": "flat" for minute in (0, 15, 30, 45)},
        "10:00": "flat",
        "10:15": "shop",
    }
    kit.check()
    kit.close()


def test_a_folder_from_before_links_gets_its_first_ones(sqlite_url: str, tmp_path: Path) -> None:
    kit = Kit(tmp_path, sqlite_url)
    with kit.database.write() as session:
        for table in (LinkRow, FeederRow, SupplierRow):
            session.execute(delete(table))
    for _ in range(2):
        with kit.database.write() as session:
            registry.ensure(session)
    held = kit.ask(lambda session: registry.standing(session, key(0)))
    assert {
        each.participant: (each.tariff, each.feeder) for each in held.values()
    } == dict.fromkeys(kit.homes, ("t", "f"))
    assert len(kit.rows(LinkRow)) == 3 * len(Role)
    assert [row.id for row in kit.rows(FeederRow)] == ["f"]
    before = Interval.parse(key(0)).previous().key
    assert kit.ask(lambda session: registry.standing(session, before)) == {}
    kit.close()


def test_the_command_line_shows_enters_and_takes_back(tmp_path: Path) -> None:
    kit = Kit(tmp_path, f"sqlite:///{tmp_path / 'district.db'}")
    flat = kit.homes["flat"].point
    move = ("move", flat, "--to", "ada", "--name", "Ada Ek", "--from", "2026-06-24")

    def said(*arguments: str) -> str:
        answer = CliRunner().invoke(cli, ["point", *arguments, "--data", str(tmp_path)])
        return f"{answer.exit_code}\n{answer.output}"

    def target(role: str) -> list[str]:
        shown = json.loads(said("show", flat, "--json").partition("\n")[2])
        return [line["target"] for line in shown["links"] if line["role"] == role]

    told = said(*move, "--dry-run")
    assert told.startswith("0\nflat: participant Ada Ek instead of Flat from Wed 24 Jun 2026 00:00")
    assert "Flat has no metering point from Wed 24 Jun 2026 00:00 CEST on" in told
    assert "nothing was changed" in told
    assert target("participant") == ["flat"]
    assert said(*move).startswith("0\n")
    assert target("participant") == ["flat", "ada"]
    switch = ("switch", flat, "--supplier", "sw", "--name", "Stadtwerke", "--from", key(3))
    assert "supplier Stadtwerke instead of the district's supplier" in said(*switch)
    assert said("assign", flat, "tariff", "t", "--from", key(3)).startswith("1\n")
    listed = json.loads(said("list", "--json").partition("\n")[2])
    assert [len(each["coming"]) for each in listed if each["point"] == flat] == [2]
    assert "Ada" not in said("undo", flat, "--from", key(3), "--dry-run")
    assert said("undo", flat, "--from", "2026-06-24").startswith("0\n")
    assert target("participant") == ["flat"]
    assert kit.rows(ParticipantRow, ParticipantRow.id == "ada") == []
    assert "write a local day as 2026-10-25" in said("undo", flat, "--from", "tomorrow")
    kit.close()
