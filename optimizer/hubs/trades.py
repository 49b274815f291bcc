"""From a flow to trades: what each order gets of each pool, at what price, from whom."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from market import pricing
from market.money import Price, largest_remainder
from market.order import GRID, Order, Side
from market.place import Level, Place, Product
from market.pricing import Rule
from market.trade import Fill, Trade, north_west, tie_hash
from metering.quantities import Energy
from optimizer.hubs.book import ROOT, HubBook, Tick
from optimizer.hubs.network import PRODUCTS, Integers, Network
from optimizer.problem import Interval, Problem

Amounts: TypeAlias = list[tuple[Order, int]]  # orders in the order of their hashes, in Wh


class PoolKey(NamedTuple):
    """A pool: the number of its place, and its product."""

    place: int
    product: Product


@dataclass(slots=True)
class Pool:
    """What is sold into a pool and bought out of it, the supplier included, in Wh by order."""

    sellers: Amounts = field(default_factory=list)
    buyers: Amounts = field(default_factory=list)
    grid_import: int = 0
    grid_export: int = 0


@dataclass(frozen=True, slots=True)
class Cleared:
    """A pool with its trades; ``interval`` bounds the prices that clear it."""

    place: Place
    product: Product
    price: Price
    interval: Interval
    trades: tuple[Trade, ...]


def pools(book: HubBook, net: Network, flow: Integers, tie_key: bytes) -> dict[PoolKey, Pool]:
    """Return what every order gets of every pool.

    Equal orders share their tick's energy, and what of it is green, pro-rata. A station's orders
    then go through its pools, nearest first, in the order of their hashes; the supplier comes last.
    """
    found: defaultdict[PoolKey, Pool] = defaultdict(Pool)
    flows = {name: iter(flow[arcs].tolist()) for name, arcs in net.family.items()}
    sold, _ = _by_station(book.offers, flows["offer"], None, tie_key)
    for i, station in enumerate(book.offer_stations):
        rooms = [(PoolKey(p, station.product), next(flows["feed"])) for p in station.places]
        for key, order, wh in _walk(sold[i], rooms):
            found[key].sellers.append((order, wh))
    grey, green = _by_station(book.bids, flows["bid"], flows["green"], tie_key)
    for i, station in enumerate(book.bid_stations):
        rooms = [(PoolKey(p, k), next(flows["draw"])) for p in station.places for k in PRODUCTS]
        if ROOT in station.places:
            imported = next(flows["supply"])
            rooms.append((PoolKey(ROOT, Product.ANY), imported))
            found[PoolKey(ROOT, Product.ANY)].grid_import += imported
        for amounts, product in ((grey[i], Product.ANY), (green[i], Product.GREEN)):
            for key, order, wh in _walk(amounts, [r for r in rooms if r[0].product is product]):
                found[key].buyers.append((order, wh))
    for product, exported in zip(PRODUCTS, flows["export"], strict=True):
        found[PoolKey(ROOT, product)].grid_export += exported
    return found


def _by_station(
    ticks: Iterable[Tick], totals: Iterator[int], green: Iterator[int] | None, tie_key: bytes
) -> tuple[dict[int, Amounts], dict[int, Amounts]]:
    """Return by station what every order gets, and what of it is green where that is asked."""
    rest: defaultdict[int, Amounts] = defaultdict(list)
    special: defaultdict[int, Amounts] = defaultdict(list)
    for tick in ticks:
        wanted = [(order, order.quantity.wh) for order in tick.orders]
        got = pro_rata(wanted, next(totals), tie_key)
        of_it = pro_rata(got, next(green) if green else 0, tie_key)
        special[tick.station] += of_it
        rest[tick.station] += [
            (order, wh - green_wh) for (order, wh), (_, green_wh) in zip(got, of_it, strict=True)
        ]
    for amounts in (*rest.values(), *special.values()):
        amounts.sort(key=lambda amount: tie_hash(tie_key, amount[0].order_id))
    return rest, special


def pro_rata(amounts: Amounts, total: int, tie_key: bytes) -> Amounts:
    """Share ``total`` out in proportion to ``amounts``, the rest by largest remainder and hash."""
    if total in (0, sum(wh for _, wh in amounts)):
        return amounts if total else [(order, 0) for order, _ in amounts]
    ties = [tie_hash(tie_key, order.order_id) for order, _ in amounts]
    parts = largest_remainder(total, [wh for _, wh in amounts], ties)
    return [(order, part) for (order, _), part in zip(amounts, parts, strict=True)]


def _walk(
    amounts: Amounts, rooms: Iterable[tuple[PoolKey, int]]
) -> Iterator[tuple[PoolKey, Order, int]]:
    """Lead orders through pools with room for as much as they bring: both in the given order."""
    queue = iter([amount for amount in amounts if amount[1]])
    order, left = next(queue, (None, 0))
    for key, room in rooms:
        free = room
        while free and order:
            wh = min(left, free)
            yield key, order, wh
            free -= wh
            left -= wh
            if not left:
                order, left = next(queue, (None, 0))


def trades(
    place: Place, product: Product, pool: Pool, price: Price, problem: Problem
) -> tuple[Trade, ...]:
    """Return who sells to whom in a pool: by the north-west corner rule, the supplier last.

    In the order of the hashes, local-first bids before the others, so that the supplier serves them
    last. The supplier trades at its own prices, and pays and asks no local fee.
    """
    sellers = _fills(pool.sellers, problem.tie_key)
    buyers = _fills(pool.buyers, problem.tie_key)
    if pool.grid_import:
        sellers.append(Fill(GRID, GRID, pool.grid_import))
    if pool.grid_export:
        buyers.append(Fill(GRID, GRID, pool.grid_export))
    by_id = {order.order_id: order for order, _ in pool.buyers}
    found = []
    for seller, buyer, wh in north_west(sellers, buyers):
        if seller == GRID and problem.ceiling is not None:
            paid = problem.ceiling
        elif buyer == GRID or problem.rule is not Rule.PAY_AS_BID:
            paid = price
        else:
            paid = own_price(by_id[buyer], product, place.level, problem)
        energy = Energy(wh)
        found.append(Trade(seller, buyer, energy, paid, paid.of(energy), place.level, product))
    return tuple(found)


def own_price(bid: Order, product: Product, level: Level, problem: Problem) -> Price:
    """Return what a bid pays its seller when it pays as it bid: what the energy is worth to it.

    That is its limit, at most the retail price where the supplier would serve it, and for green
    energy its premium, less the fee.
    """
    served = bid.wish.level is Level.DISTRICT and not bid.wish.only
    worth = pricing.pay_as_bid(bid.limit, problem.ceiling if served else None)
    if product is Product.GREEN:
        worth += bid.wish.premium
    return worth - problem.fees.of(level)


def _fills(amounts: Amounts, tie_key: bytes) -> list[Fill]:
    """Return one fill per order, local-first ones ahead, then in the order of their hashes."""
    total: Counter[str] = Counter()
    orders = {order.order_id: order for order, _ in amounts}
    for order, wh in amounts:
        total[order.order_id] += wh
    return [
        Fill(o.order_id, o.participant, total[o.order_id])
        for o in sorted(
            orders.values(),
            key=lambda o: (
                not (o.wish.local_first and o.side is Side.BID),
                tie_hash(tie_key, o.order_id),
            ),
        )
        if total[o.order_id]
    ]
