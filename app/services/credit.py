"""Who may buy local energy on credit."""

from __future__ import annotations

from sqlmodel import Session

from app.store import journal, people


def eligible(session: Session) -> frozenset[str]:
    """Return who may buy locally: everybody whose wallet is above the end of their credit line.

    Judged on the journal as the intervals before left it, since consumption cannot be un-cleared.
    """
    wallets = journal.balances(session, "wallet:")
    return frozenset(
        participant
        for participant, row in people.participants(session).items()
        if wallets.get(f"wallet:{participant}", 0) > -row.credit_limit_micro
    )
