"""Participants' standing instructions: which limit and which wish enter the book for a point.

A strategy is a pure function of the point's tariff, the expected price and the instruction, so
that anybody can work its limit out again. ``docs/market.md``, "Standing limits and strategies".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from market.book import Book
from market.errors import MarketError
from market.money import PPM, Money, Price
from market.order import Order, Side
from market.place import Level, Place, Product, Wish
from market.tariff import Tariff

MAX_LIMIT: Final = Price(100_000_000)  # 100 euros per kWh either way: beyond it, a typing error


class InstructionError(MarketError):
    """The instruction is refused for good: mend ``field`` as the message says."""

    def __init__(self, text: str, field: str) -> None:
        super().__init__(text)
        self.field = field


class Strategy(StrEnum):
    """How a limit comes about."""

    GRID_PARITY = "grid-parity"
    GREEDY = "greedy"
    BY_FORECAST = "by-forecast"
    OWN_LIMITS = "own-limits"

    @property
    def takes_share(self) -> bool:
        """Whether ``share_ppm`` means something."""
        return self in (Strategy.GREEDY, Strategy.BY_FORECAST)


class Reason(StrEnum):
    """What a limit comes from."""

    TARIFF = "tariff"
    SHARE = "share"
    FORECAST = "forecast"
    NO_FORECAST = "no-forecast"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a participant wants for one metering point; the default is grid parity, no wish.

    ``share_ppm`` is a share of the spread between the point's floor and ceiling: how far GREEDY
    stays away from its own bound, and how far BY_FORECAST goes beyond the expected price.
    ``buy_all_in`` (fees, levies and VAT included) and ``sell`` (net) are OWN_LIMITS; without one,
    that side is at grid parity. Prices may be negative. ``wish.level`` holds for both sides, the
    rest of the wish for what the point buys.

    Raises:
        InstructionError: a share outside 0..100 %, a limit or premium beyond 100 euros per kWh,
            OWN_LIMITS without a limit, or a value that its strategy does not take.
    """

    strategy: Strategy = Strategy.GRID_PARITY
    share_ppm: int = 0
    buy_all_in: Price | None = None
    sell: Price | None = None
    wish: Wish = Wish()

    def __post_init__(self) -> None:
        if not 0 <= self.share_ppm <= (PPM if self.strategy.takes_share else 0):
            raise InstructionError("the share has to be between 0 and 100 %", "share")
        limits = {"buy": self.buy_all_in, "sell": self.sell}
        if self.strategy is not Strategy.OWN_LIMITS:
            if given := [field for field, limit in limits.items() if limit is not None]:
                raise InstructionError("only own limits take a limit", given[0])
        elif self.buy_all_in is None and self.sell is None:
            raise InstructionError("own limits need a limit for buying, selling or both", "buy")
        for field, price in (*limits.items(), ("premium", self.wish.premium)):
            if price is not None and not Price(0) - MAX_LIMIT <= price <= MAX_LIMIT:
                raise InstructionError("more than 100 euros per kWh: check its unit", field)


class Standing(NamedTuple):
    """Where a metering point stands, whether it feeds in green energy, and its instruction."""

    place: Place
    green: bool
    instruction: Instruction


@dataclass(frozen=True, slots=True)
class Limit:
    """A net limit as it enters the book, and how it came about.

    ``wanted`` is what the strategy asks for before the point's own bound and the price tick;
    ``capped``: it was beyond the bound, so that the bound is the limit.
    """

    net: Price
    wanted: Price
    reason: Reason
    capped: bool


def check(instruction: Instruction, place: Place, tick: Price) -> None:
    """Refuse what a district cannot do: a price off its tick, or a level that a point has not.

    Raises:
        InstructionError: it names the field.
    """
    premium = instruction.wish.premium
    typed = {"buy": instruction.buy_all_in, "sell": instruction.sell, "premium": premium}
    for field, price in typed.items():
        if price is not None and price.micro_per_kwh % tick.micro_per_kwh:
            raise InstructionError(
                f"{price.micro_per_kwh} micro-euros per kWh are no multiple of the district's "
                f"price tick of {tick.micro_per_kwh}",
                field,
            )
    if instruction.wish.level < place.level:
        raise InstructionError(
            f"this point stands in no {instruction.wish.level.label}: choose a farther level",
            "level",
        )


def net_of(all_in: Price, tariff: Tariff, level: Level = Level.DISTRICT) -> Price:
    """Return the highest net hub price that costs a local buyer no more than ``all_in`` per kWh.

    All-in is what a kWh from as far as ``level`` costs with its grid fee, levy, tax and VAT,
    rounded as a bill rounds. Limits in the book are those of the district.
    """
    net = all_in.micro_per_kwh * PPM // (PPM + tariff.vat_ppm)
    return Price(net) - tariff.local_fee(level) - tariff.levy - tariff.tax


