"""What the journal says, what the ledger says, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlmodel import Session

from app.services.house import House
from app.store import journal, market, payments, people, wallets
from market.money import Money


@dataclass(frozen=True, slots=True)
class Account:
    """One participant's money in micro-euros: ledger + carry + unconfirmed = wallet."""

    wallet_micro: int
    ledger_micro: int
    carry_micro: int
    unconfirmed_micro: int

    @property
    def difference_micro(self) -> int:
        """Journal less ledger: 0, or something is broken."""
        known = self.ledger_micro + self.carry_micro + self.unconfirmed_micro
        return self.wallet_micro - known


def accounts(house: House, session: Session) -> Mapping[str, Account]:
    """Return every participant's account as an audit: the ledger itself is asked for each address.

    Right at rest: between a milestone and its booking a payment counts on both sides.
    """
    owned = wallets.all_addresses(session)
    return {
        who: replace(account, ledger_micro=_units(house, owned.get(who, ())))
        for who, account in booked_accounts(session).items()
    }


def _units(house: House, addresses: Sequence[str]) -> int:
    return sum(house.ledger.balance(bytes.fromhex(address)).units for address in addresses)


def booked_accounts(session: Session) -> Mapping[str, Account]:
    """Return every participant's account, the ledger's part being the payments booked as confirmed.

    All from one view of the database, so that the parts add up at any moment.
    """
    balances = journal.balances(session, "wallet:")
    carries = market.carries(session)
    planned = wallets.planned(session)
    waiting = payments.waiting(session)
    return {
        participant: Account(
            wallet_micro=balances.get(f"wallet:{participant}", 0),
            ledger_micro=planned.get(participant, 0) - waiting.get(participant, 0),
            carry_micro=carries.get(participant, Money(0)).micro,
            unconfirmed_micro=waiting.get(participant, 0),
        )
        for participant in people.participants(session)
    }
