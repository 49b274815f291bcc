"""The merit order: both sides in the order of their prices, and where they cross.

The fast path of one balance: it answers the question of ``optimizer.welfare.solve_ticks`` without
a solver. Neither is believed: ``certified_interval`` proves the answer in integers.
"""

from __future__ import annotations

import numpy as np

from optimizer.welfare import Fills, Integers, Ticks


def solve_ticks(ticks: Ticks) -> Fills:
    """Return the volumes of maximum welfare, then maximum volume.

    At a price p the bids from p upwards and the offers up to p may trade, at most the smaller of
    the two sums; the best p gives the local volume. The supplier bounds p, and serves what is left
    of the bids from the ceiling upwards, else of the offers up to the floor: local energy first.
    """
    bought = _from_the_end(ticks.bid_volumes)  # by the bids from each tick upwards
    sold = np.cumsum(ticks.offer_volumes)
    prices = ticks.offer_prices
    if ticks.ceiling is not None:
        prices = prices[: np.searchsorted(prices, ticks.ceiling, side="right")]
    supply = sold[: len(prices)]
    if ticks.floor is not None:
        prices = np.maximum(prices, ticks.floor)
    demand = np.append(bought, 0)[np.searchsorted(ticks.bid_prices, prices)]
    local = int(np.minimum(supply, demand).max(initial=0))
    from_ceiling = _volume(ticks.bid_volumes, ticks.ceiling, ticks.bid_prices, at_least=True)
    to_floor = _volume(ticks.offer_volumes, ticks.floor, ticks.offer_prices, at_least=False)
    grid_import, grid_export = max(from_ceiling - local, 0), max(to_floor - local, 0)
    return Fills(
        np.clip(local + grid_import - (bought - ticks.bid_volumes), 0, ticks.bid_volumes),
        np.clip(local + grid_export - (sold - ticks.offer_volumes), 0, ticks.offer_volumes),
        grid_import,
        grid_export,
    )


def _from_the_end(volumes: Integers) -> Integers:
    return np.cumsum(volumes[::-1])[::-1]


def _volume(volumes: Integers, price: int | None, prices: Integers, *, at_least: bool) -> int:
    """Return the volume from a price upwards or up to it, 0 without a price."""
    if price is None:
        return 0
    suits = prices >= price if at_least else prices <= price
    return int(volumes[suits].sum())
