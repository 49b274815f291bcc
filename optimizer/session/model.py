"""The Pyomo model of a session: maximum welfare over all intervals at once.

A mixed-integer program in the form of the European day-ahead auction (Madani & Van Vyve 2015, "A
MIP framework for non-convex uniform price day-ahead electricity auctions"): only the choice of
blocks is whole; steps, flexible orders and storages are linear. Energies in Wh, prices in
micro-euros per kWh. A Param is what changes between two solves of one session.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

import numpy as np
import pyomo.environ as pyo
from numpy.typing import NDArray

from market.money import PPM
from optimizer.compiled import CompiledModel, Expression, Floats
from optimizer.session.data import SessionData, Ticks, block_sign

Slot: TypeAlias = tuple[int, int]  # the place of an order, and an interval
_BONUS: Final = 0.25  # micro-euros per kWh for what is traded, see add_welfare


@dataclass(frozen=True, slots=True)
class Plan:
    """An answer of the solver: Wh as floats.

    ``bids`` and ``offers`` per tick, ``grid_*`` per interval, ``shares`` 0..1 per block,
    ``flexible``, ``charge``, ``discharge`` and ``stored`` as (order, interval), ``accepted`` per
    block (its least share holds), ``bound_micro``: welfare in micro-euros that nothing exceeds.
    """

    bids: Floats
    offers: Floats
    grid_import: Floats
    grid_export: Floats
    shares: Floats
    flexible: Floats
    charge: Floats
    discharge: Floats
    stored: Floats
    accepted: NDArray[np.bool_]
    charging: Floats
    bound_micro: float
    proved: bool


def session_model(data: SessionData, exclusive: Collection[Slot] = ()) -> pyo.ConcreteModel:
    """Return the model; in ``exclusive`` slots a storage may charge or discharge, not both."""
    model = pyo.ConcreteModel()
    model.interval = pyo.RangeSet(0, data.intervals - 1)
    add_steps(model, data)
    add_supplier(model, data)
    add_blocks(model, data)
    add_links(model, data)
    add_flexible(model, data)
    add_storages(model, data)
    add_one_direction(model, data, exclusive)
    add_balances(model, data)
    add_welfare(model, data)
    return model


def add_steps(model: pyo.ConcreteModel, data: SessionData) -> None:
    """0 <= bid[i] <= volume of tick i, likewise offers."""
    for name, ticks in (("bid", data.bids), ("offer", data.offers)):
        volumes = ticks.volume.tolist()
        places = pyo.RangeSet(0, len(volumes) - 1)
        model.add_component(f"{name}_tick", places)
        model.add_component(name, pyo.Var(places, bounds=_up_to(volumes)))


def add_supplier(model: pyo.ConcreteModel, data: SessionData) -> None:
    """0 <= grid_import[t] <= all that t can draw, 0 <= grid_export[t] <= all that t can feed in.

    Without a price of the supplier's, 0.
    """
    drawn, fed_in = _most(data)
    for name, prices, most in (
        ("grid_import", data.ceilings, drawn),
        ("grid_export", data.floors, fed_in),
    ):
        bounds = _up_to([0] * data.intervals if prices is None else most)
        model.add_component(name, pyo.Var(model.interval, bounds=bounds))


def add_blocks(model: pyo.ConcreteModel, data: SessionData) -> None:
    """least[b] accept[b] <= share[b] <= accept[b]; accept[b] 0 or 1; 0 <= share[b] <= high[b].

    A block takes share[b] of its whole profile. ``accept`` exists where there is a least share;
    its bounds hold it fast once it is decided, and ``share_high`` keeps a block out.
    """
    places = range(len(data.blocks))
    model.block = pyo.RangeSet(0, len(data.blocks) - 1)
    model.share_high = pyo.Param(model.block, mutable=True, initialize=1)
    model.share = pyo.Var(model.block, bounds=lambda m, b: (0, m.share_high[b]))
    model.whole = pyo.Set(initialize=[b for b in places if data.blocks[b].least_wh], dimen=1)
    model.accept_low = pyo.Param(model.whole, mutable=True, initialize=0)
    model.accept_high = pyo.Param(model.whole, mutable=True, initialize=1)
    model.accept = pyo.Var(
        model.whole, domain=pyo.Integers, bounds=lambda m, b: (m.accept_low[b], m.accept_high[b])
    )
    least = {b: data.blocks[b].least_wh / data.blocks[b].energy_wh for b in model.whole}
    model.most_share = pyo.Constraint(model.whole, rule=lambda m, b: m.share[b] <= m.accept[b])
    model.least_share = pyo.Constraint(
        model.whole, rule=lambda m, b: m.share[b] >= least[b] * m.accept[b]
    )


def add_links(model: pyo.ConcreteModel, data: SessionData) -> None:
    """share[b] <= share[parent of b]."""
    place = {block.order_id: b for b, block in enumerate(data.blocks)}
    model.linked = pyo.Set(initialize=[b for b in model.block if data.blocks[b].parent], dimen=1)
    model.link = pyo.Constraint(
        model.linked, rule=lambda m, b: m.share[b] <= m.share[place[data.blocks[b].parent]]
    )


def add_flexible(model: pyo.ConcreteModel, data: SessionData) -> None:
    """0 <= take[f, t] <= power / 4 h within the window; sum_t take[f, t] <= energy of f."""
    orders = data.flexible
    model.flexible = pyo.RangeSet(0, len(orders) - 1)
    slots = [(f, t) for f, order in enumerate(orders) for t in range(order.start, order.deadline)]
    model.window = pyo.Set(initialize=slots, dimen=2)
    model.take = pyo.Var(model.window, bounds=lambda _, *slot: (0, orders[slot[0]].most_wh))
    model.enough = pyo.Constraint(
        model.flexible,
        rule=lambda m, f: (
            pyo.quicksum(m.take[f, t] for t in range(orders[f].start, orders[f].deadline))
            <= orders[f].energy.wh
        ),
    )


def add_storages(model: pyo.ConcreteModel, data: SessionData) -> None:
    """stored[s, t] = stored[s, t-1] + efficiency charge[s, t] - discharge[s, t].

    Within 0..capacity, at the end at least ``least_final``; stored[s, -1] = initial; charge and
    discharge within power / 4 h, and 0 once ``storage_on`` is 0.
    """
    orders, last = data.storages, data.intervals - 1
    model.storage = pyo.RangeSet(0, len(orders) - 1)
    model.storage_on = pyo.Param(model.storage, mutable=True, initialize=1)
    model.charge = pyo.Var(
        model.storage,
        model.interval,
        bounds=lambda m, *slot: (0, orders[slot[0]].most_charge_wh * m.storage_on[slot[0]]),
    )
    model.discharge = pyo.Var(
        model.storage,
        model.interval,
        bounds=lambda m, *slot: (0, orders[slot[0]].most_discharge_wh * m.storage_on[slot[0]]),
    )
    model.stored = pyo.Var(
        model.storage,
        model.interval,
        bounds=lambda _, s, t: (orders[s].least_final.wh * (t == last), orders[s].capacity.wh),
    )
    model.carry = pyo.Constraint(
        model.storage,
        model.interval,
        rule=lambda m, s, t: (
            m.stored[s, t]
            - (m.stored[s, t - 1] if t else 0)
            - orders[s].efficiency_ppm / PPM * m.charge[s, t]
            + m.discharge[s, t]
            == (0 if t else orders[s].initial.wh)
        ),
    )


def add_one_direction(
    model: pyo.ConcreteModel, data: SessionData, exclusive: Collection[Slot]
) -> None:
    """charge <= most charge x charging, discharge <= most discharge x (1 - charging), 0 or 1."""
    orders = data.storages
    model.exclusive = pyo.Set(initialize=sorted(exclusive), dimen=2)
    model.charging_low = pyo.Param(model.exclusive, mutable=True, initialize=0)
    model.charging_high = pyo.Param(model.exclusive, mutable=True, initialize=1)
    model.charging = pyo.Var(
        model.exclusive,
        domain=pyo.Integers,
        bounds=lambda m, s, t: (m.charging_low[s, t], m.charging_high[s, t]),
    )
    model.only_charge = pyo.Constraint(
        model.exclusive,
        rule=lambda m, s, t: m.charge[s, t] <= orders[s].most_charge_wh * m.charging[s, t],
    )
    model.only_discharge = pyo.Constraint(
        model.exclusive,
        rule=lambda m, s, t: (
            m.discharge[s, t] <= orders[s].most_discharge_wh * (1 - m.charging[s, t])
        ),
    )


def add_balances(model: pyo.ConcreteModel, data: SessionData) -> None:
    """What is drawn in t (bids, blocks, charging, grid_export) = what is fed in in t (the rest)."""
    terms: defaultdict[int, list[object]] = defaultdict(list)
    for t in range(data.intervals):
        terms[t] += [model.grid_export[t], -model.grid_import[t]]
        for s in range(len(data.storages)):
            terms[t] += [model.charge[s, t], -model.discharge[s, t]]
    for i, t in enumerate(data.bids.interval.tolist()):
        terms[t].append(model.bid[i])
    for i, t in enumerate(data.offers.interval.tolist()):
        terms[t].append(-model.offer[i])
    for f, t in model.window:
        terms[t].append(model.take[f, t])
    for b, block in enumerate(data.blocks):
        for t, wh in enumerate(block.profile_wh, block.start):
            if wh:
                terms[t].append(block_sign(block) * wh * model.share[b])
    model.balance = pyo.Constraint(model.interval, rule=lambda _, t: pyo.quicksum(terms[t]) == 0)


def add_welfare(model: pyo.ConcreteModel, data: SessionData) -> None:
    """max sum of limit x energy bought less limit x energy sold, then volume of local trade.

    A storage sells what it discharges at its least gain; the supplier stands at its own prices. In
    micro-euros, with the bonus for volume of ``optimizer.welfare.add_welfare``: 1/4 micro-euro per
    kWh for steps and flexible orders, -1/8 for the supplier. Without lossy storages any two plans
    of equal blocks differ by exchanges of single Wh between two orders (perhaps by way of
    storages), so that the bonus never outweighs a welfare; with them it may, by up to 1/2.
    """
    bids = _value(model.bid, data.bids, _BONUS)
    offers = _value(model.offer, data.offers, -_BONUS)
    flexible = pyo.quicksum(
        (data.flexible[f].limit.micro_per_kwh + _BONUS) / 1000 * model.take[f, t]
        for f, t in model.window
    )
    blocks = pyo.quicksum(
        block_sign(block) * block.limit.micro_per_kwh / 1000 * block.energy_wh * model.share[b]
        for b, block in enumerate(data.blocks)
    )
    gains = pyo.quicksum(
        storage.least_gain.micro_per_kwh / 1000 * model.discharge[s, t]
        for s, storage in enumerate(data.storages)
        for t in model.interval
    )
    floors = data.floors or (0,) * data.intervals
    ceilings = data.ceilings or (0,) * data.intervals
    outside = pyo.quicksum(
        (floors[t] - _BONUS / 2) / 1000 * model.grid_export[t]
        - (ceilings[t] + _BONUS / 2) / 1000 * model.grid_import[t]
        for t in model.interval
    )
    model.welfare = pyo.Objective(
        expr=bids - offers + flexible + blocks - gains + outside, sense=pyo.maximize
    )


class SessionSolver:
    """A session's model, compiled; each solve begins where the data alone decides.

    Raises:
        CompileError: the model is wrong, never the data.
    """

    def __init__(self, data: SessionData, gap_ppm: int, exclusive: Iterable[Slot] = ()) -> None:
        self._data = data
        self.exclusive = tuple(sorted(exclusive))
        model = session_model(data, self.exclusive)
        self._whole = np.array(list(model.whole), dtype=np.intp)
        self._window = np.array(list(model.window), dtype=np.intp).reshape(-1, 2)
        lossless = [[storage.efficiency_ppm == PPM] for storage in data.storages]
        self._lossless = np.array(lossless, dtype=np.bool_).reshape(-1, 1)
        self._compiled = CompiledModel(model, presolve=True, mip_rel_gap=gap_ppm / PPM)

    def choose(self, out: Collection[str], time_limit_s: float) -> Plan:
        """Choose blocks (and directions of storages), those of the ids ``out`` staying out.

        Raises:
            SolverTimeoutError: no answer in time.
            SolverError: no answer.
        """
        params = self._params(out)
        return self._plan(params, relaxed=False, time_limit_s=time_limit_s)

    def fixed(self, chosen: Plan, out: Collection[str], time_limit_s: float) -> Plan:
        """Return the linear optimum with the blocks and directions of ``chosen`` held fast.

        Raises:
            SolverTimeoutError: no answer in time.
            SolverError: no answer.
        """
        params = self._params(out)
        kept = chosen.accepted[self._whole] & (params["share_high"][self._whole] > 0)
        params["accept_low"] = params["accept_high"] = kept.astype(np.float64)
        params["charging_low"] = params["charging_high"] = chosen.charging
        return self._plan(params, relaxed=True, time_limit_s=time_limit_s)

    def _params(self, out: Collection[str]) -> dict[str, Floats]:
        blocks, storages = self._data.blocks, self._data.storages
        stays_in = np.array([float(b.order_id not in out) for b in blocks])
        return {
            "share_high": stays_in,
            "accept_low": np.zeros(len(self._whole)),
            "accept_high": stays_in[self._whole],
            "storage_on": np.array([float(s.order_id not in out) for s in storages]),
            "charging_low": np.zeros(len(self.exclusive)),
            "charging_high": np.ones(len(self.exclusive)),
        }

    def _plan(self, params: dict[str, Floats], *, relaxed: bool, time_limit_s: float) -> Plan:
        solution = self._compiled.solve(params, relaxed=relaxed, time_limit_s=time_limit_s)
        v, shape = solution.values, (len(self._data.storages), self._data.intervals)
        flexible = np.zeros((len(self._data.flexible), self._data.intervals))
        flexible[self._window[:, 0], self._window[:, 1]] = v["take"]
        accepted = v["share"] > 1e-9
        accepted[self._whole] = np.rint(v["accept"]) == 1
        charge, discharge = v["charge"].reshape(shape), v["discharge"].reshape(shape)
        # What a lossless storage passes through itself changes nothing: it is left out.
        through = np.minimum(charge, discharge) * self._lossless
        traded = sum(v[name].sum() for name in ("bid", "offer", "take"))
        traded -= (v["grid_import"].sum() + v["grid_export"].sum()) / 2
        return Plan(
            bids=v["bid"],
            offers=v["offer"],
            grid_import=v["grid_import"],
            grid_export=v["grid_export"],
            shares=v["share"],
            flexible=flexible,
            charge=charge - through,
            discharge=discharge - through,
            stored=v["stored"].reshape(shape),
            accepted=accepted,
            charging=np.rint(v["charging"]),
            bound_micro=solution.bound - _BONUS / 1000 * traded,
            proved=solution.proved,
        )


def _up_to(most: Sequence[int]) -> Callable[[pyo.ConcreteModel, int], tuple[int, int]]:
    return lambda _, place: (0, most[place])


def _value(variable: pyo.Var, ticks: Ticks, bonus: float) -> Expression:
    costs = ((ticks.price + bonus) / 1000).tolist()
    return pyo.quicksum(cost * variable[i] for i, cost in enumerate(costs))


def _most(data: SessionData) -> tuple[list[int], list[int]]:
    """Return the most that every interval can draw and feed in, in Wh, the supplier aside."""
    drawn = np.bincount(data.bids.interval, data.bids.volume, minlength=data.intervals)
    fed_in = np.bincount(data.offers.interval, data.offers.volume, minlength=data.intervals)
    for block in data.blocks:
        side = drawn if block_sign(block) == 1 else fed_in
        side[block.start : block.start + len(block.profile_wh)] += block.profile_wh
    for order in data.flexible:
        drawn[order.start : order.deadline] += order.most_wh
    for storage in data.storages:
        drawn += storage.most_charge_wh
        fed_in += storage.most_discharge_wh
    exact = [[int(wh) for wh in chain(side)] for side in (drawn, fed_in)]
    return exact[0], exact[1]
