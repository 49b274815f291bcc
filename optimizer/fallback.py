"""What closes an interval where the engine gives no answer: mid-market, in plain integers.

Nothing here can run out of time or fail to converge: no solver, no floats, no iteration but over
the orders. ``docs/market.md``, "When the engine gives no answer".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from market import pricing
from market.money import Price, largest_remainder
from market.order import GRID, Order, Side
from market.place import Level
from market.trade import Fill, Trade, make_trade, north_west, tie_hash
from metering.quantities import Energy
from optimizer.problem import Clearing, Fees, Problem, welfare_micro


def fall_back(problem: Problem) -> Clearing:
    """Return the mid-market clearing of a book, whatever its rule; marked as ``fallback``.

    The rate is the floor of the middle between the floor and the ceiling less the district's fee;
    without both, or without room between them, nothing is traded locally. Orders that it does not
    suit drop out, bids by the rate and the district's fee together, and so do those that take green
    energy alone or go no farther than their feeder. The long side is served pro-rata, remainders
    by tie hash; the supplier serves the rest.
    """
    orders = sorted(
        problem.book.orders, key=lambda order: tie_hash(problem.tie_key, order.order_id)
    )
    rate = _rate(problem)
    local = [] if rate is None else _local_trades(problem, orders, rate)
    trades = (*local, *_supplier_trades(problem, orders, local))
    sold, bought = _totals(trades)
    return Clearing(
        price=rate if local else None,
        price_interval=(rate, rate) if local else (None, None),
        cleared=Energy(sum(trade.energy.wh for trade in trades)),
        welfare_micro=welfare_micro(problem, trades),
        allocations={
            order_id: sold[order_id] + bought[order_id]
            for order_id in sorted(order.order_id for order in orders)
        },
        trades=trades,
        grid_import=Energy(sold[GRID]),
        grid_export=Energy(bought[GRID]),
        fallback=True,
    )


def _rate(problem: Problem) -> Price | None:
    if problem.floor is None or problem.ceiling is None:
        return None
    cap = problem.ceiling - problem.fees.district
    return pricing.mid_market(problem.floor, cap) if problem.floor <= cap else None


def _local_trades(problem: Problem, orders: Sequence[Order], rate: Price) -> list[Trade]:
    """Return the trades at the rate, orders in the order of their hashes."""
    ready = [order for order in orders if _takes_any(order) and _suits(order, rate, problem.fees)]
    bids = [order for order in ready if order.side is Side.BID]
    offers = [order for order in ready if order.side is Side.OFFER]
    volume = min(_wh(bids), _wh(offers))
    place_of = {order.order_id: order.place for order in ready}
    return [
        replace(
            make_trade(seller, buyer, wh, rate), level=place_of[seller].level_to(place_of[buyer])
        )
        for seller, buyer, wh in north_west(
            _shared(problem, offers, volume), _shared(problem, bids, volume)
        )
    ]


def _takes_any(order: Order) -> bool:
    return not order.wish.only and order.wish.level is Level.DISTRICT


def _suits(order: Order, rate: Price, fees: Fees) -> bool:
    return order.limit <= rate if order.side is Side.OFFER else order.limit >= rate + fees.district


def _wh(orders: Iterable[Order]) -> int:
    return sum(order.quantity.wh for order in orders)


def _shared(problem: Problem, orders: Sequence[Order], volume: int) -> list[Fill]:
    """Split a volume in proportion to the orders' quantities, in their order."""
    parts = largest_remainder(
        volume,
        [order.quantity.wh for order in orders],
        [tie_hash(problem.tie_key, order.order_id) for order in orders],
    )
    return [
        Fill(order.order_id, order.participant, wh)
        for order, wh in zip(orders, parts, strict=True)
        if wh
    ]


def _supplier_trades(
    problem: Problem, orders: Iterable[Order], local: Iterable[Trade]
) -> list[Trade]:
    """Return what the supplier sells to the bids and buys from the offers that its price suits."""
    sold, bought = _totals(local)
    trades = []
    for order in sorted(orders, key=lambda order: order.side is Side.OFFER):
        left = order.quantity.wh - sold[order.order_id] - bought[order.order_id]
        price = problem.ceiling if order.side is Side.BID else problem.floor
        if left and price is not None and _suits(order, price, Fees()):
            pair = (GRID, order.order_id) if order.side is Side.BID else (order.order_id, GRID)
            trades.append(make_trade(*pair, left, price))
    return trades


def _totals(trades: Iterable[Trade]) -> tuple[Counter[str], Counter[str]]:
    """Return what everybody sold and bought, in Wh."""
    sold: Counter[str] = Counter()
    bought: Counter[str] = Counter()
    for trade in trades:
        sold[trade.seller] += trade.energy.wh
        bought[trade.buyer] += trade.energy.wh
    return sold, bought
