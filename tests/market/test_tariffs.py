"""Tariffs as tables: windows when clocks change, spot, fees by level, what is refused."""

import tomllib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market import spot
from market.money import Money, Price
from market.place import Level
from market.tariff import Tariff
from market.tariff_text import load, written
from market.tariffs import (
    Part,
    TariffVersion,
    VersionError,
    capacity_charge,
    daily_charge,
    flat,
)
from metering.interval import Interval
from tests.conftest import LONG

SAMPLE = Path("docs/samples/tariff.toml").read_text("utf-8")
PLAIN = """
vat_percent = 25
[[component]]
part = "energy"
ct_per_kwh = 12
[[component]]
part = "grid-fee"
ct_per_kwh = {building = 4, feeder = 4, district = 4, outside = 9}
"""


def version(text: str) -> TariffVersion:
    return written(tomllib.loads(text, parse_float=Decimal))


def on(local_day: str, zone: str) -> list[Interval]:
    """The intervals of a local day: 92, 96 or 100 of them."""
    tz = ZoneInfo(zone)
    start = datetime.fromisoformat(local_day).replace(tzinfo=tz)
    end = (start.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=tz)
    found, at = [], Interval(start.astimezone(UTC))
    while at.start < end.astimezone(UTC):
        found.append(at)
        at = at.next()
    return found


# Pitfall 4 of the thirteen: windows go by the wall clock. Energy is 1 ct before 02:00, 2 ct from
# 02:00 to 03:00, and 3 ct from then on: how many quarter-hours get which price?
NIGHT = """
vat_percent = 0
[[component]]
part = "energy"
[[component.window]]
to = "02:00"
ct_per_kwh = 1
[[component.window]]
from = "02:00"
to = "03:00"
ct_per_kwh = 2
[[component.window]]
from = "03:00"
ct_per_kwh = 3
[[component]]
part = "grid-fee"
ct_per_kwh = {building = 0, feeder = 0, district = 0, outside = 0}
"""
# day       zone           at 1 ct, at 2 ct, at 3 ct
CLOCK_CHANGES = """
2026-10-24 Europe/Oslo     8 4 84
2026-10-25 Europe/Oslo     8 8 84
2026-10-25 Europe/Berlin   8 8 84
2027-03-27 Europe/Berlin   8 4 84
2027-03-28 Europe/Berlin   8 0 84
2027-03-28 Europe/Oslo     8 0 84
2026-10-25 UTC             8 4 84
"""


@pytest.mark.parametrize("row", CLOCK_CHANGES.split("\n")[1:-1])
def test_pitfall_4_windows_when_clocks_change(row: str) -> None:
    day, zone, *counts = row.split()
    night, tz = version(NIGHT), ZoneInfo(zone)
    prices = [night.at(each, tz, None).energy.micro_per_kwh for each in on(day, zone)]
    assert [prices.count(ct * 10_000) for ct in (1, 2, 3)] == [int(count) for count in counts]


def test_the_doubled_hour_is_one_window_twice() -> None:
    night, tz = version(NIGHT), ZoneInfo("Europe/Oslo")
    doubled = [
        each.key
        for each in on("2026-10-25", "Europe/Oslo")
        if night.at(each, tz, None).energy == Price(20_000)
    ]
    assert (doubled[0], doubled[-1]) == ("2026-10-25T00:00:00Z", "2026-10-25T01:45:00Z")


# moment (UTC; Berlin is +2) and what the sample comes to: energy, feed-in without a spot price
WEEK = [
    ("2026-06-23T03:45:00Z", 98_000),  # Tuesday 05:45
    ("2026-06-23T04:00:00Z", 145_000),  # 06:00
    ("2026-06-23T19:45:00Z", 145_000),  # 21:45
    ("2026-06-23T20:00:00Z", 98_000),  # 22:00
    ("2026-06-26T21:45:00Z", 98_000),  # Friday 23:45
    ("2026-06-27T10:00:00Z", 98_000),  # Saturday noon
]


@pytest.mark.parametrize(("key", "energy"), WEEK)
def test_the_sample_by_weekday_and_hour(key: str, energy: int) -> None:
    found = version(SAMPLE).at(Interval.parse(key), ZoneInfo("Europe/Berlin"), None)
    assert (found.energy, found.feed_in) == (Price(energy), Price(60_000))
    assert [found.local_fee(level).micro_per_kwh for level in Level] == [6_000, 24_000, 40_000]
    assert (found.grid_fee, found.levy, found.tax) == (Price(90_000), Price(16_000), Price(20_500))
    assert (found.vat_ppm, found.version) == (190_000, version(SAMPLE).digest)


