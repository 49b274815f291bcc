"""The orders of a forward session, each of which checks itself.

Four kinds stand in one book: a **step** (an order for one interval), a **block** (a profile over
several intervals, at a limit for its average price, all or nothing or from a least share on), a
**flexible** order (this energy by then at that power, an electric car) and a **storage** (buys
cheap and sells dear). Intervals are named by their index in the session, from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from market.errors import MarketError
from market.money import PPM, Price
from market.order import GRID, MAX_PRICE_MICRO_PER_KWH, Order, Side
from market.place import Place, Wish
from metering.interval import LENGTH_MS, Interval, IntervalError, from_ms
from metering.quantities import Energy, Power

MAX_INTERVALS: Final = 96
MAX_SESSION_QUANTITY_WH: Final = 10**9  # 4 GW over a quarter-hour


class SessionError(MarketError):
    """The session, order or book is refused for good: mend what the message names."""


@dataclass(frozen=True, slots=True)
class Session:
    """The intervals of one call auction: the key of the first, and how many there are.

    Raises:
        SessionError: the key is none, or there are not 1 to 96 intervals.
    """

    first_interval_key: str
    intervals: int

    def __post_init__(self) -> None:
        try:
            Interval.parse(self.first_interval_key)
        except IntervalError as error:
            raise SessionError(f"the session's first interval: {error}") from error
        if not 1 <= self.intervals <= MAX_INTERVALS:
            raise SessionError(
                f"a session has 1 to {MAX_INTERVALS} intervals, not {self.intervals}"
            )

    def interval(self, index: int) -> Interval:
        """Return the interval of an index, 0 being the first.

        Raises:
            SessionError: the session has no such index.
        """
        if not 0 <= index < self.intervals:
            raise SessionError(f"index {index} is outside 0..{self.intervals - 1}")
        first = Interval.parse(self.first_interval_key)
        return Interval(from_ms(first.start_ms + index * LENGTH_MS))

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all intervals, in order."""
        return tuple(self.interval(index).key for index in range(self.intervals))


@dataclass(frozen=True, slots=True)
class StepOrder:
    """A limit order for the interval of an index.

    Raises:
        SessionError: a negative index, a quantity above 10^9 Wh, or a place or wish (a session
            is cleared over the whole district, any energy alike).
    """

    index: int
    order: Order

    def __post_init__(self) -> None:
        if self.index < 0:
            raise SessionError(f"order {self.order_id!r}: index {self.index} is negative")
        _refuse_quantity(self.order_id, self.order.quantity.wh)
        if self.order.place != Place() or self.order.wish != Wish():
            raise SessionError(
                f"order {self.order_id!r}: a session order has neither place nor wish; leave "
                "them out, or trade by the interval"
            )

    @property
    def order_id(self) -> str:
        """The order's id."""
        return self.order.order_id

    @property
    def participant(self) -> str:
        """Whose order it is."""
        return self.order.participant


