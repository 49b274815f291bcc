"""The part of the Tangle that no milestone references yet: order, tips, age; pure, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

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
    """Blocks since the last milestone: their parents and who pays; the rest is in the database."""

    def __init__(self) -> None:
        self._parents: dict[bytes, tuple[bytes, ...]] = {}
        self._oldest_roots: dict[bytes, int] = {}
        self._transactions: set[bytes] = set()
        # A dict keeps arrival order, so that the oldest tip is never starved.
        self._tips: dict[bytes, None] = {}

    def __contains__(self, block_id: bytes) -> bool:
        return block_id in self._parents

    def __len__(self) -> int:
        return len(self._parents)

    def oldest_root(self, block_id: bytes) -> int:
        """Return the lowest milestone index that an unreferenced block's past cone rests on."""
        return self._oldest_roots[block_id]

    def has_transaction(self, block_id: bytes) -> bool:
        """Return whether an unreferenced block carries a transaction."""
        return block_id in self._transactions

    def add(
        self,
        block_id: bytes,
        parents: tuple[bytes, ...],
        oldest_root: int,
        *,
        has_transaction: bool = False,
    ) -> None:
        """Add a block whose parents are all known."""
        self._parents[block_id] = parents
        if has_transaction:
            self._transactions.add(block_id)
        self._oldest_roots[block_id] = oldest_root
        for parent in parents:
            self._tips.pop(parent, None)
        self._tips[block_id] = None

    def tips(self, least_root: int = 0) -> tuple[bytes, ...]:
        """Return up to 8 tips, oldest first, sorted as parents must be.

        Tips whose past rests on a milestone before ``least_root`` are left out.
        """
        young = (tip for tip in self._tips if self._oldest_roots[tip] >= least_root)
        return tuple(sorted(islice(young, MAX_PARENTS)))

    def tip_count(self) -> int:
        """Return the number of blocks that no block approves yet."""
        return len(self._tips)

    def order(self, parents: Sequence[bytes]) -> list[bytes]:
        """Return what a milestone with ``parents`` would newly reference, in white-flag order."""
        return white_flag_order(parents, self._parents)

    def remove(
        self, block_ids: Iterable[bytes], oldest_root: Callable[[Sequence[bytes]], int]
    ) -> None:
        """Forget blocks that a milestone now references; what rests on them has younger roots.

        ``oldest_root`` tells the lowest root of parents, as for a block that is being attached.
        """
        for block_id in block_ids:
            del self._parents[block_id]
            del self._oldest_roots[block_id]
            self._transactions.discard(block_id)
            self._tips.pop(block_id, None)
        for block_id, parents in self._parents.items():  # parents come first
            self._oldest_roots[block_id] = oldest_root(parents)
