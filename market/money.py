"""Money and price as integers in micro-euros; one rounding, and splits that add up.

One ledger unit is one micro-euro. A price is micro-euros per kilowatt-hour and may be negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import total_ordering

from market.errors import MarketError
from metering.quantities import Energy

PPM = 1_000_000


class MoneyError(MarketError):
    """The amount is refused for good."""


def round_half_up(numerator: int, denominator: int) -> int:
    """Return ``numerator / denominator`` rounded to the nearest integer, halves upwards."""
    return (2 * numerator + denominator) // (2 * denominator)


@total_ordering
@dataclass(frozen=True, slots=True)
class Money:
    """An amount in whole micro-euros; negative means owed."""

    micro: int

    def __add__(self, other: object) -> Money:
        return Money(self.micro + other.micro) if isinstance(other, Money) else NotImplemented

    def __sub__(self, other: object) -> Money:
        return Money(self.micro - other.micro) if isinstance(other, Money) else NotImplemented

    def __neg__(self) -> Money:
        return Money(-self.micro)

    def __lt__(self, other: object) -> bool:
        return self.micro < other.micro if isinstance(other, Money) else NotImplemented

    def share(self, ppm: int) -> Money:
        """Return ``ppm`` millionths of this amount (a VAT rate, say), rounded once, half up."""
        return Money(round_half_up(self.micro * ppm, PPM))


@total_ordering
@dataclass(frozen=True, slots=True)
class Price:
    """A price in whole micro-euros per kilowatt-hour; may be negative."""

    micro_per_kwh: int

    def of(self, energy: Energy) -> Money:
        """Return the money for ``energy`` at this price: the one place that rounds (half up)."""
        return Money(round_half_up(self.micro_per_kwh * energy.wh, 1000))

    def __add__(self, other: object) -> Price:
        if isinstance(other, Price):
            return Price(self.micro_per_kwh + other.micro_per_kwh)
        return NotImplemented

    def __sub__(self, other: object) -> Price:
        if isinstance(other, Price):
            return Price(self.micro_per_kwh - other.micro_per_kwh)
        return NotImplemented

    def __lt__(self, other: object) -> bool:
        if isinstance(other, Price):
            return self.micro_per_kwh < other.micro_per_kwh
        return NotImplemented


def largest_remainder(total: int, weights: Sequence[int], ties: Sequence[bytes]) -> list[int]:
    """Split ``total`` in proportion to ``weights`` so that the parts add up to it exactly.

    Each part gets the floor of its exact share; the units left over go to the largest
    remainders, equal ones in the order of ``ties`` (byte strings that anyone can recompute).

    Raises:
        MoneyError: negative input, or something to split over weights that are all zero.
    """
    weight_sum = sum(weights)
    if total < 0 or min(weights, default=0) < 0:
        raise MoneyError(f"cannot split {total} over {list(weights)}: negative")
    if weight_sum == 0:
        if total:
            raise MoneyError(f"cannot split {total} over weights that are all zero")
        return [0] * len(weights)
    parts = [total * weight // weight_sum for weight in weights]
    left = total - sum(parts)
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % weight_sum), ties[i]))
    for i in order[:left]:
        parts[i] += 1
    return parts
