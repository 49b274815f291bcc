"""The merit order written a second time: sort both sides order by order, add up, and stop.

The oracle of one balance. It takes nothing from the engine but its types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from market.money import largest_remainder, round_half_up
from market.order import Order, Side
from market.trade import tie_hash
from optimizer.problem import Problem
from optimizer.welfare import Fills, Integers, Ticks


@dataclass(frozen=True, slots=True)
class Outcome:
    """What limits alone decide: the fields mean what they mean in ``optimizer.problem``."""

    price_interval_micro_per_kwh: tuple[int | None, int | None]
    cleared_wh: int
    welfare_micro: int
    allocations: Mapping[str, int]
    grid_import_wh: int
    grid_export_wh: int


def outcome(problem: Problem) -> Outcome:
    """Return the outcome of a book whose limits compete (uniform or pay-as-bid)."""
    floor = None if problem.floor is None else problem.floor.micro_per_kwh
    ceiling = None if problem.ceiling is None else problem.ceiling.micro_per_kwh
    bids = [o for o in problem.book.orders if o.side is Side.BID]
    offers = [o for o in problem.book.orders if o.side is Side.OFFER]
    bid_limits, bid_wh = _columns(bids)
    offer_limits, offer_wh = _columns(offers)
    backstop = Ticks(bid_limits, bid_wh, offer_limits, offer_wh, floor, ceiling)
    bought, exported, sold, imported = _traded(bid_limits, bid_wh, offer_limits, offer_wh, backstop)
    bid_fills = _pro_rata(bids, -bid_limits, bid_wh, bought, problem.tie_key)
    offer_fills = _pro_rata(offers, offer_limits, offer_wh, sold, problem.tie_key)
    welfare = _value(bid_limits, bid_fills) - _value(offer_limits, offer_fills)
    welfare += (floor or 0) * exported - (ceiling or 0) * imported
    return Outcome(
        _interval(backstop, Fills(bid_fills, offer_fills, imported, exported)),
        bought + exported,
        round_half_up(welfare, 1000),
        {
            order.order_id: int(wh)
            for order, wh in zip(
                [*bids, *offers], [*bid_fills.tolist(), *offer_fills.tolist()], strict=True
            )
        },
        imported,
        exported,
    )


def _traded(
    bid_prices: Integers,
    bid_wh: Integers,
    offer_prices: Integers,
    offer_wh: Integers,
    backstop: Ticks,
) -> tuple[int, int, int, int]:
    """Return the Wh that bids buy, the supplier buys, offers sell, the supplier sells.

    The supplier stands behind all local orders of its price, with more than anybody wants.
    """
    demand, supply = int(bid_wh.sum()), int(offer_wh.sum())
    if backstop.floor is not None:
        bid_prices, bid_wh = np.append(bid_prices, backstop.floor), np.append(bid_wh, supply)
    if backstop.ceiling is not None:
        offer_prices = np.append(offer_prices, backstop.ceiling)
        offer_wh = np.append(offer_wh, demand)
    bid_order = np.argsort(-bid_prices, kind="stable")
    offer_order = np.argsort(offer_prices, kind="stable")
    bought, sold = np.cumsum(bid_wh[bid_order]), np.cumsum(offer_wh[offer_order])
    if not len(bought) or not len(sold):
        return 0, 0, 0, 0
    steps = np.union1d(bought, sold)
    steps = steps[(steps > 0) & (steps <= min(bought[-1], sold[-1]))]
    bid_at = bid_order[np.searchsorted(bought, steps)]
    offer_at = offer_order[np.searchsorted(sold, steps)]
    local_bid, local_offer = (
        bid_at < len(backstop.bid_prices),
        offer_at < len(backstop.offer_prices),
    )
    reached = (bid_prices[bid_at] >= offer_prices[offer_at]) & (local_bid | local_offer)
    sizes = np.diff(steps, prepend=0) * reached
    return (
        int(sizes[local_bid].sum()),
        int(sizes[~local_bid].sum()),
        int(sizes[local_offer].sum()),
        int(sizes[~local_offer].sum()),
    )


def _pro_rata(
    orders: Sequence[Order], keys: Integers, wh: Integers, total: int, tie_key: bytes
) -> Integers:
    """Return how ``total`` fills orders in ascending order of keys, equal keys pro-rata."""
    fills = np.zeros_like(wh)
    for key in np.unique(keys):
        equal = np.flatnonzero(keys == key)
        part = min(total, int(wh[equal].sum()))
        ties = [tie_hash(tie_key, orders[i].order_id) for i in equal.tolist()]
        fills[equal] = largest_remainder(part, wh[equal].tolist(), ties)
        total -= part
        if not total:
            break
    return fills


def _interval(book: Ticks, fills: Fills) -> tuple[int | None, int | None]:
    """Return the price interval straight from its definition, the supplier as one more order."""
    bids = list(zip(book.bid_prices.tolist(), book.bid_volumes.tolist(), fills.bids, strict=True))
    offers = list(
        zip(book.offer_prices.tolist(), book.offer_volumes.tolist(), fills.offers, strict=True)
    )
    if book.floor is not None:
        bids.append((book.floor, fills.grid_export + 1, fills.grid_export))
    if book.ceiling is not None:
        offers.append((book.ceiling, fills.grid_import + 1, fills.grid_import))
    below = [p for p, _, got in offers if got] + [p for p, wh, got in bids if got < wh]
    above = [p for p, _, got in bids if got] + [p for p, wh, got in offers if got < wh]
    return max(below, default=None), min(above, default=None)


def _columns(orders: Sequence[Order]) -> tuple[Integers, Integers]:
    return (
        np.array([o.limit.micro_per_kwh for o in orders], dtype=np.int64),
        np.array([o.quantity.wh for o in orders], dtype=np.int64),
    )


def _value(limits: Integers, wh: Integers) -> int:
    return sum(limit * amount for limit, amount in zip(limits.tolist(), wh.tolist(), strict=True))
