"""What the journal says, what the ledger says, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlmodel import Session

from app.services.house import House
from app.store import journal, market, payments, people
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
    addresses = {who: row.address for who, row in people.participants(session).items()}
    return {
        who: replace(account, ledger_micro=_units(house, addresses[who]))
        for who, account in booked_accounts(session).items()
    }


def _units(house: House, address: str) -> int:
    return house.ledger.balance(bytes.fromhex(address)).units


def booked_accounts(session: Session) -> Mapping[str, Account]:
    """Return every participant's account, the ledger's part being the payments booked as confirmed.

    All from one view of the database, so that the parts add up at any moment.
    """
    wallets = journal.balances(session, "wallet:")
    carries = market.carries(session)
    paid = payments.totals(session, confirmed=True)
    waiting = payments.totals(session, confirmed=False)
    return {
        participant: Account(
            wallet_micro=wallets.get(f"wallet:{participant}", 0),
            ledger_micro=paid.get(participant, 0),
            carry_micro=carries.get(participant, Money(0)).micro,
            unconfirmed_micro=waiting.get(participant, 0),
        )
        for participant in people.participants(session)
    }
