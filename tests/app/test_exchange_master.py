"""Master data out and in again: what changes, what is refused, a whole folder or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.files.exchange_master import SHEETS, sheet_text
from app.files.exchange_values import ExchangeFileError
from app.services.exchange import master
from app.store import registry
from app.tables import LinkRow, ParticipantRow, SupplierRow
from market.registry import Role
from metering.interval import Interval
from tests.app.district_kit import Kit, key

SOON, LATER = key(40), key(80)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    folder = tmp_path_factory.mktemp("master")
    kit = Kit(folder, f"sqlite:///{folder / 'district.db'}")
    kit.live(solar=(0, 2_000), flat=(400, 0), shop=(700, 0))
    kit.live(solar=(0, 1_000), flat=(400, 0), shop=(700, 0))
    yield kit
    kit.close()


@pytest.fixture
def folder(kit: Kit, tmp_path: Path) -> Path:
    write(kit, tmp_path)
    return tmp_path


def write(kit: Kit, folder: Path) -> None:
    for sheet, rows in kit.ask(master.export).items():
        (folder / f"{sheet}.csv").write_text(sheet_text(sheet, rows))


def edit(folder: Path, sheet: str, old: str, new: str) -> None:
    file = folder / f"{sheet}.csv"
    text = file.read_text()
    assert old in text, text
    file.write_text(text.replace(old, new, 1))


def append(folder: Path, sheet: str, *rows: str) -> None:
    file = folder / f"{sheet}.csv"
    file.write_text(file.read_text() + "".join(f"{row}\n" for row in rows))


def told(kit: Kit, folder: Path) -> list[str]:
    return list(master.lines_of(master.preview(kit.house, folder)))


def refused(kit: Kit, folder: Path) -> str:
    with pytest.raises(ExchangeFileError) as error:
        master.enter(kit.house, folder, "administrator")
    return str(error.value)


def holds(kit: Kit, name: str, interval: str) -> registry.Standing:
    point = kit.homes[name].point
    standing: registry.Standing = kit.ask(lambda s: registry.standing(s, interval)[point])
    return standing


def switch(folder: Path, point: str, role: str, to: str, begin: str = SOON) -> None:
    """Let a point's last link end at ``begin`` and another one follow."""
    file = folder / "links.csv"
    lines = file.read_text().splitlines()
    at = max(n for n, line in enumerate(lines) if line.startswith(f"{point},{role},"))
    lines[at] += begin
    file.write_text("\n".join([*lines, f"{point},{role},{to},{begin},", ""]))


def test_what_goes_out_changes_nothing_when_it_comes_in(kit: Kit, folder: Path) -> None:
    assert sorted(file.stem for file in folder.glob("*.csv")) == sorted(SHEETS)
    assert master.enter(kit.house, folder, "administrator") == []


def test_a_supplier_comes_and_a_point_switches_to_it(kit: Kit, folder: Path) -> None:
    point = kit.homes["flat"].point
    append(folder, "suppliers", "nord,Nordstrom AS")
    switch(folder, point, "supplier", "nord")
    first, second = told(kit, folder)
    assert first == "suppliers.csv, row 3: new: nord, Nordstrom AS"
    assert second.endswith(f"{point} from {SOON}: supplier nord")
    assert kit.rows(SupplierRow, SupplierRow.id == "nord") == [], "a preview writes nothing"
    before = (folder / "links.csv").read_text()
    assert len(master.enter(kit.house, folder, "administrator")) == 2
    assert (holds(kit, "flat", SOON).supplier, holds(kit, "flat", key(39)).supplier) == ("nord", "")
    write(kit, folder)
    assert sorted((folder / "links.csv").read_text().split()) == sorted(before.split())
    edit(folder, "links", f"{point},supplier,nord,{SOON},", f"{point},supplier,nord,{LATER},")
    edit(folder, "links", SOON, LATER)
    assert len(master.enter(kit.house, folder, "administrator")) == 2, "taken back, and later"
    assert (holds(kit, "flat", SOON).supplier, holds(kit, "flat", LATER).supplier) == ("", "nord")


