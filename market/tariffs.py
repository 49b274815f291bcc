"""What was agreed upon for a tariff: components, windows of the local day, spot, fees by level.

A version holds from a local day on. ``TariffVersion.at`` says what it comes to in an interval.
``docs/money.md``, "Tariffs".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from typing import Final, TypeAlias

from market.errors import MarketError
from market.money import PPM, Money, Price, round_half_up
from market.place import Level
from market.tariff import Tariff
from metering import canonical
from metering.interval import LENGTH_MS, Interval

DAY_MINUTES: Final = 1440
STEP_MINUTES: Final = LENGTH_MS // 60_000
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_PRICE: Final = Price(100_000_000)  # 100 euros per kWh either way: beyond it, a typing error
PEAKS: Final = 3  # the daily peaks of a month that a capacity fee goes by


class VersionError(MarketError):
    """A version of a tariff is refused for good: mend ``field`` as the message says."""

    def __init__(self, text: str, field: str = "") -> None:
        super().__init__(f"{field}: {text}" if field else text)
        self.field = field


class Payee(StrEnum):
    """Who a component is owed to (or, of a feed-in, owed by)."""

    SUPPLIER = "supplier"
    GRID = "grid"
    LEVY = "levy"
    TAX = "tax"


class Part(StrEnum):
    """What a component is a part of; the first five are per kWh."""

    ENERGY = "energy"
    GRID_FEE = "grid-fee"
    LEVY = "levy"
    TAX = "tax"
    FEED_IN = "feed-in"
    STANDING = "standing"
    CAPACITY = "capacity"


_PAYEES: Final = {
    Part.ENERGY: (Payee.SUPPLIER,),
    Part.GRID_FEE: (Payee.GRID,),
    Part.LEVY: (Payee.LEVY,),
    Part.TAX: (Payee.TAX,),
    Part.FEED_IN: (Payee.SUPPLIER,),
    Part.STANDING: (Payee.SUPPLIER, Payee.GRID),
    Part.CAPACITY: (Payee.GRID, Payee.SUPPLIER),
}


@dataclass(frozen=True, slots=True)
class Fees:
    """Grid fees per kWh by how far energy comes, nearest first; ``outside``: from the grid.

    Raises:
        VersionError: a negative fee, or one that falls with the distance.
    """

    building: Price
    feeder: Price
    district: Price
    outside: Price

    def __post_init__(self) -> None:
        if not Price(0) <= self.building <= self.feeder <= self.district <= self.outside:
            raise VersionError(
                "a grid fee cannot be negative or fall with the distance: "
                "0 <= building <= feeder <= district <= outside"
            )

    @classmethod
    def add(cls, fees: Iterable[Fees]) -> Fees:
        """Return the sum of fees, level by level; 0 of none."""
        total = cls(Price(0), Price(0), Price(0), Price(0))
        for each in fees:
            total = cls(
                total.building + each.building,
                total.feeder + each.feeder,
                total.district + each.district,
                total.outside + each.outside,
            )
        return total


Value: TypeAlias = Price | Fees


@dataclass(frozen=True, slots=True)
class Window:
    """A value on some weekdays (0 Monday .. 6 Sunday) in [start, end) minutes of the wall clock.

    Raises:
        VersionError: no weekday, minutes off the quarter-hour, or an end that is not after.
    """

    days: tuple[int, ...]
    start_minute: int
    end_minute: int
    value: Value

    def __post_init__(self) -> None:
        if not self.days or sorted(set(self.days)) != list(self.days):
            raise VersionError("name each weekday once, Monday first", "days")
        if not set(self.days) <= set(range(7)):
            raise VersionError(f"weekdays are {', '.join(WEEKDAYS)}", "days")
        if self.start_minute % STEP_MINUTES or self.end_minute % STEP_MINUTES:
            raise VersionError("a window begins and ends at minute 0, 15, 30 or 45", "from")
        if not 0 <= self.start_minute < self.end_minute <= DAY_MINUTES:
            raise VersionError(
                f"{clock(self.start_minute)} to {clock(self.end_minute)} is no window of a day: "
                "write one that passes midnight as two, the second from 00:00",
                "to",
            )

    def holds(self, weekday: int, minute: int) -> bool:
        """Whether the wall clock of a local day is within the window."""
        return weekday in self.days and self.start_minute <= minute < self.end_minute


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same value always."""

    value: Value


