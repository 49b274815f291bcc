"""Definitions of tariffs read back: canonical JSON as stored, and what people write in a file.

Both come down to one object; whatever is wrong is told with its place, as ``component 3.window 2``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final, TypeVar

from market.money import Price
from market.tariffs import (
    DAY_MINUTES,
    WEEKDAYS,
    Component,
    Fees,
    Fixed,
    Part,
    Payee,
    Rate,
    Spot,
    TariffVersion,
    Value,
    VersionError,
    Window,
    Windows,
)
from metering import canonical

_CLOCK: Final = re.compile(r"([01][0-9]|2[0-4]):(00|15|30|45)")
_MICRO_OF_CENT: Final = 10_000
_MOST_DECIMALS: Final = 20  # what has more is too fine whatever it is of
_MOST_DIGITS: Final = 7  # before the point
_MICRO_OF_EURO: Final = 1_000_000
_LEVELS: Final = ("building", "feeder", "district", "outside")
_PAYEE: Final = {
    Part.ENERGY: "supplier",
    Part.GRID_FEE: "grid",
    Part.LEVY: "levy",
    Part.TAX: "tax",
    Part.FEED_IN: "supplier",
}
_Built = TypeVar("_Built")


@lru_cache(maxsize=512)
def load(text: str) -> TariffVersion:
    """Return the version of a stored definition.

    Raises:
        VersionError: it is none.
    """
    return _version(canonical.decode(text.encode()))


def written(document: Mapping[str, object]) -> TariffVersion:
    """Return the version that people wrote: TOML as ``tomllib`` gives it, floats as ``Decimal``.

    ``vat_percent``, and per ``[[component]]`` a ``part``, a ``name`` and a rate: ``ct_per_kwh``
    (for a grid fee by level: ``ct_per_kwh = {building = 1, feeder = 2, district = 3, outside =
    9}``), ``eur_per_day`` (standing), ``eur_per_kw_month`` (capacity), ``[[component.window]]``
    with ``days``, ``from``, ``to`` and ``ct_per_kwh``, or ``spot_markup_ct_per_kwh`` with
    ``fallback_ct_per_kwh``. ``payee`` is asked for standing charges and capacity fees alone.

    Raises:
        VersionError: a field is missing, unknown, of the wrong kind or out of range.
    """
    fields = _fields(document, "", {"vat_percent", "component"})
    vat_ppm = _scaled(fields, "vat_percent", _MICRO_OF_CENT, "")
    items = _items(fields, "component", "")
    stored = [_stored(item, f"component {n}") for n, item in enumerate(items, 1)]
    return _version({"components": stored, "vat_ppm": vat_ppm})


def _stored(item: object, where: str) -> dict[str, object]:
    """Return a written component as it is stored."""
    named = {"part", "name", "payee", "ct_per_kwh", "eur_per_day", "eur_per_kw_month", "window"}
    spot = {"spot_markup_ct_per_kwh", "fallback_ct_per_kwh"}
    fields = _fields(item, where, named | spot)
    part = _choice(fields, "part", Part, where)
    payee = fields.get("payee") or _PAYEE.get(part)
    if payee is None:
        raise VersionError("say who it is owed to: supplier or grid", f"{where}.payee")
    found: dict[str, object] = {
        "name": fields.get("name", part.value.replace("-", " ").capitalize()),
        "part": part.value,
        "payee": payee,
    }
    single = {Part.STANDING: "eur_per_day", Part.CAPACITY: "eur_per_kw_month"}.get(part)
    allowed = {single} if single else {"ct_per_kwh", "window", "spot_markup_ct_per_kwh"}
    rates = fields.keys() & {*named, *spot} - {"part", "name", "payee", "fallback_ct_per_kwh"}
    if len(rates) != 1 or not rates <= allowed:
        one = " or ".join(sorted(allowed))
        raise VersionError(f"{part} needs one rate, and no more: {one}", where)
    if ("spot_markup_ct_per_kwh" in rates) != ("fallback_ct_per_kwh" in fields):
        raise VersionError(
            "a spot price needs a markup, and a price for when none was imported",
            f"{where}.fallback_ct_per_kwh",
        )
    return found | _stored_rate(fields, rates.pop(), where)


def _stored_rate(fields: Mapping[str, object], rate: str, where: str) -> dict[str, object]:
    if rate == "window":
        windows = [
            _stored_window(item, f"{where}.window {n}")
            for n, item in enumerate(_items(fields, "window", where), 1)
        ]
        return {"windows": windows}
    if rate == "spot_markup_ct_per_kwh":
        return {
            "fallback_micro_per_kwh": _scaled(fields, "fallback_ct_per_kwh", _MICRO_OF_CENT, where),
            "markup_micro_per_kwh": _scaled(fields, rate, _MICRO_OF_CENT, where),
        }
    if rate == "ct_per_kwh":
        return {"rate": _stored_value(fields, where)}
    return {"rate": _scaled(fields, rate, _MICRO_OF_EURO, where)}


def _stored_window(item: object, where: str) -> dict[str, object]:
    fields = _fields(item, where, {"days", "from", "to", "ct_per_kwh"})
    days = fields.get("days", "mon-sun")
    if not isinstance(days, str):
        raise VersionError("write weekdays as mon-fri or sat,sun", f"{where}.days")
    return {
        "days": _weekdays(days, f"{where}.days"),
        "from": fields.get("from", "00:00"),
        "rate": _stored_value(fields, where),
        "to": fields.get("to", "24:00"),
    }


def _stored_value(fields: Mapping[str, object], where: str) -> object:
    """Return a price, or one by level, in micro-euros."""
    value, place = fields.get("ct_per_kwh"), f"{where}.ct_per_kwh"
    if not isinstance(value, Mapping):
        return _scaled(fields, "ct_per_kwh", _MICRO_OF_CENT, where)
    levels = _fields(value, place, set(_LEVELS))
    return {level: _scaled(levels, level, _MICRO_OF_CENT, place) for level in _LEVELS}


def _weekdays(text: str, where: str) -> list[str]:
    """Return the weekdays that ``mon-fri`` or ``sat,sun`` names."""
    found: list[str] = []
    for span in text.replace(" ", "").lower().split(","):
        first, _, last = span.partition("-")
        if first not in WEEKDAYS or (last or first) not in WEEKDAYS:
            raise VersionError(f"{span[:20]!r} is no weekday: {', '.join(WEEKDAYS)}", where)
        days = WEEKDAYS[WEEKDAYS.index(first) : WEEKDAYS.index(last or first) + 1]
        if not days:
            raise VersionError(f"{span[:20]!r} runs backwards: write it as two", where)
        found.extend(days)
    return sorted(found, key=WEEKDAYS.index)


def _version(document: Mapping[str, object]) -> TariffVersion:
    fields = _fields(document, "", {"components", "vat_ppm"})
    items = _items(fields, "components", "")
    return TariffVersion(
        _integer(fields, "vat_ppm", ""),
        tuple(_component(item, f"component {n}") for n, item in enumerate(items, 1)),
    )


def _component(item: object, where: str) -> Component:
    spot = {"fallback_micro_per_kwh", "markup_micro_per_kwh"}
    fields = _fields(item, where, {"name", "part", "payee", "rate", "windows", *spot})
    name = fields.get("name")
    if not isinstance(name, str):
        raise VersionError("a component needs a name", f"{where}.name")
    part = _choice(fields, "part", Part, where)
    payee = _choice(fields, "payee", Payee, where)
    rate = _rate(fields, where)
    return _within(where, lambda: Component(part, payee, name, rate))


def _rate(fields: Mapping[str, object], where: str) -> Rate:
    if "rate" in fields:
        return Fixed(_value(fields["rate"], f"{where}.rate"))
    if "windows" in fields:
        windows = tuple(
            _window(item, f"{where}.window {n}")
            for n, item in enumerate(_items(fields, "windows", where), 1)
        )
        return _within(where, lambda: Windows(windows))
    return Spot(
        Price(_integer(fields, "markup_micro_per_kwh", where)),
        Price(_integer(fields, "fallback_micro_per_kwh", where)),
    )


def _window(item: object, where: str) -> Window:
    fields = _fields(item, where, {"days", "from", "rate", "to"})
    days = _items(fields, "days", where)
    if not set(days) <= set(WEEKDAYS):
        raise VersionError(f"weekdays are {', '.join(WEEKDAYS)}", f"{where}.days")
    numbers = tuple(WEEKDAYS.index(str(day)) for day in days)
    start, end = (_minute(fields, name, where) for name in ("from", "to"))
    value = _value(fields.get("rate"), f"{where}.rate")
    return _within(where, lambda: Window(numbers, start, end, value))


def _minute(fields: Mapping[str, object], name: str, where: str) -> int:
    """Return the minute of the day that ``hh:mm`` names; 24:00 is its end."""
    text = fields.get(name)
    match = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    minute = int(match[1]) * 60 + int(match[2]) if match else DAY_MINUTES + 1
    if minute > DAY_MINUTES:
        raise VersionError(
            f"{text!r:.20} is no time: write it as 06:00, at minute 00, 15, 30 or 45 (24:00 ends "
            "the day)",
            f"{where}.{name}",
        )
    return minute


def _value(value: object, where: str) -> Value:
    if not isinstance(value, Mapping):
        return Price(_whole(value, where))
    fields = _fields(value, where, set(_LEVELS))
    prices = [Price(_integer(fields, level, where)) for level in _LEVELS]
    return _within(where, lambda: Fees(*prices))


def _within(where: str, build: Callable[[], _Built]) -> _Built:
    """Return what is built; what is wrong with it is told with its place."""
    try:
        return build()
    except VersionError as error:
        said = str(error).removeprefix(f"{error.field}: ")
        raise VersionError(said, f"{where}.{error.field}" if error.field else where) from error


def _fields(value: object, where: str, known: set[str]) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise VersionError("this has to be a table of fields", where)
    if unknown := sorted(value.keys() - known):
        raise VersionError(
            f"there is no {unknown[0]!r} here, but {', '.join(sorted(known))}", where
        )
    return value


def _items(fields: Mapping[str, object], name: str, where: str) -> Sequence[object]:
    value = fields.get(name)
    if not isinstance(value, list) or not value:
        raise VersionError("at least one is needed", f"{where}.{name}".lstrip("."))
    return value


_Choice = TypeVar("_Choice", Part, Payee)


def _choice(fields: Mapping[str, object], name: str, kind: type[_Choice], where: str) -> _Choice:
    value = fields.get(name)
    for each in kind:
        if each.value == value:
            return each
    raise VersionError(f"{value!r:.30} is none of {', '.join(kind)}", f"{where}.{name}")


def _integer(fields: Mapping[str, object], name: str, where: str) -> int:
    return _whole(fields.get(name), f"{where}.{name}".lstrip("."))


def _whole(value: object, where: str) -> int:
    if type(value) is not int:
        raise VersionError(f"{value!r:.30} is no whole number", where)
    return value


def _scaled(fields: Mapping[str, object], name: str, scale: int, where: str) -> int:
    """Return a written decimal number times ``scale``: exactly, or not at all."""
    value, place = fields.get(name), f"{where}.{name}".lstrip(".")
    if type(value) not in (int, Decimal) or not isinstance(value, int | Decimal):
        raise VersionError(f"{value!r:.30} is no number: write it such as 12.5", place)
    number = Decimal(value)
    if not number.is_finite() or number.adjusted() >= _MOST_DIGITS:
        raise VersionError(f"{value!s:.30} is absurd: check the unit", place)
    micro = number * scale if number.adjusted() > -_MOST_DECIMALS else number
    if micro != micro.to_integral_value():
        smallest = 1 / Decimal(scale)
        raise VersionError(f"{value!s:.30} is too fine: {smallest} is the smallest step", place)
    return int(micro)
