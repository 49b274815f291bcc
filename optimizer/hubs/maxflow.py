"""The maximum flow between two nodes, in whole numbers of any size."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

SOURCE: Final = -1
SINK: Final = -2


class MaxFlow:
    """From source to sink by shortest ways, level by level (Dinic 1970)."""

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._room: list[int] = []
        self._at: dict[int, list[int]] = {SOURCE: [], SINK: []}

    def add(self, tail: int, head: int, room: int, back: int = 0) -> int:
        """Add an arc and its reverse, which stand beside each other; return the arc's number."""
        number = len(self._ends)
        for arc, start, end, much in (
            (number, tail, head, room),
            (number + 1, head, tail, back),
        ):
            self._at.setdefault(start, []).append(arc)
            self._ends.append(end)
            self._room.append(much)
        return number

    def room(self, arc: int) -> int:
        """Return how much an arc can still take."""
        return self._room[arc]

    def levels(self) -> dict[int, int]:
        """Return how far each node that can still be reached is from the source."""
        level = {SOURCE: 0}
        queue = deque([SOURCE])
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
        while SINK in (level := self.levels()):
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
        node = SOURCE
        while node != SINK:
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
