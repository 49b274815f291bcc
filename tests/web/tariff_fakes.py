"""Tariffs in memory: one with two windows, a negative feed-in at noon and a planned version."""

from __future__ import annotations

from dataclasses import dataclass, replace

from metering.interval import LENGTH_MS, Interval
from web.ports import Role, Viewer
from web.ports.tariffs import ComponentLine, QuarterPrice, TariffCard, TariffsPage

HOSTILE = "<script>alert(1)</script>"
MIDNIGHT = Interval.parse("2026-06-22T22:00:00Z")  # local, in Berlin


def _day(fed_in: int = 60_000) -> list[QuarterPrice]:
    """A day at 28 ct, from 06:00 to 22:00 at 34 ct; a noon at which feeding in costs 1 ct."""
    keys = [
        Interval.containing_ms(MIDNIGHT.start_ms + number * LENGTH_MS).key for number in range(96)
    ]
    return [
        QuarterPrice(
            key,
            340_000 if 24 <= number < 88 else 280_000,
            -10_000 if 48 <= number < 52 else fed_in,
        )
        for number, key in enumerate(keys)
    ]


CARD = TariffCard(
    name=f"family {HOSTILE}",
    since="2026-01-01",
    until="2026-07-01",
    digest="ab" * 32,
    vat_ppm=190_000,
    points=["School", f"Flat {HOSTILE}"],
    components=[
        ComponentLine("energy", "Energy", "supplier", "mon-fri 06:00-22:00", "14.50 ct/kWh"),
        ComponentLine("grid-fee", "Grid fee", "grid operator", "always", "outside 9.00 ct/kWh"),
        ComponentLine("feed-in", "Feed-in", "supplier", "always", "6.00 ct/kWh"),
    ],
    day=_day(),
    no_spot=True,
)
PAGE = TariffsPage("Europe/Berlin", "2026-06-23", fees_only=False, made_up=False, tariffs=[CARD])


@dataclass
class FakeTariffs:
    """Shows one page, to the grid operator its fees alone."""

    shown: TariffsPage = PAGE

    def tariffs(self, viewer: Viewer) -> TariffsPage:
        if viewer.role is not Role.OPERATOR:
            return self.shown
        day = [QuarterPrice(each.key, 90_000, None) for each in CARD.day]
        fees = [line for line in CARD.components if line.part == "grid-fee"]
        card = replace(
            CARD, components=fees, day=day, digest="", vat_ppm=0, points=[], no_spot=False
        )
        return replace(self.shown, fees_only=True, tariffs=[card])
