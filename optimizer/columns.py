"""One balance in columns: orders as arrays in, watt-hours per order and the price interval out.

No Python object is made per order. ``optimizer.clearing`` stands on this; so can whatever has its
orders in arrays already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from market.book import MAX_TOTAL_WH
from market.order import MAX_PRICE_MICRO_PER_KWH
from optimizer import merit_order
from optimizer.welfare import Integers, Solver, Ticks, certified_interval

Mask: TypeAlias = NDArray[np.bool_]


class ColumnsError(ValueError):
    """The columns are refused for good: mend the row that the message names."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Orders as arrays of one length, in any order.

    ``limits`` in micro-euros per kWh, ``wh`` 0 or more (0 takes no part). ``tie`` returns a row's
    hash (``market.trade.tie_hash``), which ranks rows with equal remainders at the margin; it is
    called for no other.

    Raises:
        ColumnsError: unequal lengths, a negative quantity, more than 10^15 Wh, an absurd limit.
    """

    is_bid: Mask
    limits: Integers
    wh: Integers
    tie: Callable[[int], bytes]

    def __post_init__(self) -> None:
        if not len(self.is_bid) == len(self.limits) == len(self.wh):
            raise ColumnsError(
                f"columns of {len(self.is_bid)} sides, {len(self.limits)} limits and "
                f"{len(self.wh)} quantities: one row each"
            )
        for wrong, what in (
            (self.wh < 0, "a negative quantity"),
            (self.wh > MAX_TOTAL_WH, f"more than {MAX_TOTAL_WH} Wh"),
            (np.abs(self.limits) > MAX_PRICE_MICRO_PER_KWH, "an absurd limit; check its unit"),
        ):
            if wrong.any():
                raise ColumnsError(f"row {int(wrong.argmax())} has {what}")
        if float(self.wh.sum(dtype=np.float64)) > MAX_TOTAL_WH:
            raise ColumnsError(f"the rows add up to more than {MAX_TOTAL_WH} Wh")


class Match(NamedTuple):
    """What each row gets, in Wh, what the supplier sells and buys, and lo and hi of the price."""

    wh: Integers
    grid_import: int
    grid_export: int
    interval: tuple[int | None, int | None]


def match(
    columns: Columns,
    floor: int | None = None,
    ceiling: int | None = None,
    solver: Solver = merit_order.solve_ticks,
) -> Match:
    """Add the rows up to ticks, solve, certify, and share each tick's volume out to its rows.

    ``floor`` and ``ceiling``: the supplier's prices in micro-euros per kWh, see ``Problem``.

    Raises:
        SolverError: the solver's answer is not the exact optimum.
    """
    bids, offers = np.flatnonzero(columns.is_bid), np.flatnonzero(~columns.is_bid)
    bid_prices, bid_tick, bid_volumes = _ticks(columns, bids)
    offer_prices, offer_tick, offer_volumes = _ticks(columns, offers)
    ticks = Ticks(bid_prices, bid_volumes, offer_prices, offer_volumes, floor, ceiling)
    fills = solver(ticks)
    interval = certified_interval(ticks, fills)
    wh = np.zeros_like(columns.wh)
    wh[bids] = _shared(columns, bids, bid_tick, bid_volumes, fills.bids)
    wh[offers] = _shared(columns, offers, offer_tick, offer_volumes, fills.offers)
    return Match(wh, fills.grid_import, fills.grid_export, interval)


def ticks_of(columns: Columns, floor: int | None = None, ceiling: int | None = None) -> Ticks:
    """Return what a solver sees of the rows."""
    bid_prices, _, bid_volumes = _ticks(columns, np.flatnonzero(columns.is_bid))
    offer_prices, _, offer_volumes = _ticks(columns, np.flatnonzero(~columns.is_bid))
    return Ticks(bid_prices, bid_volumes, offer_prices, offer_volumes, floor, ceiling)


def _ticks(columns: Columns, rows: NDArray[np.intp]) -> tuple[Integers, NDArray[np.intp], Integers]:
    """Return the distinct limits of some rows, each row's place among them, their volumes."""
    prices, tick = np.unique(columns.limits[rows], return_inverse=True)
    # Exact in doubles: all rows together are below 2^53 Wh.
    volumes = np.bincount(tick, weights=columns.wh[rows], minlength=len(prices))
    return prices, tick, volumes.astype(np.int64)


def _shared(
    columns: Columns,
    rows: NDArray[np.intp],
    tick: NDArray[np.intp],
    volumes: Integers,
    fills: Integers,
) -> Integers:
    """Return each row's part of its tick: all, nothing, or pro-rata at the margin."""
    wh = columns.wh[rows]
    whole = fills == volumes
    shares = np.where(whole[tick], wh, 0)
    for marginal in np.flatnonzero(~whole & (fills > 0)):
        members = np.flatnonzero(tick == marginal)
        shares[members] = _split(columns, rows[members], int(fills[marginal]))
    return shares


def _split(columns: Columns, rows: NDArray[np.intp], total: int) -> Integers:
    return pro_rata(total, columns.wh[rows], lambda i: columns.tie(int(rows[i])))


def pro_rata(total: int, wh: Integers, tie: Callable[[int], bytes]) -> Integers:
    """Return what ``market.money.largest_remainder`` does, on an array with a positive sum.

    Only rows whose remainder is that at which the units left over run out are asked for ``tie``.
    """
    weights = wh if total * int(wh.max()) < 2**63 else wh.astype(np.object_)  # exact either way
    products, weight_sum = weights * total, int(wh.sum())
    parts = (products // weight_sum).astype(np.int64)
    left = total - int(parts.sum())
    if left:
        remainders = (products % weight_sum).astype(np.int64)
        cut = np.partition(remainders, len(wh) - left)[len(wh) - left]
        parts[remainders > cut] += 1
        equal = np.flatnonzero(remainders == cut)
        still = left - int(np.count_nonzero(remainders > cut))
        parts[sorted(equal.tolist(), key=tie)[:still]] += 1
    return parts
