"""Energy, power and register totals as integers whose unit stands in the field name.

Arithmetic between different quantities is refused (``NotImplemented``), and a register total
is not an amount: only :meth:`RegisterTotal.since` turns two totals into an energy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import total_ordering


class QuantityError(ValueError):
    """Root of this module's errors: the value is refused for good."""


class RegisterRolledBackError(QuantityError):
    """A cumulative register shows less than it did before: ask a person, never bill it."""

    def __init__(self, earlier_wh: int, later_wh: int) -> None:
        super().__init__(
            f"register fell from {earlier_wh} Wh to {later_wh} Wh; "
            "a counter only rises: check for a reset or an exchanged meter"
        )
        self.earlier_wh = earlier_wh
        self.later_wh = later_wh


@total_ordering
@dataclass(frozen=True, slots=True)
class Energy:
    """An amount of energy in whole watt-hours (may be negative in differences)."""

    wh: int

    def __add__(self, other: object) -> Energy:
        return Energy(self.wh + other.wh) if isinstance(other, Energy) else NotImplemented

    def __sub__(self, other: object) -> Energy:
        return Energy(self.wh - other.wh) if isinstance(other, Energy) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self.wh < other.wh if isinstance(other, Energy) else NotImplemented

    def __str__(self) -> str:
        return f"{self.wh} Wh"


@total_ordering
@dataclass(frozen=True, slots=True)
class Power:
    """Active power in whole watts; import is positive, export negative."""

    w: int

    def __lt__(self, other: object) -> bool:
        return self.w < other.w if isinstance(other, Power) else NotImplemented

    def __str__(self) -> str:
        return f"{self.w} W"


@total_ordering
@dataclass(frozen=True, slots=True)
class RegisterTotal:
    """What a cumulative energy register shows, in whole watt-hours, never negative."""

    wh: int

    def __post_init__(self) -> None:
        if self.wh < 0:
            raise QuantityError(f"a register total cannot be negative, got {self.wh} Wh")

    def __lt__(self, other: object) -> bool:
        return self.wh < other.wh if isinstance(other, RegisterTotal) else NotImplemented

    def since(self, earlier: RegisterTotal) -> Energy:
        """Return the energy counted since ``earlier``.

        Raises:
            RegisterRolledBackError: this total is below the earlier one.
        """
        if self.wh < earlier.wh:
            raise RegisterRolledBackError(earlier.wh, self.wh)
        return Energy(self.wh - earlier.wh)