def test_somebody_moves_in_with_an_address(kit: Kit, folder: Path) -> None:
    append(folder, "participants", "ek,Ada Ek,Lindenweg 5 | 12345 Lindenhof,12/345,yes")
    assert "they are new: name their metering point" in refused(kit, folder)
    switch(folder, kit.homes["shop"].point, "participant", "ek")
    assert len(master.enter(kit.house, folder, "administrator")) == 2
    (row,) = kit.rows(ParticipantRow, ParticipantRow.id == "ek")
    assert row.postal_address == "Lindenweg 5\n12345 Lindenhof"
    assert (row.tax_number, row.vat_liable, row.account) == ("12/345", True, 4)
    assert holds(kit, "shop", SOON).participant == "ek"
    write(kit, folder)
    switch(folder, kit.homes["shop"].point, "balance-party", "")
    edit(folder, "participants", "Ada Ek", "Ada Ekström")
    assert "already" in refused(kit, folder), "'' holds already"
    assert kit.rows(ParticipantRow, ParticipantRow.name == "Ada Ekström") == [], "all or nothing"


@pytest.mark.parametrize(
    ("sheet", "old", "new", "reason"),
    [
        ("links", ",,2026", ",nobody,2026", "is its first, and stays so"),
        ("links", "supplier", "provider", "no role"),
        ("links", "2026-06-23T09:00:00Z", "2026-06-23T09:07:00Z", "names no begin"),
        ("points", "50000", "50 kW", "max_power_w '50 kW' is no whole number"),
        ("points", ",no", ",yes", "green cannot change by a file"),
        ("points", "57", "58", "it is new: name its participant"),
        ("suppliers", "id,name", "id,nom", "missing columns 'name'"),
        ("participants", "Flat", "", "a name has 1 to"),
        ("feeders", "f,f,", "f,f,12", "head '12' is no metering point"),
    ],
)
def test_a_row_that_does_not_fit_is_told(
    kit: Kit, folder: Path, sheet: str, old: str, new: str, reason: str
) -> None:
    edit(folder, sheet, old, new)
    message = refused(kit, folder)
    assert f"{sheet}.csv, row" in message
    assert reason in message


def test_overlaps_and_gaps_are_told(kit: Kit, folder: Path) -> None:
    point = kit.homes["solar"].point
    append(folder, "links", f"{point},supplier,nord,{SOON},")
    assert "overlap" in refused(kit, folder)
    write(kit, folder)
    edit(folder, "links", f"{point},supplier,,{key(0)},", f"{point},supplier,,{key(0)},{SOON}")
    assert "nobody follows it" in refused(kit, folder)
    append(folder, "links", f"{point},supplier,nord,{LATER},")
    assert "leave a gap" in refused(kit, folder)
    write(kit, folder)
    append(folder, "suppliers", "west,West AS")
    switch(folder, point, "supplier", "west", key(1))
    assert "metered or cleared already" in refused(kit, folder)
    append(folder, "suppliers", "west,again")
    assert "stands in row" in refused(kit, folder)


def test_a_device_comes_and_ends(kit: Kit, folder: Path) -> None:
    point, begin = kit.homes["solar"].point, Interval.parse(SOON)
    device = f"roof-1,{point},,export,Roof,production,T010000,F01040100,5000,,0,{SOON},"
    append(folder, "devices", device)
    assert [line.split(": ", 1)[1] for line in told(kit, folder)] == [
        f"new: production roof-1 behind {point}"
    ]
    master.enter(kit.house, folder, "administrator")
    assert master.enter(kit.house, folder, "administrator") == []
    end = Interval(begin.start + timedelta(hours=1)).key
    edit(folder, "devices", f"{SOON},", f"{SOON},{end}")
    assert len(master.enter(kit.house, folder, "administrator")) == 1
    edit(folder, "devices", ",5000,", ",6000,")
    assert "capacity_w of a device cannot change" in refused(kit, folder)
    edit(folder, "devices", "roof-1", "roof 2")
    assert "an id has 1 to 40" in refused(kit, folder)


def test_the_commands(kit: Kit, tmp_path: Path) -> None:
    base = ["--data", str(kit.folder)]
    run, out = CliRunner().invoke, str(tmp_path / "out")
    assert run(cli, ["exchange", "export", "master", out, *base]).exit_code == 0
    edit(tmp_path / "out", "participants", "Solar", "Sun & Son")
    asked = run(cli, ["exchange", "import", "master", out, *base], input="y\n")
    assert "solar: name Solar -> Sun & Son" in asked.stdout
    assert kit.rows(ParticipantRow, ParticipantRow.name == "Sun & Son")
    empty = run(cli, ["exchange", "import", "master", str(tmp_path), *base])
    assert empty.exit_code == 1
    assert "holds none of suppliers.csv" in empty.stderr


def test_links_name_their_roles(kit: Kit) -> None:
    roles = {row.role for row in kit.rows(LinkRow)}
    assert roles == {role.value for role in Role}
