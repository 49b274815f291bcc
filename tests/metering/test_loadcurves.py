"""Curves: quarter totals kept, counters that never fall, dates that map to 2016."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.interval import LENGTH_MS, from_ms, to_ms
from metering.loadcurves import (
    STEPS,
    BeforeInstallationError,
    NetCurve,
    Timetable,
    UnknownProfileError,
    fleet,
    interpolate,
    load,
    profile_names,
    rate,
    roof,
    rows_of_year,
    yearly_load,
)

DATA = Path(__file__).parents[2] / "metering/data/simbench_2016.csv.gz"
BERLIN = ZoneInfo("Europe/Berlin")
ENERGY = st.integers(0, 10**10)
MOMENT_2026 = st.integers(
    to_ms(datetime(2026, 1, 1, tzinfo=UTC)), to_ms(datetime(2027, 1, 1, tzinfo=UTC))
)


def ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))


@cache
def data() -> dict[str, dict[str, int]]:
    """The file as it stands: {UTC time: {profile: count}}."""
    with gzip.open(DATA, "rt", encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    return {row["utc"]: {k: int(v) for k, v in row.items() if k != "utc"} for row in rows}


@cache
def solar_home() -> NetCurve:
    parts = [yearly_load("H0-A", annual_kwh=4000), roof("PV1", peak_w=9000)]
    return NetCurve(parts, serial="4711")


def slow_net_milli_wh(start_ms: int, load_w: int, peak_w: int) -> int:
    """Net energy of a quarter-hour, straight from the file by its local time in 2016."""
    local = from_ms(start_ms).astimezone(BERLIN)
    key = local.replace(year=2016).astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
    row = data()[key]
    return round(row["H0-A"] * load_w * 250 / STEPS) - round(row["PV1"] * peak_w * 250 / STEPS)


def test_the_extract_is_a_year_of_quarter_hours_with_what_the_demo_needs() -> None:
    times = [datetime.strptime(key, "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC) for key in data()]
    assert times[0] == datetime(2015, 12, 31, 23, tzinfo=UTC)
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=15)}
    assert len(times) == 366 * 96
    names = profile_names()
    assert set(names) == data()[next(iter(data()))].keys()
    for kind, least in (("H0-", 4), ("G", 3), ("PV", 3), ("HLS", 2)):
        assert sum(name.startswith(kind) for name in names) >= least
    assert DATA.stat().st_size < 1_500_000


def test_every_profile_stays_between_nothing_and_its_rating() -> None:
    for name in profile_names():
        values = [row[name] for row in data().values()]
        assert min(values) >= 0
        assert STEPS // 2 < max(values) <= STEPS


@given(ENERGY, ENERGY, ENERGY)
def test_a_quarters_total_is_kept(before: int, energy: int, after: int) -> None:
    assert interpolate(before, energy, after, 0) == 0
    assert interpolate(before, energy, after, LENGTH_MS) == energy


@given(ENERGY, ENERGY, ENERGY, st.integers(0, LENGTH_MS), st.integers(0, LENGTH_MS))
def test_interpolation_is_monotone(before: int, energy: int, after: int, a: int, b: int) -> None:
    early, late = sorted((a, b))
    assert interpolate(before, energy, after, early) <= interpolate(before, energy, after, late)
    assert rate(before, energy, after, early) >= 0


@given(ENERGY, ENERGY, ENERGY, ENERGY)
def test_the_rate_runs_on_over_a_border(a: int, b: int, c: int, d: int) -> None:
    assert rate(a, b, c, LENGTH_MS) == rate(b, c, d, 0)


@given(st.integers(0, 10**9))
def test_an_even_load_is_a_straight_line(energy: int) -> None:
    for elapsed in (0, 1, 60_000, 450_000, LENGTH_MS - 1):
        assert interpolate(energy, energy, energy, elapsed) == energy * elapsed // LENGTH_MS


@given(MOMENT_2026)
def test_quarters_hold_what_the_file_says_and_net_within_a_quarter(at_ms: int) -> None:
    start = at_ms - at_ms % LENGTH_MS
    curve = solar_home()
    imported = curve.import_milli_wh(start + LENGTH_MS) - curve.import_milli_wh(start)
    exported = curve.export_milli_wh(start + LENGTH_MS) - curve.export_milli_wh(start)
    load_w = yearly_load("H0-A", annual_kwh=4000).rated_w
    assert imported == 0 or exported == 0
    if (from_ms(start).month, from_ms(start).day) != (3, 27):  # the hour that 2016 skipped
        assert abs(imported - exported - slow_net_milli_wh(start, load_w, 9000)) <= 1


@given(MOMENT_2026, st.integers(0, 3_600_000))
def test_counters_never_fall(at_ms: int, later: int) -> None:
    curve = solar_home()
    assert curve.import_milli_wh(at_ms) <= curve.import_milli_wh(at_ms + later)
    assert curve.export_milli_wh(at_ms) <= curve.export_milli_wh(at_ms + later)


@given(MOMENT_2026)
def test_power_is_the_counters_slope(at_ms: int) -> None:
    curve = solar_home()
    span = 2000

    def net(moment_ms: int) -> int:
        return curve.import_milli_wh(moment_ms) - curve.export_milli_wh(moment_ms)

    mean_w = (net(at_ms + span // 2) - net(at_ms - span // 2)) * 3600 / span
    assert abs(curve.power_w(at_ms) - mean_w) < 20  # the slope itself moves within two seconds


def test_a_year_sums_up_to_the_annual_energy() -> None:
    curve = NetCurve([yearly_load("G1-A", annual_kwh=60_000)], serial="1")
    year = (
        curve.import_milli_wh(ms("2026-01-01T00:00Z")),
        curve.import_milli_wh(ms("2027-01-01T00:00Z")),
    )
    assert (year[1] - year[0]) / 1e6 == pytest.approx(60_000 * 365 / 366, rel=0.01)


@pytest.mark.parametrize(
    "border",
    ["2025-01-01T00:00Z", "2026-01-01T00:00Z", "2028-01-01T00:00Z", "2026-12-31T23:00Z"],
)
def test_counters_and_power_run_on_over_the_year(border: str) -> None:
    curve, at = solar_home(), ms(border)
    assert 0 <= curve.import_milli_wh(at) - curve.import_milli_wh(at - 1) <= 10
    assert abs(curve.power_w(at) - curve.power_w(at - 1)) <= 1


@pytest.mark.parametrize(
    ("moment", "in_2016"),
    [
        ("2026-06-23T09:00Z", "2016-06-23T09:00Z"),
        ("2026-12-31T22:45Z", "2016-12-31T22:45Z"),
        ("2026-12-31T23:00Z", "2015-12-31T23:00Z"),  # local New Year
        ("2026-03-28T12:00Z", "2016-03-28T11:00Z"),  # winter time here, summer time in 2016
        ("2026-03-27T01:15Z", "2016-03-27T01:15Z"),  # 02:15, skipped in 2016: the hour after it
        ("2026-03-29T01:00Z", "2016-03-29T01:00Z"),  # 03:00, the first hour of summer time
        ("2026-10-25T00:30Z", "2016-10-25T00:30Z"),  # 02:30, first pass
        ("2026-10-25T01:30Z", "2016-10-25T00:30Z"),  # 02:30, second pass: single in 2016
        ("2026-10-30T01:30Z", "2016-10-30T00:30Z"),  # 02:30, doubled in 2016: its first pass
        ("2033-10-30T01:30Z", "2016-10-30T01:30Z"),  # 02:30, doubled in both: second pass
        ("2028-02-29T12:00Z", "2016-02-29T12:00Z"),
        ("2026-03-01T00:00Z", "2016-03-01T00:00Z"),
    ],
)
def test_a_date_takes_the_same_local_time_of_2016(moment: str, in_2016: str) -> None:
    at = datetime.fromisoformat(moment)
    quarter = (at - datetime(at.year, 1, 1, tzinfo=UTC)) // timedelta(minutes=15)
    row = int(rows_of_year(at.year)[quarter + 1])
    assert list(data())[row] == in_2016


@pytest.mark.parametrize(("year", "days"), [(2025, 365), (2028, 366)])
def test_a_year_has_all_its_quarters_and_one_on_either_side(year: int, days: int) -> None:
    assert len(rows_of_year(year)) == days * 96 + 2


def test_the_same_serial_gives_the_same_registers_and_another_one_others() -> None:
    at = ms("2026-06-23T09:07:03Z")
    parts = [load("H0-B", rated_w=5000)]
    one, again, other = (NetCurve(parts, serial=serial) for serial in ("A", "A", "B"))
    assert one.import_milli_wh(at) == again.import_milli_wh(at)
    assert one.import_milli_wh(at) != other.import_milli_wh(at)
    assert one.import_milli_wh(ms("2024-01-01T00:00Z")) >= 500_000_000


def test_where_nothing_is_exported_the_export_counter_stays_at_nought() -> None:
    curve = NetCurve([load("H0-B", rated_w=5000)], serial="A")
    assert curve.export_milli_wh(ms("2026-06-23T12:00Z")) == 0


def test_a_fleet_charges_on_different_days() -> None:
    day, next_day = ms("2026-06-23T00:00Z"), ms("2026-06-24T00:00Z")
    hub = NetCurve(fleet("HLS_C_3.7", rated_w=3700, cars=20), serial="1")
    single = [NetCurve([car], serial="1") for car in fleet("HLS_C_3.7", rated_w=3700, cars=20)]
    energies = [car.import_milli_wh(next_day) - car.import_milli_wh(day) for car in single]
    assert hub.import_milli_wh(next_day) - hub.import_milli_wh(day) == sum(energies)
    assert 0 in energies
    assert len(set(energies)) > 5


@pytest.mark.parametrize("day", ["2026-01-15", "2026-06-23"])
def test_a_timetable_runs_by_the_local_clock(day: str) -> None:
    battery = NetCurve([Timetable(((11, 14, 40_000), (18, 21, -30_000)))], serial="B")
    expected = {11: 40, 12: 40, 13: 40, 18: -30, 19: -30, 20: -30}
    midnight = datetime.fromisoformat(day).replace(tzinfo=BERLIN)
    for hour in range(24):
        start = to_ms(midnight.replace(hour=hour))
        imported, exported = (
            counter(start + 3_600_000) - counter(start)
            for counter in (battery.import_milli_wh, battery.export_milli_wh)
        )
        assert imported - exported == expected.get(hour, 0) * 1_000_000
        assert imported == 0 or exported == 0


def test_mistakes_are_named() -> None:
    with pytest.raises(UnknownProfileError, match=r"'H9'.*H0-A"):
        NetCurve([load("H9", rated_w=1)], serial="1")
    with pytest.raises(BeforeInstallationError, match="2024"):
        solar_home().import_milli_wh(ms("2023-12-31T23:59Z"))
