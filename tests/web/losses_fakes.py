"""Losses in memory: a feeder in order, one below 0, and one that too few stand behind."""

from __future__ import annotations

from web.ports import RefusedError, Role, Viewer
from web.ports.losses import FeederLosses, LossesPage, QuarterLoss

QUARTERS = [
    QuarterLoss("2026-06-23T09:00:00Z", 12_000, 360, estimated=False),
    QuarterLoss("2026-06-23T09:15:00Z", 10_000, 0, estimated=True),
    QuarterLoss("2026-06-23T09:30:00Z", 8_000, -90, estimated=False),
]
NORTH = FeederLosses("north", False, 3, 2, 20_000, 270, 13_500, "none", QUARTERS)
SOUTH = FeederLosses("south", False, 3, 2, 20_000, 2_700, 135_000, "high", QUARTERS[:1])
SMALL = FeederLosses("<b>small</b>", True, 0, 0, 0, 0, None, "none", [])


class FakeLosses:
    """Satisfies :class:`web.ports.losses.Losses`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.feeders = [NORTH, SOUTH, SMALL]

    def losses(self, viewer: Viewer, day: str) -> LossesPage:
        assert viewer.role is not Role.PROSUMER
        self.asked.append(day)
        if day == "yesterday":
            raise RefusedError("'yesterday' is no day: write it as 2026-06-23", "day")
        return LossesPage("Europe/Berlin", "2026-06-23", "2026-06-22", None, 80_000, self.feeders)
