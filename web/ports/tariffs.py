"""What the page of tariffs asks of the house: view models and the protocol.

Prices are micro-euros per kWh; days and times are those of the district's wall clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from web.ports import Viewer


class ComponentLine(NamedTuple):
    """A component, or a window of it: its name, who is paid, when it holds, its net price."""

    part: str
    name: str
    payee: str
    when: str
    price: str


class QuarterPrice(NamedTuple):
    """What a kWh costs from outside with everything on it, and earns fed in, in one quarter-hour.

    For the grid operator ``drawn`` is the net grid fee alone and ``fed_in`` None.
    """

    key: str
    drawn_micro_per_kwh: int
    fed_in_micro_per_kwh: int | None


@dataclass(frozen=True, slots=True)
class TariffCard:
    """One tariff as it holds today. ``points`` are the viewer's metering points on it, by name.

    ``since`` is the version's first day, ``until`` the first of the next planned one ('' without).
    ``no_spot``: it follows a price of which some quarter-hours of today are not known.
    """

    name: str
    since: str
    until: str
    digest: str
    vat_ppm: int
    points: Sequence[str]
    components: Sequence[ComponentLine]
    day: Sequence[QuarterPrice]
    no_spot: bool


@dataclass(frozen=True, slots=True)
class TariffsPage:
    """The tariffs that the viewer may see, today's local ``day`` (YYYY-MM-DD) and ``zone``.

    ``fees_only``: the viewer is the grid operator, who sees grid fees alone.
    ``made_up``: unknown day-ahead prices are the demo's synthetic curve.
    """

    zone: str
    day: str
    fees_only: bool
    made_up: bool
    tariffs: Sequence[TariffCard]


class Tariffs(Protocol):
    """Tariffs as people see them."""

    def tariffs(self, viewer: Viewer) -> TariffsPage:
        """Return the page of a viewer: all tariffs, one's own, or grid fees alone."""
        ...
