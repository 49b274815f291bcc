"""Meter changes in memory, and what was asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.web.web_fakes import CLOCK_MS
from web.ports import RefusedError
from web.ports.changes import ChangeLine, ChangesPage, CounterValues, EventLine, TypedValues

HOSTILE = "<script>alert(3)</script>"
RESET = ChangeLine(
    change=3,
    name=f"Flat {HOSTILE}",
    point="401234500000000050",
    kind="reset",
    state="proposed",
    old_serial="1WLM000001",
    new_serial="1WLM000001",
    old_epoch=1,
    new_epoch=2,
    closing=CounterValues(CLOCK_MS - 180_000, 1_234_567, None),
    opening=CounterValues(CLOCK_MS, 120, None),
    proposed_ms=CLOCK_MS,
    decided_by=None,
    decided_ms=None,
    reason=None,
    waits=None,
)
REJECTED = replace(RESET, change=2, state="rejected", decided_by="building-manager", reason=HOSTILE)
PAGE = ChangesPage(
    zone="Europe/Berlin",
    waiting=[RESET, replace(RESET, change=4, opening=None, waits="reading 1 has not come in yet")],
    decided=[REJECTED, replace(RESET, change=1, state="approved", decided_by="administrator")],
    events=[
        EventLine(CLOCK_MS, "alarm", "Flat", f"the counters begin anew {HOSTILE}"),
        EventLine(CLOCK_MS, "info", "Flat", "the meter answers again after 3 polls without"),
    ],
)


@dataclass
class FakeMeterChanges:
    """``refuses`` is raised by the next step."""

    shown: ChangesPage = PAGE
    refuses: RefusedError | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def page(self) -> ChangesPage:
        return self.shown

    def approve(self, change: int, typed: TypedValues, role: str) -> None:
        self._note("approve", change, typed, role)

    def reject(self, change: int, reason: str, role: str) -> None:
        self._note("reject", change, reason, role)

    def _note(self, *what: object) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(what)
