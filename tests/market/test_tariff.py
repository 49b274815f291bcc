"""A tariff's bounds, payload and all-in price."""

from dataclasses import replace

import pytest

from market.money import Money, Price
from market.tariff import Tariff, TariffError
from metering.quantities import Energy

TARIFF = Tariff(Price(120_000), Price(90_000), Price(40_000), Price(30_000), Price(80_000), 190_000)


def test_bounds_of_local_energy():
    assert (TARIFF.floor, TARIFF.ceiling) == (Price(80_000), Price(170_000))


def test_all_in_import():
    assert TARIFF.cost_of_import(Energy(1000)) == Money(240_000 * 119 // 100)
    assert TARIFF.cost_of_import(Energy(0)) == Money(0)


def test_the_payload_names_each_component():
    assert TARIFF.payload() == {
        "energy_micro_per_kwh": 120_000,
        "feed_in_micro_per_kwh": 80_000,
        "grid_fee_micro_per_kwh": 90_000,
        "levy_micro_per_kwh": 30_000,
        "local_grid_fee_micro_per_kwh": 40_000,
        "vat_ppm": 190_000,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"vat_ppm": -1},
        {"vat_ppm": 1_000_001},
        {"levy": Price(-1)},
        {"grid_fee": Price(-1)},
        {"local_grid_fee": Price(-1)},
    ],
)
def test_absurd_tariffs_are_refused(change):
    with pytest.raises(TariffError):
        replace(TARIFF, **change)
