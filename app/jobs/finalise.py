"""sealed -> final: paid, anchored, and the window for corrections closed."""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import col, select

from app.services.certificates import final as certificates
from app.services.house import House
from app.store.payments import is_open
from app.tables import IntervalRow, Payment
from metering.interval import Interval, from_ms


def finalise(house: House) -> None:
    """Close every interval whose correction window (``correction_days``) has passed."""
    window = timedelta(days=house.settings.correction_days)
    last = Interval.containing(from_ms(house.clock.now_ms()) - window).key
    ready = (
        select(IntervalRow)
        .where(
            IntervalRow.state == "sealed",
            IntervalRow.anchor == "confirmed",
            IntervalRow.key < last,
            col(IntervalRow.key).not_in(
                select(Payment.interval).where(is_open(), col(Payment.interval).is_not(None))
            ),
        )
        .order_by(col(IntervalRow.key))
    )
    with house.database.read() as session:
        if session.exec(ready.limit(1)).first() is None:
            return
    with house.database.write() as session:
        rows = session.exec(ready).all()
        certificates.finalise(house, session, [row.key for row in rows])
        for row in rows:
            row.state = "final"