@dataclass(frozen=True, slots=True)
class Windows:
    """A value by weekday and time of the wall clock; every quarter of a week is in one window.

    Raises:
        VersionError: windows overlap, or leave a gap.
    """

    windows: tuple[Window, ...]

    def __post_init__(self) -> None:
        for day, name in enumerate(WEEKDAYS):
            spans = sorted((w.start_minute, w.end_minute) for w in self.windows if day in w.days)
            reached = 0
            for start, end in (*spans, (DAY_MINUTES, DAY_MINUTES)):
                if start > reached:
                    raise VersionError(
                        f"no window holds on {name} from {clock(reached)} to {clock(start)}: "
                        "windows have to fill the week",
                        "window",
                    )
                if start < reached:
                    raise VersionError(
                        f"two windows hold on {name} at {clock(start)}: each time is in one",
                        "window",
                    )
                reached = end

    def at(self, weekday: int, minute: int) -> Value:
        """Return what holds at a time of the wall clock."""
        return next(w.value for w in self.windows if w.holds(weekday, minute))


@dataclass(frozen=True, slots=True)
class Spot:
    """The day-ahead price of the interval and a markup (which may be negative).

    ``fallback`` is the whole price where none was imported.
    """

    markup: Price
    fallback: Price


Rate: TypeAlias = Fixed | Windows | Spot


@dataclass(frozen=True, slots=True)
class Component:
    """One line of a tariff: what it is a part of, whose it is, and its rate.

    The rate of a grid fee gives :class:`Fees`, any other a price: per kWh, per day (standing), or
    per kW and month (capacity). Only energy and feed-in may follow the spot price.

    Raises:
        VersionError: a payee that the part cannot have, a rate that does not fit, a negative levy,
            tax, standing charge or capacity fee, or a price that is absurd.
    """

    part: Part
    payee: Payee
    name: str
    rate: Rate

    def __post_init__(self) -> None:
        if self.payee not in _PAYEES[self.part]:
            owed = " or ".join(_PAYEES[self.part])
            raise VersionError(f"{self.part} is owed to {owed}, not to {self.payee}", "payee")
        if not 1 <= len(self.name) <= 60 or not self.name.isprintable():
            raise VersionError("a component needs a name of 1 to 60 printable characters", "name")
        if isinstance(self.rate, Spot) and self.part not in (Part.ENERGY, Part.FEED_IN):
            raise VersionError(f"{self.part} cannot follow the spot price", "spot")
        if isinstance(self.rate, Windows) and self.part in (Part.STANDING, Part.CAPACITY):
            raise VersionError(f"{self.part} has one price, and no windows", "window")
        for value in values_of(self.rate):
            self._check(value)

    def _check(self, value: Value) -> None:
        if isinstance(value, Fees) != (self.part is Part.GRID_FEE):
            raise VersionError("a grid fee has a price for each level, anything else has one")
        for price in prices_of(value):
            if abs(price.micro_per_kwh) > MAX_PRICE.micro_per_kwh:
                raise VersionError(f"{price.micro_per_kwh} micro-euros: check the unit")
            if price < Price(0) and self.part not in (Part.ENERGY, Part.FEED_IN):
                raise VersionError(f"{self.part} cannot be negative")

    def at(self, weekday: int, minute: int, spot: Price | None) -> Value:
        """Return the value at a time of the wall clock; ``spot`` None: no price is known."""
        match self.rate:
            case Fixed(value):
                return value
            case Windows():
                return self.rate.at(weekday, minute)
            case Spot(markup, fallback):
                return fallback if spot is None else spot + markup


def values_of(rate: Rate) -> tuple[Value, ...]:
    """Return every value that a rate may give, the spot price left out."""
    match rate:
        case Fixed(value):
            return (value,)
        case Windows(windows):
            return tuple(window.value for window in windows)
        case Spot(markup, fallback):
            return (markup, fallback)


def prices_of(value: Value) -> tuple[Price, ...]:
    """Return the prices in a value: one, or one by level."""
    if isinstance(value, Fees):
        return (value.building, value.feeder, value.district, value.outside)
    return (value,)


