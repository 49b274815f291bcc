"""The normal tariff of a metering point: what its supplier and grid operator ask at an instant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import Self

from market.errors import MarketError
from market.money import PPM, Money, Price
from metering.quantities import Energy


class TariffError(MarketError):
    """The tariff is refused for good: mend the component that the message names."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """Net price components per kWh, and VAT in millionths.

    ``energy`` is the supplier's price, ``grid_fee`` the fee on energy from outside,
    ``local_grid_fee`` the reduced one on local energy, ``levy`` is due on every kWh drawn, and
    ``feed_in`` is what the supplier pays for a kWh fed in.

    Raises:
        TariffError: VAT outside 0..100 %, or a negative fee.
    """

    energy: Price
    grid_fee: Price
    local_grid_fee: Price
    levy: Price
    feed_in: Price
    vat_ppm: int

    def __post_init__(self) -> None:
        if not 0 <= self.vat_ppm <= PPM:
            raise TariffError(f"vat_ppm {self.vat_ppm} is outside 0..{PPM}: 20 % is 200000")
        if min(self.grid_fee, self.local_grid_fee, self.levy) < Price(0):
            raise TariffError("grid_fee, local_grid_fee and levy cannot be negative")

    @property
    def ceiling(self) -> Price:
        """The highest hub price at which a local purchase costs no more than the normal tariff."""
        return self.energy + self.grid_fee - self.local_grid_fee

    @property
    def floor(self) -> Price:
        """The lowest hub price at which a local sale earns no less than feeding in."""
        return self.feed_in

    @classmethod
    def of(cls, payload: Mapping[str, int]) -> Self:
        """Return the tariff of what :meth:`payload` gave."""
        return cls(
            energy=Price(payload["energy_micro_per_kwh"]),
            grid_fee=Price(payload["grid_fee_micro_per_kwh"]),
            local_grid_fee=Price(payload["local_grid_fee_micro_per_kwh"]),
            levy=Price(payload["levy_micro_per_kwh"]),
            feed_in=Price(payload["feed_in_micro_per_kwh"]),
            vat_ppm=payload["vat_ppm"],
        )

    def payload(self) -> dict[str, int]:
        """Return what a tariff leaf says (``docs/protocol.md``), ready for canonical JSON."""
        return {
            "energy_micro_per_kwh": self.energy.micro_per_kwh,
            "feed_in_micro_per_kwh": self.feed_in.micro_per_kwh,
            "grid_fee_micro_per_kwh": self.grid_fee.micro_per_kwh,
            "levy_micro_per_kwh": self.levy.micro_per_kwh,
            "local_grid_fee_micro_per_kwh": self.local_grid_fee.micro_per_kwh,
            "vat_ppm": self.vat_ppm,
        }

    def cost_of_import(self, energy: Energy) -> Money:
        """Return what ``energy`` costs all-in on the normal tariff; each component rounds once."""
        net = self.energy.of(energy) + self.grid_fee.of(energy) + self.levy.of(energy)
        return net + net.share(self.vat_ppm)


def price_bounds(
    selling: Iterable[Tariff], buying: Iterable[Tariff]
) -> tuple[Price | None, Price | None]:
    """Return the floor and the ceiling at which the supplier stands behind a book, None without.

    They are the (lower) medians of the sellers' feed-in prices and of the buyers' local ceilings:
    one odd tariff moves nobody else's price, and everybody's own tariff bounds their order.
    """
    floors = [tariff.floor for tariff in selling]
    ceilings = [tariff.ceiling for tariff in buying]
    return (
        median_low(floors) if floors else None,
        median_low(ceilings) if ceilings else None,
    )
