"""The rules that fix a rate (mid-market, supply-demand ratio), at hubs: nearest places first.

At each place in turn the orders below it that may meet there and whose limits admit its rate share
what is there: green wishes first, then everybody, the long side pro-rata. What is left goes one
place up, and at last to the supplier.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

from market import pricing
from market.money import Price
from market.order import GRID, Order, Side
from market.place import Level, Product
from market.pricing import Rule
from market.trade import Trade, make_trade, tie_hash
from metering.quantities import Energy
from optimizer.hubs.book import HubBook, hub_book
from optimizer.hubs.network import PRODUCTS
from optimizer.hubs.trades import Amounts, Cleared, Pool, pro_rata, trades
from optimizer.problem import Interval, Problem


class _Bounds(NamedTuple):
    """What the supplier pays and asks, and the fee of a level."""

    floor: Price
    ceiling: Price
    fee: Price


class _Meeting(NamedTuple):
    """The orders that may meet at a place, in the order of their hashes, and its rate."""

    bids: list[Order]
    offers: list[Order]
    rate: Price


def at_rates(problem: Problem) -> tuple[list[Cleared], list[Trade]]:
    """Return all pools, cleared at their rates, and what the supplier sells and buys.

    Raises:
        PricingError: the rule is void for these prices.
    """
    floor, ceiling = problem.floor, problem.ceiling
    if floor is None or ceiling is None:
        return [], []  # one side only: there is nothing to price
    book = hub_book(problem)
    left = {order.order_id: order.quantity.wh for order in problem.book.orders}
    found = []
    for number, below in _by_place(book, problem.tie_key):
        place = book.places[number]
        bounds = _Bounds(floor, ceiling, problem.fees.of(place.level))
        meeting = _meeting([o for o in below if left[o.order_id]], left, bounds, problem.rule)
        for product, pool in _shared(meeting, left, place.level, problem).items():
            made = trades(place, product, pool, meeting.rate, problem)
            found.append(Cleared(place, product, meeting.rate, _interval(meeting, made), made))
        for trade in (t for pool in found[-len(PRODUCTS) :] for t in pool.trades):
            left[trade.seller] -= trade.energy.wh
            left[trade.buyer] -= trade.energy.wh
    return found, _supplied(left, problem, floor, ceiling)


def _by_place(book: HubBook, tie_key: bytes) -> Iterator[tuple[int, list[Order]]]:
    """Return the places, nearest level first, with the orders that may meet there, by hash."""
    below: defaultdict[int, list[Order]] = defaultdict(list)
    for ticks, stations in ((book.offers, book.offer_stations), (book.bids, book.bid_stations)):
        for tick in ticks:
            for place in stations[tick.station].places:
                below[place] += tick.orders
    for number in sorted(below, key=lambda n: (book.places[n].level, book.places[n])):
        yield number, sorted(below[number], key=lambda o: tie_hash(tie_key, o.order_id))


def _meeting(
    orders: Sequence[Order], left: Mapping[str, int], bounds: _Bounds, rule: Rule
) -> _Meeting:
    """Return who meets at a place and its rate, a fixed point.

    Orders beyond the rate drop out for good and the rate is computed again, until none does. Where
    the fee leaves no room between feed-in and retail, nobody meets.
    """
    floor, ceiling, fee = bounds
    meeting = _Meeting(
        [o for o in orders if o.side is Side.BID],
        [o for o in orders if o.side is Side.OFFER],
        floor,
    )
    if ceiling - fee < floor:
        return _Meeting([], [], floor)
    while True:
        rate = _rate(meeting, left, floor, ceiling - fee, rule)
        still = _Meeting(
            [o for o in meeting.bids if o.limit + o.wish.premium >= rate + fee],
            [o for o in meeting.offers if o.limit <= rate],
            rate,
        )
        if still[:2] == meeting[:2]:
            return still
        meeting = still


def _rate(
    meeting: _Meeting, left: Mapping[str, int], floor: Price, cap: Price, rule: Rule
) -> Price:
    """Return the rule's rate between feed-in and what the supplier's price leaves after the fee."""
    if rule is Rule.MID_MARKET:
        return pricing.mid_market(floor, cap)
    supply, demand = (
        Energy(sum(left[o.order_id] for o in side)) for side in (meeting.offers, meeting.bids)
    )
    return pricing.sdr(supply, demand, floor, cap)


def _shared(
    meeting: _Meeting, left: Mapping[str, int], level: Level, problem: Problem
) -> dict[Product, Pool]:
    """Return what everybody at a place sells and buys of each product.

    First green energy goes to those who wish for it: green-only bids, then the others by premium,
    the highest first; equal ones pro-rata. Then all that is left goes to all that may still take
    it, pro-rata on both sides, green energy spread over the buyers likewise.
    """
    key = problem.tie_key
    green_left = [(o, left[o.order_id]) for o in meeting.offers if o.wish.product is Product.GREEN]
    grey_left = [(o, left[o.order_id]) for o in meeting.offers if o.wish.product is Product.ANY]
    wished = _wishes(meeting.bids, left, sum(wh for _, wh in green_left), key)
    sold = pro_rata(green_left, sum(wh for _, wh in wished), key)
    served = {order.order_id: wh for order, wh in wished}
    rest = [
        (o, left[o.order_id] - served.get(o.order_id, 0))
        for o in meeting.bids
        if not o.wish.only and o.limit >= meeting.rate + problem.fees.of(level)
    ]
    unsold = [(o, wh - gone) for (o, wh), (_, gone) in zip(green_left, sold, strict=True)]
    offered = [*unsold, *grey_left]
    volume = min(sum(wh for _, wh in rest), sum(wh for _, wh in offered))
    bought = pro_rata(rest, volume, key)
    sold_then = pro_rata(offered, volume, key)
    green_sold, grey_sold = sold_then[: len(unsold)], sold_then[len(unsold) :]
    green = pro_rata(bought, sum(wh for _, wh in green_sold), key)
    grey = [(o, wh - part) for (o, wh), (_, part) in zip(bought, green, strict=True)]
    return {
        Product.ANY: Pool(grey_sold, grey),
        Product.GREEN: Pool([*sold, *green_sold], [*wished, *green]),
    }


def _wishes(bids: Iterable[Order], left: Mapping[str, int], green_wh: int, key: bytes) -> Amounts:
    """Return what of ``green_wh`` each green wish gets, by rank."""
    ranks: defaultdict[tuple[bool, int], Amounts] = defaultdict(list)
    for bid in bids:
        if bid.wish.product is Product.GREEN:
            rank = (not bid.wish.only, -bid.wish.premium.micro_per_kwh)
            ranks[rank].append((bid, left[bid.order_id]))
    served: Amounts = []
    for _, amounts in sorted(ranks.items(), key=itemgetter(0)):
        part = min(green_wh, sum(wh for _, wh in amounts))
        served += pro_rata(amounts, part, key)
        green_wh -= part
    return served


def _interval(meeting: _Meeting, made: Sequence[Trade]) -> Interval:
    """Return the rate at both ends; an end is open where that side alone came."""
    return (
        meeting.rate if made or meeting.bids else None,
        meeting.rate if made or meeting.offers else None,
    )


def _supplied(
    left: Mapping[str, int], problem: Problem, floor: Price, ceiling: Price
) -> list[Trade]:
    """Return what the supplier sells and buys of the rest, to all whose limit admits its price."""
    able = [
        o
        for o in sorted(problem.book.orders, key=lambda o: tie_hash(problem.tie_key, o.order_id))
        if left[o.order_id] and o.wish.level is Level.DISTRICT
    ]
    drawn = [
        make_trade(GRID, o.order_id, left[o.order_id], ceiling)
        for o in able
        if o.side is Side.BID and not o.wish.only and o.limit >= ceiling
    ]
    fed_in = [
        replace(make_trade(o.order_id, GRID, left[o.order_id], floor), product=o.wish.product)
        for o in able
        if o.side is Side.OFFER and o.limit <= floor
    ]
    return drawn + fed_in
