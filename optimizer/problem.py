"""What is to be cleared, and what clearing it gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from market.book import Book
from market.money import Price, round_half_up
from market.order import GRID, MAX_PRICE_MICRO_PER_KWH, Order
from market.place import Level, Place, Product
from market.pricing import PricingError, Rule
from market.trade import Trade
from metering.quantities import Energy

Interval: TypeAlias = tuple[Price | None, Price | None]

AT_A_RATE: Final = frozenset({Rule.MID_MARKET, Rule.SDR})


@dataclass(frozen=True, slots=True)
class Fees:
    """Grid fees per kWh on local energy by the farthest level that it crosses, the buyer's to pay.

    Raises:
        PricingError: a negative fee, or one that falls with the distance.
    """

    building: Price = Price(0)
    feeder: Price = Price(0)
    district: Price = Price(0)

    def __post_init__(self) -> None:
        if not Price(0) <= self.building <= self.feeder <= self.district:
            raise PricingError(
                "grid fees cannot be negative or fall with the distance: "
                "0 <= building <= feeder <= district"
            )

    def of(self, level: Level) -> Price:
        """Return the fee of a level."""
        return (self.building, self.feeder, self.district)[level]


@dataclass(frozen=True, slots=True)
class Hub:
    """Where energy of one product meets its buyers: a place, and what it trades there at one price.

    ``interval`` holds the lowest and the highest price that would clear it.
    """

    place: Place
    product: Product
    price: Price
    interval: Interval
    cleared: Energy


@dataclass(frozen=True, slots=True)
class Problem:
    """A book, a price rule and what breaks ties.

    ``floor`` (feed-in) and ``ceiling`` (retail) stand for the supplier, who buys and sells any
    amount at them; without one, that backstop does not exist. ``tie_key``: the interval's key in
    ASCII, or the book's digest in a what-if. ``fees`` come on top of the hub price that a buyer
    pays: a bid's limit bounds the two together.

    Raises:
        PricingError: the floor is above the ceiling or either is absurd, or one is missing where
            the rule makes its rate from both (it does unless the book has one side only).
    """

    book: Book
    rule: Rule
    tie_key: bytes
    floor: Price | None = None
    ceiling: Price | None = None
    fees: Fees = Fees()

    def __post_init__(self) -> None:
        for price in (self.floor, self.ceiling):
            if price is not None and abs(price.micro_per_kwh) > MAX_PRICE_MICRO_PER_KWH:
                raise PricingError(
                    f"feed-in or retail price {price.micro_per_kwh} is beyond "
                    f"+-{MAX_PRICE_MICRO_PER_KWH} micro-euros per kWh; check its unit"
                )
        if self.floor is not None and self.ceiling is not None:
            if self.floor > self.ceiling:
                raise PricingError(
                    f"feed-in {self.floor.micro_per_kwh} is above retail "
                    f"{self.ceiling.micro_per_kwh}: anyone could earn without end"
                )
        elif self.rule in AT_A_RATE and len({order.side for order in self.book.orders}) == 2:
            raise PricingError(f"the rule {self.rule} needs both a feed-in and a retail price")


@dataclass(frozen=True, slots=True)
class Clearing:
    """Who gets how much, at what price.

    ``price`` is null when nothing trades, or when it trades at several prices; ``hubs`` has those
    of all hubs with a trade, nearest level first, then by place and product; it is empty where one
    balance holds the book. ``cleared`` is all
    energy that changes hands, the supplier's included: bids + grid export = offers + grid import.
    ``welfare_micro`` is the sum of limit x energy over bids less that over offers and less the
    fees (the supplier at its own prices), rounded half up once. ``allocations`` holds every order
    of the book in the order of the ids, in Wh. ``fallback``: not the problem's rule decided but
    ``optimizer.fallback``, since the engine gave no answer.
    """

    price: Price | None
    price_interval: Interval
    cleared: Energy
    welfare_micro: int
    allocations: Mapping[str, int]
    trades: tuple[Trade, ...]
    grid_import: Energy
    grid_export: Energy
    hubs: tuple[Hub, ...] = ()
    fallback: bool = False

    @property
    def local_trades(self) -> tuple[Trade, ...]:
        """The trades between participants, the supplier's left out."""
        return tuple(t for t in self.trades if GRID not in (t.seller, t.buyer))


def welfare_micro(problem: Problem, trades: Iterable[Trade]) -> int:
    """Return what trades are worth less what they cost, in micro-euros, rounded once, half up.

    To a buyer energy is worth its limit, and its premium where it is green; a seller's limit and
    the fee of the level are costs. The supplier has its own prices and no local fee.
    """
    orders = {order.order_id: order for order in problem.book.orders}
    total = 0
    for trade in trades:
        cost = _limit(orders, trade.seller, problem.ceiling)
        worth = _limit(orders, trade.buyer, problem.floor)
        if trade.product is Product.GREEN and trade.buyer != GRID:
            worth += orders[trade.buyer].wish.premium.micro_per_kwh
        if GRID not in (trade.seller, trade.buyer):
            cost += problem.fees.of(trade.level).micro_per_kwh
        total += (worth - cost) * trade.energy.wh
    return round_half_up(total, 1000)


def _limit(orders: Mapping[str, Order], name: str, grid: Price | None) -> int:
    price = grid if name == GRID else orders[name].limit
    return 0 if price is None else price.micro_per_kwh
