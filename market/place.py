"""Where an order stands and what it wishes for: places, levels, products.

A district has feeders, a feeder has buildings, a building has metering points. Energy that passes
between two points crosses the levels up to the lowest place that holds both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Self

from market.errors import MarketError
from market.money import Price

_PART: Final = re.compile(r"[^/\s\x00-\x1f\x7f](?:[^/\x00-\x1f\x7f]{0,62}[^/\s\x00-\x1f\x7f])?")
_PREMIUM: Final = re.compile(r"green\+([0-9]{1,9})")


class PlaceError(MarketError):
    """A place or a wish is refused for good: write it as the message says."""


class Level(IntEnum):
    """How far energy travels between two metering points, nearest first."""

    BUILDING = 0
    FEEDER = 1
    DISTRICT = 2

    @property
    def label(self) -> str:
        """The level in words: building, feeder or district."""
        return self.name.lower()


class Product(StrEnum):
    """What energy is: green (from a renewable source, by its metering point), or any."""

    ANY = "any"
    GREEN = "green"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in the district: a building of a feeder, a feeder, or (both empty) the district.

    Raises:
        PlaceError: a building without a feeder, or a name that is empty, longer than 64
            characters or holds a slash, a control character or outer blanks.
    """

    feeder: str = ""
    building: str = ""

    def __post_init__(self) -> None:
        if self.building and not self.feeder:
            raise PlaceError(f"building {self.building!r} needs a feeder: write FEEDER/BUILDING")
        for part in (self.feeder, self.building):
            if part and not _PART.fullmatch(part):
                raise PlaceError(
                    f"{part[:80]!r} names no place: 1 to 64 printable characters without '/'"
                )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place that ``FEEDER``, ``FEEDER/BUILDING`` or '' (the district) names.

        Raises:
            PlaceError: it names none.
        """
        parts = text.split("/") if text else []
        if len(parts) > 2 or not all(parts):
            raise PlaceError(f"{text[:80]!r} is no place: write FEEDER or FEEDER/BUILDING")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.feeder}/{self.building}" if self.building else self.feeder

    @property
    def level(self) -> Level:
        """The lowest level that the place has a hub of."""
        if self.building:
            return Level.BUILDING
        return Level.FEEDER if self.feeder else Level.DISTRICT

    def at(self, level: Level) -> Place:
        """Return the place of ``level`` that holds this one (``level`` not below its own)."""
        if level < self.level:
            raise PlaceError(f"{str(self)!r} has no {level.label}")
        return (self, Place(self.feeder), Place())[level]

    def level_to(self, other: Place) -> Level:
        """Return how far energy travels to another place: up to the nearest that holds both."""
        if self.building and self == other:
            return Level.BUILDING
        return Level.FEEDER if self.feeder and self.feeder == other.feeder else Level.DISTRICT


@dataclass(frozen=True, slots=True)
class Wish:
    """What an order wants beside its limit.

    For an offer, ``product`` says what its energy is (``premium``, ``only`` and ``local_first``
    mean nothing there). For a bid, GREEN is a wish: green energy is worth ``premium`` on top of
    the limit, and with ``only`` nothing else will do. ``local_first``: at equal prices it takes
    near energy before the others do. ``level``: the farthest that the energy may travel.

    Raises:
        PlaceError: a premium or ``only`` without GREEN, a negative premium, or both.
    """

    product: Product = Product.ANY
    premium: Price = Price(0)
    only: bool = False
    local_first: bool = False
    level: Level = Level.DISTRICT

    def __post_init__(self) -> None:
        if self.premium < Price(0):
            raise PlaceError("a premium for green energy cannot be negative")
        if self.product is Product.ANY and (self.only or self.premium != Price(0)):
            raise PlaceError("a premium or 'only' needs the product green")
        if self.only and self.premium != Price(0):
            raise PlaceError("green-only needs no premium: say what it is worth by the limit")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the wish of words such as ``green+20000 local-first max-feeder`` ('' is any).

        Words: ``any`` | ``green`` | ``green+PREMIUM`` (micro-euros per kWh) | ``green-only``,
        then ``local-first``, then ``max-building`` | ``max-feeder`` | ``max-district``.

        Raises:
            PlaceError: an unknown, doubled or contradicting word.
        """
        product, premium, only, local_first, level = Product.ANY, Price(0), False, False, None
        seen: set[str] = set()
        for word in text.split():
            kind = word.partition("-")[0].partition("+")[0].replace("any", "green")
            if kind in seen:
                raise PlaceError(f"{text[:80]!r}: {word!r} says the same thing a second time")
            seen.add(kind)
            if match := _PREMIUM.fullmatch(word):
                product, premium = Product.GREEN, Price(int(match[1]))
            elif word in ("any", "green", "green-only"):
                product, only = Product(word.removesuffix("-only")), word.endswith("-only")
            elif word == "local-first":
                local_first = True
            elif word in _MAX_LEVELS:
                level = _MAX_LEVELS[word]
            else:
                raise PlaceError(
                    f"{word[:40]!r} is no wish: any, green, green+PREMIUM or green-only, then "
                    "local-first, then max-building, max-feeder or max-district"
                )
        return cls(product, premium, only, local_first, Level.DISTRICT if level is None else level)

    def __str__(self) -> str:
        words = []
        if self.product is Product.GREEN:
            premium = f"+{self.premium.micro_per_kwh}" if self.premium != Price(0) else ""
            words.append(f"green{'-only' if self.only else premium}")
        if self.local_first:
            words.append("local-first")
        if self.level is not Level.DISTRICT:
            words.append(f"max-{self.level.label}")
        return " ".join(words)


_MAX_LEVELS: Final = {f"max-{level.label}": level for level in Level}
