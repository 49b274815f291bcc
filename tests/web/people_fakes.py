"""People and points in memory, and what was asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.web.web_fakes import CLOCK_MS, keys
from web.ports import RefusedError
from web.ports.people import AskedChange, LeftLine, LinkShown, PeoplePage, PointPeople

HOSTILE = "<script>alert(4)</script>"
POINT = "401234500000000050"

PAGE = PeoplePage(
    zone="Europe/Berlin",
    clock_ms=CLOCK_MS,
    points=[
        PointPeople(
            POINT,
            "Flat 3",
            None,
            now=[
                LinkShown("participant", "participant", "Weber", keys()[2], None, "manager"),
                LinkShown("supplier", "supplier", HOSTILE, "", None, "founding"),
            ],
            coming=[LinkShown("participant", "participant", "Ada Ek", keys()[0], None, "manager")],
            past=[LinkShown("participant", "participant", "Holm", "", keys()[2], "founding")],
        ),
        PointPeople("401234500000000067", "Roof meter", "production", [], [], []),
    ],
    left=[
        LeftLine("holm", "Holm", keys()[2], over=True, wallet_micro=12_340_000),
        LeftLine("weber", "Weber", keys()[0], over=False, wallet_micro=-2_000_000),
    ],
    people=[("weber", "Weber"), ("holm", "Holm")],
    suppliers=[("", "the district's supplier"), ("sw", HOSTILE)],
    first_day="2026-06-24",
)


@dataclass
class FakePeople:
    """Satisfies ``web.ports.people.People``; ``refusal`` is raised by whatever changes."""

    shown: PeoplePage = PAGE
    refusal: RefusedError | None = None
    asked: list[tuple[str, object]] = field(default_factory=list)

    def page(self) -> PeoplePage:
        return self.shown

    def preview(self, asked: AskedChange) -> Sequence[str]:
        self._note("preview", asked)
        return [f"Flat 3: participant {asked.name} instead of Weber."]

    def enter(self, asked: AskedChange, entered_by: str) -> None:
        self._note(entered_by, asked)

    def undo(self, point: str, kind: str, begin: str, entered_by: str) -> None:
        self._note(entered_by, (point, kind, begin))

    def _note(self, what: str, of: object) -> None:
        self.asked.append((what, of))
        if self.refusal is not None:
            raise self.refusal
