"""The daily look at statements' money, and at whether bank, journal and ledger agree."""

from __future__ import annotations

from app.services import bank_reconcile, coins, dues
from app.services.bank_payouts import local_day
from app.services.house import House


def reconcile_daily(house: House, last: str) -> str:
    """Reconcile when the district's day is another than ``last``; return the day (ISO).

    A difference that nothing explains becomes an alarm; looking again raises no second one. While
    a payment stands still, the book of coins is compared with the ledger first. What is open on
    statements is looked at, too.
    """
    with house.database.read() as session:
        today = local_day(session, house.clock.now_ms()).isoformat()
    if today != last:
        coins.look_daily(house)
        dues.look_daily(house)
        bank_reconcile.watch(house)
    return today
