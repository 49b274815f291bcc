"""metered -> cleared in sharing mode: the surplus shared out by the keys, instead of a market."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from sqlmodel import Session

from app.services.house import House
from app.store import leaves, market, sharing
from app.tables import IntervalRow
from ledger_client.merkle import root
from market.parties import MeteredPoint, own_transfers
from market.sharing import SharingError, share_market


def share(
    house: House,
    session: Session,
    row: IntervalRow,
    points: Sequence[MeteredPoint],
    eligible: Collection[str],
) -> None:
    """Share out an interval: write its orders, trades, price and order root; the caller the state.

    ``eligible`` are the participants whose credit is not used up. The seal knows one price, so
    that all keys of an interval have one; importing and withdrawing them see to that.

    Raises:
        SharingError: the keys name two prices; nothing is written. Withdraw one of them.
    """
    barred = {point.participant for point in points} - set(eligible)
    found = share_market(
        points, own_transfers(points), sharing.keys(session, row.key), barred, row.key.encode()
    )
    prices = {trade.price.micro_per_kwh for trade in found.trades}
    if len(prices) > 1:
        raise SharingError(f"the keys of {row.key} name several prices: {sorted(prices)}")
    shared_wh = Counter[str]()
    for trade in found.trades:
        shared_wh[trade.seller] += trade.energy.wh
        shared_wh[trade.buyer] += trade.energy.wh
    orders = market.write_orders(
        session,
        row.key,
        (market.Offered(order, shared_wh[order.order_id]) for order in found.book.orders),
    )
    market.write_trades(session, row.key, ((trade, None) for trade in found.trades))
    row.price_micro_per_kwh = prices.pop() if prices else None
    row.traded_wh = sum(trade.energy.wh for trade in found.trades)
    row.order_root = root(leaves.order_hashes(house.settings.origin, orders))
