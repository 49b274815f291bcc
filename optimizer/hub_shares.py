"""Fairness at the margin: which fills are fair where several ticks are marginal at once.

Among all optimal flows, the smallest fill ratio of all ticks is made as large as it can be, then
the second smallest, and so on (max-min; the lexicographically optimal base of Fujishige 1980). It
is found exactly: Newton's method on the cut that stands in the way (Hoffman's circulation theorem,
1960), with a maximum flow in whole numbers (Dinic 1970) at every step.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np

from optimizer.compiled import SolverError
from optimizer.hub_network import Face, Network

_SOURCE: Final = -1
_SINK: Final = -2


class _Open(NamedTuple):
    """A free arc and its bounds."""

    tail: int
    head: int
    low: Fraction
    high: Fraction


def fair_fills(net: Network, face: Face) -> dict[int, Fraction]:
    """Return the fair flow, in Wh, of every tick's arc that is free on a face of optimal flows.

    Raises:
        SolverError: the face is empty.
    """
    free = np.flatnonzero(face.free)
    surplus = np.zeros(net.nodes, dtype=np.int64)
    fixed = np.where(face.free, 0, face.low)
    np.add.at(surplus, net.head, fixed)
    np.subtract.at(surplus, net.tail, fixed)
    # A tick has one arc to the ground; the supplier, who has no quantity, has no fill ratio.
    every = range(len(face.low))
    ticks = {*every[net.family["offer"]], *every[net.family["bid"]]}
    arcs = {
        a: _Open(tail, head, Fraction(low), Fraction(high))
        for a, tail, head, low, high in zip(
            free.tolist(),
            net.tail[free].tolist(),
            net.head[free].tolist(),
            face.low[free].tolist(),
            face.high[free].tolist(),
            strict=True,
        )
    }
    fills: dict[int, Fraction] = {}
    open_ticks = ticks & arcs.keys()
    given = {node: int(wh) for node, wh in enumerate(surplus.tolist()) if wh}
    while open_ticks:
        ratio, held = _highest_ratio(arcs, open_ticks, given)
        for a in held:
            fills[a] = ratio * arcs[a].high
            arcs[a] = arcs[a]._replace(low=fills[a], high=fills[a])
        open_ticks -= held
    return fills


def _highest_ratio(
    arcs: Mapping[int, _Open], ticks: set[int], given: Mapping[int, int]
) -> tuple[Fraction, set[int]]:
    """Return the highest ratio that all ``ticks`` can have, and those that can have no more."""
    ratio, held = Fraction(1), set(ticks)
    while True:
        asked = {
            a: arc._replace(low=ratio * arc.high) if a in ticks else arc for a, arc in arcs.items()
        }
        cut = _blocking_cut(asked, given)
        if cut is None:
            return ratio, held
        leaving = sum(a.high for a in asked.values() if a.tail in cut and a.head not in cut)
        entering = {k: a for k, a in asked.items() if a.head in cut and a.tail not in cut}
        held = ticks & entering.keys()
        if not held:
            raise SolverError("no flow meets the bounds of the optimum: keep the book, report it")
        bound = sum(a.low for k, a in entering.items() if k not in held)
        room = leaving - bound - sum(given.get(node, 0) for node in cut)
        ratio = room / sum((arcs[a].high for a in held), Fraction(0))


def _blocking_cut(arcs: Mapping[int, _Open], given: Mapping[int, int]) -> set[int] | None:
    """Return nodes that must take in more than can leave them; None if there is a flow.

    ``given`` is what the fixed arcs leave at a node.
    """
    scale = math.lcm(*(bound.denominator for a in arcs.values() for bound in (a.low, a.high)))
    excess = {node: wh * scale for node, wh in given.items()}
    graph = _MaxFlow()
    for arc in arcs.values():
        low, high = int(arc.low * scale), int(arc.high * scale)
        graph.add(arc.tail, arc.head, high - low)
        excess[arc.head] = excess.get(arc.head, 0) + low
        excess[arc.tail] = excess.get(arc.tail, 0) - low
    for node, wh in excess.items():
        if wh > 0:
            graph.add(_SOURCE, node, wh)
        elif wh < 0:
            graph.add(node, _SINK, -wh)
    if graph.run() == sum(wh for wh in excess.values() if wh > 0):
        return None
    return graph.levels().keys() - {_SOURCE}


class _MaxFlow:
    """Dinic's maximum flow from source to sink, in whole numbers of any size."""

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._room: list[int] = []
        self._at: dict[int, list[int]] = {_SOURCE: [], _SINK: []}

    def add(self, tail: int, head: int, room: int) -> None:
        """Add an arc and its reverse, which stand beside each other."""
        for start, end, much in ((tail, head, room), (head, tail, 0)):
            self._at.setdefault(start, []).append(len(self._ends))
            self._ends.append(end)
            self._room.append(much)

    def levels(self) -> dict[int, int]:
        """Return how far each node that can still be reached is from the source."""
        level = {_SOURCE: 0}
        queue = deque([_SOURCE])
        while queue:
            node = queue.popleft()
            for arc in self._at[node]:
                if self._room[arc] and self._ends[arc] not in level:
                    level[self._ends[arc]] = level[node] + 1
                    queue.append(self._ends[arc])
        return level

    def run(self) -> int:
        """Return the value of the maximum flow."""
        total = 0
        while _SINK in (level := self.levels()):
            tried = dict.fromkeys(level, 0)
            while path := self._path(level, tried):
                pushed = min(self._room[arc] for arc in path)
                for arc in path:
                    self._room[arc] -= pushed
                    self._room[arc ^ 1] += pushed
                total += pushed
        return total

    def _path(self, level: Mapping[int, int], tried: dict[int, int]) -> list[int]:
        """Return the arcs of a shortest way to the sink; empty if none is left on these levels."""
        path: list[int] = []
        node = _SOURCE
        while node != _SINK:
            arcs = self._at[node]
            if tried[node] < len(arcs):
                arc = arcs[tried[node]]
                end = self._ends[arc]
                if self._room[arc] and level.get(end) == level[node] + 1:
                    path.append(arc)
                    node = end
                else:
                    tried[node] += 1
            elif path:  # a dead end: go back and leave the arc that led here
                node = self._ends[path.pop() ^ 1]
                tried[node] += 1
            else:
                return []
        return path
