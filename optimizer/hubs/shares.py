"""Fairness at the margin: which fills are fair where several ticks are marginal at once.

Among all optimal flows, the smallest fill ratio of all ticks is made as large as it can be, then
the second smallest, and so on (max-min; the lexicographically optimal base of Fujishige 1980). It
is found exactly: Newton's method on the cut that stands in the way (Hoffman's circulation theorem,
1960), with a maximum flow in whole numbers (Dinic 1970) at every step.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optimizer.compiled import SolverError, time_left_s
from optimizer.hubs.maxflow import SINK, SOURCE, MaxFlow
from optimizer.hubs.network import GROUND, Face, Integers, Network, residual

_ZERO: Final = Fraction(0)


class _Open(NamedTuple):
    """An arc that may still change: its ends, its bounds, and a flow between them, in Wh."""

    tail: int
    head: int
    low: Fraction
    high: Fraction
    flow: Fraction

    def at_least(self, low: Fraction) -> _Open:
        """Return the arc with another lower bound, its flow raised where it must be."""
        return self._replace(low=low, flow=max(low, self.flow))


def fair_fills(net: Network, face: Face, flow: Integers) -> dict[int, Fraction]:
    """Return the fair flow, in Wh, of every tick's arc that can change on a face of optimal flows.

    Raises:
        SolverTimeoutError: the time limit around it is over.
        SolverError: the flow is not one of the face.
    """
    # A tick has one arc to the ground; the supplier, who has no quantity, has no fill ratio.
    every = range(len(flow))
    ticks = {*every[net.family["offer"]], *every[net.family["bid"]]}
    fills: dict[int, Fraction] = {}
    for part in _parts(_open_arcs(net, face, flow, ticks)):
        fills |= _fair(part, ticks & part.keys())
    return fills


def _fair(arcs: dict[int, _Open], ticks: set[int]) -> dict[int, Fraction]:
    fills: dict[int, Fraction] = {}
    while ticks:
        time_left_s()  # raises once it is over
        arcs, held = _raised(arcs, ticks)
        for a in held:
            fills[a] = arcs[a].low
            arcs[a] = arcs[a]._replace(high=fills[a])
        ticks -= held
    return fills


def _parts(arcs: Mapping[int, _Open]) -> list[dict[int, _Open]]:
    """Return the arcs by what hangs together without the ground.

    Each part balances by itself, so that its fills leave those of the others alone.
    """
    tree: dict[int, int] = {}

    def root(node: int) -> int:
        while tree.setdefault(node, node) != node:
            tree[node] = tree[tree[node]]
            node = tree[node]
        return node

    for arc in arcs.values():
        if GROUND not in (arc.tail, arc.head):
            tree[root(arc.tail)] = root(arc.head)
    parts: defaultdict[int, dict[int, _Open]] = defaultdict(dict)
    for a, arc in arcs.items():
        parts[root(arc.head if arc.tail == GROUND else arc.tail)][a] = arc
    return list(parts.values())


def _open_arcs(net: Network, face: Face, flow: Integers, ticks: set[int]) -> dict[int, _Open]:
    """Return the arcs on circles through the ground, which alone change a fill.

    Ticks of one station whose own fill is fixed and which may still choose their product are one
    node; arcs beside each other are one arc.
    """
    inside = _around_the_ground(net, face, flow)
    changing = face.free & inside[net.tail] & inside[net.head]
    node = _merged(net, changing)
    tail, head = node[net.tail], node[net.head]
    beside: dict[tuple[int, int], int] = {}
    arcs: dict[int, _Open] = {}
    for a in np.flatnonzero(changing).tolist():
        ends = int(tail[a]), int(head[a])
        first = a if a in ticks else beside.setdefault(ends, a)
        more = (int(face.low[a]), int(face.high[a]), int(flow[a]))
        before = arcs[first][2:] if first in arcs else (_ZERO, _ZERO, _ZERO)
        arcs[first] = _Open(*ends, *(x + y for x, y in zip(before, more, strict=True)))
    return arcs


def _around_the_ground(net: Network, face: Face, flow: Integers) -> NDArray[np.bool_]:
    """Return which nodes lie on a circle of the residual graph through the ground."""
    tail, head, _ = residual(net, net.cost, flow, face)
    return _reached(net.nodes, tail, head) & _reached(net.nodes, head, tail)


def _reached(nodes: int, tail: Integers, head: Integers) -> NDArray[np.bool_]:
    reached = np.zeros(nodes, dtype=np.bool_)
    reached[GROUND] = True
    count = 0
    while count < (count := int(reached.sum())):
        reached[head[reached[tail]]] = True
    return reached


def _merged(net: Network, changing: NDArray[np.bool_]) -> Integers:
    """Return for every node the one that stands for it."""
    node = np.arange(net.nodes)
    grey, green, bid = (net.family[name] for name in ("grey", "green", "bid"))
    settled = ~changing[bid] & changing[grey] & changing[green]
    mine, station = net.tail[bid][settled], net.tail[grey][settled]
    stations, first = np.unique(station, return_index=True)
    node[mine] = mine[first][np.searchsorted(stations, station)]
    return node


def _raised(arcs: Mapping[int, _Open], ticks: set[int]) -> tuple[dict[int, _Open], set[int]]:
    """Return a flow in which ``ticks`` have the highest common ratio, and those with no more."""
    ratio, held = Fraction(1), set(ticks)
    while True:
        asked = {a: arcs[a].at_least(ratio * arcs[a].high) for a in ticks}
        found, cut = _balanced(arcs, asked)
        if not cut:
            return found, held
        leaving = [arc for arc in arcs.values() if arc.tail in cut and arc.head not in cut]
        entering = {a: arc for a, arc in arcs.items() if arc.head in cut and arc.tail not in cut}
        held = ticks & entering.keys()
        if not held:
            raise SolverError("no flow meets the bounds of the optimum: keep the book, report it")
        # What must come in can leave again: so much more may leave, and so much less come in.
        room = sum((arc.high - arc.flow for arc in leaving), _ZERO)
        room += sum((arc.flow for arc in entering.values()), _ZERO)
        room -= sum((arc.low for a, arc in entering.items() if a not in held), _ZERO)
        ratio = room / sum((arcs[a].high for a in held), _ZERO)


def _balanced(
    arcs: Mapping[int, _Open], asked: Mapping[int, _Open]
) -> tuple[dict[int, _Open], set[int]]:
    """Return the arcs with a flow that gives what is asked.

    If there is none, return also the nodes that must take in more than can leave them.
    """
    wanted = {**arcs, **asked}
    scale = math.lcm(*{b.denominator for arc in wanted.values() for b in arc[2:]})
    graph = MaxFlow()
    place, excess = {}, Counter[int]()
    for a, arc in wanted.items():
        low, high, flow = (b.numerator * (scale // b.denominator) for b in arc[2:])
        place[a] = graph.add(arc.tail, arc.head, high - flow, flow - low)
    for a, arc in asked.items():
        raised = int((arc.flow - arcs[a].flow) * scale)
        excess[arc.head] += raised
        excess[arc.tail] -= raised
    for node, wh in excess.items():
        graph.add(*((SOURCE, node) if wh > 0 else (node, SINK)), abs(wh))
    if graph.run() < sum(wh for wh in excess.values() if wh > 0):
        return {}, graph.levels().keys() - {SOURCE}
    return {
        a: arc._replace(flow=arc.low + Fraction(graph.room(place[a] + 1), scale))
        for a, arc in wanted.items()
    }, set()
