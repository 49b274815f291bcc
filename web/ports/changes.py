"""What the page of meter changes asks of the house. Energy in Wh, time in UTC milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CounterValues:
    """What both counters showed at a moment; None where the meter has no such counter."""

    at_ms: int
    import_wh: int | None
    export_wh: int | None


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """A meter whose counters began anew. ``kind`` is reset, exchange or restart.

    ``waits`` says in words why it cannot be approved yet.
    """

    change: int
    name: str
    point: str
    kind: str
    state: str  # proposed, approved, rejected
    old_serial: str
    new_serial: str
    old_epoch: int
    new_epoch: int
    closing: CounterValues | None
    opening: CounterValues | None
    proposed_ms: int
    decided_by: str | None
    decided_ms: int | None
    reason: str | None
    waits: str | None


@dataclass(frozen=True, slots=True)
class EventLine:
    """What a gateway told of a meter; ``level`` is info, warning or alarm."""

    at_ms: int
    level: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """The changes at the points that the manager manages, and what gateways told of them."""

    zone: str
    waiting: Sequence[ChangeLine]
    decided: Sequence[ChangeLine]
    events: Sequence[EventLine]


@dataclass(frozen=True, slots=True)
class TypedValues:
    """What was typed in place of what the readings show, in kWh or left empty."""

    closing_import: str = ""
    closing_export: str = ""
    opening_import: str = ""
    opening_export: str = ""


class MeterChanges(Protocol):
    """Meters whose counters began anew."""

    def page(self) -> ChangesPage:
        """Return the page."""
        ...

    def approve(self, change: int, typed: TypedValues, role: str) -> None:
        """Let a change count, with what was typed in place of what the readings show.

        Raises:
            RefusedError: nothing was changed; its field says what is wrong.
        """
        ...

    def reject(self, change: int, reason: str, role: str) -> None:
        """Let a change not count.

        Raises:
            RefusedError: as for :meth:`approve`.
        """
        ...
