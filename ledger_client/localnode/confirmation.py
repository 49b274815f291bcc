"""What a milestone does to the ledger: white-flag application of blocks in order (TIP-2); pure.

The same code runs when a milestone is drafted and when the history is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ledger_client.localnode.semantics import ConflictReason, find_conflict
from ledger_client.localnode.store import OutputRow, Store
from ledger_client.stardust.codec import ID_LENGTH
from ledger_client.stardust.merkle import merkle_root
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import Transaction, output_id


@dataclass(frozen=True, slots=True)
class Cone:
    """The blocks that one milestone newly references, in white-flag order, with its time."""

    index: int
    timestamp: int
    block_ids: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Roots:
    """The two Merkle roots of a milestone (TIP-4)."""

    inclusion: bytes
    applied: bytes


@dataclass(slots=True)
class Mutation:
    """What a cone does to the ledger, before it is done: nothing is stored until :meth:`apply`.

    ``conflicts`` has, for each block of the cone, the reason that was found for its transaction;
    None for everything else. ``spent`` gives the consuming transaction of each consumed output.
    """

    cone: Cone
    conflicts: list[int | None] = field(default_factory=list)
    spent: dict[bytes, bytes] = field(default_factory=dict)
    booked: dict[bytes, OutputRow] = field(default_factory=dict)

    def roots(self) -> Roots:
        """Return the roots that the milestone has to carry."""
        ids = self.cone.block_ids
        applied = [
            block_id
            for block_id, conflict in zip(ids, self.conflicts, strict=True)
            if conflict == ConflictReason.NONE
        ]
        return Roots(merkle_root(ids), merkle_root(applied))

    def apply(self, store: Store) -> None:
        """Write it all, inside a write of ``store``."""
        cone = self.cone
        marked = enumerate(zip(cone.block_ids, self.conflicts, strict=True))
        store.reference_blocks(
            (cone.index, position, conflict, block_id) for position, (block_id, conflict) in marked
        )
        store.book_outputs(self.booked.values())
        store.spend_outputs(cone.index, cone.timestamp, self.spent)


def book_genesis(store: Store, genesis: Mapping[bytes, int]) -> None:
    """Book the genesis outputs: the whole supply, of the all-zero transaction, by address."""
    outputs = [BasicOutput.to(address, units) for address, units in sorted(genesis.items())]
    store.book_outputs(_rows(outputs, bytes(ID_LENGTH), bytes(ID_LENGTH), Cone(0, 0, ())))


def confirm(
    cone: Cone,
    transaction_of: Callable[[bytes], Transaction | None],
    output_of: Callable[[bytes], OutputRow | None],
    unsound: Collection[bytes] = (),
) -> Mutation:
    """Return what the cone does to the ledger that ``output_of`` reads; it is not changed.

    ``transaction_of`` gives the transaction of a block by id, if it carries one. Conflicting
    transactions are ignored, with their reason, and so are those of the blocks in ``unsound``:
    nodes of another make let them in.
    """
    mutation = Mutation(cone)
    for block_id in cone.block_ids:
        transaction = transaction_of(block_id)
        conflict = None
        if block_id in unsound:
            conflict = ConflictReason.INVALID_SIGNATURE
        elif transaction is not None:
            conflict = _take(mutation, block_id, transaction, output_of)
        mutation.conflicts.append(conflict)
    return mutation


def _take(
    mutation: Mutation,
    block_id: bytes,
    transaction: Transaction,
    output_of: Callable[[bytes], OutputRow | None],
) -> ConflictReason:
    consumed: list[bytes] = []
    # As Hornet does, input by input: unknown, spent here, spent before; then all the rest.
    for item in transaction.essence.inputs:
        if item in mutation.spent:
            return ConflictReason.SPENT_IN_MILESTONE
        row = mutation.booked.get(item) or output_of(item)
        if row is None:
            return ConflictReason.NOT_FOUND
        if row.spent_index is not None:
            return ConflictReason.SPENT
        consumed.append(row.data)
    cone = mutation.cone
    conflict = find_conflict(transaction, consumed, cone.timestamp)
    if conflict is ConflictReason.NONE:
        transaction_id = transaction.id()
        mutation.spent |= dict.fromkeys(transaction.essence.inputs, transaction_id)
        made = _rows(transaction.essence.outputs, transaction_id, block_id, cone)
        mutation.booked |= {row.output_id: row for row in made}
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
