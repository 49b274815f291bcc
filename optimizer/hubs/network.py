"""The hubs as a graph of whole numbers: the certificate of whatever a solver answers, and prices.

The arcs are written down a second time here, apart from the Pyomo model: a model that drifted from
them could not pass the certificate. Prices in micro-euros per kWh, flows in Wh.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from market.place import Product
from optimizer.compiled import SolverError
from optimizer.hubs.book import ROOT, HubBook
from optimizer.problem import Problem

Integers: TypeAlias = NDArray[np.int64]

GROUND: Final = 0  # where energy comes from and goes to: what closes all flows to circles
PRODUCTS: Final = (Product.ANY, Product.GREEN)
_FAR: Final = 2**60


class Arcs:
    """Arcs being listed, family by family."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int, int, int]] = []
        self.family: dict[str, slice] = {}

    def add(self, name: str, rows: Iterable[tuple[int, int, int, int, int]]) -> None:
        """Add a family of (tail, head, cost, bonus, most)."""
        first = len(self.rows)
        self.rows += rows
        self.family[name] = slice(first, len(self.rows))


@dataclass(frozen=True, slots=True)
class Network:
    """Arcs from ``tail`` to ``head`` with what a kWh costs and how many Wh they carry at most.

    ``bonus`` is what maximum volume takes off each arc's cost, in eighths of a micro-euro per kWh.
    ``cap`` is the price above which the district's pool of any energy cannot rise, since the
    supplier stands behind it.
    """

    nodes: int
    tail: Integers
    head: Integers
    cost: Integers
    bonus: Integers
    most: Integers
    family: Mapping[str, slice]
    cap: int | None

    @property
    def eighths(self) -> Integers:
        """The costs of one solve for maximum welfare, then maximum volume.

        An exchange of single Wh among optima is a simple circle of the residual graph. It passes
        the ground at most once, so that at most two arcs with a bonus (of 2 for a bid or an
        offer, -1 for the supplier) stand in it: 4 eighths at most, where the smallest difference
        in welfare, fees and premiums included, is 8. The bonus never outweighs a welfare.
        """
        return 8 * self.cost - self.bonus


def pool_node(place: int, product: Product) -> int:
    """Return the node of a pool."""
    return 1 + 2 * place + PRODUCTS.index(product)


def network(book: HubBook, problem: Problem) -> Network:
    """Return the graph of a book: ground -> offers -> pools -> bids -> ground."""
    arcs = Arcs()
    sold, wanted = sum(t.wh for t in book.offers), sum(t.wh for t in book.bids)
    endless = sold + wanted + 1
    first_offer = 1 + 2 * len(book.places)
    first_bid = first_offer + len(book.offer_stations)
    first_tick = first_bid + 2 * len(book.bid_stations)
    fees = [problem.fees.of(place.level).micro_per_kwh for place in book.places]
    floor = None if problem.floor is None else problem.floor.micro_per_kwh
    ceiling = None if problem.ceiling is None else problem.ceiling.micro_per_kwh

    arcs.add("offer", ((GROUND, first_offer + t.station, t.limit, 2, t.wh) for t in book.offers))
    feeding = [(i, s, p) for i, s in enumerate(book.offer_stations) for p in s.places]
    arcs.add(
        "feed", ((first_offer + i, pool_node(p, s.product), 0, 0, endless) for i, s, p in feeding)
    )
    drawing = [
        (2 * i + j, p, k)
        for i, s in enumerate(book.bid_stations)
        for p in s.places
        for j, k in enumerate(PRODUCTS)
    ]
    arcs.add("draw", ((pool_node(p, k), first_bid + n, fees[p], 0, endless) for n, p, k in drawing))
    supplied = [2 * i for i, s in enumerate(book.bid_stations) if ROOT in s.places]
    sells = 0 if ceiling is None else endless
    arcs.add("supply", ((GROUND, first_bid + n, ceiling or 0, -1, sells) for n in supplied))
    buys = 0 if floor is None else endless
    arcs.add("export", ((pool_node(ROOT, k), GROUND, -(floor or 0), -1, buys) for k in PRODUCTS))
    ticks = list(enumerate(book.bids, first_tick))
    grey = ((first_bid + 2 * t.station, n, -t.limit, 0, 0 if t.only else t.wh) for n, t in ticks)
    arcs.add("grey", grey)
    green = ((first_bid + 2 * t.station + 1, n, -t.limit - t.premium, 0, t.wh) for n, t in ticks)
    arcs.add("green", green)
    arcs.add("bid", ((n, GROUND, 0, 2, t.wh) for n, t in ticks))

    cap = None if ceiling is None else ceiling - fees[ROOT]
    if cap is not None and floor is not None:
        cap = max(cap, floor)  # below it no local trade in the district is worth its fee
    tail, head, cost, bonus, most = np.array(arcs.rows, dtype=np.int64).reshape(-1, 5).T.copy()
    nodes = first_tick + len(ticks)
    return Network(nodes, tail, head, cost, bonus, most, arcs.family, cap)


