"""Replay of the stored history: the derived state must come out of blocks and milestones alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from ledger_client.localnode.confirmation import Cone, Roots, book_genesis, confirm
from ledger_client.localnode.door import Candidate
from ledger_client.localnode.errors import LedgerCorruptError
from ledger_client.localnode.semantics import TransactionRules, is_sound
from ledger_client.localnode.store import MilestoneRow, NewBlock, Store
from ledger_client.localnode.tangle import SOLID_ENTRY_POINT, white_flag_order
from ledger_client.stardust.block import Block, block_id
from ledger_client.stardust.codec import ID_LENGTH, StardustSyntaxError
from ledger_client.stardust.milestone import Milestone
from ledger_client.stardust.transaction import Transaction
from ledger_client.verify import Milestones, RefusedError, check_milestone


def replay(
    store: Store,
    genesis: Mapping[bytes, int],
    pinned: Milestones,
    rules: TransactionRules | None = None,
) -> None:
    """Derive the ledger again, inside a write of ``store``; the caller undoes it on an error.

    Checks every block's id and what is stored beside its bytes, the chain of milestones, their
    signatures by keys pinned for their index, and both roots. Reads the blocks one by one in their
    order of arrival and keeps, of those that no milestone references yet, the parents alone. With
    ``rules`` each transaction is held to them, which a node of ours did before it stored it.
    Raises LedgerCorruptError.
    """
    store.forget_ledger()
    book_genesis(store, genesis)
    milestones = _chain(store, pinned)
    waiting = _Waiting(store, rules)
    due = next(milestones, None)
    for row in store.each_block():
        identifier, block = row.block_id, _decoded(row)
        if due is not None and identifier == due[0]:
            if block.payload != due[1]:
                raise LedgerCorruptError(f"block {identifier.hex()}: not the milestone's")
            waiting.confirm(due[1])
            due = next(milestones, None)
        waiting.add(identifier, block)
    if due is not None:
        raise LedgerCorruptError(f"milestone {due[1].essence.index}: its block is missing")


def _chain(store: Store, pinned: Milestones) -> Iterator[tuple[bytes, Milestone]]:
    """Yield (block id, milestone) by rising index, each checked against the one before."""
    previous: MilestoneRow | None = None
    for index in range(1, store.count("milestones") + 1):
        row = store.milestone_at(index)
        if row is None:
            raise LedgerCorruptError(f"milestone {index} is missing; restore a backup")
        yield row.block_id, _checked(row, previous, pinned)
        previous = row


def _checked(row: MilestoneRow, previous: MilestoneRow | None, pinned: Milestones) -> Milestone:
    try:
        milestone = Milestone.decode(row.payload)
        check_milestone(row.payload, pinned)
    except (StardustSyntaxError, RefusedError) as error:
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
    return milestone


def _decoded(row: NewBlock) -> Block:
    name = f"block {row.block_id.hex()}"
    if block_id(row.data) != row.block_id:
        raise LedgerCorruptError(f"{name}: bytes of another; use a backup")
    try:
        block = Block.decode(row.data)
    except StardustSyntaxError as error:
        raise LedgerCorruptError(f"{name}: {error}") from error
    if Candidate.of(block, row.data).row != row:
        raise LedgerCorruptError(f"{name}: its tag or payload id is another's; use a backup")
    return block


@dataclass(slots=True)
class _Waiting:
    """The blocks that no milestone replayed so far references: parents, and who pays."""

    store: Store
    rules: TransactionRules | None
    parents: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    transactions: set[bytes] = field(default_factory=set)
    unsound: set[bytes] = field(default_factory=set)

    def add(self, identifier: bytes, block: Block) -> None:
        """Take the next block in order of arrival."""
        self.parents[identifier] = block.parents
        if isinstance(block.payload, Transaction):
            self.transactions.add(identifier)
            if self.rules is not None and not is_sound(block.payload, self.rules):
                self.unsound.add(identifier)

    def confirm(self, milestone: Milestone) -> None:
        """Apply what ``milestone`` references, and forget it."""
        essence = milestone.essence
        order = white_flag_order(essence.parents, self.parents)
        cone = Cone(essence.index, essence.timestamp, order)
        mutation = confirm(cone, self._transaction, self.store.output, self.unsound)
        if mutation.roots() != Roots(essence.inclusion_root, essence.applied_root):
            self._require_all(essence.index, essence.parents, order)
            raise LedgerCorruptError(
                f"milestone {essence.index}: replay gives other roots; stop and restore a backup"
            )
        mutation.apply(self.store)
        for identifier in order:
            del self.parents[identifier]
        self.transactions.difference_update(order)
        self.unsound.difference_update(order)

    def _require_all(self, index: int, parents: tuple[bytes, ...], order: list[bytes]) -> None:
        """Raise if a block that the milestone references, itself or through others, is gone."""
        for parent in chain(parents, *map(self.parents.__getitem__, order)):
            if parent != SOLID_ENTRY_POINT and not self.store.has_block(parent):
                raise LedgerCorruptError(
                    f"milestone {index}: block {parent.hex()} is missing; use a backup"
                )

    def _transaction(self, identifier: bytes) -> Transaction | None:
        return self.store.transaction(identifier) if identifier in self.transactions else None