# Pitfall 9: prices may be negative end to end. EUR/MWh, and what a kWh fed in then earns.
@pytest.mark.parametrize(
    ("euro_per_mwh", "feed_in"), [(85, 81_000), (4, 0), (3, -1_000), (0, -4_000), (-50, -54_000)]
)
def test_pitfall_9_feed_in_follows_a_negative_spot_price(euro_per_mwh: int, feed_in: int) -> None:
    at = Interval.parse("2026-06-23T10:00:00Z")
    found = version(SAMPLE).at(at, UTC, Price(euro_per_mwh * 1_000))
    assert found.feed_in == Price(feed_in)


@pytest.mark.parametrize(
    ("peaks_wh", "euro"),
    [
        ([], "0"),
        ([1_000], "12.8"),  # 4 kW x 3.20
        ([1_000, 500], "9.6"),  # 3 kW
        ([1_000, 500, 250, 250], "7.466667"),  # (4 + 2 + 1) / 3 kW
        ([250, 250, 1_000, 500], "7.466667"),
    ],
)
def test_a_capacity_fee_goes_by_the_mean_of_three_daily_peaks(
    peaks_wh: list[int], euro: str
) -> None:
    (fee,) = version(SAMPLE).of(Part.CAPACITY)
    assert capacity_charge(fee, peaks_wh) == Money(int(Decimal(euro) * 1_000_000))


def test_a_standing_charge_is_due_by_local_day() -> None:
    (charge,) = version(SAMPLE).of(Part.STANDING)
    assert daily_charge(charge, 31) == Money(8_680_000)


def test_a_definition_has_one_text_and_one_digest() -> None:
    found = version(SAMPLE)
    assert load(found.text) == found
    assert load(found.text).digest == found.digest
    assert version(SAMPLE.replace("9.8\n", "9.80\n")).digest == found.digest
    assert version(SAMPLE.replace("14.5", "14.6")).digest != found.digest


ENERGY = 'part = "energy"\nct_per_kwh = 12\n'
WINDOWS = 'part = "energy"\n[[component.window]]\n'
# what is replaced in PLAIN, by what, and what is said about it
REFUSED = [
    ("vat_percent = 25", "vat_percent = 101", "vat: 1010000 ppm"),
    ("vat_percent = 25", "vat_percent = 19.00001", "vat_percent: 19.00001 is too fine"),
    ("vat_percent = 25", "", "vat_percent: None is no number"),
    ("ct_per_kwh = 12\n", "", "energy needs one rate"),
    ("ct_per_kwh = 12\n", "ct_per_kwh = true\n", "ct_per_kwh: True is no number"),
    ("ct_per_kwh = 12\n", "ct_per_kwh = inf\n", "component 1.ct_per_kwh: Infinity is absurd"),
    ("ct_per_kwh = 12\n", "ct_per_kwh = 20000\n", "check the unit"),
    ("ct_per_kwh = 12\n", "ct_per_kwh = 1.00001\n", "1.00001 is too fine"),
    ("ct_per_kwh = 12\n", "spot_markup_ct_per_kwh = 1\n", "price for when none was imported"),
    ("ct_per_kwh = 12\n", "eur_per_day = 1\n", "energy needs one rate"),
    ("ct_per_kwh = 12\n", 'ct_per_kwh = 12\npayee = "tax"\n', "owed to supplier, not to tax"),
    ("ct_per_kwh = 12\n", "ct_per_kwh = 12\nprice = 1\n", "component 1: there is no 'price'"),
    ('part = "energy"', 'part = "energie"', "component 1.part: 'energie' is none of"),
    (ENERGY, WINDOWS + 'to = "23:00"\nct_per_kwh = 1\n',
     "no window holds on mon from 23:00 to 24:00"),
    (ENERGY,
     WINDOWS + "ct_per_kwh = 1\n[[component.window]]\ndays = \"tue\"\nct_per_kwh = 2\n",
     "two windows hold on tue at 00:00"),
    (ENERGY, WINDOWS + 'from = "22:00"\nto = "06:00"\nct_per_kwh = 1\n',
     "passes midnight"),
    (ENERGY, WINDOWS + 'to = "12:10"\nct_per_kwh = 1\n',
     "component 1.window 1.to: '12:10' is no time"),
    (ENERGY, WINDOWS + 'to = "24:15"\nct_per_kwh = 1\n', "no time"),
    (ENERGY, WINDOWS + 'days = "fri-mon"\nct_per_kwh = 1\n',
     "runs backwards"),
    (ENERGY, WINDOWS + 'days = "man"\nct_per_kwh = 1\n', "no weekday"),
    ("district = 4, outside = 9", "district = 10, outside = 9", "fall with the distance"),
    ("building = 4", "building = -1", "cannot be negative"),
    ("{building = 4, feeder = 4, district = 4, outside = 9}", "9", "a price for each level"),
    (", outside = 9", "", "outside: None is no number"),
    ('part = "grid-fee"', 'part = "levy"', "a grid fee has a price for each level"),
    (PLAIN.partition("12\n")[2], "", "needs a component of part"),
]  # fmt: skip


