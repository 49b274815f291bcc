"""The Pyomo model of the hubs: energy flows from offers through pools to bids, at least cost.

A pool is a place and a product. Every variable is the flow through one arc, in Wh, with a lower
and an upper bound and a cost per Wh as Params; every constraint is the balance of one node, so
that the matrix is that of a directed graph: totally unimodular, and every vertex is in whole Wh
(Ahuja, Magnanti, Orlin, *Network Flows*, 1993, theorem 11.12). There is no variable per pair of
orders. One model is compiled per shape; unused slots have the upper bound 0.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from math import isqrt
from typing import Final, NamedTuple, TypeAlias, TypeVar

import pyomo.environ as pyo

from optimizer.compiled import CompiledModel, Expression

Pool: TypeAlias = tuple[int, int]  # number of the place, product

PRODUCTS: Final = (0, 1)  # any, green: places in ``market.place.Product``
_ANY, _GREEN = PRODUCTS
_KEPT: Final = 32
_SMALLEST: Final = 4
_SPARE: Final = 256  # slots that a book may drag along unused


class OfferShape(NamedTuple):
    """An offer station: the pools that it feeds, nearest first, and how many ticks it may have."""

    places: tuple[int, ...]
    product: int
    slots: int


class BidShape(NamedTuple):
    """A bid station: the places that it draws from, nearest first, and its slots for ticks."""

    places: tuple[int, ...]
    local_first: bool
    slots: int


_Station = TypeVar("_Station", OfferShape, BidShape)


class Shape(NamedTuple):
    """What fixes the matrix. Place 0 is the district, the only one that the supplier reaches."""

    offers: tuple[OfferShape, ...]
    bids: tuple[BidShape, ...]


def hub_model(shape: Shape) -> pyo.ConcreteModel:
    """Return the model of a shape. Flows in Wh; costs in any one unit per Wh."""
    model = pyo.ConcreteModel()
    _declare_sets(model, shape)
    for name, arcs in (
        ("offer", model.offer_slot),
        ("feed", model.feeding),
        ("draw", model.drawing),
        ("supply", model.supplied),
        ("export", pyo.Set(initialize=PRODUCTS)),
        ("grey", model.bid_slot),
        ("green", model.bid_slot),
        ("bid", model.bid_slot),
    ):
        _declare_flow(model, name, arcs)
    add_offer_balance(model)
    add_pool_balance(model)
    add_station_balance(model)
    add_tick_balance(model)
    add_cost(model)
    return model


def _declare_sets(model: pyo.ConcreteModel, shape: Shape) -> None:
    """Stations, their slots, and the (station, place[, product]) of every way."""
    model.offer_station = pyo.RangeSet(0, len(shape.offers) - 1)
    model.bid_station = pyo.RangeSet(0, len(shape.bids) - 1)
    model.offer_slot = pyo.Set(
        initialize=[(s, t) for s, station in enumerate(shape.offers) for t in range(station.slots)]
    )
    model.bid_slot = pyo.Set(
        initialize=[(s, t) for s, station in enumerate(shape.bids) for t in range(station.slots)]
    )
    model.feeding = pyo.Set(
        initialize=[(s, p) for s, station in enumerate(shape.offers) for p in station.places]
    )
    model.drawing = pyo.Set(
        initialize=[
            (s, p, k)
            for s, station in enumerate(shape.bids)
            for p in station.places
            for k in PRODUCTS
        ]
    )
    model.supplied = pyo.Set(
        initialize=[s for s, station in enumerate(shape.bids) if 0 in station.places]
    )
    model.shape = shape


def _declare_flow(model: pyo.ConcreteModel, name: str, arcs: pyo.Set) -> None:
    """low[a] <= flow[a] <= high[a] for the arcs of one family, in Wh."""
    if arcs.parent_block() is None:
        model.add_component(f"{name}_arc", arcs)
    for what in ("cost", "low", "high"):
        model.add_component(f"{name}_{what}", pyo.Param(arcs, mutable=True, initialize=0))
    low, high = model.component(f"{name}_low"), model.component(f"{name}_high")
    model.add_component(name, pyo.Var(arcs, bounds=lambda _, *a: (low[a], high[a])))


def add_offer_balance(model: pyo.ConcreteModel) -> None:
    """sum_t offer[s,t] = sum_p feed[s,p]: what a station's offers sell goes into its pools."""
    shapes = model.shape.offers
    model.offer_balance = pyo.Constraint(
        model.offer_station,
        rule=lambda m, s: (
            pyo.quicksum(m.offer[s, t] for t in range(shapes[s].slots))
            == pyo.quicksum(m.feed[s, p] for p in shapes[s].places)
        ),
    )


