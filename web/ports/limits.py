"""What the page of standing limits asks of the house: view models and the protocol.

Prices are micro-euros per kWh, shares millionths, moments UTC milliseconds of the district clock.
What somebody typed is text, in ct/kWh and per cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AskedLimits:
    """What a form says, as typed; the defaults are grid parity without a wish."""

    strategy: str = "grid-parity"  # grid-parity, greedy, by-forecast, own-limits
    share: str = ""  # per cent of the spread
    buy: str = ""  # ct/kWh all-in
    sell: str = ""  # ct/kWh net
    green: str = "any"  # any, premium, only
    premium: str = ""  # ct/kWh net
    local_first: str = ""  # yes
    level: str = "district"  # building, feeder, district


@dataclass(frozen=True, slots=True)
class LimitView:
    """A limit and how it came about. ``all_in`` is what a buyer pays at it; None for a seller."""

    net_micro_per_kwh: int
    wanted_micro_per_kwh: int  # net, before the own bound and the price tick
    all_in_micro_per_kwh: int | None
    reason: str  # tariff, share, forecast, no-forecast, own
    capped: bool  # what was wanted is beyond the own bound


@dataclass(frozen=True, slots=True)
class Outcome:
    """What limits make of the last day's own trades: those that they would have let through."""

    side: str  # bid, offer
    intervals: int  # with an own local trade
    kept_intervals: int
    wh: int
    kept_wh: int
    saving_micro: int  # against the normal tariff, all-in for a buyer
    kept_saving_micro: int


@dataclass(frozen=True, slots=True)
class LimitsView:
    """Limits of both sides, as words and numbers."""

    asked: AskedLimits
    share_ppm: int
    premium_micro_per_kwh: int
    buy: LimitView
    buy_green: LimitView | None  # with the premium, where there is one
    sell: LimitView
    outcomes: Sequence[Outcome]  # of the last day; empty where nothing was traded


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version of a point's limits; 0 is the default."""

    version: int
    valid_from: str  # interval key, '' for the default
    at_ms: int | None
    entered_by: str  # role
    repeats: int | None  # the version that it brings back
    asked: AskedLimits
    state: str  # holds, planned, past


@dataclass(frozen=True, slots=True)
class PointLimits:
    """One metering point: its bounds, the limits that hold, and their versions, newest first."""

    point: str
    name: str
    place: str
    has_building: bool
    green: bool
    ceiling_micro_per_kwh: int
    floor_micro_per_kwh: int
    retail_all_in_micro_per_kwh: int
    now: LimitsView
    versions: Sequence[VersionLine]


@dataclass(frozen=True, slots=True)
class LimitsPage:
    """A participant's limits; what is entered now holds from ``next_key`` on."""

    participant: str
    name: str
    zone: str
    mode: str  # metered, forward, sharing
    rule: str
    tick_micro_per_kwh: int
    expected_micro_per_kwh: int | None  # of the next quarter-hour
    next_key: str
    points: Sequence[PointLimits]


class Limits(Protocol):
    """Standing limits. Every step raises bank_ports.RefusedError with the field to be mended."""

    def limits(self, participant: str) -> LimitsPage:
        """Return a participant's page."""
        ...

    def preview(self, participant: str, point: str, asked: AskedLimits) -> LimitsView:
        """Say what limits would come out, and what they would have let through yesterday."""
        ...

    def enter(self, participant: str, point: str, asked: AskedLimits, role: str) -> bool:
        """Enter limits; return whether they are others than those that hold already."""
        ...

    def repeat(self, participant: str, point: str, version: int, role: str) -> bool:
        """Enter an earlier version once more; return whether that changes anything."""
        ...
