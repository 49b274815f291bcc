"""Files of prices, row by row: what is taken, and what is refused with its row."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from app.files.prices import MAX_ROWS, read_prices
from app.files.rows import TableFileError
from market.money import Price

BERLIN = ZoneInfo("Europe/Berlin")


def read(head: str, *rows: str, zone: str = "") -> list[tuple[str, int]]:
    content = "\n".join([head, *rows]).encode()
    found = read_prices(content, BERLIN, zone)
    return [(each.interval.key, each.price.micro_per_kwh) for each in found]


def hours(day: str, *skip: int) -> list[str]:
    return [f"{day}T{hour:02d}:00,{hour}" for hour in range(24) if hour not in skip]


def test_an_hour_is_four_quarters_whatever_labels_it() -> None:
    quarters = [(f"2026-06-23T09:{minute:02d}:00Z", 85_500) for minute in (0, 15, 30, 45)]
    assert read("start,eur_per_mwh", "2026-06-23T09:00Z,85.5") == quarters
    assert read("end,ct_per_kwh", "2026-06-23T10:00Z,8.55") == quarters
    assert read("start,micro_per_kwh", "2026-06-23T11:00,85500", zone="Europe/Berlin") == quarters
    assert read("start,eur_per_mwh", "2026-06-23T11:00+02:00,+85.5") == quarters
    end = read("end,micro_per_kwh", "2026-06-23T09:15Z,-1", "2026-06-23T09:30Z,2")
    assert end == [("2026-06-23T09:00:00Z", -1), ("2026-06-23T09:15:00Z", 2)]


# Local days of 23 and 25 hours: 02:00 is missing in spring and stands twice in autumn.
def test_days_of_92_and_100_quarters() -> None:
    spring = read("start,eur_per_mwh", *hours("2027-03-28", 2), zone="Europe/Berlin")
    assert (len(spring), spring[0][0]) == (92, "2027-03-27T23:00:00Z")
    rows = hours("2026-10-25")
    autumn = read("start,eur_per_mwh", *rows[:3], rows[2], *rows[3:], zone="Europe/Berlin")
    assert len(autumn) == 100
    assert [key for key, micro in autumn if micro == 2_000] == [
        f"2026-10-25T0{hour}:{minute:02d}:00Z" for hour in (0, 1) for minute in (0, 15, 30, 45)
    ]


H = "start,eur_per_mwh"
REFUSED = [
    (H, ["2026-06-23T09:00,1"], "", "row 2: '2026-06-23T09:00' names no zone"),
    (H, ["2026-06-23T09:00,1"], "Europe/Oslo", "said to be for Europe/Oslo"),
    (H, ["2026-06-23T09:00+01:00,1"], "", "row 2: .* this is a file for another zone"),
    (H, ["2026-06-23T09:05Z,1"], "", "row 2: .* off the grid"),
    (H, ["2026-06-23T09:15Z,1"], "", "row 2: 09:15 UTC begins no hour"),
    (H, ["2026-06-23T09:00Z,1", "2026-06-23T09:00Z,1"], "", "row 3: .* stands twice"),
    (H, ["2026-06-23T09:00Z,1", "2026-06-23T08:00Z,1"], "", "row 3: .* not in time order"),
    (H, ["2026-06-23T09:00Z,1", "2026-06-23T10:00Z,1", "2026-06-23T12:00Z,1"], "",
     "row 4: .* 120 minutes apart where 60 are due"),
    (H, ["2026-06-23T09:00Z,1", "2026-06-23T09:15Z,1", "2026-06-23T10:15Z,1"], "",
     "row 4: .* 60 minutes apart where 15 are due"),
    (H, ["2026-06-23T09:00Z,1,5"], "", "row 2: 3 fields"),
    (H, ['2026-06-23T09:00Z,"1,5"'], "", "row 2: .*'1,5' is no number"),
    (H, ["2026-06-23T09:00Z,nan"], "", "row 2: .* is no number"),
    (H, ["2026-06-23T09:00Z,1.0001"], "", "row 2: .* finer than a micro-euro"),
    (H, ["2026-06-23T09:00Z,20001"], "", "row 2: .* more than 20 EUR/kWh"),
    ("start,ct_per_kwh", ["2026-06-23T09:00Z,2001"], "", "row 2: .* is the unit right"),
    ("start,end,ct_per_kwh", ["2026-06-23T09:00Z,2026-06-23T10:00Z,1"], "", "row 1: write one"),
    ("time,ct_per_kwh", ["2026-06-23T09:00Z,1"], "", "row 1: unknown columns 'time'"),
    (H, [], "", "row 1: write one column"),
    ("start;eur_per_mwh", ["2026-06-23T09:00Z;12,5"], "", "row 1: .* separated by ';'"),
    ("x" * 999, [], "", "row 1: unknown columns 'x{40}'; write if you like, start,"),
    (H, ["2026-06-23T09:00Z,1"] * (MAX_ROWS + 1), "", "more than 120000 rows"),
    (H, hours("2027-03-28"), "Europe/Berlin", "row 4: .*02:00 does not exist"),
    (H, hours("2026-10-25"), "Europe/Berlin", "row 5: .* 120 minutes apart"),
]  # fmt: skip


@pytest.mark.parametrize(("head", "rows", "zone", "says"), REFUSED)
def test_what_is_refused_names_its_row(head: str, rows: list[str], zone: str, says: str) -> None:
    with pytest.raises(TableFileError, match=says):
        read(head, *rows, zone=zone)


def test_negative_prices_stay_negative() -> None:
    found = read("start,eur_per_mwh", "2026-06-23T09:00Z,-500")
    assert found[0][1] == Price(-500_000).micro_per_kwh
