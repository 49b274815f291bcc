"""A tariff's bounds, hash and all-in price."""

import hashlib
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


def test_hash_is_over_canonical_json():
    canonical = (
        '{"energy_micro_per_kwh":120000,"feed_in_micro_per_kwh":80000,'
        '"grid_fee_micro_per_kwh":90000,"levy_micro_per_kwh":30000,'
        '"local_grid_fee_micro_per_kwh":40000,"vat_ppm":190000}'
    )
    assert TARIFF.hash() == hashlib.sha256(canonical.encode()).hexdigest()
    assert replace(TARIFF, levy=Price(30_001)).hash() != TARIFF.hash()


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