@dataclass(frozen=True, slots=True)
class Face:
    """The flows that are still open: between ``low`` and ``high`` on every arc."""

    low: Integers
    high: Integers

    @property
    def free(self) -> NDArray[np.bool_]:
        """The arcs that are not fixed yet."""
        return self.low < self.high


def narrowed(net: Network, costs: Integers, flow: Integers, face: Face) -> Face:
    """Return the flows of a face that cost as little as ``flow``, having proved it optimal.

    Proof in integers: the balances and bounds hold, and the residual graph has no circle of
    negative cost (Klein 1967), since Bellman and Ford's relaxation comes to rest. By complementary
    slackness the optima are the flows that differ on arcs of reduced cost 0 only.

    Raises:
        SolverError: the flow is not an exact optimum of the face.
    """
    if not _is_feasible(net, flow, face):
        raise SolverError(
            "HiGHS's answer does not balance in whole Wh: keep the book and report it"
        )
    tail, head, cost = residual(net, costs, flow, face)
    price = _relaxed(tail, head, cost, np.zeros(net.nodes, dtype=np.int64))
    tight = costs + price[net.tail] - price[net.head] == 0
    return Face(np.where(tight, face.low, flow), np.where(tight, face.high, flow))


def price_bounds(net: Network, flow: Integers, face: Face) -> tuple[Integers, Integers]:
    """Return the lowest and the highest price of every node at which nobody regrets the flow.

    The prices that support an optimum are the solutions of difference constraints, a lattice
    (Murota, *Discrete Convex Analysis*, 2003, ch. 8: an L-natural-convex set): each bound is
    reached for all nodes at once, by the shortest ways from the ground and to it. Beyond
    ``+-2**59`` there is no bound.
    """
    tail, head, cost = residual(net, net.cost, flow, face)
    if net.cap is not None:
        tail, head = np.append(tail, GROUND), np.append(head, pool_node(ROOT, Product.ANY))
        cost = np.append(cost, net.cap)
    start = np.full(net.nodes, _FAR, dtype=np.int64)
    start[GROUND] = 0
    return -_relaxed(head, tail, cost, start), _relaxed(tail, head, cost, start)


def is_bound(price: int) -> bool:
    """Whether a price bound is one, and not endless."""
    return abs(price) < _FAR // 2


def middle(lowest: Integers, highest: Integers) -> Integers:
    """Return the floor of the middle: a supporting price again (discrete midpoint convexity)."""
    return (lowest + highest) // 2


def _is_feasible(net: Network, flow: Integers, face: Face) -> bool:
    balance = np.zeros(net.nodes, dtype=np.int64)
    np.add.at(balance, net.head, flow)
    np.subtract.at(balance, net.tail, flow)
    return not balance.any() and bool(np.all((face.low <= flow) & (flow <= face.high)))


def residual(
    net: Network, costs: Integers, flow: Integers, face: Face
) -> tuple[Integers, Integers, Integers]:
    """Return tail, head and cost of what can still be added to, or taken from, each arc."""
    more, less = flow < face.high, flow > face.low
    return (
        np.concatenate((net.tail[more], net.head[less])),
        np.concatenate((net.head[more], net.tail[less])),
        np.concatenate((costs[more], -costs[less])),
    )


def _relaxed(tail: Integers, head: Integers, cost: Integers, start: Integers) -> Integers:
    """Return the least of ``start`` and ``cost`` more than any tail's, for all heads at once.

    Raises:
        SolverError: it never comes to rest: a circle of negative cost.
    """
    if not len(head):
        return start
    order = np.argsort(head, kind="stable")
    tail, cost = tail[order], cost[order]
    heads, first = np.unique(head[order], return_index=True)
    least = start.copy()
    for _ in range(len(start) + 1):
        reached = np.where(least[tail] < _FAR // 2, least[tail] + cost, _FAR)
        better = np.minimum(least[heads], np.minimum.reduceat(reached, first))
        if np.array_equal(better, least[heads]):
            return least
        least[heads] = better
    raise SolverError("HiGHS's answer is not the exact optimum: keep the book and report it")
