"""Corrections and disputes in memory, and what was asked of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from tests.web.web_fakes import CLOCK_MS, keys
from web.ports import NotFoundError, RefusedError
from web.ports.corrections import (
    AskedValue,
    CorrectionLine,
    CorrectionsPage,
    LateLine,
    ValueChange,
)
from web.ports.disputes import (
    DisputableLine,
    DisputesPage,
    DisputeView,
    StatementDisputes,
)

HOSTILE = "<script>alert(2)</script>"
POINT = "401234500000000050"
KEY = keys()[0]
NUMBER = "S-2026-000001"

CHANGE = ValueChange(
    name="Roof",
    participant="Weber",
    key=KEY,
    version=2,
    import_wh_before=100,
    import_wh=150,
    export_wh_before=0,
    export_wh=0,
    micro=-18_445,
    month="2026-07",
    original=NUMBER,
    note="debit",
)
LINES = (
    CorrectionLine(
        reference=f"{KEY}/{POINT}/2",
        name="Roof",
        participant="Weber",
        key=KEY,
        version=2,
        source="values",
        import_wh=150,
        export_wh=0,
        micro=-18_445,
        month="2026-07",
        original=NUMBER,
        note="debit",
        reason=f"grid operator {HOSTILE}",
        known_ms=CLOCK_MS,
    ),
    CorrectionLine(
        reference=f"{KEY}/{POINT}/1",
        name="Roof",
        participant="",
        key=KEY,
        version=1,
        source="readings",
        import_wh=100,
        export_wh=0,
        micro=None,
        month=None,
        original=None,
        note=None,
        reason="estimate scaled to the register difference over the gap",
        known_ms=CLOCK_MS,
    ),
)
LATE = (LateLine("Roof", KEY, 70, 0, "readings", CLOCK_MS),)


@dataclass
class FakeCorrections:
    """``refuses`` is raised by the next step."""

    shown: CorrectionsPage = field(
        default_factory=lambda: CorrectionsPage(
            "Europe/Berlin", "2023-06-23", [(POINT, "Roof")], LINES, LATE
        )
    )
    refuses: RefusedError | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def page(self) -> CorrectionsPage:
        return self.shown

    def preview(self, asked: AskedValue) -> ValueChange:
        self._note("preview", asked)
        return CHANGE

    def enter(self, asked: AskedValue, role: str) -> None:
        self._note("enter", asked, role)

    def _note(self, *what: object) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(what)


STATED = DisputableLine("1.2", "residual-import", "Roof", 1_200, -240_000, 290_000, disputed=True)
OTHER = DisputableLine("1.3", "levy", "Roof", 1_200, -24_000, 30_000, disputed=False)


def dispute(number: int, state: str) -> DisputeView:
    closed = state != "open"
    return DisputeView(
        id=number,
        statement=NUMBER,
        month="2026-06",
        participant="weber",
        name="Weber",
        line=STATED,
        held_micro=290_000,
        text=f"We were away {HOSTILE}",
        opened_ms=CLOCK_MS,
        state=state,
        answer="The meter was read" if closed else "",
        answered_by="building-manager" if closed else "",
        remedy=f"{KEY}/{POINT}/1" if state == "corrected" else None,
        closed_ms=CLOCK_MS if closed else None,
    )


@dataclass
class FakeDisputes:
    """One statement of Weber's; ``refuses`` is raised by the next step."""

    found: list[DisputeView] = field(
        default_factory=lambda: [
            dispute(3, "open"),
            dispute(2, "corrected"),
            dispute(1, "refused"),
        ]
    )
    refuses: RefusedError | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def listed(self, own: Collection[str]) -> DisputesPage:
        shown = [each for each in self.found if each.participant in own]
        remedies = [(f"{KEY}/{POINT}/1", f"Weber, Roof, {KEY}, version 1")]
        return DisputesPage("Europe/Berlin", shown, remedies)

    def statement(self, number: str, own: Collection[str]) -> StatementDisputes:
        if number != NUMBER or "weber" not in own:
            raise NotFoundError("there is no such statement among yours")
        lines = (STATED, OTHER)
        return StatementDisputes(
            number, "2026-06", "weber", "Weber", 12_340_000, 290_000, lines, self.found
        )

    def open(self, participant: str, number: str, line: str, text: str) -> None:
        self._note("open", participant, number, line, text)

    def withdraw(self, participant: str, dispute: int) -> None:
        self._note("withdraw", participant, dispute)

    def answer(
        self, dispute: int, decision: str, text: str, remedy: str, own: Collection[str], role: str
    ) -> None:
        self._note("answer", dispute, decision, text, remedy, role)

    def _note(self, *what: object) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(what)
