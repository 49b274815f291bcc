"""A district's balance: how much of what it uses it makes itself, over any time and place.

Figures and their formulas: ``docs/money.md``, "The district's balance". Self-sufficiency and
self-consumption are the load and the supply cover factor of IEA SHC Task 40 / EBC Annex 52; what a
positive-energy district is, IEA EBC Annex 83 and the framework of JPI Urban Europe say: a surplus
over a year.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Final

from market.errors import MarketError
from market.money import PPM, round_half_up

MONTHS: Final = 12


class BalanceError(MarketError):
    """Energies that no meters can have measured: stop and ask a person."""


@dataclass(frozen=True, slots=True)
class Flows:
    """What went through a set of metering points in some time, in Wh.

    ``self_used_wh`` never left a metering point: its production units gave it out, and its border
    meter did not see it. ``cycled_wh`` went into storages and out of them again.
    ``hidden_export_wh`` was fed in by points whose production units have no meters: what they use
    themselves is not known, so that shares of them are lower bounds.

    Raises:
        BalanceError: an energy below 0, or local and own energy above what was metered.
    """

    import_wh: int = 0
    import_local_wh: int = 0
    import_own_wh: int = 0
    export_wh: int = 0
    export_local_wh: int = 0
    export_own_wh: int = 0
    self_used_wh: int = 0
    cycled_wh: int = 0
    hidden_export_wh: int = 0

    def __post_init__(self) -> None:
        energies = {each.name: getattr(self, each.name) for each in fields(self)}
        if wrong := [name for name, wh in energies.items() if wh < 0]:
            raise BalanceError(f"{', '.join(wrong)} below 0: energies of a balance never are")
        inside = (self.import_local_wh + self.import_own_wh) <= self.import_wh
        if not (inside and self.export_local_wh + self.export_own_wh <= self.export_wh):
            raise BalanceError("local and own energy are more than was metered: check the sums")
        if self.cycled_wh > min(self.import_wh, self.export_wh):
            raise BalanceError("storages gave out more than was metered: check the sums")

    @property
    def consumption_wh(self) -> int:
        """What was used: drawn or self-used, less what storages gave back; losses are use."""
        return self.import_wh + self.self_used_wh - self.cycled_wh

    @property
    def production_wh(self) -> int:
        """What was made: fed in or self-used, less what storages had taken in before."""
        return self.export_wh + self.self_used_wh - self.cycled_wh

    @property
    def surplus_wh(self) -> int:
        """Production less consumption. Exact even where self-use is not known: it is in both."""
        return self.export_wh - self.import_wh

    @property
    def complete(self) -> bool:
        """Whether all self-use is known; else shares are lower bounds."""
        return self.hidden_export_wh == 0

    @property
    def made_here_wh(self) -> int:
        """What of the consumption was made here; at most all of it."""
        here = self.import_local_wh + self.import_own_wh + self.self_used_wh - self.cycled_wh
        return min(max(here, 0), max(self.consumption_wh, 0))

    @property
    def used_here_wh(self) -> int:
        """What of the production was used here; at most all of it."""
        here = self.export_local_wh + self.export_own_wh + self.self_used_wh - self.cycled_wh
        return min(max(here, 0), max(self.production_wh, 0))

    @property
    def self_sufficiency_ppm(self) -> int | None:
        """How much of the consumption was made here; None without any consumption."""
        return _share(self.made_here_wh, self.consumption_wh)

    @property
    def self_consumption_ppm(self) -> int | None:
        """How much of the production was used here; None without any production."""
        return _share(self.used_here_wh, self.production_wh)

    @property
    def local_share_ppm(self) -> int | None:
        """How much of what was drawn neighbours sold; None where nothing was drawn."""
        return _share(self.import_local_wh, self.import_wh)

    @property
    def ratio_ppm(self) -> int | None:
        """Production over consumption: above 1,000,000 ppm more was made than used."""
        return _share(self.production_wh, self.consumption_wh)

    def __add__(self, other: object) -> Flows:
        if not isinstance(other, Flows):
            return NotImplemented
        names = (each.name for each in fields(self))
        return Flows(*(getattr(self, name) + getattr(other, name) for name in names))


def total(parts: Iterable[Flows]) -> Flows:
    """Return the sum of flows of several places or times."""
    return sum(parts, Flows())


def _share(part_wh: int, whole_wh: int) -> int | None:
    return round_half_up(part_wh * PPM, whole_wh) if whole_wh > 0 else None


@dataclass(frozen=True, slots=True)
class Month:
    """A local month's flows, and how many of its quarter-hours were settled."""

    name: str  # YYYY-MM
    flows: Flows
    settled: int
    of: int


@dataclass(frozen=True, slots=True)
class Year:
    """Twelve local months that follow one another, oldest first; what is not there yet is empty.

    Raises:
        BalanceError: they are not twelve.
    """

    months: Sequence[Month]

    def __post_init__(self) -> None:
        if len(self.months) != MONTHS:
            raise BalanceError(f"{len(self.months)} months are no year: give {MONTHS}")

    @property
    def flows(self) -> Flows:
        """The sum of what is there."""
        return total(month.flows for month in self.months)

    @property
    def settled(self) -> int:
        """How many of the year's quarter-hours are in it."""
        return sum(month.settled for month in self.months)

    @property
    def of(self) -> int:
        """How many quarter-hours the year has."""
        return sum(month.of for month in self.months)

    @property
    def positive(self) -> bool | None:
        """Whether more was made than used in the year; None while a quarter-hour is missing."""
        return self.flows.surplus_wh > 0 if self.settled == self.of else None
