"""What a tariff's definition comes to in an interval; written from docs/money.md, "Tariffs"."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Final, TypedDict, cast

from app.audit.monthfile import SeriesPrice, TariffText
from ledger_client.verify import ClaimError, canonical, parse

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class _Window(TypedDict):
    days: list[str]
    to: str
    rate: int | dict[str, int]


class Component(TypedDict, total=False):
    """A component of a definition, as its JSON says it."""

    name: str
    part: str
    payee: str
    rate: int | dict[str, int]
    windows: list[dict[str, object]]
    markup_micro_per_kwh: int
    fallback_micro_per_kwh: int


class Definition(TypedDict):
    """A definition: VAT in millionths, and components."""

    vat_ppm: int
    components: list[Component]


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices in micro-euros per kWh at an instant; ``imbalance``: of the residual, if agreed so."""

    energy: int
    feed_in: int
    levy: int
    tax: int
    outside: int
    district: int
    feeder: int
    building: int
    vat_ppm: int
    imbalance: int | None = None

    @property
    def by_distance(self) -> bool:
        """Whether local energy from nearer costs less."""
        return self.building != self.district


class Book:
    """All versions of all tariffs, and the prices that some of them follow."""

    def __init__(self, texts: Iterable[TariffText], prices: Iterable[SeriesPrice]) -> None:
        versions: dict[str, dict[str, Definition]] = defaultdict(dict)
        for text in texts:
            versions[text.tariff][text.first_day] = cast(
                "Definition", parse(text.definition.encode())
            )
        self._versions = {name: dict(sorted(own.items())) for name, own in versions.items()}
        self._prices = {(each.series, each.interval): each.micro_per_kwh for each in prices}

    def definition(self, tariff: str, day: date) -> Definition:
        """Return what holds on a local day; before the first version, that one.

        Raises:
            ClaimError: the file has no version of the tariff.
        """
        own = self._versions.get(tariff)
        if not own:
            raise ClaimError(f"there is no version of tariff {tariff!r}")
        firsts = list(own)
        return own[firsts[max(0, bisect_right(firsts, day.isoformat()) - 1)]]

    def digest(self, tariff: str, day: date) -> str:
        """Return the SHA-256 of what holds on a local day: equal definitions are one version."""
        return sha256(canonical(self.definition(tariff, day))).hexdigest()

    def price(self, series: str, key: str) -> int | None:
        """Return an interval's price in a series, None where there is none."""
        return self._prices.get((series, key))

    def rates(self, tariff: str, key: str, local: datetime) -> Rates:
        """Return what a tariff comes to in the interval ``key``, which starts at ``local``."""
        definition = self.definition(tariff, local.date())
        spot = self._prices.get(("spot", key))
        sums: dict[str, int] = defaultdict(int)
        for component in definition["components"]:
            if component["part"] in ("standing", "capacity"):
                continue
            value = _value(component, local, spot)
            if isinstance(value, dict):
                for place, micro in value.items():
                    sums[place] += micro
            else:
                sums[component["part"]] += value
        return Rates(
            energy=sums["energy"],
            feed_in=sums["feed-in"],
            levy=sums["levy"],
            tax=sums["tax"],
            outside=sums["outside"],
            district=sums["district"],
            feeder=sums["feeder"],
            building=sums["building"],
            vat_ppm=definition["vat_ppm"],
        )


def _value(component: Component, local: datetime, spot: int | None) -> int | dict[str, int]:
    if "rate" in component:
        return component["rate"]
    if "windows" in component:
        return _windowed(cast("list[_Window]", component["windows"]), local)
    return (
        component["fallback_micro_per_kwh"]
        if spot is None
        else spot + component["markup_micro_per_kwh"]
    )


def _windowed(windows: list[_Window], local: datetime) -> int | dict[str, int]:
    """Return the value of the window that the wall clock is in: the first one that ends later."""
    day, now = _DAYS[local.weekday()], f"{local:%H:%M}"
    today = sorted((each["to"], place) for place, each in enumerate(windows) if day in each["days"])
    return windows[next(place for to, place in today if now < to)]["rate"]


def leaf_rates(leaf: Mapping[str, object]) -> dict[str, object]:
    """Return what a sealed tariff leaf says, by the names of :class:`Rates`."""
    local = leaf["local_grid_fee_micro_per_kwh"]
    return {
        "energy": leaf["energy_micro_per_kwh"],
        "feed_in": leaf["feed_in_micro_per_kwh"],
        "levy": leaf["levy_micro_per_kwh"],
        "tax": leaf.get("tax_micro_per_kwh", 0),
        "outside": leaf["grid_fee_micro_per_kwh"],
        "district": local,
        "feeder": leaf.get("local_fee_feeder_micro_per_kwh", local),
        "building": leaf.get("local_fee_building_micro_per_kwh", local),
        "vat_ppm": leaf["vat_ppm"],
    }
