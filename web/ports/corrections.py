"""What the page of corrections asks of the house: view models and the protocol.

Energies are Wh of a quarter-hour, money micro-euros (> 0 in the participant's favour), moments UTC
milliseconds of the district clock. What somebody typed is text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AskedValue:
    """An authorised value as typed: local day (ISO) and time, whole Wh, and why."""

    point: str = ""
    day: str = ""
    time: str = ""
    import_wh: str = ""
    export_wh: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ValueChange:
    """What a value would change. ``note``: correction, credit or debit; ``month`` is YYYY-MM."""

    name: str
    participant: str
    key: str
    version: int
    import_wh_before: int
    import_wh: int
    export_wh_before: int
    export_wh: int
    micro: int
    month: str
    original: str | None
    note: str


@dataclass(frozen=True, slots=True)
class CorrectionLine:
    """A version of a correction on record. ``micro`` is None in records from before it was kept."""

    reference: str  # INTERVAL/POINT/VERSION
    name: str
    participant: str
    key: str
    version: int
    source: str  # readings, values
    import_wh: int
    export_wh: int
    micro: int | None
    month: str | None
    original: str | None
    note: str | None
    reason: str
    known_ms: int


@dataclass(frozen=True, slots=True)
class LateLine:
    """What came too late to be corrected: on record, on no bill."""

    name: str
    key: str
    import_wh: int
    export_wh: int
    source: str
    known_ms: int


@dataclass(frozen=True, slots=True)
class CorrectionsPage:
    """The manager's page; ``points`` are (GSRN, name), ``first_day`` the oldest day to correct."""

    zone: str
    first_day: str
    points: Sequence[tuple[str, str]]
    lines: Sequence[CorrectionLine]
    late: Sequence[LateLine]


class Corrections(Protocol):
    """Corrections. A step raises web.ports.RefusedError with the field that has to be mended."""

    def page(self) -> CorrectionsPage:
        """Return the manager's page."""
        ...

    def preview(self, asked: AskedValue) -> ValueChange:
        """Say what a value would change."""
        ...

    def enter(self, asked: AskedValue, role: str) -> None:
        """Enter a value as the next version."""
        ...