@pytest.mark.parametrize(("was", "becomes", "says"), REFUSED)
def test_what_is_refused_is_named(was: str, becomes: str, says: str) -> None:
    assert was in PLAIN
    with pytest.raises(VersionError) as caught:
        version(PLAIN.replace(was, becomes))
    assert says in str(caught.value)


@pytest.mark.parametrize("part", ["levy", "tax", "standing", "capacity"])
def test_nothing_but_energy_and_feed_in_may_be_negative(part: str) -> None:
    rate = {"standing": "eur_per_day", "capacity": "eur_per_kw_month"}.get(part, "ct_per_kwh")
    payee = 'payee = "grid"\n' if part in ("standing", "capacity") else ""
    with pytest.raises(VersionError, match="cannot be negative"):
        version(f'{PLAIN}[[component]]\npart = "{part}"\n{payee}{rate} = -1\n')
    if payee:
        with pytest.raises(VersionError, match="who it is owed to"):
            version(f'{PLAIN}[[component]]\npart = "{part}"\n{rate} = 1\n')


def test_components_of_one_part_add_up() -> None:
    twice = version(
        PLAIN + '[[component]]\npart = "energy"\nct_per_kwh = 0.5\n' + PLAIN.partition("25\n")[2]
    )
    found = twice.at(Interval.parse("2026-06-23T10:00:00Z"), UTC, None)
    assert (found.energy, found.grid_fee) == (Price(245_000), Price(180_000))


prices = st.builds(Price, st.integers(-500_000, 500_000))
fees = st.integers(0, 200_000)


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    building, feeder, district, outside = sorted(draw(st.tuples(fees, fees, fees, fees)))
    same = building == district
    return Tariff(
        energy=draw(prices),
        grid_fee=Price(outside),
        local_grid_fee=Price(district),
        levy=Price(draw(fees)),
        feed_in=draw(prices),
        vat_ppm=draw(st.integers(0, 1_000_000)),
        local_fee_building=None if same else Price(building),
        local_fee_feeder=None if same else Price(feeder),
        tax=Price(draw(fees)),
        imbalance=draw(st.none() | prices),
    )


@settings(max_examples=4_000 if LONG else 60, deadline=None)
@given(tariffs())
def test_a_leaf_and_a_version_give_a_tariff_back(tariff: Tariff) -> None:
    assert Tariff.of(tariff.payload()) == tariff
    now = flat(tariff).at(Interval.parse("2026-06-23T10:00:00Z"), UTC, None)
    assert {**now.payload(), "tariff_version": ""} == {
        **{k: v for k, v in tariff.payload().items() if k != "imbalance_micro_per_kwh"},
        "tariff_version": "",
    }


def test_the_made_up_curve_is_a_function_of_the_interval() -> None:
    hour = [spot.synthetic(each) for each in on("2026-06-27", "UTC")]
    assert all(len(set(hour[n : n + 4])) == 1 for n in range(0, 96, 4))
    assert spot.synthetic(Interval.parse("2026-06-27T12:00:00Z")) < Price(0)  # a Saturday in June
    assert spot.synthetic(Interval.parse("2026-01-13T17:00:00Z")) > Price(100_000)
