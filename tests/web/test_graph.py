"""The DAG's picture: columns, crossings, bounds; the same blocks always give the same picture."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import LONG
from tests.web.ledger_fakes import block, blocks, hex_id
from web import graph
from web.ports.ledger import BlockKind, BlockLine, BlockState

few = settings(max_examples=1_000 if LONG else 20)


def places(picture: graph.DagPicture) -> dict[str, tuple[float, float]]:
    return {node.block.block_id: (node.x, node.y) for node in picture.nodes}


def drawn(lines: Sequence[BlockLine]) -> graph.DagPicture:
    picture = graph.draw(lines)
    assert picture is not None
    return picture


@st.composite
def dags(draw: st.DrawFn) -> list[BlockLine]:
    """A chain of milestones, each over some blocks with parents among what came before."""
    lines: list[BlockLine] = []
    names: list[str] = ["root"]
    for index in range(1, draw(st.integers(1, 6)) + 1):
        fresh = []
        for _ in range(draw(st.integers(0, 12))):
            parents = draw(st.lists(st.sampled_from(names + fresh), min_size=1, max_size=4))
            name = f"b{len(lines)}-{index}"
            kind = draw(st.sampled_from([BlockKind.DATA, BlockKind.PAYMENT, BlockKind.EMPTY]))
            lines.append(block(name, kind, sorted(set(parents)), index))
            fresh.append(name)
        last = f"m{index}"
        parents = [names[-1], *fresh[-3:]]
        lines.append(block(last, BlockKind.MILESTONE, parents, index + 1, milestone=index))
        names += [*fresh, last]
    late = [f"late-{number}" for number in range(draw(st.integers(0, 5)))]
    return lines + [block(name, BlockKind.ANCHOR, [names[-1]], None) for name in late]


@few
@given(dags())
def test_it_is_bounded_readable_and_flows_from_left_to_right(lines: list[BlockLine]) -> None:
    picture = drawn(lines)
    found = places(picture)
    assert len(found) == min(len(lines), graph.LARGEST)
    assert picture.left_out == len(lines) - len(found)
    for x, y in found.values():
        assert 0 < x < picture.width
        assert 0 < y < picture.height
    for (x, y), (other_x, other_y) in combinations(found.values(), 2):
        assert abs(x - other_x) >= 60 or abs(y - other_y) >= 50, "two blocks overlap"
    for node in picture.nodes:
        for parent in node.block.parents:
            assert parent not in found or found[parent][0] < node.x, "a parent stands to the right"


@few
@given(dags(), st.randoms(use_true_random=False))
def test_the_order_of_the_blocks_does_not_matter(
    lines: list[BlockLine], chance: random.Random
) -> None:
    shuffled = lines.copy()
    chance.shuffle(shuffled)
    assert graph.draw(shuffled + lines[:3]) == graph.draw(lines)


@few
@given(dags())
def test_a_milestone_stands_alone_between_its_blocks_and_the_next(lines: list[BlockLine]) -> None:
    found = places(drawn(lines))
    columns = {line.milestone: found[line.block_id][0] for line in lines
               if line.milestone and line.block_id in found}  # fmt: skip
    for line in lines:
        if line.block_id not in found or line.milestone:
            continue
        x = found[line.block_id][0]
        assert x not in columns.values()
        before = [column for index, column in columns.items() if _group(line) > index]
        after = [column for index, column in columns.items() if _group(line) <= index]
        assert all(column < x for column in before)
        assert all(x < column for column in after)


def _group(line: BlockLine) -> int:
    return 10**9 if line.referenced_by is None else line.referenced_by


def _crossings(picture: graph.DagPicture) -> int:
    """Count pairs of edges between the same two columns that cross: the slow, plain way."""
    found = places(picture)
    lines = [
        (found[parent], (node.x, node.y))
        for node in picture.nodes
        for parent in node.block.parents
        if parent in found
    ]
    return sum(
        a[0] == b[0] and c[0] == d[0] and (a[1] - b[1]) * (c[1] - d[1]) < 0
        for (a, c), (b, d) in combinations(lines, 2)
    )


def test_few_lines_cross() -> None:
    # Two chains side by side, named so that alphabetical order would cross them at each step.
    lines = [block("m1", BlockKind.MILESTONE, ["x"], 2, milestone=1)]
    before = ["m1", "m1"]
    for step in range(6):
        names = [f"{step}-upper", f"{step}-lower"]
        lines += [block(n, BlockKind.DATA, [p], 2) for n, p in zip(names, before, strict=True)]
        before = names
    assert _crossings(drawn(lines)) == 0


def test_shapes_and_labels_tell_kinds_and_states_apart() -> None:
    nodes = {node.block.block_id: node for node in drawn(blocks()).nodes}
    kinds = {node.block.kind: node.shape for node in nodes.values()
             if node.block.state is not BlockState.CONFLICTING}  # fmt: skip
    assert len(set(kinds.values())) == len(kinds) == len(BlockKind)
    conflict = nodes[hex_id("double-7")]
    assert conflict.shape not in kinds.values()
    assert conflict.label == "conflict"
    assert "ignored by milestone 7: an input was spent before" in conflict.title
    assert nodes[hex_id("m6")].label == "6"
    assert "issued" in nodes[hex_id("m8")].title
    assert "waiting for a milestone" in nodes[hex_id("late-8")].title


def test_a_parent_outside_is_a_stub() -> None:
    picture = drawn([block("a", BlockKind.DATA, ["somewhere"], 3)])
    (edge,) = picture.edges
    assert edge.cut


@pytest.mark.parametrize("count", [1, 6, 7, 40, 200])
def test_many_blocks_side_by_side_wrap_into_columns(count: int) -> None:
    picture = drawn([block(f"n{n}", BlockKind.DATA, ["p"], 3) for n in range(count)])
    assert picture.height < 450
    assert len(picture.nodes) == min(count, graph.LARGEST)


def test_nothing_gives_no_picture() -> None:
    assert graph.draw([]) is None


def test_a_circle_that_cannot_be_does_not_hang() -> None:
    ring = [block("a", BlockKind.DATA, ["b"], 1), block("b", BlockKind.DATA, ["a"], 1)]
    assert len(drawn(ring).nodes) == 2
