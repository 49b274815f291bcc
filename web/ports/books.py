"""What the pages of the books ask of the house: view models and the protocol.

Amounts are micro-euros: debit and credit are never below 0, a balance (credit - debit) may be.
Moments are UTC milliseconds of the district clock, months local (YYYY-MM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Turnover:
    """What an account, or several, held at first, what was booked, and what they hold then."""

    opening_micro: int = 0
    debit_micro: int = 0
    credit_micro: int = 0

    @property
    def closing_micro(self) -> int:
        """The balance at the end."""
        return self.opening_micro + self.credit_micro - self.debit_micro

    def __add__(self, other: Turnover) -> Turnover:
        return Turnover(
            self.opening_micro + other.opening_micro,
            self.debit_micro + other.debit_micro,
            self.credit_micro + other.credit_micro,
        )


@dataclass(frozen=True, slots=True)
class Period:
    """A local month, or the part of it before a moment."""

    zone: str
    month: str
    months: Sequence[str]  # those with entries, newest first
    until_ms: int | None  # None: the whole month


@dataclass(frozen=True, slots=True)
class GroupLine:
    """A group of accounts, such as all wallets; ``key`` is how the address names it."""

    key: str
    title: str
    note: str
    accounts: int
    folded: bool  # participants' accounts, or several suppliers'
    turnover: Turnover


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """All groups and their sum, which is 0 or something is broken."""

    period: Period
    lines: Sequence[GroupLine]
    total: Turnover


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One account of a group; ``name`` is whose it is."""

    account: str
    name: str
    turnover: Turnover


@dataclass(frozen=True, slots=True)
class GroupPage:
    """A page of a group's accounts; those that the viewer may not see one by one are ``others``."""

    period: Period
    key: str
    title: str
    note: str
    lines: Sequence[AccountLine]
    others: int
    others_turnover: Turnover
    page: int  # from 1
    pages: int


@dataclass(frozen=True, slots=True)
class WalletParts:
    """What a wallet is made of now: its account = confirmed + unconfirmed + carry."""

    ledger_micro: int
    unconfirmed_micro: int
    carry_micro: int
    difference_micro: int


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One posting on an account: above 0 a credit, below it a debit.

    ``micro`` None (and ``ref`` ''): of a few people whose accounts the viewer does not see.
    """

    entry: int
    booked_ms: int
    kind: str
    ref: str
    interval: str | None
    micro: int | None


@dataclass(frozen=True, slots=True)
class AccountPage:
    """An account in a month; ``older`` is the entry below which the next page begins."""

    period: Period
    group: str
    group_title: str
    folded: bool
    account: str
    name: str
    note: str
    turnover: Turnover
    parts: WalletParts | None
    entries: Sequence[EntryLine]
    older: int | None


class Books(Protocol):
    """The books of the district, for its manager.

    Each raises RefusedError for a month or moment that is none, naming the field.
    """

    def trial(self, month: str, at: str) -> TrialBalance:
        """Return the trial balance of a month ('': the current one), or at a local moment."""
        ...

    def group(self, key: str, month: str, page: int) -> GroupPage:
        """Return a page of a group's accounts. NotFoundError: there is no such group."""
        ...

    def account(self, account: str, month: str, before: int | None) -> AccountPage:
        """Return an account and a page of its entries. NotFoundError: none of the viewer's."""
        ...

    def csv(self, month: str, at: str) -> bytes:
        """Return the trial balance with a row per account."""
        ...
