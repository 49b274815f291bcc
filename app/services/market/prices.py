"""What a seal tells of an interval's prices: one for all, or each hub's."""

from __future__ import annotations

from collections.abc import Iterable

from app.store.market import LEVEL_WORDS
from ledger_client.verify import HubPrice
from market.book import Book
from market.place import Product
from market.trade import Trade
from optimizer.problem import Clearing


def one_price(trades: Iterable[Trade], hubs: Iterable[HubPrice] = ()) -> int | None:
    """Return the price of all local trades and hubs, None where they differ or nothing trades."""
    prices = {trade.price.micro_per_kwh for trade in trades}
    one = len(prices) == 1 and prices.issuperset(hub.price_micro_per_kwh for hub in hubs)
    return prices.pop() if one else None


def hub_prices(book: Book, clearing: Clearing) -> tuple[HubPrice, ...]:
    """Return what energy cost at each hub with a local trade, where orders say where they stand."""
    if not any(str(order.place) or str(order.wish) for order in book.orders):
        return ()
    traded = {(trade.level, trade.product) for trade in clearing.local_trades}
    return tuple(
        HubPrice(
            level=LEVEL_WORDS[hub.place.level],
            price_micro_per_kwh=hub.price.micro_per_kwh,
            product="green" if hub.product is Product.GREEN else "any",
            place=str(hub.place),
        )
        for hub in clearing.hubs
        if (hub.place.level, hub.product) in traded
    )
