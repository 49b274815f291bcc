"""What the forecast page asks of the house: view models and the protocol that ``app`` satisfies.

Energies are whole Wh per quarter-hour, prices micro-euros per kWh, moments UTC milliseconds of the
district clock, days the district's as ISO text.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ForecastQuarter:
    """One quarter-hour ahead; None where nothing is known, or where no local trade is expected."""

    key: str
    import_wh: int | None
    export_wh: int | None
    price_micro_per_kwh: int | None


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """How a day's forecast did: sums over ``quarters`` quarter-hours, forecast less measured.

    ``persistence_*`` are those of taking yesterday's same quarter instead.
    """

    day: str
    direction: str  # import, export
    model: str
    quarters: int
    measured_wh: int
    abs_wh: int
    bias_wh: int
    persistence_abs_wh: int
    persistence_bias_wh: int


@dataclass(frozen=True, slots=True)
class ForecastPage:
    """The next 48 hours of the district (``point`` '') or of a metering point, and the scores."""

    point: str
    name: str
    zone: str
    issued_ms: int | None  # None: there is no forecast yet
    models: Sequence[str]  # versions that made it
    remark: str  # what it had to do without
    hidden: bool  # the district's sums, below five participants
    quarters: Sequence[ForecastQuarter]
    scores: Sequence[ScoreLine]  # newest day first
    choices: Sequence[tuple[str, str]]  # (GSRN, name) of the points that the viewer may see


class Forecasts(Protocol):
    """What is expected."""

    def page(self, own: Collection[str], point: str, *, prices: bool) -> ForecastPage:
        """Return the page of the district ('') or of a point of one of the participants ``own``.

        Without ``prices`` there are none on it. Raises NotFoundError for anybody else's point.
        """
        ...
