"""What limits would have made of a point's trades of the last day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlmodel import Session, col, or_, select

from app.store import registry
from app.store.registry import Standing
from app.tables import IntervalRow, TradeRow
from market.agents import all_in_of
from market.money import Price
from market.order import Side
from market.place import Product
from market.tariff import Tariff
from metering.quantities import Energy
from web.ports.limits import Outcome

DAY: Final = 96


class _Traded(NamedTuple):
    interval: str
    wh: int
    price: Price
    green: bool


def outcomes(
    session: Session, held: Standing, tariff: Tariff, bid: Price, offer: Price, premium: Price
) -> list[Outcome]:
    """Return, per side with own trades, which of them net limits would have let through.

    Only trades from the participant's own time at the point count.

    Judged at the prices of then: a wider limit might have traded more, and others' shares might
    have been different.
    """
    found = []
    bought, sold = (_trades(session, held, side) for side in (Side.BID, Side.OFFER))
    normal = all_in_of(tariff.ceiling, tariff)
    if bought:
        kept = [t for t in bought if t.price <= (bid + premium if t.green else bid)]
        gains = {t: normal - all_in_of(t.price, tariff) for t in bought}
        found.append(_outcome("bid", bought, kept, gains))
    if sold:
        kept = [t for t in sold if t.price >= offer]
        found.append(_outcome("offer", sold, kept, {t: t.price - tariff.floor for t in sold}))
    return found


def _outcome(
    side: str, trades: Sequence[_Traded], kept: Sequence[_Traded], gains: dict[_Traded, Price]
) -> Outcome:
    def saving(part: Sequence[_Traded]) -> int:
        return sum(gains[t].of(Energy(t.wh)).micro for t in part)

    return Outcome(
        side=side,
        intervals=len({t.interval for t in trades}),
        kept_intervals=len({t.interval for t in kept}),
        wh=sum(t.wh for t in trades),
        kept_wh=sum(t.wh for t in kept),
        saving_micro=saving(trades),
        kept_saving_micro=saving(kept),
    )


def _trades(session: Session, held: Standing, side: Side) -> list[_Traded]:
    """Return a point's own trades of the last day's settled quarter-hours."""
    last_day = (
        select(IntervalRow.key)
        .where(col(IntervalRow.state).in_(("settled", "sealed", "final")))
        .order_by(col(IntervalRow.key).desc())
        .limit(DAY)
        .subquery()
    )
    order, theirs = f"{held.point}-{side}", ([held.participant], held.point)
    rows = session.exec(
        select(TradeRow)
        .join(last_day, last_day.c.key == TradeRow.interval)
        .where(or_(TradeRow.buyer_order == order, TradeRow.seller_order == order))
        .where(registry.held_by(*theirs, TradeRow.interval))
    )
    return [
        _Traded(row.interval, row.wh, Price(row.price_micro_per_kwh), row.product == Product.GREEN)
        for row in rows
    ]
