"""A district's balance in memory: a June of some days, and a year that is not complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from market.balance import Flows, Month, Year
from web.ports import NotFoundError
from web.ports.balance import BalancePage, Bar, Figures, PlaceLine

HOSTILE = "<script>alert(1)</script>"
DAY = Flows(
    import_wh=120_000,
    import_local_wh=40_000,
    import_own_wh=2_000,
    export_wh=90_000,
    export_local_wh=40_000,
    export_own_wh=2_000,
    self_used_wh=30_000,
)
DARK = replace(DAY, export_wh=42_000, import_wh=160_000, self_used_wh=0, hidden_export_wh=1)
TOTAL = Figures(DAY + DARK, 41_500_000, 26_400_000, 150, 2_880)
NAMES = [f"2025-{n:02}" for n in range(7, 13)] + [f"2026-{n:02}" for n in range(1, 7)]
YEAR = Year(
    [*(Month(name, Flows(), 0, 2_880) for name in NAMES[:-1]), Month(NAMES[-1], DAY, 150, 2_880)]
)
PLACES = (
    PlaceLine("f", None, f"North {HOSTILE}", DAY + DARK, 41_500_000),
    PlaceLine("f", "", "f", DAY, 20_000_000),
    PlaceLine("f", "b1", "School", None, None),
)
PAGE = BalancePage(
    zone="Europe/Berlin",
    span="month",
    at="2026-06",
    earlier="2026-05",
    later=None,
    whose="",
    choices=[("weber", f"Family {HOSTILE}")],
    began=True,
    hidden=False,
    total=TOTAL,
    before=Figures(DARK, 1_000_000, None, 2_976, 2_976),
    bars=[Bar("2026-06-22", DAY), Bar("2026-06-23", DARK)],
    places=PLACES,
    year=YEAR,
    grid_emissions_mg_per_kwh=363_000,
)
NOTHING = replace(
    PAGE, began=False, total=None, before=None, earlier=None, bars=[], places=[], choices=[]
)


@dataclass
class FakeBalance:
    """Shows one page; remembers what was asked."""

    shown: BalancePage = PAGE
    asked: list[tuple[tuple[str, ...], str, str, str, bool]] = field(default_factory=list)

    def page(
        self, own: Sequence[tuple[str, str]], span: str, at: str, whose: str, *, operator: bool
    ) -> BalancePage:
        names = tuple(each for each, _ in own)
        self.asked.append((names, span, at, whose, operator))
        if span not in {"month", "year"} or (whose and whose not in names):
            raise NotFoundError("no such time or account")
        if not operator:
            return replace(self.shown, whose=whose)
        blind = [replace(place, saving_micro=None) for place in self.shown.places]
        total = self.shown.total and replace(self.shown.total, saving_micro=None)
        before = self.shown.before and replace(self.shown.before, saving_micro=None)
        return replace(self.shown, total=total, before=before, places=blind, choices=[])

    def csv(
        self, own: Sequence[tuple[str, str]], span: str, at: str, whose: str, *, operator: bool
    ) -> bytes:
        self.page(own, span, at, whose, operator=operator)
        return b"level,name\n"
