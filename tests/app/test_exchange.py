"""Values out and in again, what is refused, and who answers for which energy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import col, update
from typer.testing import CliRunner

from app.cli import cli
from app.files.exchange_mapping import Mapping
from app.files.exchange_values import ExchangeFileError
from app.services.exchange import allocation, values
from app.services.exchange.values import ExchangeError
from app.tables import CorrectionRow, MeteringPointRow, SettledRow
from tests.app.district_kit import Kit, key
from tests.conftest import LONG

DAY = "2026-06-23"
HEAD = "point,start,import_wh,export_wh,status\n"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    folder = tmp_path_factory.mktemp("exchange")
    kit = Kit(folder, f"sqlite:///{folder / 'district.db'}")
    kit.live(solar=(0, 2_000), flat=(400, 0), shop=(700, 0))
    kit.live(silent=["shop"], solar=(0, 900), flat=(500, 0))
    kit.live(silent=["shop"], solar=(100, 0), flat=(300, 0))
    yield kit
    kit.close()


def exported(kit: Kit, by: Mapping | None = None, *points: str) -> str:
    when = allocation.period(DAY, kit.settings.tz)
    with kit.database.read() as session:
        return "".join(values.export(session, kit.house, when, points, by or Mapping()))


@pytest.fixture(scope="module")
def whole(kit: Kit) -> list[str]:
    return exported(kit).splitlines(keepends=True)


def planned(kit: Kit, text: str, by: Mapping | None = None) -> values.Plan:
    file = kit.folder / "in.csv"
    file.write_text(text)
    return values.preview(kit.house, file, by or Mapping())


def refused(kit: Kit, text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(ExchangeFileError) as error:
        planned(kit, text)
    return [(fault.row, fault.reason) for fault in error.value.faults]


def row(kit: Kit, name: str, number: int, cells: str) -> str:
    return f"{kit.homes[name].point},{key(number)},{cells}\n"


def test_the_file_tells_each_point_and_quarter_hour(kit: Kit) -> None:
    lines = exported(kit, None, kit.homes["flat"].point).splitlines()
    assert lines[0] == (
        "point,start,import_wh,export_wh,status,import_local_wh,import_own_wh,import_residual_wh,"
        "export_local_wh,export_own_wh,export_residual_wh"
    )
    assert lines[1].split(",", 1)[1] == f"{key(0)},400,0,measured,400,0,0,0,0,0"
    assert lines[3].split(",", 1)[1] == f"{key(2)},300,0,measured,0,0,300,0,0,0"
    statuses = [line.split(",")[4] for line in exported(kit).splitlines()[1:]]
    assert statuses.count("estimated") == 2, "the shop's meter was silent twice"


@pytest.mark.parametrize("by", [{}, {"values": {"unit": "kW"}, "time": {"label": "end"}}])
def test_what_goes_out_changes_nothing_when_it_comes_in(kit: Kit, by: dict[str, object]) -> None:
    mapping = Mapping.model_validate(by)
    plan = planned(kit, exported(kit, mapping), mapping)
    assert (plan.changes, plan.unchanged) == ((), 9)


@settings(max_examples=200 if LONG else 12)
@given(st.lists(st.booleans(), min_size=9, max_size=9), st.permutations(range(9)))
def test_any_part_of_the_file_in_any_order_changes_nothing(
    kit: Kit, whole: list[str], kept: list[bool], order: list[int]
) -> None:
    head, *lines = whole
    chosen = [lines[n] for n in order if kept[n]]
    gap = any(not kept[n + 1] and kept[n] and kept[n + 2] for n in (0, 3, 6))
    if gap or not chosen:
        assert refused(kit, "".join([head, *chosen]))
    else:
        assert not planned(kit, "".join([head, *chosen])).changes


@pytest.mark.parametrize(
    ("text", "at", "reason"),
    [
        ("570000000000000999,{0},1,0,\n", 2, "there is no metering point"),
        ("{flat},{0},400,0,\n{flat},{2},300,0,\n", 2, "1 settled quarter-hours"),
        ("{flat},{9},400,0,\n", 2, "is not settled"),
        ("{flat},2026-06-23T08:45:00Z,400,0,\n", 2, "is not settled"),
        ("{flat},{0},400000,0,\n", 2, "the fuse of flat allows 50000 W"),
        ("{flat},{0},401,0,estimated\n", 2, "is an estimate, and another than is known"),
    ],
)
def test_a_row_that_does_not_fit_is_told(kit: Kit, text: str, at: int, reason: str) -> None:
    keys = [key(n) for n in range(10)]
    ((found, told),) = refused(kit, HEAD + text.format(*keys, flat=kit.homes["flat"].point))
    assert found == at
    assert reason in told


def test_one_wrong_row_refuses_the_file(kit: Kit) -> None:
    text = HEAD + row(kit, "flat", 0, "999,0,") + row(kit, "solar", 0, "0,2000,").replace("0Z", "")
    assert len(refused(kit, text)) == 1
    assert kit.rows(CorrectionRow) == []


def test_a_missing_register_stays_as_it_is_known(kit: Kit) -> None:
    plan = planned(kit, HEAD + row(kit, "solar", 0, ",1900,"))
    ((change,), unchanged) = plan.changes, plan.unchanged
    assert (change.import_wh, change.export_wh, unchanged) == (0, 1_900, 0)


def test_values_become_corrections_and_come_out_as_such(tmp_path: Path) -> None:
    kit = Kit(tmp_path, f"sqlite:///{tmp_path / 'district.db'}")
    kit.live(solar=(0, 2_000), flat=(400, 0), shop=(700, 0))
    kit.live(silent=["shop"], solar=(0, 900), flat=(500, 0))
    text = HEAD + row(kit, "flat", 0, "450,0,") + row(kit, "shop", 1, "600,0,measured")
    plan = planned(kit, text)
    assert [change.row for change in plan.changes] == [2, 3]
    assert kit.rows(CorrectionRow) == [], "a preview writes nothing"
    with pytest.raises(ExchangeFileError, match="a reason is missing"):
        values.enter(kit.house, plan, "", "administrator")
    assert values.enter(kit.house, plan, "letter of the grid operator", "administrator") == 2
    with pytest.raises(ExchangeFileError, match="was corrected meanwhile"):
        values.enter(kit.house, plan, "again", "administrator")
    out = exported(kit)
    assert f"{key(0)},450,0,corrected,400,0,50" in out
    assert f"{key(1)},600,0,corrected,0,0,600" in out
    assert not planned(kit, out).changes
    assert not planned(kit, text).changes, "the same file again"
    kit.close()


def test_the_shares_add_up_to_what_was_metered(kit: Kit) -> None:
    with kit.database.write() as session:
        flat = kit.homes["flat"].point
        session.exec(
            update(SettledRow).where(col(SettledRow.point) == flat).values(supplier="nord")
        )
    when = allocation.period(DAY, kit.settings.tz)
    with kit.database.read() as session:
        sums = list(allocation.lines(session, when, per_interval=False))
        single = list(allocation.lines(session, when, per_interval=True))
        *parties, everybody = allocation.totals(session, when)
        head, *sheet = allocation.as_csv(session, when, per_interval=True)
    assert (len(sums), len(single), len(sheet)) == (3, 9, 9)
    assert head.startswith("start,supplier,balance_party,point,intervals")
    for line in (*sums, *single, *parties, everybody):
        for way in ("import", "export"):
            parts = [int(str(line[f"{way}_{part}_wh"])) for part in ("local", "own", "residual")]
            assert sum(parts) == line[f"{way}_wh"]
    assert [(p["supplier"], p["import_wh"], p["import_local_wh"]) for p in parties] == [
        ("", 700 + 0 + 0 + 100, 700),
        ("nord", 1_200, 900),
    ]
    assert everybody["import_local_wh"] == everybody["export_local_wh"] == 1_600
    assert everybody["short_wh"] is None, "nothing was contracted in metered mode"


def test_in_forward_mode_the_energy_beside_contracts_is_told(kit: Kit) -> None:
    with kit.database.write() as session:
        session.exec(update(SettledRow).values(contracted_import_wh=0, contracted_export_wh=0))
        flat = kit.homes["flat"].point
        session.exec(
            update(SettledRow).where(col(SettledRow.point) == flat).values(contracted_import_wh=350)
        )
    when = allocation.period("2026-06", kit.settings.tz)
    with kit.database.read() as session:
        *_, everybody = allocation.totals(session, when)
        found = {
            line["point"]: (line["short_wh"], line["long_wh"])
            for line in allocation.lines(session, when, per_interval=False)
        }
    with kit.database.write() as session:
        nothing = {"contracted_import_wh": None, "contracted_export_wh": None}
        session.exec(update(SettledRow).values(**nothing))
    assert found[kit.homes["flat"].point] == (300, 0), "what it drew beside local energy"
    assert found[kit.homes["solar"].point] == (0, 0), "it agreed on nothing"
    assert (everybody["short_wh"], everybody["long_wh"]) == (300, 0)


@pytest.mark.parametrize(
    "text", ["", "june", "2026-6", "2026-13", "2026-06-31", "1999-12", "20260623"]
)
def test_a_period_is_a_local_day_or_month(kit: Kit, text: str) -> None:
    with pytest.raises(allocation.PeriodError, match="write 2026-06-23 or 2026-06"):
        allocation.period(text, kit.settings.tz)
    day = allocation.period("2026-10-25", kit.settings.tz)
    assert (day.first, day.after) == ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z")


def test_a_point_that_measures_alone_is_told_so(kit: Kit) -> None:
    with kit.database.write() as session:
        row = kit.homes["shop"].point
        session.get_one(MeteringPointRow, row).purpose = "production"
    try:
        told = refused(kit, HEAD + f"{row},{key(7)},1,0,\n")
        assert "is never settled" in told[0][1]
        with pytest.raises(ExchangeError, match="there is no metering point 5"):
            exported(kit, None, "5")
    finally:
        with kit.database.write() as session:
            session.get_one(MeteringPointRow, row).purpose = None


def test_the_commands(kit: Kit, tmp_path: Path) -> None:
    (kit.folder / "keys").mkdir(exist_ok=True)
    run = CliRunner().invoke
    base = ["--data", str(kit.folder)]
    file = tmp_path / "out.csv"
    done = run(cli, ["exchange", "export", "values", DAY, "--out", str(file), *base])
    assert (done.exit_code, file.read_text()) == (0, exported(kit)), done.output
    same = run(cli, ["exchange", "import", "values", str(file), "--json", "--dry-run", *base])
    assert json.loads(same.stdout) == {"written": 0, "unchanged": 9, "changes": []}
    file.write_text(HEAD + row(kit, "flat", 0, "402,0,"))
    no = run(cli, ["exchange", "import", "values", str(file), *base], input="n\n")
    assert no.exit_code == 0
    assert "values entered: 0" in no.stderr
    file.write_text(HEAD + row(kit, "flat", 0, "-1,0,"))
    bad = run(cli, ["exchange", "import", "values", str(file), "--yes", *base])
    assert bad.exit_code == 1
    assert "row 2: import_wh has the wrong sign" in bad.stderr
    told = run(cli, ["exchange", "allocation", DAY, "--json", *base])
    assert len(json.loads(told.stdout)["lines"]) == 3
