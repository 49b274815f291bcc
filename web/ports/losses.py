"""What the page of losses asks of the house. Energy in Wh; a share in millionths (ppm)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from web.ports import Viewer


@dataclass(frozen=True, slots=True)
class QuarterLoss:
    """A feeder's loss in one quarter-hour; ``estimated``: some meter did not tell."""

    key: str
    entered_wh: int
    loss_wh: int
    estimated: bool


@dataclass(frozen=True, slots=True)
class FeederLosses:
    """A feeder's day. ``drift`` is none, high or negative.

    ``hidden``: too few stand behind the feeder for this viewer to read its figures.
    """

    feeder: str
    hidden: bool
    intervals: int
    measured: int
    entered_wh: int
    loss_wh: int
    loss_ppm: int | None
    drift: str
    quarters: Sequence[QuarterLoss]


@dataclass(frozen=True, slots=True)
class LossesPage:
    """The feeders' losses of a local day, and the days around it that have some."""

    zone: str
    day: str  # YYYY-MM-DD
    before: str | None
    after: str | None
    alarm_ppm: int
    feeders: Sequence[FeederLosses]


class Losses(Protocol):
    """The feeders' loss meters."""

    def losses(self, viewer: Viewer, day: str) -> LossesPage:
        """Return a local day's losses ('': the newest that has any).

        Raises:
            RefusedError: it is no day.
        """
