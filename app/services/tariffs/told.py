"""Tariffs in words: one line per component and window, in cents and euros."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from app.services.house import House
from app.store import tariffs
from market.money import Price
from market.tariffs import (
    WEEKDAYS,
    Component,
    Fees,
    Fixed,
    Part,
    Spot,
    TariffVersion,
    Value,
    Window,
    Windows,
    clock,
)
from web.ports.tariffs import ComponentLine

_MICRO_OF_CENT = 10_000
_MICRO_OF_EURO = 1_000_000
_PAID_TO = {"supplier": "supplier", "grid": "grid operator", "levy": "levies", "tax": "tax office"}


def definition(house: House, tariff: str, day: date) -> TariffVersion:
    """Return the version of a tariff that holds on a local day.

    Raises:
        UnknownTariffError: the tariff has none.
    """
    with house.database.read() as session:
        return tariffs.version_on(session, tariff, day)


def lines(version: TariffVersion) -> list[ComponentLine]:
    """Return a version's components, line by line."""
    return [line for component in version.components for line in _lines(component)]


def _lines(component: Component) -> Iterator[ComponentLine]:
    def line(when: str, price: str) -> ComponentLine:
        payee = _PAID_TO[component.payee.value]
        return ComponentLine(component.part.value, component.name, payee, when, price)

    match component.rate:
        case Fixed(value):
            yield line("always", _value(value, component.part))
        case Windows(windows):
            for window in windows:
                yield line(when(window), _value(window.value, component.part))
        case Spot(markup, fallback):
            sign = "-" if markup < Price(0) else "+"
            shift = cents(Price(abs(markup.micro_per_kwh)))
            yield line("by the quarter-hour", f"day-ahead price {sign} {shift} ct/kWh")
            yield line("where none is known", f"{cents(fallback)} ct/kWh")


def when(window: Window) -> str:
    """Return a window in words: ``mon-fri 06:00-22:00``."""
    names, days = [WEEKDAYS[day] for day in window.days], window.days
    run = days == tuple(range(days[0], days[-1] + 1))
    said = f"{names[0]}-{names[-1]}" if run and len(days) > 1 else ",".join(names)
    return f"{said} {clock(window.start_minute)}-{clock(window.end_minute)}"


def _value(value: Value, part: Part) -> str:
    if isinstance(value, Fees):
        levels = ("building", "feeder", "district", "outside")
        prices = (value.building, value.feeder, value.district, value.outside)
        said = (f"{level} {cents(price)}" for level, price in zip(levels, prices, strict=True))
        return f"{', '.join(said)} ct/kWh"
    if part is Part.STANDING:
        return f"{_exact(value.micro_per_kwh, _MICRO_OF_EURO)} EUR/day"
    if part is Part.CAPACITY:
        return f"{_exact(value.micro_per_kwh, _MICRO_OF_EURO)} EUR/kW and month"
    return f"{cents(value)} ct/kWh"


def cents(price: Price) -> str:
    """Return a price in ct/kWh, at least two decimals."""
    return _exact(price.micro_per_kwh, _MICRO_OF_CENT)


def euros(micro: int | None) -> str:
    """Return micro-euros in euros and cents; '' of None."""
    return "" if micro is None else f"{Decimal(micro) / _MICRO_OF_EURO:.2f}"


def _exact(value: int, scale: int) -> str:
    exact = Decimal(value) / scale
    return f"{exact:.2f}" if exact == round(exact, 2) else format(exact.normalize(), "f")
