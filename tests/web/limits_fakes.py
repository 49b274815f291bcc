"""Standing limits in memory, and what was asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.web.web_fakes import CLOCK_MS, keys
from web.ports import RefusedError
from web.ports.limits import (
    AskedLimits,
    LimitsPage,
    LimitsView,
    LimitView,
    Outcome,
    PointLimits,
    VersionLine,
)

HOSTILE = "<script>alert(2)</script>"
POINT = "401234500000000050"
CT = 10_000
CEILING, FLOOR = 25 * CT, 8 * CT
GREEDY = AskedLimits(
    strategy="greedy", share="20", green="premium", premium="2", local_first="yes", level="feeder"
)


def limit(net: int, reason: str, all_in: int | None = None, wanted: int | None = None) -> LimitView:
    return LimitView(net, net if wanted is None else wanted, all_in, reason, wanted is not None)


VIEW = LimitsView(
    asked=GREEDY,
    share_ppm=200_000,
    premium_micro_per_kwh=2 * CT,
    buy=limit(216_000, "share", 328_440),
    buy_green=limit(236_000, "share", 352_240),
    sell=limit(114_000, "share"),
    outcomes=[
        Outcome("bid", 40, 30, 10_100, 8_200, 700_000, 520_000),
        Outcome("offer", 12, 12, 3_000, 3_000, 255_000, 255_000),
    ],
)
CAPPED = LimitsView(
    asked=AskedLimits(strategy="own-limits", buy="40", sell="-2"),
    share_ppm=0,
    premium_micro_per_kwh=0,
    buy=limit(CEILING, "own", 368_900, wanted=276_134),
    buy_green=None,
    sell=limit(FLOOR, "own", wanted=-2 * CT),
    outcomes=[],
)
VERSIONS = (
    VersionLine(3, keys()[0], CLOCK_MS, "prosumer", 1, GREEDY, "planned"),
    VersionLine(2, keys()[1], CLOCK_MS, HOSTILE, None, CAPPED.asked, "holds"),
    VersionLine(1, keys()[2], CLOCK_MS, "building-manager", None, GREEDY, "past"),
    VersionLine(0, "", None, "", None, AskedLimits(), "past"),
)
PAGE = LimitsPage(
    participant="weber",
    name="Family Weber",
    zone="Europe/Berlin",
    mode="metered",
    rule="mid-market",
    tick_micro_per_kwh=1_000,
    expected_micro_per_kwh=165_000,
    next_key=keys()[0],
    points=(
        PointLimits(
            point=POINT,
            name=f"Roof {HOSTILE}",
            place="feeder-1/b",
            has_building=True,
            green=True,
            ceiling_micro_per_kwh=CEILING,
            floor_micro_per_kwh=FLOOR,
            retail_all_in_micro_per_kwh=368_900,
            now=VIEW,
            versions=VERSIONS,
        ),
    ),
)


@dataclass
class FakeLimits:
    """``refuses`` is raised by the next step; ``changes`` is what a step says it changed."""

    page: LimitsPage = PAGE
    refuses: RefusedError | None = None
    changes: bool = True
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def limits(self, participant: str) -> LimitsPage:
        return self.page

    def preview(self, participant: str, point: str, asked: AskedLimits) -> LimitsView:
        self._note("preview", participant, point, asked)
        return CAPPED

    def enter(self, participant: str, point: str, asked: AskedLimits, role: str) -> bool:
        self._note("enter", participant, point, asked, role)
        return self.changes

    def repeat(self, participant: str, point: str, version: int, role: str) -> bool:
        self._note("repeat", participant, point, version, role)
        return self.changes

    def _note(self, *what: object) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(what)
