"""What the sharing pages ask of the house: view models and the protocol that ``app`` satisfies.

Shares are ppm, energies Wh of the local day, prices net micro-euros per kWh, days the district's as
ISO text. Who may ask for what is decided by the pages, before they ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from web.ports import PortError


class KeysRefusedError(PortError):
    """Nothing was changed: show the reasons, one line each."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


@dataclass(frozen=True, slots=True)
class Today:
    """What generating points fed in on the local day beyond own use, and how much was shared."""

    day: str
    surplus_wh: int
    shared_wh: int

    @property
    def exported_wh(self) -> int:
        """What nobody took."""
        return self.surplus_wh - self.shared_wh


@dataclass(frozen=True, slots=True)
class MemberLine:
    """A member of a key; ``ppm`` None where the kind knows no fixed share (by volume)."""

    name: str
    point: str
    ppm: int | None
    today_wh: int


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One version of the key of a roof; ``replaces`` is the version before it, in a preview."""

    number: int | None
    roof: str
    point: str
    day: str  # from which local day on
    kind: str  # static, equal, by-volume
    again: bool  # unused shares go round once more
    price_micro_per_kwh: int
    members: Sequence[MemberLine]
    unowned_ppm: int  # of a static key: exported in any case
    state: str  # holds, to-come, replaced, withdrawn, planned
    source: str
    today: Today | None = None
    replaces: int | None = None


@dataclass(frozen=True, slots=True)
class SharingPage:
    """What the manager sees; ``active`` tells whether the district is in sharing mode."""

    active: bool
    today: Today
    versions: Sequence[KeyVersion]  # by roof and day

    def of(self, *states: str) -> list[KeyVersion]:
        """Return the versions in some states."""
        return [version for version in self.versions if version.state in states]


@dataclass(frozen=True, slots=True)
class OwnShare:
    """One's own share of a neighbour's roof, which stays without a name."""

    roof: str  # Roof A, Roof B, ...
    point: str  # one's own metering point, by name
    kind: str
    again: bool
    ppm: int | None
    price_micro_per_kwh: int
    day: str
    to_come: bool
    today_wh: int


@dataclass(frozen=True, slots=True)
class OwnRoof:
    """The key of a roof of one's own, in sums."""

    name: str
    kind: str
    members: int
    owned_ppm: int | None
    price_micro_per_kwh: int
    day: str
    to_come: bool
    today: Today | None


@dataclass(frozen=True, slots=True)
class OwnSharing:
    """What a prosumer sees: their shares of others' roofs, and the keys of their own."""

    active: bool
    day: str
    shares: Sequence[OwnShare]
    roofs: Sequence[OwnRoof]


@dataclass(frozen=True, slots=True)
class KeyPreview:
    """What a file of keys would change; ``content`` is sent back to be written."""

    name: str
    content: bytes
    versions: Sequence[KeyVersion]


class Sharing(Protocol):
    """The sharing keys. Changes raise KeysRefusedError."""

    def page(self) -> SharingPage:
        """Return the manager's page."""
        ...

    def own(self, participant: str) -> OwnSharing:
        """Return a participant's own page."""
        ...

    def today(self) -> Today:
        """Return the district's sums of the local day: energy alone."""
        ...

    def keys_csv(self) -> bytes:
        """Return the keys that hold as a file to be changed and taken in from tomorrow on."""
        ...

    def preview(self, name: str, content: bytes) -> KeyPreview:
        """Read a file and say what it would change."""
        ...

    def confirm(self, name: str, content: bytes) -> int:
        """Write the versions of a file that was shown; return how many."""
        ...

    def undo(self, number: int) -> int:
        """Withdraw a version and those that came with it and do not hold yet; return how many."""
        ...