@dataclass(frozen=True, slots=True)
class TariffVersion:
    """A version of a tariff: VAT in millionths, and components; those of one part add up.

    Raises:
        VersionError: VAT outside 0..100 %, no energy, or no grid fee.
    """

    vat_ppm: int
    components: tuple[Component, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.vat_ppm <= PPM:
            raise VersionError(f"{self.vat_ppm} ppm is outside 0..{PPM}: 20 % is 200000", "vat")
        for part in (Part.ENERGY, Part.GRID_FEE):
            if not self.of(part):
                raise VersionError(f"a tariff needs a component of part {part!r}", "component")

    def of(self, part: Part) -> tuple[Component, ...]:
        """Return the components of a part, in their order."""
        return tuple(each for each in self.components if each.part is part)

    @property
    def uses_spot(self) -> bool:
        """Whether some component follows the spot price."""
        return any(isinstance(each.rate, Spot) for each in self.components)

    def at(self, interval: Interval, zone: tzinfo, spot: Price | None) -> Tariff:
        """Return what holds in an interval; ``spot`` is its day-ahead price, None where unknown.

        Windows go by the wall clock of ``zone`` at the interval's start: what lies in an hour that
        comes twice holds twice, and what lies in one that is left out never.
        """
        local = interval.start.astimezone(zone)
        when = local.weekday(), local.hour * 60 + local.minute

        def price(part: Part) -> Price:
            found = [each.at(*when, spot) for each in self.of(part)]
            return sum((p for value in found for p in prices_of(value)), Price(0))

        fees = Fees.add(
            value
            for each in self.of(Part.GRID_FEE)
            if isinstance(value := each.at(*when, spot), Fees)
        )
        near = fees.building != fees.district
        return Tariff(
            energy=price(Part.ENERGY),
            grid_fee=fees.outside,
            local_grid_fee=fees.district,
            levy=price(Part.LEVY),
            feed_in=price(Part.FEED_IN),
            vat_ppm=self.vat_ppm,
            local_fee_building=fees.building if near else None,
            local_fee_feeder=fees.feeder if near else None,
            tax=price(Part.TAX),
            version=self.digest,
        )

    @property
    def text(self) -> str:
        """The definition as canonical JSON."""
        return canonical.encode(
            {
                "components": [_component_object(each) for each in self.components],
                "vat_ppm": self.vat_ppm,
            }
        ).decode()

    @property
    def digest(self) -> str:
        """SHA-256 of the definition, hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def daily_charge(component: Component, days: int) -> Money:
    """Return what a standing charge comes to for so many local days, net."""
    return Money(_single(component).micro_per_kwh * days)


def capacity_charge(component: Component, daily_peaks_wh: Sequence[int]) -> Money:
    """Return the capacity fee of a month, net, from the highest quarter-hour of each local day.

    Price per kW x mean power of the three highest of them (of fewer, where there are fewer),
    rounded once. ``daily_peaks_wh`` are energies in Wh: four times that is the power in W.
    """
    highest = sorted(daily_peaks_wh, reverse=True)[:PEAKS]
    if not highest:
        return Money(0)
    price = _single(component).micro_per_kwh
    return Money(round_half_up(price * 4 * sum(highest), 1000 * len(highest)))


def _single(component: Component) -> Price:
    """Return the one price of a standing charge or a capacity fee."""
    return prices_of(values_of(component.rate)[0])[0]


def flat(tariff: Tariff) -> TariffVersion:
    """Return the version whose prices are always those of ``tariff``."""
    building, feeder, district = map(tariff.local_fee, Level)
    # Before there were versions nothing kept the fee on local energy below that on any other.
    outside = max(tariff.grid_fee, district)
    fees = Fees(building, feeder, district, outside)
    rows = (
        (Part.ENERGY, Payee.SUPPLIER, "Energy", tariff.energy),
        (Part.GRID_FEE, Payee.GRID, "Grid fee", fees),
        (Part.LEVY, Payee.LEVY, "Levy", tariff.levy),
        (Part.TAX, Payee.TAX, "Tax", tariff.tax),
        (Part.FEED_IN, Payee.SUPPLIER, "Feed-in", tariff.feed_in),
    )
    kept = (Part.ENERGY, Part.GRID_FEE, Part.FEED_IN)
    return TariffVersion(
        tariff.vat_ppm,
        tuple(
            Component(part, payee, name, Fixed(value))
            for part, payee, name, value in rows
            if part in kept or value != Price(0)
        ),
    )


def clock(minute: int) -> str:
    """Return a minute of the local day as ``hh:mm``; the last is 24:00."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def day_windows(rate: Windows, weekday: int) -> list[Window]:
    """Return a weekday's windows in the order of the clock."""
    return sorted((w for w in rate.windows if weekday in w.days), key=lambda w: w.start_minute)


def _component_object(component: Component) -> canonical.Object:
    found: canonical.Object = {
        "name": component.name,
        "part": component.part.value,
        "payee": component.payee.value,
    }
    match component.rate:
        case Fixed(value):
            return found | {"rate": _value_object(value)}
        case Windows(windows):
            return found | {"windows": [_window_object(window) for window in windows]}
        case Spot(markup, fallback):
            return found | {
                "fallback_micro_per_kwh": fallback.micro_per_kwh,
                "markup_micro_per_kwh": markup.micro_per_kwh,
            }


def _window_object(window: Window) -> canonical.Object:
    return {
        "days": [WEEKDAYS[day] for day in window.days],
        "from": clock(window.start_minute),
        "rate": _value_object(window.value),
        "to": clock(window.end_minute),
    }


def _value_object(value: Value) -> canonical.Value:
    if isinstance(value, Price):
        return value.micro_per_kwh
    return {
        "building": value.building.micro_per_kwh,
        "district": value.district.micro_per_kwh,
        "feeder": value.feeder.micro_per_kwh,
        "outside": value.outside.micro_per_kwh,
    }
