"""The market page of one interval: bands of limits, one's own orders, prices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from sqlmodel import Session, select

from app.services.market.bands import Seen, side_of
from app.services.privacy import too_few
from app.store import intervals, leaves, people
from app.store.market import hub_prices
from app.tables import IntervalRow, OrderRow, TradeRow
from market.money import Price
from market.order import Side
from market.place import Level, Product
from market.tariff import price_bounds
from metering.interval import Interval
from web.ports import Role, Viewer
from web.ports.market import HubLine, MarketPage, MyOrder, MyTrades

TOO_FEW: Final = (
    "Fewer than five others stand where your orders meet them. An answer would tell what single "
    "neighbours asked for, so none is given."
)
NO_ORDERS: Final = "You have no order in this quarter-hour, so there is nothing to change."
NOT_METERED: Final = (
    "What if is answered where each quarter-hour is cleared by itself after metering; "
    "this one was not."
)
NOT_CLEARED: Final = "Not cleared yet: ask again when the meters are read."


def market_page(
    session: Session, row: IntervalRow, viewer: Viewer, own: frozenset[str]
) -> MarketPage:
    """Return how an interval was cleared, as far as the viewer may see it."""
    blind = viewer.role is Role.OPERATOR
    orders = leaves.orders(session, row.key)
    bids, offers = (side_of(orders, side, own) for side in (Side.BID, Side.OFFER))
    low, high = row.price_low_micro_per_kwh, row.price_high_micro_per_kwh
    floor, ceiling = (None, None) if blind else bounds(session, row.key, orders)
    shown = not (bids.hidden or offers.hidden)
    bands = [*reversed(bids.bands), *offers.bands]
    interval = Interval.parse(row.key)
    return MarketPage(
        key=row.key,
        zone=people.district(session).zone,
        previous_key=_existing(session, interval.previous().key),
        next_key=_existing(session, interval.next().key),
        prices_hidden=blind,
        cleared=row.order_root is not None,
        rule=row.rule,
        mode=row.mode or "metered",
        fallback=bool(row.fallback),
        price_micro_per_kwh=None if blind else row.price_micro_per_kwh,
        # Its ends are single orders' limits.
        price_interval_micro_per_kwh=None
        if blind or not shown or low is None or high is None or row.price_micro_per_kwh is None
        else (low, high),
        floor_micro_per_kwh=floor,
        ceiling_micro_per_kwh=ceiling,
        offered_wh=_total(orders, Side.OFFER) if blind or not offers.hidden else None,
        wanted_wh=_total(orders, Side.BID) if blind or not bids.hidden else None,
        traded_wh=row.traded_wh,
        bands=[] if blind else [band for band, _ in bands],
        hidden=[]
        if blind
        else [side for side, seen in (("bid", bids), ("offer", offers)) if seen.hidden],
        own=[] if blind else _own_orders(session, orders, [group for _, group in bands], own),
        trades=[] if blind else _own_trades(session, row.key, orders, own),
        hubs=[] if blind else _hubs(row),
        no_question=NOT_CLEARED if blind else refusal(row, orders, bids, offers, own),
    )


def refusal(
    row: IntervalRow,
    orders: Sequence[OrderRow],
    bids: Seen,
    offers: Seen,
    own: frozenset[str],
) -> str:
    """Return why nothing is answered about an interval, '' where it is.

    Both sides have to be on the page, unless one is the viewer's alone; and five others have to
    stand on each side that the viewer's orders meet.
    """
    if row.order_root is None:
        return NOT_CLEARED
    if (row.mode or "metered") != "metered":
        return NOT_METERED
    mine = {order.side for order in orders if order.participant in own}
    if not mine:
        return NO_ORDERS
    for side, seen, meets in (("bid", bids, "offer"), ("offer", offers, "bid")):
        others = {o.participant for o in orders if o.side == side} - own
        if (seen.hidden and others) or (meets in mine and too_few(others)):
            return TOO_FEW
    return ""


def bounds(session: Session, key: str, orders: Sequence[OrderRow]) -> tuple[int | None, int | None]:
    """Return the feed-in price and the dearest local price, as medians of the book's tariffs."""
    tariffs = {slot.point: leaves.tariff_of(slot) for slot in intervals.slots(session, key)}
    bidding, offering = (
        [tariffs[o.point] for o in orders if o.side == side and o.point in tariffs] for side in Side
    )
    floor, ceiling = price_bounds(offering, bidding)
    return _micro(floor), _micro(ceiling)


def _micro(price: Price | None) -> int | None:
    return None if price is None else price.micro_per_kwh


def _total(orders: Sequence[OrderRow], side: Side) -> int:
    return sum(order.wh for order in orders if order.side == side)


def _own_orders(
    session: Session,
    orders: Sequence[OrderRow],
    bands: Sequence[Sequence[OrderRow]],
    own: frozenset[str],
) -> list[MyOrder]:
    names = {each.id: each.name for each in people.participants(session).values()}
    points = people.points(session)
    band_of = {(o.side, o.order_id): n for n, group in enumerate(bands) for o in group}
    return [
        MyOrder(
            side=order.side,
            who=names[order.participant],
            point=points[order.point].name if order.point in points else order.point,
            limit_micro_per_kwh=order.limit_micro_per_kwh,
            quantity_wh=order.wh,
            traded_wh=order.cleared_wh,
            wish=order.wish or "",
            band=band_of.get((order.side, order.order_id)),
        )
        for order in orders
        if order.participant in own
    ]


def _own_trades(
    session: Session, key: str, orders: Sequence[OrderRow], own: frozenset[str]
) -> list[MyTrades]:
    """Return what one's own orders traded, by side, reach, product, contract and price."""
    mine = {order.order_id for order in orders if order.participant in own}
    traded: Counter[tuple[str, int, str, str, int]] = Counter()
    for row in session.exec(select(TradeRow).where(TradeRow.interval == key)):
        level = Level.DISTRICT if row.level is None else row.level
        kind = (level, row.product or Product.ANY.value, row.contract or "")
        for side, order_id in (("bid", row.buyer_order), ("offer", row.seller_order)):
            if order_id in mine:
                traded[side, *kind, row.price_micro_per_kwh] += row.wh
    return [
        MyTrades(side, Level(level).label, product, contract, price, wh)
        for (side, level, product, contract, price), wh in sorted(traded.items())
    ]


def _hubs(row: IntervalRow) -> list[HubLine]:
    """Return the prices that the seal tells, where there are several."""
    return [
        HubLine(each.level, each.place, each.product, each.price_micro_per_kwh)
        for each in hub_prices(row)
    ]


def _existing(session: Session, key: str) -> str | None:
    return key if session.get(IntervalRow, key) is not None else None
