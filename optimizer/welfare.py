"""The LP of one balance: which price ticks trade, and the prices at which nobody regrets it.

Maximum welfare over one balance, whose dual is the price of energy (Schweppe, Caramanis, Tabors and
Bohn, *Spot Pricing of Electricity*, 1988). Volumes in Wh, prices in micro-euros per kWh.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import pyomo.environ as pyo
from numpy.typing import NDArray

from optimizer.compiled import CompiledModel, SolverError

Integers: TypeAlias = NDArray[np.int64]

_SMALLEST_SIZE: Final = 16


class Ticks(NamedTuple):
    """What a solver sees: ascending distinct prices and the volume at each, per side.

    Prices in micro-euros per kWh, volumes in Wh.
    """

    bid_prices: Integers
    bid_volumes: Integers
    offer_prices: Integers
    offer_volumes: Integers
    floor: int | None
    ceiling: int | None


class Fills(NamedTuple):
    """What a solver answers: Wh per tick, and what the supplier sells and buys."""

    bids: Integers
    offers: Integers
    grid_import: int
    grid_export: int


Solver: TypeAlias = Callable[[Ticks], Fills]


def welfare_model(slots: int) -> pyo.ConcreteModel:
    """Return the model of one balance with ``slots`` price ticks per side; unused ones are empty.

    Prices in micro-euros per kWh, volumes in Wh; every Param is data of one interval.
    """
    model = pyo.ConcreteModel()
    model.slot = pyo.RangeSet(0, slots - 1)
    for name in ("bid", "offer"):
        for what in ("price", "volume"):
            param = pyo.Param(model.slot, mutable=True, initialize=0)
            model.add_component(f"{name}_{what}", param)
    for name in ("import", "export"):
        for what in ("price", "volume"):
            model.add_component(f"{name}_{what}", pyo.Param(mutable=True, initialize=0))
    add_volume_bounds(model)
    add_balance(model)
    add_welfare(model)
    return model


def add_volume_bounds(model: pyo.ConcreteModel) -> None:
    """0 <= bid[s] <= bid_volume[s], likewise offers, grid_import and grid_export."""
    model.bid = pyo.Var(model.slot, bounds=lambda m, s: (0, m.bid_volume[s]))
    model.offer = pyo.Var(model.slot, bounds=lambda m, s: (0, m.offer_volume[s]))
    model.grid_import = pyo.Var(bounds=(0, model.import_volume))
    model.grid_export = pyo.Var(bounds=(0, model.export_volume))


def add_balance(model: pyo.ConcreteModel) -> None:
    """sum_s bid[s] + grid_export = sum_s offer[s] + grid_import."""
    drawn = pyo.quicksum(model.bid[s] for s in model.slot)
    fed_in = pyo.quicksum(model.offer[s] for s in model.slot)
    model.balance = pyo.Constraint(expr=drawn + model.grid_export == fed_in + model.grid_import)


def add_welfare(model: pyo.ConcreteModel) -> None:
    """max sum_s bid_price[s] bid[s] - offer_price[s] offer[s] + grid at its prices, then volume.

    In eighths of a micro-euro, so that the bonus for volume is whole: 2 for a bid, 2 for an
    offer (half a micro for each kWh that changes hands) and -1 for the supplier.

    Why one solve gives the maximum volume among the maxima of welfare: a better outcome can be
    reached by exchanging single Wh between two of {bid, offer, import, export, not served}; each
    exchange changes the welfare by a whole number of micro per kWh, that is by a multiple of 8,
    and the bonus by at most 4. So the bonus never outweighs a welfare, and decides where welfare
    does not: a bid and an offer of equal limits trade (+4), local energy goes before the
    supplier's at the same price (+3 against +1), the supplier serves a limit equal to its own
    price (+1), and energy never passes from import to export at equal prices (-2).
    """
    bids = pyo.quicksum((8 * model.bid_price[s] + 2) * model.bid[s] for s in model.slot)
    offers = pyo.quicksum((8 * model.offer_price[s] - 2) * model.offer[s] for s in model.slot)
    outside = (8 * model.export_price - 1) * model.grid_export - (
        8 * model.import_price + 1
    ) * model.grid_import
    model.welfare = pyo.Objective(expr=bids - offers + outside, sense=pyo.maximize)


@cache
def _compiled(slots: int) -> CompiledModel:
    return CompiledModel(welfare_model(slots), presolve=False)


def solve_ticks(ticks: Ticks) -> Fills:
    """Return the optimum of the LP, from the model of the next power of two of slots.

    Raises:
        SolverError: HiGHS found no optimum.
    """
    ticks_wanted = max(len(ticks.bid_prices), len(ticks.offer_prices), _SMALLEST_SIZE)
    slots = 1 << (ticks_wanted - 1).bit_length()

    # Whatever is drawn is also fed in, so that a shift of all prices changes nothing but the size
    # of HiGHS's numbers: around 0 its tolerances tell neighbouring ticks apart.
    prices = np.concatenate((ticks.bid_prices, ticks.offer_prices))
    anchor = int(np.sort(prices)[len(prices) // 2]) if len(prices) else 0

    def padded(values: Integers) -> NDArray[np.float64]:
        return np.pad(values.astype(np.float64), (0, slots - len(values)))

    solution = _compiled(slots).solve(
        {
            "bid_price": padded(ticks.bid_prices - anchor),
            "bid_volume": padded(ticks.bid_volumes),
            "offer_price": padded(ticks.offer_prices - anchor),
            "offer_volume": padded(ticks.offer_volumes),
            # Unlimited: no more can be drawn than all bids, nor fed in than all offers.
            "import_price": 0 if ticks.ceiling is None else ticks.ceiling - anchor,
            "import_volume": 0 if ticks.ceiling is None else ticks.bid_volumes.sum(),
            "export_price": 0 if ticks.floor is None else ticks.floor - anchor,
            "export_volume": 0 if ticks.floor is None else ticks.offer_volumes.sum(),
        }
    )
    whole = {name: np.rint(value).astype(np.int64) for name, value in solution.values.items()}
    return Fills(
        whole["bid"][: len(ticks.bid_prices)],
        whole["offer"][: len(ticks.offer_prices)],
        int(whole["grid_import"][0]),
        int(whole["grid_export"][0]),
    )


def certified_interval(ticks: Ticks, fills: Fills) -> tuple[int | None, int | None]:
    """Return the interval of prices at which nobody regrets the fills, having proved them optimal.

    lo = max(last accepted offer, best rejected bid), hi = min(last accepted bid, best rejected
    offer); what is accepted in part counts as both, and the supplier, who is unlimited, is always
    rejected in part. Proof in integers: the balance holds; lo <= hi is complementary slackness,
    so welfare is at its maximum; a rejected bid is below every rejected offer, so volume is.

    Raises:
        SolverError: the fills are not the optimum.
    """
    floor = [] if ticks.floor is None else [ticks.floor]
    ceiling = [] if ticks.ceiling is None else [ticks.ceiling]
    accepted_bids = _ends(ticks.bid_prices[fills.bids > 0]) + floor * (fills.grid_export > 0)
    accepted_offers = _ends(ticks.offer_prices[fills.offers > 0]) + ceiling * (
        fills.grid_import > 0
    )
    rejected_bids = _ends(ticks.bid_prices[fills.bids < ticks.bid_volumes])
    rejected_offers = _ends(ticks.offer_prices[fills.offers < ticks.offer_volumes])
    lo = max(accepted_offers + rejected_bids + floor, default=None)
    hi = min(accepted_bids + rejected_offers + ceiling, default=None)
    holds = (
        _is_feasible(ticks, fills)
        and _below(lo, hi, or_equal=True)
        and _below(max(rejected_bids, default=None), min(rejected_offers + ceiling, default=None))
        and _below(max(rejected_bids + floor, default=None), min(rejected_offers, default=None))
    )
    if not holds:
        raise SolverError(
            "the answer is not the exact optimum of this book: keep the book and report it"
        )
    return lo, hi


def _ends(ascending: Integers) -> list[int]:
    """Return the lowest and the highest of ascending prices, nothing of none."""
    return [int(ascending[0]), int(ascending[-1])] if len(ascending) else []


def _below(left: int | None, right: int | None, *, or_equal: bool = False) -> bool:
    """Whether ``left`` is below ``right``; a missing one never stands in the way."""
    return left is None or right is None or left < right or (or_equal and left == right)


def _is_feasible(ticks: Ticks, fills: Fills) -> bool:
    drawn, fed_in = int(fills.bids.sum()), int(fills.offers.sum())
    return (
        drawn + fills.grid_export == fed_in + fills.grid_import
        and min(fills.grid_import, fills.grid_export) == 0
        and bool(np.all((fills.bids >= 0) & (fills.bids <= ticks.bid_volumes)))
        and bool(np.all((fills.offers >= 0) & (fills.offers <= ticks.offer_volumes)))
    )
