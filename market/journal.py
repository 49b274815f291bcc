"""Double entry: postings that add up to 0, or no entry at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from market.errors import MarketError

SUPPLIER: Final = "supplier"
GRID_OPERATOR: Final = "grid"
LEVY: Final = "levy"
TAX: Final = "tax"
VAT: Final = "vat"
TREASURY: Final = "treasury"
BANK: Final = "bank"
ROUNDING: Final = "rounding"


class UnbalancedEntryError(MarketError):
    """Postings do not add up to 0: a fault in the program; stop and ask a person."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One movement on one account in micro-euros; positive is in favour of the account."""

    account: str
    micro: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Postings that belong together: ``ref`` says about what, ``kind`` says why.

    Raises:
        UnbalancedEntryError: the postings do not add up to 0.
    """

    ref: str
    kind: str
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        total = sum(posting.micro for posting in self.postings)
        if total:
            raise UnbalancedEntryError(
                f"{self.kind} entry {self.ref!r} adds up to {total} micro, not 0: do not post it"
            )


def wallet(participant: str) -> str:
    """Return the account that mirrors a participant's ledger balance, carry included."""
    return f"wallet:{participant}"


def supplier(supplier_id: str) -> str:
    """Return the account of who sells and buys the residual ('' where a district has one)."""
    return f"{SUPPLIER}:{supplier_id}" if supplier_id else SUPPLIER


def withdrawal(participant: str) -> str:
    """Return the account of what left a wallet and is not yet paid out by the bank."""
    return f"withdrawal:{participant}"


def paid_out(participant: str) -> str:
    """Return the account of what was paid to a participant's own addresses on the ledger."""
    return f"paid-out:{participant}"


def receivable(participant: str) -> str:
    """Return the account that the monthly statement settles."""
    return f"receivable:{participant}"


def entry_of(ref: str, kind: str, movements: Iterable[tuple[str, int]]) -> Entry:
    """Return the entry of ``(account, micro)`` movements: one posting per account, by name."""
    totals: dict[str, int] = {}
    for account, micro in movements:
        totals[account] = totals.get(account, 0) + micro
    postings = [Posting(account, micro) for account, micro in sorted(totals.items()) if micro]
    return Entry(ref, kind, tuple(postings))
