"""The order book of one interval: orders with distinct ids and a bounded total."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from market.errors import MarketError
from market.order import Order, Side
from metering.quantities import Energy

MAX_TOTAL_WH: Final = 10**15  # below 2^53, so that a solver's doubles hold every sum exactly


class BookError(MarketError):
    """The book is refused for good: mend the orders that the message names."""


@dataclass(frozen=True, slots=True)
class Book:
    """All orders of one interval, in any order: the outcome never depends on their places.

    Raises:
        BookError: two orders share an id, or all quantities together exceed 10^15 Wh.
    """

    orders: tuple[Order, ...]

    def __post_init__(self) -> None:
        ids = [order.order_id for order in self.orders]
        if len(set(ids)) != len(ids):
            order_id, count = Counter(ids).most_common(1)[0]
            raise BookError(f"order id {order_id!r} stands {count} times in the book: ids differ")
        total_wh = sum([order.quantity.wh for order in self.orders])
        if total_wh > MAX_TOTAL_WH:
            raise BookError(f"the book adds up to {total_wh} Wh, more than {MAX_TOTAL_WH} Wh")

    def digest(self) -> bytes:
        """Return SHA-256 of the book sorted by order id: one line per order.

        The tie key of ``wattloom clear``: ``order_id,side,participant,quantity_wh,price``, and
        ``,place,wish`` where either is said, each line ended by a line feed, UTF-8.
        """
        lines = [
            f"{o.order_id},{o.side},{o.participant},{o.quantity.wh},{o.limit.micro_per_kwh}"
            f"{_standing(o)}\n"
            for o in sorted(self.orders, key=lambda o: o.order_id)
        ]
        return hashlib.sha256("".join(lines).encode()).digest()


def _standing(order: Order) -> str:
    place, wish = str(order.place), str(order.wish)
    return f",{place},{wish}" if place or wish else ""


def net_participants(orders: Iterable[Order]) -> tuple[Order, ...]:
    """Return the orders with every participant's own bids and offers set off against each other.

    A participant on both sides keeps the larger side less the smaller one, whatever the limits:
    what one produces serves one's own most valued use first, so the highest bids and the cheapest
    offers vanish first (equal limits: by order id). Other orders stay as they are.
    """
    by_participant: dict[str, list[Order]] = defaultdict(list)
    for order in orders:
        by_participant[order.participant].append(order)
    kept: list[Order] = []
    for own in by_participant.values():
        bids = sorted(
            (o for o in own if o.side is Side.BID),
            key=lambda o: (-o.limit.micro_per_kwh, o.order_id),
        )
        offers = sorted(
            (o for o in own if o.side is Side.OFFER), key=lambda o: (o.limit, o.order_id)
        )
        own_use_wh = min(sum(o.quantity.wh for o in bids), sum(o.quantity.wh for o in offers))
        kept += _without(bids, own_use_wh) + _without(offers, own_use_wh)
    return tuple(kept)


def _without(orders: Sequence[Order], wh: int) -> list[Order]:
    """Return ``orders`` less their first ``wh`` watt-hours."""
    kept = []
    for order in orders:
        taken_wh = min(wh, order.quantity.wh)
        wh -= taken_wh
        left = order.quantity - Energy(taken_wh)
        if left.wh:
            kept.append(replace(order, quantity=left) if taken_wh else order)
    return kept
