"""The normal tariff of a metering point: what its supplier and grid operator ask at an instant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import Final, Self

from market.errors import MarketError
from market.money import PPM, Money, Price
from market.place import Level
from metering.quantities import Energy


class TariffError(MarketError):
    """The tariff is refused for good: mend the component that the message names."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """Net price components per kWh, and VAT in millionths.

    ``energy`` is the supplier's price, ``grid_fee`` the fee on energy from outside,
    ``local_grid_fee`` the reduced one on energy of the district, ``levy`` and ``tax`` are due on
    every kWh drawn, and ``feed_in`` is what the supplier pays for a kWh fed in.
    ``local_fee_feeder`` and ``local_fee_building`` are the fees on energy that comes no farther
    (None: as for the district). ``version`` is the digest of what was agreed upon, where it is
    known. ``imbalance`` is what the residual costs and earns instead of ``energy`` and
    ``feed_in``, in an interval for which something was contracted (None: these).

    Raises:
        TariffError: VAT outside 0..100 %, a negative fee, or one that falls with the distance.
    """

    energy: Price
    grid_fee: Price
    local_grid_fee: Price
    levy: Price
    feed_in: Price
    vat_ppm: int
    local_fee_building: Price | None = None
    local_fee_feeder: Price | None = None
    tax: Price = Price(0)
    version: str = ""
    imbalance: Price | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.vat_ppm <= PPM:
            raise TariffError(f"vat_ppm {self.vat_ppm} is outside 0..{PPM}: 20 % is 200000")
        building, feeder, district = map(self.local_fee, Level)
        if min(self.grid_fee, building, feeder, district, self.levy, self.tax) < Price(0):
            raise TariffError("grid_fee, local_grid_fee, levy and tax cannot be negative")
        if not building <= feeder <= district:
            raise TariffError("the local fee falls with the distance: building, feeder, district")

    @property
    def by_level(self) -> bool:
        """Whether the fee on local energy depends on how far it comes."""
        return self.local_fee_building is not None or self.local_fee_feeder is not None

    def local_fee(self, level: Level) -> Price:
        """Return the fee on local energy that comes from as far as ``level``."""
        near = (self.local_fee_building, self.local_fee_feeder, None)[level]
        return self.local_grid_fee if near is None else near

    @property
    def ceiling(self) -> Price:
        """The highest hub price at which a local purchase costs no more than the normal tariff.

        From anywhere in the district; from nearer it may be higher by what the fee is lower.
        """
        return self.ceiling_at(Level.DISTRICT)

    def ceiling_at(self, level: Level) -> Price:
        """Return the highest hub price at which energy from as far as ``level`` costs no more."""
        return self.energy + self.grid_fee - self.local_fee(level)

    @property
    def floor(self) -> Price:
        """The lowest hub price at which a local sale earns no less than feeding in."""
        return self.feed_in

    @property
    def residual_price(self) -> Price:
        """What a kWh of the residual drawn costs, before fees."""
        return self.energy if self.imbalance is None else self.imbalance

    @property
    def residual_feed_in(self) -> Price:
        """What a kWh of the residual fed in earns."""
        return self.feed_in if self.imbalance is None else self.imbalance

    @classmethod
    def of(cls, payload: Mapping[str, object]) -> Self:
        """Return the tariff of what :meth:`payload` gave.

        Raises:
            TariffError: a component is missing, unknown or no whole number.
        """
        prices = {name: payload.get(key) for name, key in _KEYS.items() if key in payload}
        version = payload.get("tariff_version", "")
        odd = payload.keys() - {*_KEYS.values(), "tariff_version", "vat_ppm"}
        vat_ppm = payload.get("vat_ppm")
        if odd or prices.keys() < _ALWAYS or not isinstance(vat_ppm, int):
            raise TariffError(f"components are missing or unknown: {sorted(payload)}")
        found: dict[str, Price] = {}
        for name, micro in prices.items():
            if not isinstance(micro, int):
                raise TariffError(f"{name} is no whole number of micro-euros per kWh")
            found[name] = Price(micro)
        return cls(**found, vat_ppm=vat_ppm, version=str(version))

    def payload(self) -> dict[str, int | str]:
        """Return what a tariff leaf says (``docs/protocol.md``), ready for canonical JSON.

        What a tariff has not is left out, so that older leaves stay as they are.
        """
        found: dict[str, int | str] = {"vat_ppm": self.vat_ppm}
        for name, key in _KEYS.items():
            price: Price | None = getattr(self, name)
            if name in _ALWAYS or (price is not None and (name != "tax" or price != Price(0))):
                found[key] = 0 if price is None else price.micro_per_kwh
        return found | ({"tariff_version": self.version} if self.version else {})

    def cost_of_import(self, energy: Energy) -> Money:
        """Return what ``energy`` costs all-in on the normal tariff; each component rounds once."""
        net = self.energy.of(energy) + self.grid_fee.of(energy) + self.levy.of(energy)
        net += self.tax.of(energy)
        return net + net.share(self.vat_ppm)

    def all_in(self) -> Price:
        """Return what a kWh of the normal tariff costs with VAT, rounded as a bill rounds."""
        return Price(self.cost_of_import(Energy(1000)).micro)


_KEYS: Final = {
    "energy": "energy_micro_per_kwh",
    "feed_in": "feed_in_micro_per_kwh",
    "grid_fee": "grid_fee_micro_per_kwh",
    "imbalance": "imbalance_micro_per_kwh",
    "levy": "levy_micro_per_kwh",
    "local_fee_building": "local_fee_building_micro_per_kwh",
    "local_fee_feeder": "local_fee_feeder_micro_per_kwh",
    "local_grid_fee": "local_grid_fee_micro_per_kwh",
    "tax": "tax_micro_per_kwh",
}
_ALWAYS: Final = frozenset({"energy", "feed_in", "grid_fee", "levy", "local_grid_fee"})


def price_bounds(
    selling: Iterable[Tariff], buying: Iterable[Tariff], reach: Level = Level.DISTRICT
) -> tuple[Price | None, Price | None]:
    """Return the floor and the ceiling at which the supplier stands behind a book, None without.

    The ceiling is that of energy from as far as ``reach``. They are the (lower) medians of the
    sellers' feed-in prices and of the buyers' local ceilings: one odd tariff moves nobody else's
    price, and everybody's own tariff bounds their order.
    """
    floors = [tariff.floor for tariff in selling]
    ceilings = [tariff.ceiling_at(reach) for tariff in buying]
    return (
        median_low(floors) if floors else None,
        median_low(ceilings) if ceilings else None,
    )
