"""A feeder's virtual loss meter: what entered it, what was metered out of it, what is missing.

``docs/money.md``, "Losses". Energy only: losses are shown and watched, nobody is billed for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from market.money import PPM

LEAST_ENTERED_WH: Final = 1_000  # of a day: below it, a meter's resolution is most of the loss
RUN: Final = 8  # intervals in a row (two hours) that a negative loss lasts before it counts
RUN_PPM: Final = 10_000  # by how much of what entered, at least, the run is below 0


@dataclass(frozen=True, slots=True)
class FeederEnergy:
    """What a feeder's head and the points behind it measured in one interval, in Wh.

    Import and export are the head's as a metering point: its import enters the feeder.
    ``estimated``: the head's or some point's energy is no measurement (yet).
    """

    head_import_wh: int
    head_export_wh: int
    points_import_wh: int
    points_export_wh: int
    estimated: bool

    @property
    def entered_wh(self) -> int:
        """What entered the feeder: through its head, and from the points that fed in."""
        return self.head_import_wh + self.points_export_wh

    @property
    def loss_wh(self) -> int:
        """What entered less what left; below 0 more was metered out than in."""
        return self.entered_wh - self.points_import_wh - self.head_export_wh


class Drift(StrEnum):
    """What a day's losses tell."""

    NONE = "none"
    HIGH = "high"
    NEGATIVE = "negative"


@dataclass(frozen=True, slots=True)
class Day:
    """A feeder's measured intervals of one local day, summed, and what they tell.

    ``measured`` of ``intervals`` count; where some of a day was estimated, the rest stands for it
    if it is at least half.
    """

    intervals: int
    measured: int
    entered_wh: int
    loss_wh: int
    drift: Drift

    @property
    def loss_ppm(self) -> int | None:
        """The loss as millionths of what entered, floored; None where nothing did."""
        return self.loss_wh * PPM // self.entered_wh if self.entered_wh else None


def judge_day(energies: Sequence[FeederEnergy], alarm_ppm: int) -> Day:
    """Judge a local day of a feeder, its intervals in time order.

    Only measured intervals count. The loss is *negative* where it is below 0 in eight measured
    intervals that follow each other, together by at least 1 % of what entered in them: no wire
    gives energy, so that a meter is missing or turned round. It is *high* where at least half of
    the day is measured, at least 1 kWh entered, and the loss is more than ``alarm_ppm`` of that.
    """
    measured = [each for each in energies if not each.estimated]
    entered_wh = sum(each.entered_wh for each in measured)
    loss_wh = sum(each.loss_wh for each in measured)
    is_known = 2 * len(measured) >= len(energies) and entered_wh >= LEAST_ENTERED_WH
    if _is_negative(energies):
        drift = Drift.NEGATIVE
    elif is_known and loss_wh * PPM > alarm_ppm * entered_wh:
        drift = Drift.HIGH
    else:
        drift = Drift.NONE
    return Day(len(energies), len(measured), entered_wh, loss_wh, drift)


def _is_negative(energies: Iterable[FeederEnergy]) -> bool:
    run: list[FeederEnergy] = []
    for each in energies:
        run = [*run, each][-RUN:] if not each.estimated and each.loss_wh < 0 else []
        entered_wh = sum(one.entered_wh for one in run)
        gained_wh = -sum(one.loss_wh for one in run)
        if len(run) == RUN and gained_wh * PPM >= RUN_PPM * entered_wh:
            return True
    return False
