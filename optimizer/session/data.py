"""What the engine sees of a session: price ticks per interval, and the other orders by rank.

Everything is sorted and added up before a solver sees it, so that the rows' places cannot matter:
step orders become one tick per interval, side and limit; blocks, flexible orders and storages stand
in the order of their hashes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from market.money import Price
from market.order import Order, Side
from market.session_orders import AnyOrder, BlockOrder, FlexibleOrder, StepOrder, StorageOrder
from market.sessions import SessionProblem
from market.trade import tie_hash

Integers: TypeAlias = NDArray[np.int64]
_Ranked = TypeVar("_Ranked", bound=AnyOrder)


class Ticks(NamedTuple):
    """One side's ticks, by interval, then by ascending price; ``orders`` are those of each tick.

    Prices in micro-euros per kWh, volumes in Wh.
    """

    interval: Integers
    price: Integers
    volume: Integers
    orders: tuple[tuple[Order, ...], ...]


@dataclass(frozen=True)
class SessionData:
    """A session as arrays. ``floors`` and ``ceilings`` in micro-euros per kWh, None without one."""

    intervals: int
    bids: Ticks
    offers: Ticks
    blocks: tuple[BlockOrder, ...]
    flexible: tuple[FlexibleOrder, ...]
    storages: tuple[StorageOrder, ...]
    floors: tuple[int, ...] | None
    ceilings: tuple[int, ...] | None

    @property
    def children(self) -> dict[str, list[int]]:
        """The places of each block's children."""
        found: dict[str, list[int]] = defaultdict(list)
        for place, block in enumerate(self.blocks):
            if block.parent:
                found[block.parent].append(place)
        return found

    def family(self, place: int) -> list[int]:
        """Return the places of a block and of all that descend from it."""
        children, found = self.children, [place]
        for member in found:
            found += children.get(self.blocks[member].order_id, [])
        return found


def data_of(problem: SessionProblem) -> SessionData:
    """Return what the engine sees of a problem."""
    book, key = problem.book, problem.tie_key
    return SessionData(
        book.session.intervals,
        _ticks(book.steps, Side.BID),
        _ticks(book.steps, Side.OFFER),
        _ranked(book.blocks, key),
        _ranked(book.flexible, key),
        _ranked(book.storages, key),
        _micro(problem.floors),
        _micro(problem.ceilings),
    )


def block_sign(block: BlockOrder) -> int:
    """Return 1 for a block that buys, -1 for one that sells."""
    return 1 if block.side is Side.BID else -1


def _ticks(steps: Iterable[StepOrder], side: Side) -> Ticks:
    found: dict[tuple[int, int], list[Order]] = defaultdict(list)
    for step in steps:
        if step.order.side is side:
            found[step.index, step.order.limit.micro_per_kwh].append(step.order)
    keys = sorted(found)
    members = tuple(tuple(sorted(found[key], key=lambda o: o.order_id)) for key in keys)
    return Ticks(
        np.array([interval for interval, _ in keys], dtype=np.int64),
        np.array([price for _, price in keys], dtype=np.int64),
        np.array([sum(o.quantity.wh for o in orders) for orders in members], dtype=np.int64),
        members,
    )


def _ranked(orders: Sequence[_Ranked], tie_key: bytes) -> tuple[_Ranked, ...]:
    return tuple(sorted(orders, key=lambda order: tie_hash(tie_key, order.order_id)))


def _micro(prices: Sequence[Price] | None) -> tuple[int, ...] | None:
    return None if prices is None else tuple(price.micro_per_kwh for price in prices)
