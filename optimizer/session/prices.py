"""The prices that support a session's outcome: the dual of its linear program, blocks held fast.

By complementary slackness a price supports the outcome when every order that is accepted in part
has it as its limit, every accepted one is on its right side and every rejected one on its wrong
side. With flexible orders and lossless storages these are difference constraints between prices,
whose solutions form a lattice (Murota 2003, "Discrete Convex Analysis", L-natural convexity): there
is a lowest and a highest price vector over all intervals at once, both whole, and the floor of
their middle supports the outcome too. Prices in micro-euros per kWh, energies in Wh.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import pyomo.environ as pyo

from market.money import PPM
from optimizer.compiled import CompiledModel, Expression, Floats
from optimizer.session.data import SessionData, block_sign
from optimizer.session.model import Plan, Slot
from optimizer.session.whole import Whole

BEYOND: Final = 4e9  # no limit is as far away as this
_NEAR_WH: Final = 1e-3
_NEAR_SHARE: Final = 1e-7

Params: TypeAlias = dict[str, float | Floats]
Rows: TypeAlias = list[tuple[Expression, float | None, float | None]]


class Box(NamedTuple):
    """The lowest and the highest price per interval; -+BEYOND where there is none."""

    low: Floats
    high: Floats

    @property
    def middle(self) -> Floats:
        """The middle of both."""
        return (self.low + self.high) / 2


class Face(NamedTuple):
    """An outcome whose prices are sought.

    ``out``: the ids of orders that were left out, which support nothing. ``charging``: the slots
    in which a storage was held to one direction, and whether to charging. ``slip``: by how much,
    in micro-euros per kWh, the prices of storages with losses may miss their constraints; at None
    these are left out (the gain is then all that counts).
    """

    data: SessionData
    plan: Plan
    whole: Whole
    out: Collection[str]
    charging: Mapping[Slot, bool]
    slip: float | None = 0.0


def price_box(face: Face) -> Box:
    """Return the prices that all step orders and the supplier accept.

    low[t] = max(accepted offers, rejected bids, floor), high[t] = min(accepted bids, rejected
    offers, ceiling); a tick filled in part counts as both.
    """
    data, plan = face.data, face.plan
    low, high = np.full(data.intervals, -BEYOND), np.full(data.intervals, BEYOND)
    if data.floors is not None:
        low = np.array(data.floors, dtype=np.float64)
        high = np.where(plan.grid_export > _NEAR_WH, low, high)
    if data.ceilings is not None:
        ceilings = np.array(data.ceilings, dtype=np.float64)
        high = np.minimum(high, ceilings)
        low = np.where(plan.grid_import > _NEAR_WH, ceilings, low)
    for ticks, fills, accepted, rejected in (
        (data.bids, plan.bids, (np.minimum, high), (np.maximum, low)),
        (data.offers, plan.offers, (np.maximum, low), (np.minimum, high)),
    ):
        taken, left = fills > _NEAR_WH, fills < ticks.volume - _NEAR_WH
        accepted[0].at(accepted[1], ticks.interval[taken], ticks.price[taken])
        rejected[0].at(rejected[1], ticks.interval[left], ticks.price[left])
    return Box(low, high)


def widest_prices(face: Face) -> tuple[Box, Box]:
    """Return the supporting prices' interval, and the same with every open end closed.

    Where nothing bounds a price from below, the lowest limit of the blocks that sell there does
    (at most the highest price), and without one the highest price; mirrored from above.

    Raises:
        SolverError: no prices support the outcome.
    """
    box, compiled = price_box(face), CompiledModel(_lattice_model(face), presolve=True)

    def furthest(bounds: Box, direction: float) -> Floats:
        params: Params = {"low": bounds.low, "high": bounds.high, "direction": direction}
        return _snapped(compiled.solve(params).values["price"])

    found = Box(furthest(box, 1), furthest(box, -1))
    low, high = found
    open_low, open_high = low <= -BEYOND / 2, high >= BEYOND / 2
    sellers, buyers = _block_limits(face, -1), _block_limits(face, 1)
    if open_low.any():
        known = np.where(np.minimum(sellers, high) < BEYOND / 2, np.minimum(sellers, high), buyers)
        known = np.where(known > -BEYOND / 2, known, 0.0)
        box = box._replace(low=np.where(open_low, known, box.low))
        low = furthest(box, 1)
    if open_high.any():
        box = box._replace(high=np.where(open_high, np.maximum(buyers, low), box.high))
        high = furthest(box, -1)
    return found, Box(low, high)


def nearest_prices(face: Face, box: Box, *, margin: float) -> Floats:
    """Return the prices next to the middle of ``box`` at which no block or storage loses.

    All prices go the same fraction of the way from their middle to an end, the least that does
    (beyond an end that nothing bounds, if need be), and no price goes farther than it must.
    ``margin`` 0: a block accepted in part, unlinked, is paid its limit; 1: prices that suffice
    even once they are rounded down.

    Raises:
        SolverError: there are none.
    """
    compiled = CompiledModel(_nearest_model(face, box, margin=margin), presolve=True)
    low, high = price_box(face)
    params: Params = {"low": low, "high": high, "reach_high": 2 * BEYOND}
    first: Params = params | {"reach_cost": 1.0, "away_cost": 0.0}
    found = compiled.solve(first).values
    reach = float(found["reach"][0]) * (1 + 1e-9) + 1e-7
    last: Params = params | {"reach_high": reach, "reach_cost": 0.0, "away_cost": 1.0}
    return _snapped(compiled.solve(last).values["price"])


def add_prices(model: pyo.ConcreteModel, face: Face) -> None:
    """low[t] <= price[t] <= high[t]."""
    model.interval = pyo.RangeSet(0, face.data.intervals - 1)
    model.low = pyo.Param(model.interval, mutable=True, initialize=0)
    model.high = pyo.Param(model.interval, mutable=True, initialize=0)
    model.price = pyo.Var(model.interval, bounds=lambda m, t: (m.low[t], m.high[t]))


def add_waiting(model: pyo.ConcreteModel, face: Face) -> None:
    """Take > 0: price[t] <= waits[f]; take < most: price[t] >= waits[f].

    ``waits`` is the price above which a flexible order waits for another interval: at most its
    limit, and just that while it lacks energy.
    """
    orders, takes = face.data.flexible, face.plan.flexible
    missing = [order.energy.wh - takes[f].sum() > _NEAR_WH for f, order in enumerate(orders)]
    limits = [order.limit.micro_per_kwh for order in orders]
    model.flexible = pyo.RangeSet(0, len(orders) - 1)
    model.waits = pyo.Var(
        model.flexible, bounds=lambda _, f: (limits[f] if missing[f] else None, limits[f])
    )
    rows: Rows = []
    for f, order in enumerate(orders):
        for t in range(order.start, order.deadline):
            rows += _slack(
                model.price[t] - model.waits[f], takes[f, t], order.most_wh, accepted_below=True
            )
    _add_rows(model, "waiting", rows)


def add_worth(model: pyo.ConcreteModel, face: Face) -> None:
    """Charge > 0: price[t] <= efficiency worth[s, t]; charge < most: >=.

    Discharge > 0: price[t] - least gain >= worth[s, t]; discharge < most: <=. stored > 0:
    worth[s, t] <= worth[s, t+1]; stored < capacity: >=. ``worth`` is what stored energy is worth
    at the end of t; after the session it is worth nothing beyond the least that must be left.
    With losses, the bonus for volume may move prices by a micro-euro: ``slip`` allows for it.
    """
    storages = [
        s
        for s, storage in enumerate(face.data.storages)
        if storage.order_id not in face.out
        and not (face.slip is None and storage.efficiency_ppm < PPM)
    ]
    last = face.data.intervals - 1
    model.worth = pyo.Var(storages, model.interval)
    rows: Rows = []
    for s in storages:
        storage, stored = face.data.storages[s], face.plan.stored[s]
        efficiency = storage.efficiency_ppm / PPM
        slip = (face.slip or 0.0) * (storage.efficiency_ppm < PPM) / efficiency
        for t in model.interval:
            rows += _directions(model, face, s, t, slip)
            later = model.worth[s, t + 1] if t < last else 0
            empty = stored[t] <= _NEAR_WH + storage.least_final.wh * (t == last)
            full = stored[t] >= storage.capacity.wh - _NEAR_WH
            low, high = (None if empty else -slip), (None if full else slip)
            rows.append((later - model.worth[s, t], low, high))
    _add_rows(model, "worthwhile", rows)


def add_extremes(model: pyo.ConcreteModel) -> None:
    """Min direction x sum_t price[t]: the lowest prices for 1, the highest for -1."""
    model.direction = pyo.Param(mutable=True, initialize=1)
    model.total = pyo.Objective(
        expr=pyo.quicksum(model.direction * model.price[t] for t in model.interval)
    )


def add_no_loss(model: pyo.ConcreteModel, face: Face, margin: float) -> None:
    """The surplus of each accepted block and its accepted descendants >= 0, per kWh.

    That of a block in part without relatives = 0 (unless ``margin``); a storage earns at least
    its least gain. ``margin`` is what rounding prices down may cost.
    """
    rows: Rows = []
    for b in range(len(face.data.blocks)):
        surplus, wh = family_surplus(face, b, model.price.__getitem__)
        if wh:
            sells = block_sign(face.data.blocks[b]) == -1
            marginal = margin == 0 and is_marginal(face, b)
            rows.append((surplus / wh, margin * sells, 0.0 if marginal else None))
    for s in range(len(face.data.storages)):
        gain = storage_gain(face, s, model.price.__getitem__)
        wh = int(face.whole.discharge[s].sum() + face.whole.charge[s].sum())
        if wh:
            rows.append((gain / wh, margin, None))
    _add_rows(model, "no_loss", rows)


def add_nearness(model: pyo.ConcreteModel, box: Box) -> None:
    """Min reach, then sum_t away[t]: how far prices are from the middle of the box.

    |price[t] - middle[t]| <= reach x half the width of the box, and <= away[t]. An end that was
    closed for want of a bound does not hold prices back.
    """
    middle = box.middle.tolist()
    half = np.maximum((box.high - box.low) / 2, 1.0).tolist()
    for name in ("reach_high", "reach_cost", "away_cost"):
        model.add_component(name, pyo.Param(mutable=True, initialize=0))
    model.reach = pyo.Var(bounds=(0, model.reach_high))
    model.away = pyo.Var(model.interval, bounds=(0, None))
    rows: Rows = []
    for t in model.interval:
        for far in (half[t] * model.reach, model.away[t]):
            rows.append((model.price[t] + far, middle[t], None))
            rows.append((model.price[t] - far, None, middle[t]))
    _add_rows(model, "near", rows)
    model.farness = pyo.Objective(
        expr=model.reach_cost * model.reach
        + pyo.quicksum(model.away_cost * model.away[t] for t in model.interval)
    )


def family_surplus(
    face: Face, b: int, price: Callable[[int], Expression]
) -> tuple[Expression, int]:
    """Return the surplus of an accepted block and all below it, and their energy in Wh.

    In micro-euros per kWh x Wh, a number or a Pyomo expression as ``price`` is; 0, 0 for a block
    that is not accepted.
    """
    total: Expression = 0
    energy = 0
    for member in face.data.family(b) if face.whole.blocks[b] else ():
        block, profile = face.data.blocks[member], face.whole.profiles[member]
        energy += face.whole.blocks[member]
        total += block_sign(block) * sum(
            wh * (block.limit.micro_per_kwh - price(t))
            for t, wh in enumerate(profile, block.start)
            if wh
        )
    return total, energy


def storage_gain(face: Face, s: int, price: Callable[[int], Expression]) -> Expression:
    """Return what a storage earns beyond its least gain, in micro-euros per kWh x Wh."""
    least = face.data.storages[s].least_gain.micro_per_kwh
    sold, bought = face.whole.discharge[s].tolist(), face.whole.charge[s].tolist()
    return sum(
        out * (price(t) - least) - into * price(t)
        for t, (out, into) in enumerate(zip(sold, bought, strict=True))
        if out or into
    )


def is_marginal(face: Face, b: int) -> bool:
    """Whether a block is accepted in part, and no relative is why: then its limit is the price."""
    share, alone = face.plan.shares[b], len(face.data.family(b)) == 1
    in_part = face.whole.blocks[b] > 0 and _NEAR_SHARE < share < 1 - _NEAR_SHARE
    return in_part and alone and not face.data.blocks[b].parent


def _lattice_model(face: Face) -> pyo.ConcreteModel:
    model = pyo.ConcreteModel()
    add_prices(model, face)
    add_waiting(model, face)
    add_worth(model, face)
    add_extremes(model)
    return model


def _nearest_model(face: Face, box: Box, *, margin: float) -> pyo.ConcreteModel:
    model = pyo.ConcreteModel()
    add_prices(model, face)
    add_waiting(model, face)
    add_worth(model, face._replace(slip=None) if margin else face)
    add_no_loss(model, face, margin)
    add_nearness(model, box)
    return model


def _directions(model: pyo.ConcreteModel, face: Face, s: int, t: int, slip: float) -> Rows:
    """Return what charging and discharging in a slot say, as far as it was free to do either."""
    storage, held = face.data.storages[s], face.charging.get((s, t))
    rows: Rows = []
    if held is not False:
        efficiency = storage.efficiency_ppm / PPM
        rows += _slack(
            model.price[t] - efficiency * model.worth[s, t],
            face.plan.charge[s, t],
            storage.most_charge_wh,
            accepted_below=True,
            slip=slip,
        )
    if held is not True:
        rows += _slack(
            model.price[t] - model.worth[s, t] - storage.least_gain.micro_per_kwh,
            face.plan.discharge[s, t],
            storage.most_discharge_wh,
            accepted_below=False,
            slip=slip,
        )
    return rows


def _slack(
    expression: Expression, wh: float, most: float, *, accepted_below: bool, slip: float = 0.0
) -> Rows:
    """Return the row of one quantity: what takes wants ``expression`` on its side of 0."""
    takes, spare = wh > _NEAR_WH, wh < most - _NEAR_WH
    below, above = (takes, spare) if accepted_below else (spare, takes)
    return [(expression, -slip if above else None, slip if below else None)]


def _add_rows(model: pyo.ConcreteModel, name: str, rows: Rows) -> None:
    bound = [row for row in rows if row[1:] != (None, None)]
    model.add_component(
        name,
        pyo.Constraint(
            pyo.RangeSet(0, len(bound) - 1),
            rule=lambda _, i: pyo.inequality(bound[i][1], bound[i][0], bound[i][2]),
        ),
    )


def _block_limits(face: Face, sign: int) -> Floats:
    """Return the nearest limit of the accepted blocks of a side per interval, or -+BEYOND.

    The lowest of those that sell (-1), the highest of those that buy (1).
    """
    found = np.full(face.data.intervals, -sign * BEYOND)
    best = np.maximum if sign == 1 else np.minimum
    for block, profile in zip(face.data.blocks, face.whole.profiles, strict=True):
        if block_sign(block) == sign and any(profile):
            here = slice(block.start, block.start + len(profile))
            found[here] = best(found[here], block.limit.micro_per_kwh)
    return found


def _snapped(prices: Floats) -> Floats:
    """Return prices, those next to a whole number being it."""
    whole: Floats = np.rint(prices)
    return np.where(np.abs(prices - whole) < 1e-4, whole, prices)