def add_pool_balance(model: pyo.ConcreteModel) -> None:
    """sum_s feed[s,p] = sum_s draw[s,p,k] (+ export[k] in the district), s of product k.

    Its dual is the hub price of place p and product k.
    """
    fed: dict[Pool, list[Expression]] = {(0, k): [] for k in PRODUCTS}
    drawn: dict[Pool, list[Expression]] = {(0, k): [model.export[k]] for k in PRODUCTS}
    for s, p in model.feeding:
        fed.setdefault((p, model.shape.offers[s].product), []).append(model.feed[s, p])
    for s, p, k in model.drawing:
        drawn.setdefault((p, k), []).append(model.draw[s, p, k])
    model.pool = pyo.Set(initialize=sorted(fed.keys() | drawn.keys()))
    model.pool_balance = pyo.Constraint(
        model.pool,
        rule=lambda _, *pool: pyo.quicksum(fed.get(pool, ())) == pyo.quicksum(drawn.get(pool, ())),
    )


def add_station_balance(model: pyo.ConcreteModel) -> None:
    """sum_p draw[s,p,any] + supply[s] = sum_t grey[s,t], sum_p draw[s,p,green] = sum_t green[s,t].

    The supplier's energy is not green.
    """

    def balance(m: pyo.ConcreteModel, s: int, k: int) -> Expression:
        places, _, slots = m.shape.bids[s]
        drawn = pyo.quicksum(m.draw[s, p, k] for p in places)
        if k == _ANY and 0 in places:
            drawn += m.supply[s]
        ticks = m.green if k == _GREEN else m.grey
        return drawn == pyo.quicksum(ticks[s, t] for t in range(slots))

    model.station_balance = pyo.Constraint(model.bid_station, PRODUCTS, rule=balance)


def add_tick_balance(model: pyo.ConcreteModel) -> None:
    """grey[s,t] + green[s,t] = bid[s,t]: both products together serve a bid, once."""
    model.tick_balance = pyo.Constraint(
        model.bid_slot, rule=lambda m, s, t: m.grey[s, t] + m.green[s, t] == m.bid[s, t]
    )


def add_cost(model: pyo.ConcreteModel) -> None:
    """min sum over all arcs of cost x flow: minus the welfare, or what decides among its optima."""
    families = ("offer", "feed", "draw", "supply", "export", "grey", "green", "bid")
    model.total_cost = pyo.Objective(
        expr=pyo.quicksum(
            model.component(f"{name}_cost")[arc] * flow
            for name in families
            for arc, flow in model.component(name).items()
        ),
        sense=pyo.minimize,
    )


class HubSolver:
    """Compiled models, the latest kept. A model serves every book whose stations it has.

    A book that fits none gets a model of its own stations and of those of the last model, as long
    as that stays within bounds: so the models grow until they hold all that a district asks for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: list[tuple[Shape, CompiledModel]] = []

    def model(self, wanted: Shape) -> tuple[Shape, CompiledModel]:
        """Return a compiled model with the wanted stations and slots at least, and its shape."""
        roomy = _SPARE + 4 * _size(wanted)
        with self._lock:
            for known in reversed(self._models):
                if _holds(known[0], wanted) and _size(known[0]) <= roomy:
                    self._models.remove(known)
                    break
            else:
                last = self._models[-1][0] if self._models else Shape((), ())
                union = _union(wanted, last)
                shape = union if _size(union) <= roomy else _union(wanted, Shape((), ()))
                known = shape, CompiledModel(hub_model(shape), presolve=True)
                self._models = [m for m in self._models if not _holds(shape, m[0])]
            self._models = [*self._models, known][-_KEPT:]
            return known


def _slots(stations: Iterable[_Station]) -> dict[_Station, int]:
    """Return the slots of stations of one side, by the station without them."""
    return {s._replace(slots=0): s.slots for s in stations}


def _holds(shape: Shape, wanted: Shape) -> bool:
    return _has(shape.offers, wanted.offers) and _has(shape.bids, wanted.bids)


def _has(known: Iterable[_Station], wanted: Iterable[_Station]) -> bool:
    slots = _slots(known)
    return all(slots.get(station, 0) >= count for station, count in _slots(wanted).items())


def _size(shape: Shape) -> int:
    return sum(s.slots for s in shape.offers) + sum(s.slots for s in shape.bids)


def _union(wanted: Shape, known: Shape) -> Shape:
    """Return all stations of two shapes, with room in the slots."""
    return Shape(_joined(wanted.offers, known.offers), _joined(wanted.bids, known.bids))


def _joined(wanted: Iterable[_Station], known: Iterable[_Station]) -> tuple[_Station, ...]:
    slots = _slots(known)
    for station, count in _slots(wanted).items():
        slots[station] = max(slots.get(station, 0), _padded(count))
    return tuple(sorted(station._replace(slots=count) for station, count in slots.items()))


def _padded(ticks: int) -> int:
    """Return a power of two with room for the next books, whose stations vary like counts do."""
    return max(_SMALLEST, 1 << (ticks + isqrt(4 * ticks) - 1).bit_length())
