"""Files of values: times, units, signs and layouts by a mapping; what is wrong, by its row."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.files.exchange_mapping import Mapping, MappingError, read_mapping
from app.files.exchange_values import (
    ExchangeFileError,
    ValueRow,
    read_values,
    value_lines,
)
from app.files.rows import TableFileError
from metering.interval import LENGTH_MS, Interval
from tests.conftest import LONG

OSLO = ZoneInfo("Europe/Oslo")
SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
SCENARIOS = (Path(__file__).parent / "exchange_time_scenarios.txt").read_text("utf-8")
P, Q = "570000000000000019", "570000000000000026"


def mapping(**given: object) -> Mapping:
    return Mapping.model_validate(given)


def read(text: str, by: Mapping | None = None) -> list[tuple[str, str, int | None, int | None]]:
    lines = read_values(text.encode(), by or Mapping(), OSLO)
    return [(line.point, line.interval.key, line.import_wh, line.export_wh) for line in lines]


def faults(text: str, by: Mapping | None = None) -> list[tuple[int | None, str]]:
    with pytest.raises(ExchangeFileError) as refused:
        read_values(text.encode(), by or Mapping(), OSLO)
    return [(fault.row, fault.reason) for fault in refused.value.faults]


def scenarios() -> list[tuple[str, str, str, str]]:
    rows = [line.split("|") for line in SCENARIOS.splitlines() if line.count("|") == 3]
    cells = [tuple(cell.strip() for cell in row) for row in rows if not row[0].startswith("#")]
    return [(zone, label, times, found) for zone, label, times, found in cells]


@pytest.mark.parametrize(("zone", "label", "times", "found"), scenarios())
def test_times(zone: str, label: str, times: str, found: str) -> None:
    if zone == "Europe/Oslo" and times.count(":") == 1:
        times = times.replace(" ", "T")
    by = mapping(time={"zone": zone, "label": label})
    text = HEAD + "".join(f"{P},{each},1,0\n" for each in times.split(" "))
    if found.startswith("refused: "):
        told = faults(text, by)
        assert any(found.removeprefix("refused: ") in reason for _, reason in told), told
    else:
        keys = sorted(key for _, key, _, _ in read(text, by))
        year = times[:4]
        assert keys == [f"{year}-{each}:00Z" for each in found.split()]


HEAD = "point,start,import_wh,export_wh\n"
HALVES = {"values": {"unit": "kWh", "rounding": "half-up"}}
NET = {"columns": {"net": "kwh"}, "values": {"unit": "kWh", "sign": "import-positive"}}
GERMAN = {"delimiter": ";", "decimal_mark": ",", "values": {"unit": "kW"}}


@pytest.mark.parametrize(
    ("by", "header", "cells", "expected"),
    [
        ({}, "import_wh,export_wh", "400,0", (400, 0)),
        ({}, "import_wh,export_wh", "400,", (400, None)),
        (NET, "kwh", "0.4", (400, 0)),
        (NET, "kwh", "-0.4", (0, 400)),
        (NET | {"values": {"sign": "export-positive"}}, "kwh", "7", (0, 7)),
        (GERMAN, "import_wh;export_wh", "1,6;0,004", (400, 1)),
        ({"values": {"sign": "export-negative"}}, "import_wh,export_wh", "0,-12", (0, 12)),
        (HALVES, "import_wh,export_wh", "0.0125,0", (13, 0)),
        ({}, "import_wh,export_wh,note", "400,0,seen", (400, 0)),
    ],
)  # fmt: skip
def test_units_and_signs(
    by: dict[str, object], header: str, cells: str, expected: tuple[int, int]
) -> None:
    mark = ";" if ";" in header else ","
    text = f"point{mark}start{mark}{header}\n{P}{mark}2026-06-23T09:00Z{mark}{cells}\n"
    assert read(text, mapping(**by)) == [(P, "2026-06-23T09:00:00Z", *expected)]


@pytest.mark.parametrize(
    ("by", "cells", "reason"),
    [
        ({}, "-1,0", "import_wh has the wrong sign"),
        ({"values": {"sign": "export-negative"}}, "0,12", "export_wh has the wrong sign"),
        ({}, "1.5,0", "no whole number of Wh"),
        ({"values": {"unit": "kWh"}}, "0.0005,0", "no whole number of Wh"),
        ({}, '"1,5",0', "is no number"),
        ({}, "abc,0", "is no number"),
        ({}, "1e3,0", "is no number"),
        ({}, ",", "a missing value is no 0"),
    ],
)
def test_what_does_not_fit_is_told_with_its_row(
    by: dict[str, object], cells: str, reason: str
) -> None:
    text = f"{HEAD}{P},2026-06-23T09:00Z,1,0\n{P},2026-06-23T09:15Z,{cells}\n"
    ((row, told),) = faults(text, mapping(**by))
    assert row == 3
    assert reason in told


def test_registers_are_two_rows_of_one_quarter_hour() -> None:
    by = mapping(columns={"value": "wh", "register": "obis"})
    head = "point,start,obis,wh\n"
    at = f"{P},2026-06-23T09:00Z"
    text = f"{head}{at},1-1:1.29.0,5\n{at},1-1:2.29.0,7\n"
    assert read(text, by) == [(P, "2026-06-23T09:00:00Z", 5, 7)]
    assert faults(f"{text}{at},import,6\n", by)[0][0] == 4
    assert "is none of 1-1:1.29.0" in faults(f"{head}{at},16.7.0,5\n", by)[0][1]


def test_a_doubled_row_names_the_first_one() -> None:
    text = f"{HEAD}{P},2026-06-23T09:00Z,1,0\n{P},2026-06-23T11:00+02:00,1,0\n"
    assert faults(text) == [
        (
            3,
            f"2026-06-23T09:00:00Z of {P} stands in row 2 already: write each quarter-hour once",
        )
    ]


def test_the_sample_reads_as_the_page_says() -> None:
    lines = read_values(
        SAMPLES / "values.csv", read_mapping(SAMPLES / "mapping.toml"), ZoneInfo("Europe/Berlin")
    )
    assert [(line.interval.key, line.import_wh, line.status) for line in lines] == [
        ("2026-06-23T09:00:00Z", 400, "corrected"),
        ("2026-06-23T09:15:00Z", 512, "corrected"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("delimiter = ','\ndecimal_mark = ','", "are the same"),
        ("[time]\nzone = 'Europe/Lindenhof'", "is no IANA time zone"),
        ("[time]\nformat = '%d.%m.%Y %H:%M'", "say whose time it is"),
        ("[time]\nformat = '%d.%m.%Y'\nzone = 'UTC'", "does not tell day, hour and minute"),
        ("[values]\nunit = 'MWh'", "values.unit"),
        ("[values]\nsign = 'import-positive'", "is that of a net column"),
        ("[columns]\nnet = 'a'", "is that of a net column"),
        ("[columns]\nnet = 'a'\nvalue = 'b'\nregister = 'c'", "one way"),
        ("[columns]\nvalue = 'b'", "go together"),
        ("[columns]\nimport = 'a'\nexport = 'a'", "one name"),
        ("colour = 'green'", "colour"),
        ("[columns", "is not TOML"),
        ("a = " + "[" * 50_000, "is not TOML"),
    ],
)
def test_a_wrong_mapping_says_which_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(MappingError, match=r"m\.toml") as refused:
        read_mapping(tmp_path / "m.toml")
    assert reason in str(refused.value)


def test_a_file_in_another_shape_is_refused_by_its_header() -> None:
    with pytest.raises(TableFileError, match="separated by ';'"):
        read("point;start;import_wh;export_wh\n")
    with pytest.raises(TableFileError, match="missing columns 'export_wh'"):
        read("point,start,import_wh\n")
    assert faults(HEAD) == [(1, "no row follows the header")]


WH = st.integers(0, 10**6)
LAYOUTS = [
    {},
    {"time": {"label": "end", "zone": "Europe/Oslo", "format": "%d.%m.%Y %H:%M"}, **GERMAN},
    {"time": {"zone": "Europe/Oslo"}, "values": {"unit": "kWh", "sign": "export-negative"}},
    {"columns": {"value": "v", "register": "r"}, "time": {"zone": "UTC", "label": "end"}},
    {
        "columns": {"net": "net", "date": "day", "time": "at"},
        "values": {"sign": "export-positive"},
        "time": {"zone": "Europe/Oslo", "format": "%Y-%m-%d %H:%M"},
    },
]


@settings(max_examples=20_000 if LONG else 120)
@given(
    st.sampled_from(LAYOUTS),
    st.sampled_from(["2026-10-24T23:00:00Z", "2027-03-27T23:30:00Z", "2026-06-23T20:00:00Z"]),
    st.lists(
        st.tuples(WH, WH, st.sampled_from(["measured", "estimated", "corrected"])),
        min_size=13,
        max_size=16,
    ),
)
def test_what_is_written_reads_the_same(
    given_mapping: dict[str, object], first: str, energies: list[tuple[int, int, str]]
) -> None:
    by, start = mapping(**given_mapping), Interval.parse(first).start_ms
    rows = [
        ValueRow(
            point,
            Interval.containing_ms(start + n * LENGTH_MS),
            imported,
            0 if imported and by.columns.net else exported,
            (0, 0, imported, 0, 0, exported),
            status,
        )
        for point in (P, Q)
        for n, (imported, exported, status) in enumerate(energies)
    ]
    text = "".join(value_lines(rows, by, OSLO)).encode()
    told = read_values(text, by, OSLO)
    assert [
        (line.point, line.interval, line.import_wh, line.export_wh, line.status) for line in told
    ] == [(row.point, row.interval, row.import_wh, row.export_wh, row.status) for row in rows]
