"""What a participant sees of a cleared session: prices for all, of energies their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlmodel import Session

from app.services.forward.book import own_id_of, session_of
from app.services.forward.words import in_words
from app.services.privacy import too_few
from app.store import forward, people
from app.tables import (
    ForwardFillRow,
    ForwardOrderRow,
    ForwardPriceRow,
    ForwardResultRow,
    ForwardSessionRow,
)
from market.money import Price
from market.order import Side
from metering.quantities import Energy
from web.ports.forward import ClearedSession, OrderResult, SessionInterval


def cleared_session(
    session: Session, held_by: ForwardSessionRow, participant: str, zone: str
) -> ClearedSession:
    """Return a session's outcome as one participant may see it.

    What all traded is hidden where too few took part in it (``services.privacy``).
    """
    rows = {row.order_id: row for row in forward.final_orders(session, held_by.first)}
    names = {row.gsrn: row.name for row in people.points(session).values()}
    prices, fills = forward.prices(session, held_by.first), forward.fills(session, held_by.first)
    traders = {rows[fill.order_id].participant for fill in fills if fill.local_wh}
    own = [fill for fill in fills if rows[fill.order_id].participant == participant]
    hidden = too_few(traders, {participant})
    return ClearedSession(
        first=held_by.first,
        last=held_by.last,
        state=held_by.state,
        fallback=bool(held_by.fallback),
        log_index=held_by.log_index or 0,
        intervals=_intervals(prices, own, hidden=hidden),
        orders=[
            _result(
                result,
                rows[result.order_id],
                names[rows[result.order_id].point],
                in_words(rows[result.order_id], session_of(held_by).keys, zone),
                [fill for fill in own if fill.order_id == result.order_id],
                {row.interval: row.price_micro_per_kwh for row in prices},
            )
            for result in forward.results(session, held_by.first)
            if rows[result.order_id].participant == participant
        ],
        traded_hidden=hidden,
    )


def _intervals(
    prices: Sequence[ForwardPriceRow], own: Sequence[ForwardFillRow], *, hidden: bool
) -> list[SessionInterval]:
    local: Counter[tuple[str, str]] = Counter()
    for fill in own:
        local[fill.interval, fill.side] += fill.local_wh
    return [
        SessionInterval(
            key=row.interval,
            price_micro_per_kwh=row.price_micro_per_kwh if row.traded_wh else None,
            traded_wh=0 if hidden else row.traded_wh,
            bought_wh=local[row.interval, Side.BID],
            sold_wh=local[row.interval, Side.OFFER],
        )
        for row in prices
    ]


def _result(
    result: ForwardResultRow,
    row: ForwardOrderRow,
    point: str,
    text: str,
    fills: Sequence[ForwardFillRow],
    prices: Mapping[str, int | None],
) -> OrderResult:
    """Return what became of one order: what was contracted with others, and for how much."""
    wh: Counter[str] = Counter()
    micro = 0
    for fill in fills:
        price = prices[fill.interval]
        wh[fill.side] += fill.local_wh
        if price is not None:
            amount = Price(price).of(Energy(fill.local_wh)).micro
            micro += amount if fill.side == Side.OFFER else -amount
    return OrderResult(
        order_id=own_id_of(row),
        kind=row.kind,
        point=point,
        text=text,
        outcome=result.outcome,
        bought_wh=wh[Side.BID],
        sold_wh=wh[Side.OFFER],
        supplier_wh=sum(fill.wh - fill.local_wh for fill in fills),
        micro=micro,
        reason=result.reason,
    )
