"""Geometry of the DAG's picture: blocks in columns from old to new, few crossings, no scripts.

Pure and deterministic: the same blocks in any order give the same picture. A milestone stands alone
in its column, between the blocks that it confirmed (left) and those of the next one (right); what
waits for a milestone stands at the right end. The method is the usual one for layered graphs:
columns by longest path, a place held free in each column that an edge passes, and a few sweeps that
order every column by the mean place of its neighbours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from web.ports.ledger import BlockKind, BlockLine, BlockState

LARGEST: Final = 60
"""More blocks than this are not drawn: the newest are."""
_STEP_X: Final = 66
_STEP_Y: Final = 56
_MARGIN_X: Final = 40
_MARGIN_Y: Final = 30
_TALLEST: Final = 6  # blocks of one column; more of them begin another
_SWEEPS: Final = 6
_PENDING: Final = 2**33  # after every milestone's index

LABELS: Final[Mapping[BlockKind, str]] = {
    BlockKind.MILESTONE: "milestone",
    BlockKind.ANCHOR: "anchor",
    BlockKind.PAYMENT: "payment",
    BlockKind.TRANSFER: "transfer",
    BlockKind.DATA: "data",
    BlockKind.EMPTY: "empty",
    BlockKind.OTHER: "other",
}
# Around (0, 0): every kind, and every conflict, differs by its shape and not by colour alone.
_SHAPES: Final[Mapping[BlockKind, str]] = {
    BlockKind.MILESTONE: "M0-15L15 0L0 15L-15 0Z",
    BlockKind.ANCHOR: "M-11-11H11V11H-11Z",
    BlockKind.PAYMENT: "M-12 0A12 12 0 1 1 12 0A12 12 0 1 1-12 0Z",
    BlockKind.TRANSFER: "M-12 0A12 12 0 1 1 12 0A12 12 0 1 1-12 0Z"
    "M-6 0A6 6 0 1 0 6 0A6 6 0 1 0-6 0Z",
    BlockKind.DATA: "M-6-11H6L12 0L6 11H-6L-12 0Z",
    BlockKind.EMPTY: "M-7 0A7 7 0 1 1 7 0A7 7 0 1 1-7 0Z",
    BlockKind.OTHER: "M-11 9L0-11L11 9Z",
}
CONFLICT: Final = "M-13-6L-6-13L0-7L6-13L13-6L7 0L13 6L6 13L0 7L-6 13L-13 6L-7 0Z"  # a cross


@dataclass(frozen=True, slots=True)
class DagNode:
    """A block in the picture; ``shape`` is a path around (0, 0)."""

    block: BlockLine
    x: float
    y: float
    shape: str
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class DagEdge:
    """From a block to one that it names as a parent; ``cut``: that one is not in the picture."""

    path: str
    cut: bool


@dataclass(frozen=True, slots=True)
class DagPicture:
    """The whole picture; ``left_out`` blocks are older than those drawn."""

    width: float
    height: float
    nodes: Sequence[DagNode]
    edges: Sequence[DagEdge]
    left_out: int


_Place = tuple[str, int]
"""A block in its column, or the place where edges to it pass a later column."""


def draw(blocks: Iterable[BlockLine]) -> DagPicture | None:
    """Return the picture of at most 60 blocks, the newest; None when there are none."""
    ordered = sorted({block.block_id: block for block in blocks}.values(), key=_age)
    shown = {block.block_id: block for block in ordered[-LARGEST:]}
    if not shown:
        return None
    columns = _columns(shown)
    links = _links(shown, columns)
    places = _places(_ordered(columns, links))
    nodes = [
        _node(block, *places[block.block_id, columns[block.block_id]]) for block in shown.values()
    ]
    return DagPicture(
        width=2 * _MARGIN_X + _STEP_X * max(columns.values()),
        height=max(y for _, y in places.values()) + _MARGIN_Y + 10,
        nodes=sorted(nodes, key=lambda node: (node.x, node.y)),
        edges=_edges(shown, columns, links, places),
        left_out=len(ordered) - len(shown),
    )


def shape(kind: str) -> str:
    """Return the path of a kind's shape, around (0, 0) within 16 units."""
    return _SHAPES[BlockKind(kind)]


def _age(block: BlockLine) -> tuple[int, bool, str]:
    """Sort by the milestone to which a block belongs, that milestone's own block last."""
    return _group(block), block.milestone is not None, block.block_id


def _group(block: BlockLine) -> int:
    if block.milestone is not None:
        return block.milestone
    return _PENDING if block.referenced_by is None else block.referenced_by


# Columns ------------------------------------------------------------------------------------------


