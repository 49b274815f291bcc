"""New metering points in a running district: shown first, entered whole, refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.services.registry import additions, changes
from app.services.registry.additions import NewPoint
from app.services.registry.wanted import Change, ChangeError, Newcomer
from app.store import registry
from app.tables import BuildingRow, FeederRow, LinkRow, MeteringPointRow, ParticipantRow
from market.registry import Role
from metering.interval import Interval
from tests.app.district_kit import Kit, gsrn, key

ADA = Newcomer.of("ada", "Ada Ek", "Lindenweg 4\n12345 Linden")
BO = Newcomer.of("bo", "Bo Ek", "")
NEW = NewPoint(gsrn(77), "Lindenweg 4", "ada", "north", 43_000, "l4", newcomer=ADA)
OTHER = NewPoint(
    gsrn(79), "Lindenweg 6", "cleo", "south", 43_000, newcomer=Newcomer("cleo", "Cleo")
)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    folder = tmp_path_factory.mktemp("additions")
    kit = Kit(folder, f"sqlite:///{folder / 'district.db'}")
    kit.live(solar=(0, 900), flat=(300, 0), shop=(200, 0))
    yield kit
    kit.close()


def test_a_point_comes_with_its_people_and_place(kit: Kit) -> None:
    shown = additions.preview(kit.house, NEW)
    assert kit.rows(MeteringPointRow, MeteringPointRow.gsrn == NEW.gsrn) == [], "only shown"
    added = additions.enter(kit.house, NEW, "administrator")
    assert added == shown
    assert (added.tariff, added.new_feeder, added.new_building) == ("t", True, True)
    assert added.begin == Interval.containing_ms(kit.house.clock.now_ms())
    (person,) = kit.rows(ParticipantRow, ParticipantRow.id == "ada")
    assert (person.postal_address, person.left_from) == ("Lindenweg 4\n12345 Linden", None)
    assert len(kit.rows(FeederRow, FeederRow.id == "north")) == 1
    assert len(kit.rows(BuildingRow, BuildingRow.id == "l4")) == 1
    assert len(kit.rows(LinkRow, LinkRow.point == NEW.gsrn)) == len(Role)
    held = kit.ask(lambda session: registry.standing(session, added.begin.key)[NEW.gsrn])
    assert (held.participant, held.tariff, held.building) == ("ada", "t", "l4")
    kit.live(
        solar=(0, 900), flat=(300, 0), shop=(200, 0)
    )  # a point without a meter holds nobody up


def test_who_had_left_is_back_with_a_new_point(kit: Kit) -> None:
    flat = kit.homes["flat"].point
    soon = Interval.parse(key(3))
    changes.enter(kit.house, Change([flat], soon, {Role.PARTICIPANT: "bo"}, BO), "manager")
    (left,) = kit.rows(ParticipantRow, ParticipantRow.id == "flat")
    assert left.left_from == soon.key
    wanted = NewPoint(gsrn(78), "Garage", "flat", "f", 11_000)
    assert not additions.enter(kit.house, wanted, "administrator").new_feeder
    (back,) = kit.rows(ParticipantRow, ParticipantRow.id == "flat")
    assert back.left_from is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"gsrn": "570000000000000771"}, "check digit"),
        ({"gsrn": gsrn(1)}, "already"),
        ({"participant": "eve", "newcomer": None}, "there is no participant 'eve'"),
        ({"participant": "flat", "newcomer": Newcomer.of("flat", "Flo", "")}, "already"),
        ({"tariff": "gold"}, "write one of 't'"),
        ({"name": ""}, "1 to 120 characters"),
        ({"max_power_w": 0}, "max_power_w"),
        ({"feeder": ""}, "is no id"),
        ({"building": "a b"}, "is no id"),
    ],
)
def test_what_does_not_fit_is_told_and_writes_nothing(
    kit: Kit, changed: dict[str, object], reason: str
) -> None:
    fields = {name: getattr(OTHER, name) for name in NewPoint.__slots__} | changed
    before = len(kit.rows(MeteringPointRow)), len(kit.rows(ParticipantRow))
    with pytest.raises(ChangeError, match=reason):
        additions.enter(kit.house, NewPoint(**fields), "administrator")
    assert (len(kit.rows(MeteringPointRow)), len(kit.rows(ParticipantRow))) == before


def test_the_command_says_what_it_enters(kit: Kit, tmp_path: Path) -> None:
    words = f"point add {OTHER.gsrn} --to cleo --feeder south --max-power-w 43000 --data".split()
    words += [
        str(kit.house.settings.data),
        "--name",
        "Lindenweg 4",
        "--settings",
        str(settings(tmp_path, kit)),
    ]
    unknown = CliRunner().invoke(cli, words)
    assert (unknown.exit_code, "there is no participant 'cleo'" in unknown.output) == (1, True)
    words += ["--participant-name", "Cleo"]
    shown = CliRunner().invoke(cli, [*words, "--dry-run"])
    assert (shown.exit_code, "nothing was changed" in shown.output) == (0, True), shown.output
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "new feeder: south" in done.output
    assert f"next: wattloom meter token {OTHER.gsrn}" in done.output
    assert len(kit.rows(MeteringPointRow, MeteringPointRow.gsrn == OTHER.gsrn)) == 1


def settings(folder: Path, kit: Kit) -> Path:
    file = folder / "district.toml"
    file.write_text(f'origin = "{kit.house.settings.origin}"\n')
    return file
