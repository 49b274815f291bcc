"""Replay of the stored history: the derived state must come out of blocks and milestones alone."""

from __future__ import annotations

from collections.abc import Mapping

from ledger_client.localnode.confirmation import Cone, Roots, apply_cone, book_genesis
from ledger_client.localnode.errors import LedgerCorruptError
from ledger_client.localnode.store import MilestoneRow, Store
from ledger_client.localnode.tangle import white_flag_order
from ledger_client.stardust.block import Block, block_id
from ledger_client.stardust.codec import ID_LENGTH, StardustSyntaxError
from ledger_client.stardust.milestone import Milestone


def replay(store: Store, genesis: Mapping[bytes, int], threshold: int) -> None:
    """Derive the ledger again, inside a write of ``store``; the caller undoes it on an error.

    Checks every block id, milestone chain, signature count and both roots. Raises
    LedgerCorruptError.
    """
    blocks = _load_blocks(store)
    store.forget_ledger()
    book_genesis(store, genesis)
    previous: MilestoneRow | None = None
    for row in store.all_milestones():
        milestone = _checked(row, previous, threshold)
        _replay_one(store, milestone, blocks)
        previous = row


def _load_blocks(store: Store) -> dict[bytes, Block]:
    blocks: dict[bytes, Block] = {}
    for row in store.all_blocks():
        if block_id(row.data) != row.block_id:
            raise LedgerCorruptError(f"block {row.block_id.hex()}: bytes of another; use a backup")
        try:
            blocks[row.block_id] = Block.decode(row.data)
        except StardustSyntaxError as error:
            raise LedgerCorruptError(f"block {row.block_id.hex()}: {error}") from error
    return blocks


def _checked(row: MilestoneRow, previous: MilestoneRow | None, threshold: int) -> Milestone:
    try:
        milestone = Milestone.decode(row.payload)
    except StardustSyntaxError as error:
        raise LedgerCorruptError(f"milestone {row.index}: {error}; restore a backup") from error
    essence = milestone.essence
    follows = (
        essence.index == row.index == (previous.index + 1 if previous else 1)
        and essence.previous_id == (previous.milestone_id if previous else bytes(ID_LENGTH))
        and essence.timestamp > (previous.timestamp if previous else -1)
        and (essence.id(), essence.timestamp) == (row.milestone_id, row.timestamp)
    )
    if not follows:
        raise LedgerCorruptError(f"milestone {row.index} does not follow the one before")
    keys = {item.public_key for item in milestone.signatures}
    if milestone.count_valid(keys) != len(keys) or len(keys) < threshold:
        raise LedgerCorruptError(f"milestone {row.index}: signatures are wrong or too few")
    return milestone


def _replay_one(store: Store, milestone: Milestone, unreferenced: dict[bytes, Block]) -> None:
    """Apply what ``milestone`` references and take it out of ``unreferenced``."""
    essence = milestone.essence
    parents = {identifier: block.parents for identifier, block in unreferenced.items()}
    order = white_flag_order(essence.parents, parents)
    blocks = tuple((identifier, unreferenced.pop(identifier)) for identifier in order)
    roots = apply_cone(store, Cone(essence.index, essence.timestamp, blocks))
    if roots != Roots(essence.inclusion_root, essence.applied_root):
        raise LedgerCorruptError(
            f"milestone {essence.index}: replay gives other roots; stop and restore a backup"
        )
