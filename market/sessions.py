"""A forward session: one book for up to 96 intervals, one gate closure, one call auction."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

from market.money import PPM, Price
from market.order import Order
from market.session_orders import (
    AnyOrder,
    BlockOrder,
    FlexibleOrder,
    Session,
    SessionError,
    StepOrder,
    StorageOrder,
    refuse_price,
)
from market.trade import Trade
from metering.quantities import Energy

MAX_STEPS: Final = 200_000
MAX_BLOCKS: Final = 2_000
MAX_FLEXIBLE: Final = 2_000
MAX_STORAGES: Final = 500
MAX_INTERVAL_WH: Final = 10**12  # of all orders in one interval: a solver's doubles stay exact
MAX_TIME_LIMIT_S: Final = 3_600

PriceInterval: TypeAlias = tuple[Price | None, Price | None]


@dataclass(frozen=True)
class SessionBook:
    """All orders of a session, in any order: the outcome never depends on their places.

    A metering point may not stand on both sides of one interval with step orders. Blocks may form
    trees by their parents; all blocks of a tree are one participant's and on one side.

    Raises:
        SessionError: two orders share an id, there are too many, one is outside the session, one
            point is on both sides of an interval, a parent is unknown, another participant's, on
            the other side or its own descendant, or an interval adds up to more than 10^12 Wh.
    """

    session: Session
    steps: tuple[StepOrder, ...] = ()
    blocks: tuple[BlockOrder, ...] = ()
    flexible: tuple[FlexibleOrder, ...] = ()
    storages: tuple[StorageOrder, ...] = ()

    def __post_init__(self) -> None:
        self._refuse_numbers()
        ids = [order.order_id for order in self]
        if len(set(ids)) != len(ids):
            order_id, count = Counter(ids).most_common(1)[0]
            raise SessionError(f"order id {order_id!r} stands {count} times: ids differ")
        for order_id, end in self._ends():
            if end > self.session.intervals:
                raise SessionError(
                    f"order {order_id!r} reaches past the session's {self.session.intervals} "
                    f"intervals (its last index is {end - 1})"
                )
        self._refuse_both_sides()
        self._refuse_links()
        self._refuse_totals()

    def __iter__(self) -> Iterator[AnyOrder]:
        yield from self.steps
        yield from self.blocks
        yield from self.flexible
        yield from self.storages

    @cached_property
    def block_by_id(self) -> Mapping[str, BlockOrder]:
        """The blocks by their order ids."""
        return {block.order_id: block for block in self.blocks}

    def digest(self) -> bytes:
        """Return SHA-256 of the session and its orders sorted by id: one line per order.

        The tie key of ``wattloom session``. Each line holds the kind and the order's fields in
        the order of its class, separated by commas (a profile by blanks), and a line feed, UTF-8.
        """
        lines = sorted(f"{order.order_id},{_line(order)}\n" for order in self)
        head = f"{self.session.first_interval_key},{self.session.intervals}\n"
        return hashlib.sha256((head + "".join(lines)).encode()).digest()

    def _refuse_numbers(self) -> None:
        for name, orders, most in (
            ("step orders", self.steps, MAX_STEPS),
            ("blocks", self.blocks, MAX_BLOCKS),
            ("flexible orders", self.flexible, MAX_FLEXIBLE),
            ("storages", self.storages, MAX_STORAGES),
        ):
            if len(orders) > most:
                raise SessionError(f"{len(orders)} {name}; a session takes at most {most}")

    def _ends(self) -> Iterator[tuple[str, int]]:
        """Yield each order's id and the index after its last interval."""
        yield from ((step.order_id, step.index + 1) for step in self.steps)
        yield from ((b.order_id, b.start + len(b.profile_wh)) for b in self.blocks)
        yield from ((order.order_id, order.deadline) for order in self.flexible)

    def _refuse_both_sides(self) -> None:
        sides: dict[tuple[int, str], Order] = {}
        for step in self.steps:
            other = sides.setdefault((step.index, step.order.point), step.order)
            if other.side is not step.order.side:
                raise SessionError(
                    f"orders {other.order_id!r} and {step.order_id!r} are both sides of point "
                    f"{step.order.point!r} in interval {step.index}: a point does not buy from "
                    "itself"
                )

    def _refuse_links(self) -> None:
        for block in self.blocks:
            seen = {block.order_id}
            child = block
            while child.parent:
                parent = self.block_by_id.get(child.parent)
                if parent is None:
                    raise SessionError(
                        f"block {child.order_id!r}: its parent {child.parent!r} is no block here"
                    )
                if (parent.participant, parent.side) != (child.participant, child.side):
                    raise SessionError(
                        f"block {child.order_id!r}: its parent {child.parent!r} is another "
                        "participant's or on the other side"
                    )
                if parent.order_id in seen:
                    raise SessionError(
                        f"block {parent.order_id!r} is its own descendant: break the circle"
                    )
                seen.add(parent.order_id)
                child = parent

    def _refuse_totals(self) -> None:
        totals = [
            sum(f.most_wh for f in self.flexible)
            + sum(s.most_charge_wh + s.most_discharge_wh for s in self.storages)
        ] * self.session.intervals
        for step in self.steps:
            totals[step.index] += step.order.quantity.wh
        for block in self.blocks:
            for index, wh in enumerate(block.profile_wh, block.start):
                totals[index] += wh
        for index, total_wh in enumerate(totals):
            if total_wh > MAX_INTERVAL_WH:
                raise SessionError(
                    f"interval {index} adds up to {total_wh} Wh, more than {MAX_INTERVAL_WH} Wh"
                )


