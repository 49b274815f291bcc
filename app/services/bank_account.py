"""The district's own bank account, and the reference that each participant writes on a transfer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlmodel import Session

from app.bankfiles.identifiers import creditor_reference
from app.bankfiles.pain import BankAccount
from app.services.bank_errors import NoAccountError
from app.settings import Settings
from app.store import people

# The demo's account. No bank has the code 00000000, so that nobody can pay real money into it.
DEMO_IBAN: Final = "DE52000000000012345678"


def own_account(session: Session, settings: Settings) -> BankAccount | None:
    """Return the district's account; None where it has none. The demo always has one."""
    return account_of(settings, simulated=people.district(session).simulated)


def account_of(settings: Settings, *, simulated: bool) -> BankAccount | None:
    """Return the account of a district; ``simulated``: by its clock it is a demo."""
    name = settings.bank_name or settings.name
    if settings.bank_iban:
        return BankAccount(name, settings.bank_iban, settings.bank_bic)
    if simulated:
        return BankAccount(f"{name} (demo)", DEMO_IBAN)
    return None


def need_account(session: Session, settings: Settings) -> BankAccount:
    """Return the district's account.

    Raises:
        NoAccountError: it has none.
    """
    account = own_account(session, settings)
    if account is None:
        raise NoAccountError(
            "the district has no bank account: set bank_iban (and bank_name) in its settings"
        )
    return account


def reference(settings: Settings, participant: str) -> str:
    """Return a participant's payment reference (ISO 11649), without spaces."""
    return creditor_reference(settings.origin, participant)


def by_reference(session: Session, settings: Settings) -> Mapping[str, str]:
    """Return the participants by payment reference; one that two share stands for neither."""
    found: dict[str, str] = {}
    shared: set[str] = set()
    for participant in people.participants(session):
        own = reference(settings, participant)
        if found.setdefault(own, participant) != participant:
            shared.add(own)
    return {own: who for own, who in found.items() if own not in shared}
