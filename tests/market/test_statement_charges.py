"""Standing charges by the day and capacity fees by the highest peaks, by tables."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from market.money import Price
from market.statement_charges import Day, charges
from market.tariffs import Component, Fees, Fixed, Part, Payee, TariffVersion, capacity_charge

POINT = "401234500000000050"
FEE = Component(
    Part.GRID_FEE, Payee.GRID, "Grid", Fixed(Fees(Price(0), Price(0), Price(0), Price(90_000)))
)
ENERGY = Component(Part.ENERGY, Payee.SUPPLIER, "Energy", Fixed(Price(200_000)))


def component(part: Part, payee: Payee, micro: int) -> Component:
    return Component(part, payee, f"{payee} {part}", Fixed(Price(micro)))


def version(*components: Component, vat_ppm: int = 190_000) -> TariffVersion:
    return TariffVersion(vat_ppm, (ENERGY, FEE, *components))


METER = component(Part.STANDING, Payee.GRID, 33_333)
BASIC = component(Part.STANDING, Payee.SUPPLIER, 250_000)
POWER = component(Part.CAPACITY, Payee.GRID, 3_000_000)


def june(first: int, last: int, held: TariffVersion, supplier: str = "") -> dict[str, Day]:
    return {f"2026-06-{day:02}": Day(supplier, held) for day in range(first, last + 1)}


def rows(days: Mapping[str, Day], peaks: Mapping[str, int]) -> list[tuple[object, ...]]:
    found = charges(POINT, days, peaks, 30)
    return [(c.kind, c.account, c.days, c.vat_ppm, c.price_micro, c.micro) for c in found]


def test_a_whole_month_pays_every_day_to_each_payee() -> None:
    assert rows(june(1, 30, version(METER, BASIC)), {}) == [
        ("standing", "grid", 30, 190_000, 33_333, -999_990),
        ("standing", "supplier", 30, 190_000, 250_000, -7_500_000),
    ]


def test_who_moved_out_on_the_14th_pays_thirteen_days() -> None:
    assert rows(june(1, 13, version(BASIC)), {}) == [
        ("standing", "supplier", 13, 190_000, 250_000, -3_250_000)
    ]
    assert rows(june(14, 30, version(BASIC)), {})[0][2] == 17


def test_a_tariff_of_mid_month_and_another_vat_rate_are_lines_of_their_own() -> None:
    dearer = version(component(Part.STANDING, Payee.SUPPLIER, 300_000), vat_ppm=70_000)
    assert rows(june(1, 15, version(BASIC)) | june(16, 30, dearer), {}) == [
        ("standing", "supplier", 15, 190_000, 250_000, -3_750_000),
        ("standing", "supplier", 15, 70_000, 300_000, -4_500_000),
    ]


def test_a_switch_of_supplier_splits_the_days() -> None:
    days = june(1, 10, version(BASIC), "north") | june(11, 30, version(BASIC), "south")
    assert [(row[1], row[2]) for row in rows(days, {})] == [
        ("supplier:north", 10),
        ("supplier:south", 20),
    ]


PEAKS = {"2026-06-01": 1_000, "2026-06-02": 1_500, "2026-06-03": 500, "2026-06-04": 1_201}


@pytest.mark.parametrize(
    ("peaks", "days", "micro"),
    [
        (PEAKS, 30, -14_804_000),  # (6.0 + 4.804 + 4.0) kW / 3 x 3 EUR
        (PEAKS, 10, -4_934_667),  # a third of it, rounded once
        ({"2026-06-01": 1_000, "2026-06-02": 1_500}, 30, -15_000_000),  # two days: their mean
        ({"2026-06-01": 0}, 30, 0),
    ],
)
def test_capacity_goes_by_the_three_highest_days(
    peaks: Mapping[str, int], days: int, micro: int
) -> None:
    assert rows(june(1, days, version(POWER)), peaks) == [
        ("capacity", "grid", days, 190_000, 3_000_000, micro)
    ]
    if days == 30:
        assert -capacity_charge(POWER, list(peaks.values())).micro == micro


def test_the_line_names_the_peaks_and_equal_ones_by_the_earlier_day() -> None:
    peaks = {"2026-06-09": 700, "2026-06-02": 700, "2026-06-05": 800, "2026-06-20": 700}
    (found,) = charges(POINT, june(1, 30, version(POWER)), peaks, 30)
    assert found.peaks_w == (("2026-06-05", 3_200), ("2026-06-02", 2_800), ("2026-06-09", 2_800))


def test_without_a_day_drawn_there_is_no_capacity_fee() -> None:
    assert rows(june(1, 30, version(POWER)), {}) == []
    assert rows({}, PEAKS) == []
