"""What the pages of disputes ask of the house: view models and the protocol.

Money is micro-euros, > 0 earned and < 0 owed as on the statement; what is held is > 0. Moments are
UTC milliseconds of the district clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DisputableLine:
    """A line of a statement; ``disputed`` while a dispute of it is open."""

    ref: str
    kind: str
    name: str  # of the metering point, '' of a correction's
    wh: int | None
    micro: int
    held_micro: int
    disputed: bool


@dataclass(frozen=True, slots=True)
class DisputeView:
    """A dispute and what came of it. ``remedy`` names the correction that mended it."""

    id: int
    statement: str
    month: str
    participant: str
    name: str  # of the participant
    line: DisputableLine
    held_micro: int
    text: str
    opened_ms: int
    state: str  # open, corrected, refused, withdrawn
    answer: str
    answered_by: str
    remedy: str | None
    closed_ms: int | None


@dataclass(frozen=True, slots=True)
class StatementDisputes:
    """A statement as far as it can be disputed; ``held_micro`` is not to be collected now."""

    number: str
    month: str
    participant: str
    name: str
    due_micro: int
    held_micro: int
    lines: Sequence[DisputableLine]
    disputes: Sequence[DisputeView]


@dataclass(frozen=True, slots=True)
class DisputesPage:
    """The list: open ones first. ``remedies`` are (reference, words) of corrections to name."""

    zone: str
    disputes: Sequence[DisputeView]
    remedies: Sequence[tuple[str, str]]


class Disputes(Protocol):
    """Disputes. A step raises web.ports.RefusedError with the field that has to be mended.

    ``own`` are the participants whose disputes and statements the viewer may see; of any other one
    web.ports.NotFoundError is raised.
    """

    def listed(self, own: Collection[str]) -> DisputesPage:
        """Return the disputes of some participants, the open ones first."""
        ...

    def statement(self, number: str, own: Collection[str]) -> StatementDisputes:
        """Return a statement's lines and disputes."""
        ...

    def open(self, participant: str, number: str, line: str, text: str) -> None:
        """Dispute a line of a participant's own statement."""
        ...

    def withdraw(self, participant: str, dispute: int) -> None:
        """Take a dispute back."""
        ...

    def answer(
        self, dispute: int, decision: str, text: str, remedy: str, own: Collection[str], role: str
    ) -> None:
        """Close a dispute: corrected or refused."""
        ...
