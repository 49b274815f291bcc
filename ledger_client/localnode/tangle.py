"""The part of the Tangle that no milestone references yet: order, tips, age; pure, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ledger_client.stardust.block import Block
from ledger_client.stardust.milestone import MAX_PARENTS

SOLID_ENTRY_POINT = bytes(32)
"""The parent of the first blocks of a network: the genesis."""


def white_flag_order(
    parents: Sequence[bytes], unreferenced: Mapping[bytes, Sequence[bytes]]
) -> list[bytes]:
    """Return the blocks that a milestone with ``parents`` newly references, in order (TIP-2).

    Post-order depth-first walk over parents in stored order; it stops at blocks that are not in
    ``unreferenced`` (block id -> parents). Iterative, since a chain may be thousands deep.
    """
    order: list[bytes] = []
    seen: set[bytes] = set()
    path: list[bytes] = []
    branches: list[Iterator[bytes]] = [iter(parents)]
    while branches:
        for candidate in branches[-1]:
            if candidate in unreferenced and candidate not in seen:
                seen.add(candidate)
                path.append(candidate)
                branches.append(iter(unreferenced[candidate]))
                break
        else:
            branches.pop()
            if path:
                order.append(path.pop())
    return order


class Tangle:
    """Blocks since the last milestone. ``oldest_root`` is the lowest milestone in a past cone."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, Block] = {}
        self._oldest_roots: dict[bytes, int] = {}
        # A dict keeps arrival order, so that the oldest tip is never starved.
        self._tips: dict[bytes, None] = {}

    def __contains__(self, block_id: bytes) -> bool:
        return block_id in self._blocks

    def __len__(self) -> int:
        return len(self._blocks)

    def block(self, block_id: bytes) -> Block:
        """Return an unreferenced block."""
        return self._blocks[block_id]

    def oldest_root(self, block_id: bytes) -> int:
        """Return the lowest milestone index that an unreferenced block's past cone rests on."""
        return self._oldest_roots[block_id]

    def add(self, block_id: bytes, block: Block, oldest_root: int) -> None:
        """Add a block whose parents are all known."""
        self._blocks[block_id] = block
        self._oldest_roots[block_id] = oldest_root
        for parent in block.parents:
            self._tips.pop(parent, None)
        self._tips[block_id] = None

    def tips(self) -> tuple[bytes, ...]:
        """Return up to 8 tips, oldest first, sorted as parents must be; never empty."""
        oldest = [tip for tip, _ in zip(self._tips, range(MAX_PARENTS), strict=False)]
        return tuple(sorted(oldest)) or (SOLID_ENTRY_POINT,)

    def tip_count(self) -> int:
        """Return the number of blocks that no block approves yet."""
        return len(self._tips)

    def order(self, parents: Sequence[bytes]) -> list[bytes]:
        """Return what a milestone with ``parents`` would newly reference, in white-flag order."""
        return white_flag_order(parents, {i: block.parents for i, block in self._blocks.items()})

    def remove(self, block_ids: Iterable[bytes]) -> None:
        """Forget blocks that a milestone now references."""
        for block_id in block_ids:
            del self._blocks[block_id]
            del self._oldest_roots[block_id]
            self._tips.pop(block_id, None)
