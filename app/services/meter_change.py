"""What a change of a meter's counters is: two chains, and what the registers showed in between."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ChangeError(ValueError):
    """Root of this module's errors: nothing was changed; tell the person (``field`` is wrong)."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class UnknownChangeError(ChangeError):
    """There is no such change (404), or not among those that this person manages."""


class ChangeDecidedError(ChangeError):
    """It was approved already (409): an approval stands in the log and stays."""


class ChangeValuesError(ChangeError):
    """Closing or opening values are missing, or contradict the readings (422): mend ``field``."""


class ChangeKind(StrEnum):
    """What happened to the registers."""

    RESET = "reset"
    EXCHANGE = "exchange"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Side:
    """The chain of readings at one end: its key (hex), its epoch, and the meter's serial."""

    key: str
    epoch: int
    serial: str


@dataclass(frozen=True, slots=True)
class Values:
    """What the registers showed at a moment (UTC ms); None where the meter has no such register."""

    at_ms: int
    import_wh: int | None
    export_wh: int | None
    resolution_wh: int = 1

    @property
    def asked_ms(self) -> int:
        """When it was read, as :class:`plausibility.Totals` asks."""
        return self.at_ms

    @property
    def answered_ms(self) -> int:
        """The same moment."""
        return self.at_ms

    def document(self) -> dict[str, int | None]:
        """Return it as the leaf of a change has it."""
        return {
            "at_ms": self.at_ms,
            "export_wh": self.export_wh,
            "import_wh": self.import_wh,
        }


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that somebody knows of. Values of None: the readings tell them."""

    point: str
    kind: ChangeKind
    old: Side
    new: Side
    closing: Values | None = None
    opening: Values | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change as people see it; ``waits`` says in words why it cannot be approved yet."""

    id: int
    point: str
    kind: ChangeKind
    state: str
    old: Side
    new: Side
    closing: Values | None
    opening: Values | None
    proposed_by: str
    proposed_ms: int
    decided_by: str | None
    decided_ms: int | None
    reason: str | None
    waits: str | None
