"""What a bank's statement says, whatever file it came in."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Final

MAX_BYTES: Final = 4 * 2**20
MAX_ENTRIES: Final = 20_000
MAX_TEXT: Final = 500


@dataclass(frozen=True, slots=True)
class Transaction:
    """One payment in micro-euros: > 0 came in, < 0 went out. Missing texts are empty.

    ``doubt`` says why a person has to look at it, whatever references stand in its texts.
    """

    micro: int
    remittance: str
    end_to_end: str
    name: str
    iban: str
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One booked line of an account; its transactions (several in a batch) add up to it."""

    bank_ref: str
    booked: date
    micro: int
    transactions: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class Balances:
    """What an account held before the first and after the last entry, in micro-euros."""

    opening_micro: int
    closing_micro: int
    closes: date


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. A neutral CSV names no account ('') and has no balances."""

    account: str
    ref: str
    balances: Balances | None
    entries: tuple[Entry, ...]


def clean(text: str | None, most: int = MAX_TEXT) -> str:
    """Return a text on one line without control characters, cut at ``most`` characters."""
    printable = "".join(
        " " if unicodedata.category(each).startswith("C") else each for each in text or ""
    )
    return " ".join(printable.split())[:most]
