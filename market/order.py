"""A limit order: who wants how much energy, at what net energy price at the hub."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from market.errors import MarketError
from market.money import Price
from market.place import Place, Wish
from metering.quantities import Energy

MAX_QUANTITY_WH: Final = 10**12
MAX_PRICE_MICRO_PER_KWH: Final = 10**9
GRID: Final = "grid"  # stands for the supplier's backstop in trades; no order may be called so


class OrderError(MarketError):
    """The order is refused for good: its sender mends it and sends it again."""


class Side(StrEnum):
    """Which side of the book an order stands on."""

    BID = "bid"
    OFFER = "offer"


@dataclass(frozen=True, slots=True)
class Order:
    """A bid (wants to buy) or an offer (wants to sell) for one interval.

    ``limit`` is the worst price the participant accepts: a net energy price at the hub, before
    fees, levies and VAT; it may be negative. ``point`` is the metering point (GSRN) behind it,
    ``place`` where that stands, ``wish`` what the order wants beside its limit.

    Raises:
        OrderError: an empty or reserved name, a quantity outside 1..10^12 Wh, a limit beyond
            10^9 micro-euros per kWh either way, or a farthest level below the place's own.
    """

    order_id: str
    side: Side
    participant: str
    point: str
    quantity: Energy
    limit: Price
    place: Place = Place()
    wish: Wish = Wish()

    def __post_init__(self) -> None:
        if not self.order_id or not self.participant:
            raise OrderError(f"order {self.order_id!r}: order id and participant cannot be empty")
        if GRID in (self.order_id, self.participant):
            raise OrderError(f"order {self.order_id!r}: {GRID!r} is reserved for the supplier")
        if not 0 < self.quantity.wh <= MAX_QUANTITY_WH:
            raise OrderError(
                f"order {self.order_id!r}: quantity {self.quantity} is outside "
                f"1..{MAX_QUANTITY_WH} Wh; leave an empty order out"
            )
        if abs(self.limit.micro_per_kwh) > MAX_PRICE_MICRO_PER_KWH:
            raise OrderError(
                f"order {self.order_id!r}: limit {self.limit.micro_per_kwh} is beyond "
                f"+-{MAX_PRICE_MICRO_PER_KWH} micro-euros per kWh; check its unit"
            )
        if self.wish.level < self.place.level:
            raise OrderError(
                f"order {self.order_id!r}: it may travel no farther than its "
                f"{self.wish.level.label}, but its place {str(self.place)!r} names none"
            )
