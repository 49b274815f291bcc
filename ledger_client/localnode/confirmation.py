"""What a milestone does to the ledger: white-flag application of blocks in order (TIP-2).

The same code runs when a milestone is issued and when the history is replayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ledger_client.localnode.semantics import ConflictReason, find_conflict
from ledger_client.localnode.store import OutputRow, Store
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import ID_LENGTH
from ledger_client.stardust.merkle import merkle_root
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import Transaction, output_id


@dataclass(frozen=True, slots=True)
class Cone:
    """The blocks that one milestone newly references, in white-flag order, with its time."""

    index: int
    timestamp: int
    blocks: tuple[tuple[bytes, Block], ...]


@dataclass(frozen=True, slots=True)
class Roots:
    """The two Merkle roots of a milestone (TIP-4)."""

    inclusion: bytes
    applied: bytes


def book_genesis(store: Store, genesis: Mapping[bytes, int]) -> None:
    """Book the genesis outputs: the whole supply, of the all-zero transaction, by address."""
    outputs = [BasicOutput.to(address, units) for address, units in sorted(genesis.items())]
    store.book_outputs(_rows(outputs, bytes(ID_LENGTH), bytes(ID_LENGTH), Cone(0, 0, ())))


def apply_cone(store: Store, cone: Cone) -> Roots:
    """Apply the cone's transactions to the stored ledger and return the roots.

    Runs inside a write of ``store``. Conflicting transactions are ignored, with their reason.
    """
    applied: list[bytes] = []
    references: list[tuple[int, int, int | None, bytes]] = []
    for position, (block_id, block) in enumerate(cone.blocks):
        conflict: int | None = None
        if isinstance(block.payload, Transaction):
            conflict = _apply(store, block_id, block.payload, cone)
            if conflict == ConflictReason.NONE:
                applied.append(block_id)
        references.append((cone.index, position, conflict, block_id))
    store.reference_blocks(references)
    return Roots(merkle_root([block_id for block_id, _ in cone.blocks]), merkle_root(applied))


def _apply(store: Store, block_id: bytes, transaction: Transaction, cone: Cone) -> int:
    consumed: list[bytes] = []
    for item in transaction.essence.inputs:
        row = store.output(item)
        if row is None:
            return ConflictReason.NOT_FOUND
        if row.spent_index is not None:
            same = row.spent_index == cone.index
            return ConflictReason.SPENT_IN_MILESTONE if same else ConflictReason.SPENT
        consumed.append(row.data)
    conflict = find_conflict(transaction, consumed, cone.timestamp)
    if conflict == ConflictReason.NONE:
        transaction_id = transaction.id()
        store.spend_outputs(transaction.essence.inputs, cone.index, cone.timestamp, transaction_id)
        store.book_outputs(_rows(transaction.essence.outputs, transaction_id, block_id, cone))
    return conflict


def _rows(
    outputs: Iterable[BasicOutput], transaction_id: bytes, block_id: bytes, cone: Cone
) -> list[OutputRow]:
    return [
        OutputRow(
            output_id(transaction_id, position),
            output.encode(),
            output.address,
            output.units,
            int(output.is_plain),
            block_id,
            cone.index,
            cone.timestamp,
        )
        for position, output in enumerate(outputs)
    ]
