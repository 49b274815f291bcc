"""What the page of people and points asks of the house: view models and the protocol.

Moments are UTC milliseconds of the district clock, begins interval keys. What somebody typed is
text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LinkShown:
    """What a point is bound to in a role. ``begin`` '': from the beginning; ``end`` None: open."""

    kind: str  # participant, supplier, balance-party, ...
    role: str  # the same in words
    name: str
    begin: str
    end: str | None
    entered_by: str


@dataclass(frozen=True, slots=True)
class PointPeople:
    """A metering point: what holds now, what is to come and what is over, each by time."""

    point: str
    name: str
    purpose: str | None
    now: Sequence[LinkShown]
    coming: Sequence[LinkShown]
    past: Sequence[LinkShown]


@dataclass(frozen=True, slots=True)
class LeftLine:
    """Who has no point from an interval on; ``over``: that has begun. Micro-euros of now."""

    participant: str
    name: str
    left_from: str
    over: bool
    wallet_micro: int


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """The page. ``first_day`` is the local day that a form offers, ISO."""

    zone: str
    clock_ms: int
    points: Sequence[PointPeople]
    left: Sequence[LeftLine]
    people: Sequence[tuple[str, str]]
    suppliers: Sequence[tuple[str, str]]
    first_day: str


@dataclass(frozen=True, slots=True)
class AskedChange:
    """What a form says, as typed. ``kind`` is move or switch; ``to`` '' is somebody new."""

    kind: str = "move"
    point: str = ""
    day: str = ""  # local, ISO
    interval: str = ""  # key, in place of the day
    to: str = ""
    name: str = ""
    address: str = ""
    supplier: str = ""
    supplier_name: str = ""


class People(Protocol):
    """Who and what is behind the points that the building manager manages."""

    def page(self) -> PeoplePage:
        """Return the page."""
        ...

    def preview(self, asked: AskedChange) -> Sequence[str]:
        """Return in sentences what a change would do; nothing is written.

        Raises:
            RefusedError: it cannot be.
        """
        ...

    def enter(self, asked: AskedChange, entered_by: str) -> None:
        """Enter a change.

        Raises:
            RefusedError: it cannot be; nothing was written.
        """
        ...

    def undo(self, point: str, kind: str, begin: str, entered_by: str) -> None:
        """Take back the change of a point and kind that begins in an interval.

        Raises:
            RefusedError: it cannot be; nothing was written.
        """
        ...
