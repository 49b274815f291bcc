"""Expected prices: what the newest forecasts would trade at, for agents, forms and devices."""

from __future__ import annotations

from sqlmodel import Session

from app.store import forecasts
from app.tables import ExpectedPriceRow
from market.money import Price


def expected_price(session: Session, interval_key: str) -> Price | None:
    """Return the net hub price that was expected of an interval before it began, if any.

    From its start on the answer never changes, so that what follows from it can be replayed.
    """
    run = forecasts.run_for(session, interval_key)
    row = session.get(ExpectedPriceRow, (run.id, interval_key)) if run else None
    if row is None or row.price_micro_per_kwh is None:
        return None
    return Price(row.price_micro_per_kwh)