@dataclass(frozen=True)
class SessionProblem:
    """A session's book and what clears it.

    ``tie_key`` breaks ties: the first interval's key in ASCII, or the book's digest in a what-if.
    ``floors`` (feed-in) and ``ceilings`` (retail), one price per interval, stand for the supplier,
    who buys and sells any amount at them; without them that backstop does not exist. ``gap_ppm``:
    how far from the best welfare the choice of blocks may stay; ``time_limit_s`` bounds the search.

    Raises:
        SessionError: another number of prices than of intervals, an absurd price, a floor above
            its ceiling, a gap outside 0..1,000,000 ppm, a time limit outside 1..3,600 s.
    """

    book: SessionBook
    tie_key: bytes
    floors: tuple[Price, ...] | None = None
    ceilings: tuple[Price, ...] | None = None
    gap_ppm: int = 1_000
    time_limit_s: int = 60

    def __post_init__(self) -> None:
        for name, prices in (("feed-in", self.floors), ("retail", self.ceilings)):
            if prices is None:
                continue
            if len(prices) != self.book.session.intervals:
                raise SessionError(
                    f"{len(prices)} {name} prices for {self.book.session.intervals} intervals"
                )
            for price in prices:
                refuse_price(name, price)
        for index, (floor, ceiling) in enumerate(
            zip(self.floors or (), self.ceilings or (), strict=False)
        ):
            if floor > ceiling:
                raise SessionError(
                    f"interval {index}: feed-in {floor.micro_per_kwh} is above retail "
                    f"{ceiling.micro_per_kwh}: anyone could earn without end"
                )
        if not 0 <= self.gap_ppm <= PPM:
            raise SessionError(f"gap {self.gap_ppm} ppm is outside 0..{PPM}")
        if not 1 <= self.time_limit_s <= MAX_TIME_LIMIT_S:
            raise SessionError(f"time limit {self.time_limit_s} s is outside 1..{MAX_TIME_LIMIT_S}")


class Schedule(NamedTuple):
    """Energy of one order in the intervals from ``start`` on: bought is positive, sold negative."""

    start: int
    wh: tuple[int, ...]


@dataclass(frozen=True)
class SessionClearing:
    """Who gets how much when, at what price. Tuples have one entry per interval of the session.

    ``prices``: None where nothing trades. ``price_intervals``: the lowest and the highest price
    that support the outcome with the blocks as they are. ``schedules``: every order of the book by
    id, in the order of the ids: a step's one interval, a block's profile, a flexible order's
    window, a storage's whole session. ``accepted_ppm``: the share of each block, rounded down.
    ``paradoxically_rejected``: blocks that gain at these prices and were left out none the less,
    with the surplus in micro-euros that they miss. ``withdrawn``: storages and divisible blocks
    that were left out because whole watt-hours at whole prices would have been a loss to them.
    ``stored_wh``: what each storage holds at the end of each interval. ``welfare_micro``: limit x
    energy of what is bought less that of what is sold (the supplier at its own prices, a storage
    at its least gain), rounded half up once. ``gap_ppm``: how far that is below the best known
    bound, rounded up. ``optimal``: the search for blocks reached its gap within the time limit.
    ``fallback``: there was no answer, and every interval's step orders were cleared alone.
    """

    session: Session
    prices: tuple[Price | None, ...]
    price_intervals: tuple[PriceInterval, ...]
    schedules: Mapping[str, Schedule]
    trades: tuple[tuple[Trade, ...], ...]
    grid_import: tuple[Energy, ...]
    grid_export: tuple[Energy, ...]
    accepted_ppm: Mapping[str, int]
    paradoxically_rejected: Mapping[str, int]
    withdrawn: tuple[str, ...]
    stored_wh: Mapping[str, tuple[int, ...]]
    welfare_micro: int
    gap_ppm: int
    optimal: bool
    fallback: bool = False


def _line(order: AnyOrder) -> str:
    if isinstance(order, StepOrder):
        o = order.order
        values: tuple[object, ...] = ("step", o.side, o.participant, o.point, order.index)
        values += (o.quantity.wh, o.limit.micro_per_kwh)
    elif isinstance(order, BlockOrder):
        values = ("block", order.side, order.participant, order.point, order.start)
        values += (" ".join(map(str, order.profile_wh)), order.limit.micro_per_kwh)
        values += (order.min_acceptance_ppm, order.parent)
    elif isinstance(order, FlexibleOrder):
        values = ("flexible", order.participant, order.point, order.energy.wh, order.power.w)
        values += (order.start, order.deadline, order.limit.micro_per_kwh)
    else:
        values = ("storage", order.participant, order.point, order.capacity.wh, order.initial.wh)
        values += (order.least_final.wh, order.charge.w, order.discharge.w)
        values += (order.efficiency_ppm, order.least_gain.micro_per_kwh)
    return ",".join(map(str, values))
