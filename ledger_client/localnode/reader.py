"""Reading the embedded node's ledger: satisfies :class:`~ledger_client.reader.LedgerReader`."""

from __future__ import annotations

from collections.abc import Sequence

from ledger_client.localnode.node import LocalNode
from ledger_client.localnode.semantics import ConflictReason
from ledger_client.localnode.store import BlockRow, MilestoneRow, OutputRow
from ledger_client.reader import (
    AddressRecord,
    BlockRecord,
    Blocks,
    LedgerReader,
    MilestoneRecord,
    NetworkRecord,
    OutputRecord,
    parents_of,
    read_block,
    walk_back,
)
from ledger_client.stardust.codec import MAX_U32
from ledger_client.stardust.milestone import Milestone
from ledger_client.stardust.output import BasicOutput

CHILD_WINDOW = 1_000
"""So many blocks that arrived after a block are searched for its children."""
STEPS_AFTER = 3
"""The picture of a block shows later ones up to so many steps away: it is about this block."""


class LocalReader(LedgerReader):
    """Looks into the store of a :class:`LocalNode` in this process; it never writes."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self._store = node.store

    def network(self) -> NetworkRecord:
        """Return the network's settings and counters; see the protocol."""
        stats, settings = self._node.stats(), self._node.settings
        return NetworkRecord(
            settings.network,
            settings.hrp,
            settings.supply_units,
            self._node.latest_milestone().index,
            stats.blocks,
            stats.transfers_confirmed,
        )

    def milestones(self, before: int | None, limit: int) -> Sequence[MilestoneRecord]:
        """Return milestones, newest first; see the protocol."""
        with self._store.lock:
            return [self._milestone(row) for row in self._store.milestones_below(before, limit)]

    def milestone(self, identifier: int | bytes) -> MilestoneRecord | None:
        """Return a milestone by index or id; see the protocol."""
        with self._store.lock:
            if isinstance(identifier, int):
                row = self._store.milestone_at(identifier) if identifier <= MAX_U32 else None
            else:
                row = self._store.milestone(identifier)
            return self._milestone(row) if row else None

    def cone(self, index: int, limit: int) -> Blocks | None:
        """Return what a milestone refers to; see the protocol."""
        with self._store.lock:
            if self.milestone(index) is None:
                return None
            rows = self._store.referenced_blocks(index, limit + 1)
        blocks = tuple(map(_block, rows[:limit]))
        return Blocks(blocks, complete=len(rows) <= limit)

    def block(self, identifier: bytes) -> BlockRecord | None:
        """Return a block; see the protocol."""
        row = self._store.block(identifier)
        return _block(row) if row else None

    def children(self, identifier: bytes) -> tuple[bytes, ...] | None:
        """Return the children among the next blocks to arrive; see the protocol."""
        return tuple(block.block_id for block in self._after(identifier, 1))

    def carrier(self, transaction_id: bytes) -> bytes | None:
        """Return the block with a transaction, the applied one first; see the protocol."""
        rows = self._store.blocks_with_payload(transaction_id)
        applied = (row for row in rows if row.conflict == ConflictReason.NONE)
        chosen = next(applied, rows[0] if rows else None)
        return chosen.block_id if chosen else None

    def output(self, output_id: bytes) -> OutputRecord | None:
        """Return an output; see the protocol."""
        row = self._store.output(output_id)
        return _output(row) if row else None

    def address(self, address: bytes, limit: int) -> AddressRecord:
        """Return an address's outputs; see the protocol."""
        with self._store.lock:
            unspent = self._store.unspent_of(address)
            spent = self._store.spent_of(address, limit)
        return AddressRecord(
            address,
            tuple(map(_output, unspent[:limit])),
            len(unspent) <= limit,
            tuple(map(_output, spent)),
        )

    def around(self, identifier: bytes | None, limit: int) -> Blocks | None:
        """Return the blocks around one, or behind the tips; see the protocol."""
        if identifier is None:
            starts = (*self._node.tips(), self._node.latest_milestone().block_id)
            return walk_back(starts, limit, self.block)
        if self._store.block(identifier) is None:
            return None
        after = self._after(identifier, STEPS_AFTER)[: limit // 2]
        past = walk_back([identifier], limit - len(after), self.block)
        return Blocks((*after, *past.blocks), past.complete)

    def _after(self, identifier: bytes, steps: int) -> list[BlockRecord]:
        """Return the later blocks from which the block is at most so many steps away."""
        found, away = [], {identifier: 0}
        for row in self._store.blocks_after(identifier, CHILD_WINDOW):
            near = [away[parent] for parent in parents_of(row.data) if parent in away]
            if near and min(near) < steps:
                away[row.block_id] = min(near) + 1
                found.append(_block(row))
        return found

    def _milestone(self, row: MilestoneRow) -> MilestoneRecord:
        count = self._store.count_referenced(row.index)
        return MilestoneRecord(Milestone.decode(row.payload), count)


def _block(row: BlockRow) -> BlockRecord:
    return read_block(row.data, row.milestone_index, row.conflict)


def _output(row: OutputRow) -> OutputRecord:
    return OutputRecord(
        row.output_id,
        BasicOutput.decode(row.data),
        row.block_id,
        row.booked_index,
        row.spent_index,
        row.spent_transaction,
    )