@dataclass(frozen=True, slots=True)
class BlockOrder:
    """A bid or offer for a profile: ``profile_wh`` watt-hours per interval from ``start`` on.

    ``limit`` bounds the average price per kWh over the block's energy. The block is accepted not
    at all, or in all its intervals by one share of at least ``min_acceptance_ppm`` (1,000,000: all
    or nothing). A block with a ``parent`` (its order id) is accepted at most by its parent's share.

    Raises:
        SessionError: an empty or reserved name, an empty profile or one that begins or ends with
            0, a quantity outside 0..10^9 Wh, a share outside 0..1,000,000 ppm, an absurd limit.
    """

    order_id: str
    side: Side
    participant: str
    point: str
    start: int
    profile_wh: tuple[int, ...]
    limit: Price
    min_acceptance_ppm: int = PPM
    parent: str = ""

    def __post_init__(self) -> None:
        _refuse_names(self.order_id, self.participant)
        _refuse_window(self.order_id, self.start, self.start + len(self.profile_wh))
        if not (self.profile_wh[0] and self.profile_wh[-1]):
            raise SessionError(f"block {self.order_id!r}: its profile begins or ends with 0 Wh")
        for wh in filter(None, self.profile_wh):
            _refuse_quantity(self.order_id, wh)
        refuse_price(self.order_id, self.limit)
        if not 0 <= self.min_acceptance_ppm <= PPM:
            raise SessionError(
                f"block {self.order_id!r}: least share {self.min_acceptance_ppm} ppm is outside "
                f"0..{PPM}; {PPM} means all or nothing"
            )
        if self.parent == self.order_id:
            raise SessionError(f"block {self.order_id!r} is its own parent")

    @property
    def energy_wh(self) -> int:
        """The energy of the whole block."""
        return sum(self.profile_wh)

    @property
    def least_wh(self) -> int:
        """The least energy that is taken if any is: the least share, rounded up."""
        return -(-self.energy_wh * self.min_acceptance_ppm // PPM)


@dataclass(frozen=True, slots=True)
class FlexibleOrder:
    """A bid for energy by a deadline: up to ``power`` in the intervals start..deadline-1.

    It takes no more than ``energy``, and in no interval at a price above ``limit``; where that
    leaves less than ``energy``, it gets less. ``deadline`` is the index of the first interval in
    which it takes nothing any more (the session's number of intervals: its end).

    Raises:
        SessionError: an empty or reserved name, an empty window, an absurd energy or limit, less
            than 4 W (1 Wh in an interval), or more energy than the power gives in the window.
    """

    order_id: str
    participant: str
    point: str
    energy: Energy
    power: Power
    start: int
    deadline: int
    limit: Price

    def __post_init__(self) -> None:
        _refuse_names(self.order_id, self.participant)
        _refuse_window(self.order_id, self.start, self.deadline)
        _refuse_quantity(self.order_id, self.energy.wh)
        _refuse_quantity(self.order_id, self.most_wh)
        refuse_price(self.order_id, self.limit)
        quarters = self.deadline - self.start
        if self.energy.wh > self.most_wh * quarters:
            raise SessionError(
                f"order {self.order_id!r}: {self.power} gives {self.most_wh * quarters} Wh in "
                f"{quarters} quarter-hours, less than the {self.energy} that it wants: ask for "
                "less energy, a later end or more power"
            )

    @property
    def most_wh(self) -> int:
        """The most energy in one interval, rounded down."""
        return wh_per_interval(self.power)


@dataclass(frozen=True, slots=True)
class StorageOrder:
    """A battery that trades over the whole session, wherever the prices pay for it.

    It holds 0..``capacity``, begins with ``initial`` and ends with at least ``least_final``. Of
    each Wh charged, ``efficiency_ppm`` millionths can be discharged again; the loss is taken when
    charging, and rounded up over the session. Over the session it earns at least ``least_gain``
    per kWh discharged, after paying for what it charged.

    Raises:
        SessionError: an empty or reserved name, an absurd quantity, ``initial`` or ``least_final``
            beyond the capacity, an end fuller than the beginning (it would have to buy at any
            price), an efficiency outside 1..1,000,000 ppm, a negative gain, less than 4 W.
    """

    order_id: str
    participant: str
    point: str
    capacity: Energy
    initial: Energy
    least_final: Energy
    charge: Power
    discharge: Power
    efficiency_ppm: int
    least_gain: Price

    def __post_init__(self) -> None:
        _refuse_names(self.order_id, self.participant)
        refuse_price(self.order_id, self.least_gain)
        for wh in (self.capacity.wh, self.most_charge_wh, self.most_discharge_wh):
            _refuse_quantity(self.order_id, wh)
        if not 0 <= self.least_final.wh <= self.initial.wh <= self.capacity.wh:
            raise SessionError(
                f"storage {self.order_id!r}: 0 <= least final {self.least_final} <= initial "
                f"{self.initial} <= capacity {self.capacity} does not hold; to end fuller, add a "
                "flexible order"
            )
        if not 1 <= self.efficiency_ppm <= PPM:
            raise SessionError(
                f"storage {self.order_id!r}: efficiency {self.efficiency_ppm} ppm is outside "
                f"1..{PPM}"
            )
        if self.least_gain < Price(0):
            raise SessionError(f"storage {self.order_id!r}: its least gain is negative")

    @property
    def most_charge_wh(self) -> int:
        """The most energy charged in one interval, rounded down."""
        return wh_per_interval(self.charge)

    @property
    def most_discharge_wh(self) -> int:
        """The most energy discharged in one interval, rounded down."""
        return wh_per_interval(self.discharge)


AnyOrder: TypeAlias = StepOrder | BlockOrder | FlexibleOrder | StorageOrder


def wh_per_interval(power: Power) -> int:
    """Return what a power gives in a quarter of an hour, in Wh, rounded down."""
    return power.w // 4


def _refuse_names(order_id: str, participant: str) -> None:
    if not order_id or not participant:
        raise SessionError(f"order {order_id!r}: order id and participant cannot be empty")
    if GRID in (order_id, participant):
        raise SessionError(f"order {order_id!r}: {GRID!r} is reserved for the supplier")


def _refuse_window(order_id: str, start: int, end: int) -> None:
    if not 0 <= start < end:
        raise SessionError(
            f"order {order_id!r}: the intervals from index {start} to before {end} are none"
        )


def _refuse_quantity(order_id: str, wh: int) -> None:
    if not 0 < wh <= MAX_SESSION_QUANTITY_WH:
        raise SessionError(
            f"order {order_id!r}: {wh} Wh is outside 1..{MAX_SESSION_QUANTITY_WH} Wh; check its "
            "unit (a power gives a quarter of it in an interval)"
        )


def refuse_price(name: str, limit: Price) -> None:
    """Refuse an absurd price, in the name of what it belongs to.

    Raises:
        SessionError: beyond 10^9 micro-euros per kWh either way.
    """
    if abs(limit.micro_per_kwh) > MAX_PRICE_MICRO_PER_KWH:
        raise SessionError(
            f"{name!r}: price {limit.micro_per_kwh} is beyond +-{MAX_PRICE_MICRO_PER_KWH} "
            "micro-euros per kWh; check its unit"
        )
