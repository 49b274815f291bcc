"""What the pages of certificates ask of the house: view models and the protocol.

Energy is Wh, one certificate each; days are local (YYYY-MM-DD), moments UTC milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CertificateDay:
    """What an account holds of one day's production."""

    day: str
    reserved_wh: int
    active_wh: int
    claimed_wh: int
    stored_wh: int  # locked for a storage
    gone_wh: int  # cancelled, withdrawn or expired
    free_from: str  # day from which on all that is reserved can be used


@dataclass(frozen=True, slots=True)
class CertificateMonth:
    """A month's figures. ``matched_wh`` holds ``self_used_wh``.

    ``consumption_wh`` is what the points drew and what was self-used by certified devices.
    """

    month: str
    consumption_wh: int
    matched_wh: int
    self_used_wh: int
    issued_wh: int
    received_wh: int
    sent_wh: int
    claimed_wh: int
    avoided_g: int


@dataclass(frozen=True, slots=True)
class CertificatesPage:
    """A participant's certificates; ``older`` is the day before which further ones lie."""

    participant: str
    name: str
    zone: str
    month: CertificateMonth
    days: Sequence[CertificateDay]  # newest first
    older: str | None
    devices: Sequence[str]  # names of one's own
    expiry_years: int


@dataclass(frozen=True, slots=True)
class AskedAction:
    """What a form says, as typed."""

    day: str = ""
    action: str = "claim"  # claim, transfer, cancel, withdraw
    amount: str = ""  # kWh; '' for all
    to: str = ""
    free: str = ""  # Wh that were free when it was shown what it means; '' before that


@dataclass(frozen=True, slots=True)
class AskedPreview:
    """How many Wh an action would concern, of how many that are free."""

    wh: int
    free_wh: int


@dataclass(frozen=True, slots=True)
class HeldLine:
    """One account in the manager's list, this month."""

    participant: str
    name: str
    month: CertificateMonth


class Certificates(Protocol):
    """Certificates. Steps raise RefusedError with the field to be mended."""

    def held(self, participants: Sequence[tuple[str, str]]) -> Sequence[HeldLine]:
        """Return this month's figures of accounts (id, name)."""
        ...

    def certificates(self, participant: str, before: str) -> CertificatesPage:
        """Return an account's page: its newest days, before a day ('' for the newest)."""
        ...

    def preview(self, participant: str, asked: AskedAction) -> AskedPreview:
        """Return how many Wh an action would concern."""
        ...

    def act(self, participant: str, asked: AskedAction, role: str) -> int:
        """Do it; return how many Wh it concerned."""
        ...
