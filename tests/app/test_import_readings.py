"""Readings and load profiles of a head-end: shown first, then authorised values, whole or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from app.files.exchange_mapping import MappingError, read_mapping
from app.files.exchange_values import ExchangeFileError, ValueLine, read_values, value_lines
from app.tables import CorrectionRow, ReadingRow, ValueFileRow
from metering.interval import Interval
from tests.app.district_kit import Kit, key

BERLIN = ZoneInfo("Europe/Berlin")
POINT = "570000000000000022"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    folder = tmp_path_factory.mktemp("import")
    kit = Kit(folder, f"sqlite:///{folder / 'district.db'}")
    (kit.folder / "keys").mkdir(exist_ok=True)
    kit.live(solar=(0, 2_000), flat=(400, 0))
    kit.live(silent=["flat", "shop"], solar=(0, 900), flat=(500, 0))
    kit.live(silent=["flat", "shop"], solar=(0, 100), flat=(300, 0))
    yield kit
    kit.close()


def brought(kit: Kit, text: str, *options: str) -> Result:
    file = kit.folder / "portal.csv"
    file.write_text(text, "utf-8")
    command = ["import", "readings", str(file), *options, "--data", str(kit.folder)]
    return CliRunner().invoke(cli, command, env={"WATTLOOM_DATABASE_URL": kit.url})


def portal(kit: Kit, *cells: str) -> str:
    """A portal's file: local times at the end of each quarter-hour, kWh with a comma."""
    zone, rows = kit.settings.tz, ["Zeit;Bezug"]
    for number, cell in enumerate(cells, start=1):
        end = Interval.parse(key(number)).start.astimezone(zone)
        rows.append(f"{end:%d.%m.%Y %H:%M};{cell}")
    return "\n".join([*rows, ""])


def options(kit: Kit) -> list[str]:
    return [
        "--label", "end", "--zone", kit.settings.tz.key, "--time-format", "%d.%m.%Y %H:%M",
        "--unit", "kWh", "--decimal", ",", "--delimiter", ";", "--point", kit.homes["flat"].point,
        "--column", "time=Zeit", "--column", "import=Bezug", "--column", "export=",
    ]  # fmt: skip


def test_what_would_change_is_shown_and_then_entered_whole(kit: Kit) -> None:
    text, readings = portal(kit, "0,400", "0,512", "0,288"), len(kit.rows(ReadingRow))
    shown = brought(kit, text, *options(kit), "--dry-run", "--json")
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    (span,) = told["points"]
    assert (span["values"], span["first"], span["until"]) == (3, key(0), key(3))
    assert (told["written"], told["unchanged"], len(told["changes"])) == (0, 1, 2)
    assert [(row["row"], row["new_import_wh"]) for row in told["changes"]] == [(3, 512), (4, 288)]
    assert kit.corrections("flat") == {}

    refused = brought(kit, text, *options(kit))
    assert refused.exit_code == 1
    assert "a reason is missing" in refused.stderr
    assert kit.corrections("flat") == {}

    done = brought(kit, text, *options(kit), "--reason", "portal of the grid operator")
    assert done.exit_code == 0, done.output
    assert "entered: 2, known already: 1" in done.stderr
    assert kit.corrections("flat") == {key(1): (512, 0), key(2): (288, 0)}
    assert [row.name for row in kit.rows(ValueFileRow)] == ["portal.csv"]
    assert len(kit.rows(ReadingRow)) == readings, "an imported value is never a reading"
    again = brought(kit, text, *options(kit), "--reason", "once more")
    assert (again.exit_code, "entered: 0, known already: 3" in again.stderr) == (0, True)
    kit.check()


