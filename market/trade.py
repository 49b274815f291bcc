"""Who sells to whom: the trades behind an allocation."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from market.money import Money, Price
from market.place import Level, Product
from metering.quantities import Energy


@dataclass(frozen=True, slots=True)
class Trade:
    """Energy that passes from one order to another (order ids; ``GRID`` is the supplier).

    ``amount`` is ``price.of(energy)``: the same integer for both sides. ``level`` is how far the
    energy travels, ``product`` what was sold.
    """

    seller: str
    buyer: str
    energy: Energy
    price: Price
    amount: Money
    level: Level = Level.DISTRICT
    product: Product = Product.ANY


class Fill(NamedTuple):
    """What an order gets. Nobody trades with an order of the same ``owner``."""

    order_id: str
    owner: str
    wh: int


Pair: TypeAlias = tuple[Fill, Fill, int]


def tie_hash(tie_key: bytes, order_id: str) -> bytes:
    """Return SHA-256(tie key || 0x00 || order id): the rank of an order that anyone can replay."""
    return hashlib.sha256(tie_key + b"\x00" + order_id.encode()).digest()


def make_trade(seller: str, buyer: str, wh: int, price: Price) -> Trade:
    """Return the trade of ``wh`` watt-hours at ``price``; its amount is rounded once."""
    energy = Energy(wh)
    return Trade(seller, buyer, energy, price, price.of(energy))


def traded_wh(trades: Iterable[Trade]) -> Counter[str]:
    """Return what each order bought and sold together, in Wh; an order has one side only."""
    traded: Counter[str] = Counter()
    for trade in trades:
        traded[trade.seller] += trade.energy.wh
        traded[trade.buyer] += trade.energy.wh
    return traded


def north_west(sellers: Sequence[Fill], buyers: Sequence[Fill]) -> list[tuple[str, str, int]]:
    """Pair two lists of equal total into at most sellers + buyers - 1 of (seller, buyer, wh).

    Walks both lists in the given order; every step uses up one party. Where the two at the head
    are the same owner, the next buyer (else the next seller) goes first. If only one owner is left
    on both sides, its energy is exchanged with earlier pairs, the latest first. What even that
    cannot place has no other owner to go to, and is left out: nobody buys from themselves.
    """
    supply, demand = deque(sellers), deque(buyers)
    pairs: list[Pair] = []
    while supply and demand:
        if supply[0].owner == demand[0].owner and not (
            _bring_another(demand) or _bring_another(supply)
        ):
            break
        seller, buyer = supply[0], demand[0]
        wh = min(seller.wh, buyer.wh)
        pairs.append((seller, buyer, wh))
        _use(supply, wh)
        _use(demand, wh)
    while supply and demand:
        seller, buyer = supply[0], demand[0]
        wh = min(seller.wh, buyer.wh)
        pairs = _exchanged(pairs, seller, buyer, wh)
        _use(supply, wh)
        _use(demand, wh)
    return _merged(pairs)


def _bring_another(queue: deque[Fill]) -> bool:
    """Bring the first fill of another owner than the head's to the head, if there is one."""
    for place, fill in enumerate(queue):
        if fill.owner != queue[0].owner:
            del queue[place]
            queue.appendleft(fill)
            return True
    return False


def _use(queue: deque[Fill], wh: int) -> None:
    """Take ``wh`` from the head, which leaves the queue once it is used up."""
    head = queue.popleft()
    if head.wh > wh:
        queue.appendleft(Fill(head.order_id, head.owner, head.wh - wh))


def _exchanged(pairs: Sequence[Pair], seller: Fill, buyer: Fill, wh: int) -> list[Pair]:
    """Return the pairs with ``wh`` of one owner's supply and demand exchanged into them."""
    result: list[Pair] = []
    for other_seller, other_buyer, other_wh in reversed(pairs):
        free = seller.owner not in (other_seller.owner, other_buyer.owner)
        swapped = min(wh, other_wh) if free else 0
        wh -= swapped
        if swapped:
            result += [(other_seller, buyer, swapped), (seller, other_buyer, swapped)]
        if other_wh > swapped:
            result.append((other_seller, other_buyer, other_wh - swapped))
    return result[::-1]


def _merged(pairs: Sequence[Pair]) -> list[tuple[str, str, int]]:
    """Return one entry per (seller, buyer), in the order of their first pair."""
    totals: defaultdict[tuple[str, str], int] = defaultdict(int)
    for seller, buyer, wh in pairs:
        totals[seller.order_id, buyer.order_id] += wh
    return [(seller, buyer, wh) for (seller, buyer), wh in totals.items()]
