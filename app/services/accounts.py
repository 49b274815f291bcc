"""What the journal says, what the ledger says, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlmodel import Session, func, select

from app.services.house import House
from app.store import journal, payments, people
from app.tables import StatementRow


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
    """Return every participant's account; the ledger is asked for each address."""
    wallets = journal.balances(session, "wallet:")
    carries = _carries(session)
    waiting = payments.totals(session, confirmed=False)
    return {
        participant: Account(
            wallet_micro=wallets.get(f"wallet:{participant}", 0),
            ledger_micro=house.ledger.balance(bytes.fromhex(row.address)).units,
            carry_micro=carries.get(participant, 0),
            unconfirmed_micro=waiting.get(participant, 0),
        )
        for participant, row in people.participants(session).items()
    }


def _carries(session: Session) -> Mapping[str, int]:
    """Return each participant's closing carry of their latest statement."""
    latest = (
        select(StatementRow.participant, func.max(StatementRow.interval).label("interval"))
        .group_by(StatementRow.participant)
        .subquery()
    )
    rows = session.exec(
        select(StatementRow.participant, StatementRow.closing_carry_micro).join(
            latest,
            (latest.c.participant == StatementRow.participant)
            & (latest.c.interval == StatementRow.interval),
        )
    )
    return dict(rows.all())
