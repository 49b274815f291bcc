"""Moves and switches in a running district: who pays, sees and proves what, who is paid out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import Session, select

from app.commands.audit import audit_shown
from app.commands.interval_export import export_interval
from app.services import treasury
from app.services.limits import instructions
from app.services.registry import changes
from app.services.registry.desk import PeopleDesk
from app.services.registry.managed import ManagedPeople
from app.services.registry.wanted import Change, ChangeError, Newcomer
from app.store import agents, registry
from app.tables import MeteringPointRow, ParticipantRow, SettledRow, SettlementLine
from market.agents import Instruction, InstructionError, Strategy
from market.money import Price
from market.registry import RegistryError, Role
from metering.interval import Interval
from tests.app.district_kit import TOP_UP, Kit, key
from web.ports import RefusedError, Viewer
from web.ports import Role as Viewing
from web.ports.people import AskedChange

TRADE = {"solar": (0, 900), "flat": (300, 0), "shop": (200, 0)}
ADA = Newcomer.of("ada", " Ada\tEk ", "Lindenweg 4\n\n12345 Linden\x07")
WISH = Instruction(strategy=Strategy.OWN_LIMITS, sell=Price(100_000))


def change(kit: Kit, name: str, number: int, **targets: str) -> Change:
    roles = {Role(role.replace("_", "-")): target for role, target in targets.items()}
    newcomer = ADA if targets.get("participant") == "ada" else None
    begin = Interval.parse(key(number))
    return Change([kit.homes[name].point], begin, roles, newcomer, {"sw": "Stadtwerke"})


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """Four quarters paid at their end; Ada has the flat from the third on, mid-hour."""
    folder = tmp_path_factory.mktemp("moved")
    kit = Kit(folder, f"sqlite:///{folder / 'district.db'}", changes={"settle_every": 4})
    instructions.enter(kit.house, "flat", kit.homes["flat"].point, WISH, "prosumer")
    kit.live(**TRADE)
    changes.enter(kit.house, change(kit, "flat", 2, participant="ada", supplier="sw"), "manager")
    for _ in range(3):
        kit.live(**TRADE)
    yield kit
    kit.close()


def test_lines_stand_with_whom_the_point_was(kit: Kit) -> None:
    def lines(session: Session) -> list[tuple[str, str, int]]:
        rows = session.exec(
            select(SettlementLine.interval, SettlementLine.participant, SettlementLine.micro)
            .where(SettlementLine.point == kit.homes["flat"].point)
            .order_by(SettlementLine.interval, SettlementLine.kind)
        )
        return [tuple(row) for row in rows]

    one = [-6_000, -49_500, -12_000, -12_825]  # levy, 300 Wh at 165,000, fee, VAT
    assert kit.ask(lines) == [
        (key(number), "flat" if number < 2 else "ada", micro)
        for number in range(4)
        for micro in one
    ]
    kit.check()


def test_the_supplier_is_the_one_of_then(kit: Kit) -> None:
    rows = kit.rows(SettledRow, SettledRow.point == kit.homes["flat"].point)
    assert {row.interval: (row.participant, row.supplier) for row in rows} == {
        key(0): ("flat", ""),
        key(1): ("flat", ""),
        key(2): ("ada", "sw"),
        key(3): ("ada", "sw"),
    }


def test_both_prove_their_own_time_and_the_interval_is_audited(kit: Kit, tmp_path: Path) -> None:
    for number, name in ((1, "flat"), (2, "ada"), (3, "flat")):
        verdict = kit.prove(key(number), name)
        assert verdict.code == 0, (number, name, verdict.steps)
    file = tmp_path / "interval.json"
    file.write_bytes(export_interval(kit.house, key(3)))
    code, said = audit_shown(key(3), file, None, as_json=False)
    assert code == 0, said


def test_who_has_left_is_paid_out_what_was_carried(kit: Kit) -> None:
    flat, ada = kit.accounts()["flat"], kit.accounts()["ada"]
    assert (flat.wallet_micro, flat.ledger_micro, flat.carry_micro) == (TOP_UP - 99_000,) * 2 + (0,)
    assert (ada.wallet_micro, ada.ledger_micro, ada.carry_micro) == (-99_000, 0, -99_000)
    (row,) = kit.rows(ParticipantRow, ParticipantRow.id == "flat")
    assert row.left_from == key(2)
    assert kit.statement(key(3), "flat")["metered"] == []
    with kit.database.write() as session:
        most = treasury.available_micro(session, "flat")
        assert most == TOP_UP - 99_000
        treasury.reserve_withdrawal(session, kit.house, "flat", most, "W1", "DE00")
    assert kit.wallets()["flat"] == 0
    kit.check()


def test_the_newcomer_starts_with_the_default(kit: Kit) -> None:
    point = kit.homes["flat"].point
    held = kit.ask(lambda session: [agents.holding(session, key(n))[point] for n in (1, 2)])
    assert [(each.version, each.standing.instruction) for each in held] == [
        (1, WISH),
        (None, Instruction()),
    ]
    assert kit.ask(lambda session: agents.versions(session, point, key(2))) == []
    with pytest.raises(InstructionError, match="no such metering point"):
        instructions.enter(kit.house, "flat", point, WISH, "prosumer")
    with pytest.raises(InstructionError, match="no version 1"):
        instructions.repeat(kit.house, "ada", point, 1, "prosumer")
    instructions.enter(kit.house, "ada", point, WISH, "prosumer")
    assert [row.version for row in kit.ask(lambda s: agents.versions(s, point, key(9)))] == [2]


def test_each_sees_their_own_time_only(kit: Kit) -> None:
    views = kit.views()
    for name, numbers in (("flat", (0, 1)), ("ada", (2, 3))):
        page = views.participant(Viewer(Viewing.PROSUMER, name, "t"), name)
        assert {line.key for line in page.quarters if line.import_wh} == {key(n) for n in numbers}


def test_the_rows_of_now_follow_and_so_does_who_is_managed(kit: Kit) -> None:
    point = kit.homes["flat"].point
    (row,) = kit.rows(MeteringPointRow, MeteringPointRow.gsrn == point)
    assert row.participant == "ada"
    assert set(ManagedPeople(kit.house, ["flat"])) == {"flat", "ada"}
    assert "ada" not in ManagedPeople(kit.house, ["shop"])


def test_a_manager_sees_and_changes_the_time_of_those_managed(kit: Kit) -> None:
    desk, shop = PeopleDesk(kit.house, ["ada"]), kit.homes["shop"].point
    (flat,) = desk.page().points
    stranger = "somebody whom you do not manage"
    assert [(line.kind, line.name) for line in flat.past] == [("participant", stranger)]
    assert {"Ada Ek", "Stadtwerke"} < {line.name for line in flat.now}
    with pytest.raises(ChangeError, match="at most 8 lines"):
        Newcomer.of("long", "Long", "line\n" * 9)
    coming = Change([shop], Interval.parse(key(9)), {Role.PARTICIPANT: "ada"})
    changes.enter(kit.house, coming, "administrator")
    switch = AskedChange("switch", shop, interval=key(8), supplier="sw")
    with pytest.raises(RefusedError, match="somebody's whom you do not manage"):
        desk.preview(switch)
    assert desk.preview(replace(switch, interval=key(9)))
    desk.undo(shop, "participant", key(9), "building-manager")


REFUSED = [
    # what changes, from which interval on: what the refusal says
    (
        "flat",
        3,
        {"participant": "solar"},
        "metered or cleared already .* choose 2026-06-23T10",
    ),
    ("flat", 9, {"participant": "nobody"}, "no participant 'nobody': write one of"),
    ("flat", 9, {"participant": "ada"}, "there is a participant 'ada' already"),
    ("flat", 9, {"supplier": "sw"}, "'sw' .* already: nothing would change"),
    ("flat", 9, {"tariff": "other"}, "no tariff 'other': write one of 't'"),
    ("flat", 9, {"feeder": "north"}, "no feeder 'north': write one of 'f'"),
    ("flat", 9, {}, "name the metering point and what changes"),
]


@pytest.mark.parametrize(("name", "number", "targets", "says"), REFUSED)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    kit: Kit, name: str, number: int, targets: dict[str, str], says: str
) -> None:
    before = kit.ask(lambda session: registry.standing(session, key(99)))
    with pytest.raises(RegistryError, match=says):
        changes.enter(kit.house, change(kit, name, number, **targets), "manager")
    assert kit.ask(lambda session: registry.standing(session, key(99))) == before


def test_a_preview_writes_nothing_and_an_undo_leaves_nothing(kit: Kit) -> None:
    shop, begin = kit.homes["shop"].point, Interval.parse(key(9))
    bo = Newcomer.of("bo", "Bo Ny", "")
    wanted = Change([shop], begin, {Role.PARTICIPANT: "bo"}, bo)
    told = changes.preview(kit.house, wanted)
    assert [(each.before, each.after, each.until) for each in told.links] == [("shop", "bo", None)]
    assert [(each.id, each.left_from) for each in told.leavers] == [("shop", begin)]
    assert kit.rows(ParticipantRow, ParticipantRow.id == "bo") == []
    assert changes.enter(kit.house, wanted, "manager") == told
    assert kit.rows(ParticipantRow, ParticipantRow.id == "shop")[0].left_from == begin.key
    for start, roles in ((begin.next(), tuple(Role)), (begin, (Role.SUPPLIER,))):
        with pytest.raises(ChangeError, match="no change begins at"):
            changes.undo(kit.house, [shop], start, "manager", roles)
    back = changes.undo(kit.house, [shop], begin, "manager")
    assert [(each.before, each.after) for each in back.links] == [("bo", "shop")]
    assert kit.rows(ParticipantRow, ParticipantRow.id == "bo") == []
    assert kit.rows(ParticipantRow, ParticipantRow.id == "shop")[0].left_from is None
    with pytest.raises(RegistryError, match="metered or cleared already"):
        changes.undo(kit.house, [kit.homes["flat"].point], Interval.parse(key(2)), "manager")
