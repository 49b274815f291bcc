"""Forecasts in memory: two sunny days of a district and of one roof."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from metering.interval import LENGTH_MS, Interval
from tests.web.web_fakes import CLOCK_MS
from web.ports import NotFoundError
from web.ports.forecasts import ForecastPage, ForecastQuarter, ScoreLine

ROOF = "570000000000000012"
OTHER = "570000000000000029"
HOSTILE = "Roof <script>alert(1)</script>"
RATE = 165_000


def quarter(number: int, size: int) -> ForecastQuarter:
    interval = Interval.containing_ms(CLOCK_MS + number * LENGTH_MS)
    hour = interval.start.hour + interval.start.minute / 60
    sun = max(0.0, math.sin((hour - 4) / 16 * math.pi)) if 4 < hour < 20 else 0.0
    export_wh = round(size * 400 * sun)
    return ForecastQuarter(
        key=interval.key,
        import_wh=round(size * (220 + 90 * math.cos((hour - 18) / 12 * math.pi))),
        export_wh=export_wh,
        price_micro_per_kwh=RATE if export_wh else None,
    )


def line(day: str, direction: str, error_wh: int, naive_wh: int) -> ScoreLine:
    return ScoreLine(
        day=day,
        direction=direction,
        model="baseline-1" if direction == "import" else "solar-1",
        quarters=96,
        measured_wh=212_340,
        abs_wh=96 * error_wh,
        bias_wh=-48 * error_wh,
        persistence_abs_wh=96 * naive_wh,
        persistence_bias_wh=96 * 4,
    )


SCORES = (
    line("2026-06-22", "import", 84, 140),
    line("2026-06-22", "export", 130, 100),
    line("2026-06-21", "import", 0, 0),
)
DISTRICT = ForecastPage(
    point="",
    name="Lindenhof",
    zone="Europe/Berlin",
    issued_ms=CLOCK_MS,
    models=("baseline-1",),
    remark="2 of 24 series have less than 14 days to learn from",
    hidden=False,
    quarters=[quarter(number, 12) for number in range(1, 193)],
    scores=SCORES,
    choices=(),
)
EMPTY = replace(DISTRICT, issued_ms=None, models=(), quarters=(), scores=())
HIDDEN = replace(DISTRICT, hidden=True, quarters=(), scores=())
OWN = {"weber": ((ROOF, HOSTILE),), "bakery": ((OTHER, "Bakery"),)}


@dataclass
class FakeForecasts:
    """What ``shown`` holds of the district; of a point, a tenth of it."""

    shown: ForecastPage = DISTRICT
    asked: list[tuple[frozenset[str], str, bool]] = field(default_factory=list)

    def page(self, own: Collection[str], point: str, *, prices: bool) -> ForecastPage:
        self.asked.append((frozenset(own), point, prices))
        choices = dict(each for who in sorted(own) for each in OWN.get(who, ()))
        if point and point not in choices:
            raise NotFoundError("not yours")
        quarters = [
            each if prices else replace(each, price_micro_per_kwh=None)
            for each in self.shown.quarters
        ]
        if point:
            quarters = [quarter(number, 1) for number in range(1, len(quarters) + 1)]
        name = choices.get(point, self.shown.name)
        return replace(
            self.shown, point=point, name=name, quarters=quarters, choices=tuple(choices.items())
        )