def test_readings_of_a_counter_come_in_as_what_it_counted(kit: Kit) -> None:
    point = kit.homes["shop"].point
    rows = [f"{point},{key(number)},{wh}" for number, wh in enumerate((90_000, 90_000, 90_501))]
    told = brought(
        kit, "\n".join(["point,start,kWh", *rows, ""]), "--counters", "--label", "start",
        "--column", "import=kWh", "--column", "export=", "--reason", "read by hand", "--json",
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    assert (json.loads(told.stdout)["written"], kit.corrections("shop")) == (1, {key(1): (501, 0)})


REFUSED = {
    "no label": ((), "0,4", 2, "--label"),
    "a value that is none": (("all",), "0.4", 1, "row 2: Bezug '0.4' is no number"),
    "nothing": (("all",), "", 1, "row 2: Bezug: empty"),
    "half a column": (("all", "--column", "x"), "0,4", 2, "WHAT=HEADER"),
    "an unknown column": (("all", "--column", "x=y"), "0,4", 1, "columns.x: Extra inputs"),
    "another zone": (("all", "--zone", "Asia/Tokyo"), "0,4", 1, "a file for another zone"),
    "more than the fuse": (("all",), "400,0", 1, "the fuse of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_told_with_row_and_column(kit: Kit, case: str) -> None:
    more, cell, code, said = REFUSED[case]
    given = [*options(kit), *more[1:]] if more else []
    before = len(kit.rows(CorrectionRow))
    done = brought(kit, portal(kit, cell), *given, "--reason", "x")
    assert (done.exit_code, len(kit.rows(CorrectionRow))) == (code, before)
    assert said in done.stderr, done.stderr


# --- The file alone -------------------------------------------------------------------------------


def read(text: str, **instead: dict[str, str] | str) -> tuple[ValueLine, ...]:
    return read_values(text.encode(), read_mapping(None, instead), BERLIN)


@pytest.mark.parametrize("label", ["start", "end"])
def test_the_longest_day_has_a_hundred_quarter_hours(label: str) -> None:
    """25 October 2026: 02:00 to 02:45 come twice, and their order tells which is which."""
    first = datetime(2026, 10, 24, 22, tzinfo=UTC)
    step = timedelta(minutes=15)
    moments = [first + step * (number + (label == "end")) for number in range(100)]
    rows = [f"{moment.astimezone(BERLIN):%Y-%m-%dT%H:%M},1" for moment in moments]
    found = read(
        "\n".join(["start,import_wh", *rows]),
        time={"label": label, "zone": "Europe/Berlin"}, columns={"export": ""}, point=POINT,
    )  # fmt: skip
    assert [line.interval.start for line in found] == [first + step * n for n in range(100)]


COUNTERS = {
    "at their time": ("100 160 290", "start", "0:60 1:130"),
    "however labelled": ("100 160 290", "end", "0:60 1:130"),
    "a gap": ("100 - 290 300", "start", "2:10"),
    "standing still": ("7 7", "start", "0:0"),
}


@pytest.mark.parametrize("case", COUNTERS)
def test_counters_count_between_two_readings(case: str) -> None:
    shown, label, expected = COUNTERS[case]
    rows = [f"{key(n)},{wh}" for n, wh in enumerate(shown.split()) if wh != "-"]
    found = read(
        "\n".join(["start,import_wh", *rows]), point=POINT, columns={"export": ""},
        values={"kind": "counter"}, time={"label": label},
    )  # fmt: skip
    of = {key(number): number for number in range(8)}
    assert " ".join(f"{of[one.interval.key]}:{one.import_wh}" for one in found) == expected


def test_a_counter_that_fell_and_one_read_too_seldom_are_refused() -> None:
    head = "point,start,import_wh,export_wh\n"
    counter = {"values": {"kind": "counter"}}
    with pytest.raises(
        ExchangeFileError, match=r"row 3: the counter of .* shows less than in row 2"
    ):
        read(f"{head}{POINT},{key(0)},9,9\n{POINT},{key(1)},10,8\n", **counter)
    with pytest.raises(ExchangeFileError, match="no two readings of a counter"):
        read(f"{head}{POINT},{key(0)},9,9\n{POINT},{key(4)},10,9\n", **counter)
    with pytest.raises(MappingError, match="a counter is written in Wh or kWh"):
        read(head, values={"kind": "counter", "unit": "kW"})
    with pytest.raises(ExchangeFileError, match="for reading alone"):
        list(value_lines([], read_mapping(None, counter), BERLIN))
