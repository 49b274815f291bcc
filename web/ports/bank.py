"""What the money pages ask of the house: view models and the protocol that ``app`` satisfies.

Amounts are micro-euros, days are the district's as ISO text, moments UTC milliseconds of the
district clock. Who may ask for what is decided by the pages, before they ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MoneyLine:
    """One movement of a participant's money: in (> 0) or out (< 0)."""

    ref: str
    at_ms: int | None  # None where only the bank's day is known
    day: str
    kind: str  # top-up, founding, bank, ledger
    state: str  # booked, asked, approved, exported, paid, rejected, cancelled
    micro: int
    text: str  # from whom, to where
    reason: str
    can_cancel: bool


@dataclass(frozen=True, slots=True)
class MoneyPage:
    """What a participant sees of their money at the bank. ``account`` is '' without a bank."""

    participant: str
    name: str
    wallet_micro: int
    available_micro: int  # what may be withdrawn now
    account: str  # IBAN in groups of four
    holder: str
    bic: str
    reference: str  # in groups of four
    code: str  # the text of the payment's QR code
    own_address: str  # Bech32, '' without one
    nonce: str  # names the form, so that sending it twice asks once
    lines: Sequence[MoneyLine]  # newest first


@dataclass(frozen=True, slots=True)
class BalanceLine:
    """One line of the reconciliation; a total ends the lines above it."""

    text: str
    micro: int
    total: bool


@dataclass(frozen=True, slots=True)
class BankLine:
    """One movement of the bank's account, as it was or will be booked."""

    ref: str
    day: str
    micro: int
    name: str
    iban: str
    text: str
    state: str  # top-up, payout, open, assigned, charges, returning, returned
    participant: str  # name, '' for nobody
    note: str
    can_return: bool = False


@dataclass(frozen=True, slots=True)
class PayoutLine:
    """One payment on its way out."""

    ref: str
    asked_ms: int
    kind: str  # bank, ledger, return
    micro: int
    participant: str  # name, '' for a credit that is sent back
    holder: str
    target: str


@dataclass(frozen=True, slots=True)
class ExportLine:
    """One file that was made for the bank."""

    message_id: str
    at_ms: int
    payments: int
    micro: int


@dataclass(frozen=True, slots=True)
class TreasuryPage:
    """What the manager sees of the district's money. ``account`` is '' without a bank."""

    account: str
    holder: str
    day: str
    statement: str
    balances: Sequence[BalanceLine]
    reasons: Sequence[str]  # differences that nothing explains
    open: Sequence[BankLine]
    asked: Sequence[PayoutLine]
    approved: Sequence[PayoutLine]
    exported: Sequence[PayoutLine]
    exports: Sequence[ExportLine]
    people: Sequence[tuple[str, str]]  # (id, name)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a statement file would change; ``digest`` confirms exactly this file."""

    digest: str
    name: str
    statements: int
    lines: Sequence[BankLine]
    known: int  # entries that other files brought before


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What a participant filled in: ``amount`` is text; ``kind`` is bank or ledger."""

    kind: str
    amount: str
    iban: str
    holder: str
    nonce: str


class Bank(Protocol):
    """Money in and out. Every step raises RefusedError with the field that has to be mended."""

    def money(self, participant: str) -> MoneyPage:
        """Return a participant's own money page."""
        ...

    def withdraw(self, participant: str, asked: Withdrawal) -> None:
        """Reserve a withdrawal; the manager decides about it."""
        ...

    def cancel(self, participant: str, ref: str) -> None:
        """Undo a withdrawal of one's own, while that is possible."""
        ...

    def set_address(self, participant: str, address: str) -> None:
        """Register a ledger address of one's own for payouts; '' ends the registration."""
        ...

    def lines_csv(self, participant: str) -> bytes:
        """Return a participant's movements as CSV."""
        ...

    def treasury(self) -> TreasuryPage:
        """Return the manager's page."""
        ...

    def preview(self, name: str, content: bytes, decimal: str) -> Preview:
        """Read a statement file (``decimal``: comma, point or '') and say what it would change."""
        ...

    def confirm(self, digest: str) -> int:
        """Book a file that was shown; return how many movements were new."""
        ...

    def assign(self, ref: str, participant: str) -> None:
        """Give a credit to a participant."""
        ...

    def charge(self, ref: str, note: str) -> None:
        """Book a movement as the district's own charges or interest."""
        ...

    def send_back(self, ref: str) -> None:
        """Send a credit back with the next file."""
        ...

    def decide(self, ref: str, decision: str, reason: str) -> None:
        """Do what ``decision`` says: approve, reject, refused (by the bank, after the export)."""
        ...

    def export(self) -> str:
        """Hand the approved payments to a file; return its message id, '' when none is ready."""
        ...

    def export_file(self, message_id: str) -> bytes:
        """Return an exported file; raises NotFoundError for one that does not exist."""
        ...

    def entries_csv(self) -> bytes:
        """Return every movement of the bank's account as CSV."""
        ...
