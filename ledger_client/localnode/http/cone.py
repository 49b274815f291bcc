"""How far behind the past of a waiting block lies."""

from __future__ import annotations

from ledger_client.localnode.store import BlockRow, Store
from ledger_client.localnode.tangle import SOLID_ENTRY_POINT
from ledger_client.reader import parents_of

MOST_BLOCKS = 500
"""Looked at in one walk: a reader must not hold up a node that takes blocks in."""


def cone_roots(store: Store, row: BlockRow) -> tuple[int, int]:
    """Return the youngest and the oldest milestone that an unreferenced block's past rests on.

    The walk goes deep first, so that it reaches milestones soon; of a very wide past it sees a
    part.
    """
    found: set[int] = set()
    path, seen = [row.block_id], {row.block_id}
    while path and len(seen) <= MOST_BLOCKS:
        block_id = path.pop()
        known = None if block_id == SOLID_ENTRY_POINT else store.block(block_id)
        if known is None:
            found.add(0)
            continue
        if known.milestone_index is not None:
            found.add(known.milestone_index)
            continue
        fresh = [parent for parent in parents_of(known.data) if parent not in seen]
        seen.update(fresh)
        path += fresh
    return (max(found), min(found)) if found else (0, 0)