def _columns(shown: Mapping[str, BlockLine]) -> dict[str, int]:
    """Return each block's column: right of its parents, and group by group."""
    groups: dict[int, list[BlockLine]] = defaultdict(list)
    for block in shown.values():
        groups[_group(block)].append(block)
    columns: dict[str, int] = {}
    start = 0
    for number in sorted(groups):
        members = {block.block_id: block for block in groups[number]}
        depths = _depths(members)
        for depth in range(max(depths.values()) + 1):
            layer = sorted(name for name in members if depths[name] == depth)
            for row, name in enumerate(layer):
                columns[name] = start + row // _TALLEST
            start += -(-len(layer) // _TALLEST)
    return columns


def _depths(members: Mapping[str, BlockLine]) -> dict[str, int]:
    """Return the longest path to each block within its group; a milestone comes last."""
    depths: dict[str, int] = {}
    waiting = dict(members)
    while waiting:
        ready = [
            block
            for block in waiting.values()
            if not any(each in waiting for each in block.parents)
        ]
        for block in ready or list(waiting.values()):  # a circle cannot be, and must not hang us
            inside = [depths[each] for each in block.parents if each in depths]
            depths[block.block_id] = 1 + max(inside, default=-1)
            del waiting[block.block_id]
    for block in members.values():
        if block.milestone is not None and len(members) > 1:
            others = (depths[name] for name in members if name != block.block_id)
            depths[block.block_id] = max(others) + 1
    return depths


# Order within columns -----------------------------------------------------------------------------


def _links(
    shown: Mapping[str, BlockLine], columns: Mapping[str, int]
) -> list[tuple[_Place, _Place]]:
    """Return what is joined in neighbouring columns; edges to one parent share their way."""
    found: dict[tuple[_Place, _Place], None] = {}
    for name, block in shown.items():
        for parent in block.parents:
            if parent in shown:
                way = [(parent, column) for column in range(columns[parent], columns[name])]
                for left, right in pairwise([*way, (name, columns[name])]):
                    found[left, right] = None
    return list(found)


def _ordered(
    columns: Mapping[str, int], links: Sequence[tuple[_Place, _Place]]
) -> list[list[_Place]]:
    """Return every column's places from top to bottom, ordered by their neighbours' means."""
    everything = {(name, column) for name, column in columns.items()}
    everything.update(place for link in links for place in link)
    order: list[list[_Place]] = [[] for _ in range(max(columns.values()) + 1)]
    for place in sorted(everything):
        order[place[1]].append(place)
    before: dict[_Place, list[_Place]] = defaultdict(list)
    after: dict[_Place, list[_Place]] = defaultdict(list)
    for left, right in links:
        before[right].append(left)
        after[left].append(right)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        neighbours = before if forward else after
        rows = _rows(order)
        for column in order if forward else reversed(order):
            column.sort(key=lambda place: (_mean(place, neighbours, rows), place))
            rows.update(_centred(column))
    return order


def _mean(
    place: _Place, neighbours: Mapping[_Place, Sequence[_Place]], rows: Mapping[_Place, float]
) -> float:
    found = neighbours.get(place, ())
    return sum(rows[each] for each in found) / len(found) if found else rows[place]


def _rows(order: Sequence[Sequence[_Place]]) -> dict[_Place, float]:
    return {place: row for column in order for place, row in _centred(column).items()}


def _centred(column: Sequence[_Place]) -> dict[_Place, float]:
    """Return rows around 0, so that short columns stand in the middle of tall ones."""
    return {place: row - (len(column) - 1) / 2 for row, place in enumerate(column)}


def _places(order: Sequence[Sequence[_Place]]) -> dict[_Place, tuple[float, float]]:
    """Return (x, y) of every place."""
    rows = _rows(order)
    top = min(rows.values())
    return {
        place: (_MARGIN_X + _STEP_X * place[1], _MARGIN_Y + _STEP_Y * (row - top))
        for place, row in rows.items()
    }


# Shapes -------------------------------------------------------------------------------------------


def _edges(
    shown: Mapping[str, BlockLine],
    columns: Mapping[str, int],
    links: Sequence[tuple[_Place, _Place]],
    places: Mapping[_Place, tuple[float, float]],
) -> list[DagEdge]:
    """Return one curve per link, so that edges on the same way are drawn once, and the stubs."""
    curves = [DagEdge(_curve(places[left], places[right]), cut=False) for left, right in links]
    stubs = []
    for name, block in shown.items():
        if any(parent not in shown for parent in block.parents):
            x, y = places[name, columns[name]]
            stubs.append(DagEdge(f"M{x:g} {y:g}H{x - _STEP_X / 2:g}", cut=True))
    return curves + stubs


def _curve(left: tuple[float, float], right: tuple[float, float]) -> str:
    (x, y), (end_x, end_y) = left, right
    middle = (x + end_x) / 2
    return f"M{x:g} {y:g}C{middle:g} {y:g} {middle:g} {end_y:g} {end_x:g} {end_y:g}"


def _node(block: BlockLine, x: float, y: float) -> DagNode:
    kind = LABELS[block.kind]
    label = kind if block.milestone is None else f"{block.milestone}"
    conflicts = block.state is BlockState.CONFLICTING
    drawn = CONFLICT if conflicts else shape(block.kind)
    return DagNode(block, x, y, drawn, "conflict" if conflicts else label, _title(block, kind))


def _title(block: BlockLine, kind: str) -> str:
    name = kind if block.milestone is None else f"{kind} {block.milestone}"
    if block.milestone is not None:
        state = "issued"
    elif block.state is BlockState.PENDING:
        state = "waiting for a milestone"
    elif block.state is BlockState.CONFLICTING:
        state = f"ignored by milestone {block.referenced_by}: {block.conflict}"
    else:
        state = f"confirmed by milestone {block.referenced_by}"
    return f"{name.capitalize()}, block {block.block_id[:8]}…, {state}"
