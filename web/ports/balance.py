"""What the balance page asks of the house: view models and the protocol that ``app`` satisfies.

Energies are Wh, shares ppm, money micro-euros, CO2 mg. Months are YYYY-MM, days YYYY-MM-DD, local.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from market.balance import Flows, Year


@dataclass(frozen=True, slots=True)
class Figures:
    """The balance of a place over a time; None: not the viewer's to see, or not known there."""

    flows: Flows
    saving_micro: int | None
    avoided_mg: int | None
    settled: int  # quarter-hours in it
    of: int  # that the time has


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of a month, or one month of a year."""

    start: str
    flows: Flows


@dataclass(frozen=True, slots=True)
class PlaceLine:
    """A feeder (``building`` None), or a building of it ('': directly at the feeder)."""

    feeder: str
    building: str | None
    name: str
    flows: Flows | None  # None: fewer than five stand behind it
    saving_micro: int | None


@dataclass(frozen=True, slots=True)
class BalancePage:
    """A month or a calendar year of the district, or of one's own metering points."""

    zone: str
    span: str  # month, year
    at: str  # YYYY-MM or YYYY
    earlier: str | None  # the time before, where there is anything of it
    later: str | None
    whose: str  # '' is the district
    choices: Sequence[tuple[str, str]]  # (participant, name) of one's own
    began: bool  # something was settled already, at any time
    hidden: bool  # the district's sums, below five participants
    total: Figures | None
    before: Figures | None  # the time before, where it is known
    bars: Sequence[Bar] | None  # None: on one of them fewer than five took part
    places: Sequence[PlaceLine]
    year: Year | None
    grid_emissions_mg_per_kwh: int


class Balance(Protocol):
    """The district's balance."""

    def page(
        self,
        own: Sequence[tuple[str, str]],
        span: str,
        at: str,
        whose: str,
        *,
        operator: bool,
    ) -> BalancePage:
        """Return the page of a month or year ('' is the one that runs) as far as one may see it.

        ``own`` are the (id, name) of the participants whose accounts the viewer may open. The grid
        operator sees every place's energy, and no money. Raises NotFoundError for a time that is
        none, and for somebody else's account.
        """
        ...

    def csv(
        self, own: Sequence[tuple[str, str]], span: str, at: str, whose: str, *, operator: bool
    ) -> bytes:
        """Return the same figures as a CSV file."""
        ...
