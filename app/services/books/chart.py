"""The chart of accounts: ``docs/money.md``, "Accounts", in the order in which people read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.store.journal import OF_PARTICIPANTS
from market import journal


@dataclass(frozen=True, slots=True)
class Group:
    """Accounts that mean the same: one of that name, or all that begin with ``key:``."""

    key: str
    title: str
    note: str


_GROUPS: Final = (
    Group("wallet", "Wallets", "What participants hold on the ledger, with carry"),
    Group("receivable", "Receivables", "What monthly statements settle: > 0 is owed to people"),
    Group("withdrawal", "Withdrawals", "Left the wallets, not yet paid out by the bank"),
    Group("paid-out", "Paid out on the ledger", "Sent to people’s own addresses"),
    Group(journal.SUPPLIER, "Suppliers", "Residual energy bought and sold"),
    Group(journal.GRID_OPERATOR, "Grid operator", "Grid fees and capacity"),
    Group(journal.LEVY, "Levies", "Due on every kWh drawn"),
    Group(journal.TAX, "Electricity tax", "Due on every kWh drawn"),
    Group(journal.VAT, "VAT", "Of invoices, less that of sellers who are liable"),
    Group(journal.BANK, "Bank", "The district’s account, seen from outside: < 0 lies there"),
    Group(journal.TREASURY, "Treasury", "The district’s own units"),
    Group("suspense", "Suspense", "At the bank, waiting for a person to say what it is"),
    Group("charges", "Bank charges", "And interest: the district’s own"),
    Group(journal.ROUNDING, "Rounding", "What whole cents on statements leave over"),
    Group("congestion", "Congestion rent", "Of places whose limit binds: to be given back"),
)
_BY_KEY: Final = {group.key: group for group in _GROUPS}
_PREFIXES: Final = frozenset(of("").removesuffix(":") for of in OF_PARTICIPANTS)


def group_of(account: str) -> Group:
    """Return the group of an account; one that the chart does not name is its own."""
    key = account.partition(":")[0]
    return _BY_KEY.get(key) or Group(key, key.capitalize(), "Not in the chart of accounts")


def rank(group: Group) -> tuple[int, str]:
    """Return where a group stands among the others."""
    return (_GROUPS.index(group) if group in _GROUPS else len(_GROUPS), group.key)


def owner(account: str) -> str:
    """Return whose account it is; '' where it is no participant's."""
    prefix, _, name = account.partition(":")
    return name if prefix in _PREFIXES else ""


def is_folded(group: Group) -> bool:
    """Whether a group has an account for each participant or supplier."""
    return group.key in _PREFIXES or group.key == journal.SUPPLIER