def all_in_of(net: Price, tariff: Tariff, level: Level = Level.DISTRICT) -> Price:
    """Return what a kWh at a net hub price costs a local buyer, VAT rounded as a bill rounds."""
    before_vat = (net + tariff.local_fee(level) + tariff.levy + tariff.tax).micro_per_kwh
    return Price(before_vat + Money(before_vat).share(tariff.vat_ppm).micro)


def bid_limit(
    instruction: Instruction, tariff: Tariff, expected: Price | None, tick: Price
) -> Limit:
    """Return the limit of what a point buys: never above its ceiling, rounded down to the tick.

    So nobody pays more all-in than on the normal tariff; a premium for green energy alone may go
    beyond it.
    """
    away = _spread(tariff, instruction.share_ppm)
    match instruction.strategy:
        case Strategy.GREEDY:
            wanted, reason = tariff.ceiling - away, Reason.SHARE
        case Strategy.BY_FORECAST if expected is not None:
            wanted, reason = expected + away, Reason.FORECAST
        case Strategy.OWN_LIMITS if instruction.buy_all_in is not None:
            wanted, reason = net_of(instruction.buy_all_in, tariff), Reason.OWN
        case _:
            wanted, reason = tariff.ceiling, _otherwise(instruction)
    net = min(wanted, tariff.ceiling).micro_per_kwh
    return Limit(Price(net - net % tick.micro_per_kwh), wanted, reason, wanted > tariff.ceiling)


def offer_limit(
    instruction: Instruction, tariff: Tariff, expected: Price | None, tick: Price
) -> Limit:
    """Return the limit of what a point sells: never below its floor, rounded up to the tick."""
    away = _spread(tariff, instruction.share_ppm)
    match instruction.strategy:
        case Strategy.GREEDY:
            wanted, reason = tariff.floor + away, Reason.SHARE
        case Strategy.BY_FORECAST if expected is not None:
            wanted, reason = expected - away, Reason.FORECAST
        case Strategy.OWN_LIMITS if instruction.sell is not None:
            wanted, reason = instruction.sell, Reason.OWN
        case _:
            wanted, reason = tariff.floor, _otherwise(instruction)
    net = max(wanted, tariff.floor).micro_per_kwh
    return Limit(Price(net + -net % tick.micro_per_kwh), wanted, reason, wanted < tariff.floor)


def net_limits(
    standings: Mapping[str, Standing],
    tariffs: Mapping[str, Tariff],
    expected: Price | None,
    tick: Price,
) -> dict[str, Price]:
    """Return the limits of both sides of each point that stands here, by order id."""
    found: dict[str, Price] = {}
    for point, standing in standings.items():
        given = (standing.instruction, tariffs[point], expected, tick)
        found[f"{point}-{Side.BID}"] = bid_limit(*given).net
        found[f"{point}-{Side.OFFER}"] = offer_limit(*given).net
    return found


def with_wishes(book: Book, standings: Mapping[str, Standing], *, placed: bool = False) -> Book:
    """Return the book with places and wishes, or as it is where no order of it wishes anything.

    With ``placed`` places matter all the same: fees go by how far energy comes. An offer's product
    is what its point feeds in. A level below the lowest that the point's place has counts as that
    one.
    """
    orders = [_wishing(order, standings[order.point]) for order in book.orders]
    return Book(tuple(orders)) if placed or any(map(_wants, orders)) else book


def _wants(order: Order) -> bool:
    """Tell what an order wants from what its energy is: a green offer alone wants nothing."""
    if order.side is Side.BID:
        return order.wish != Wish()
    return order.wish.level is not Level.DISTRICT


def _wishing(order: Order, standing: Standing) -> Order:
    wish = standing.instruction.wish
    level = max(wish.level, standing.place.level)
    if order.side is Side.BID:
        return replace(order, place=standing.place, wish=replace(wish, level=level))
    product = Product.GREEN if standing.green else Product.ANY
    return replace(order, place=standing.place, wish=Wish(product, level=level))


def _spread(tariff: Tariff, share_ppm: int) -> Price:
    """Return a share of the spread between floor and ceiling (rounded down), 0 without one."""
    spread = (tariff.ceiling - tariff.floor).micro_per_kwh
    return Price(max(spread, 0) * share_ppm // PPM)


def _otherwise(instruction: Instruction) -> Reason:
    forecast = instruction.strategy is Strategy.BY_FORECAST
    return Reason.NO_FORECAST if forecast else Reason.TARIFF
