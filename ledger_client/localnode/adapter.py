"""The embedded node behind the ledger port."""

from __future__ import annotations

from typing import Literal

from ledger_client.ledger import (
    Balance,
    InclusionProof,
    Ledger,
    LedgerRefusedError,
    TransferStatus,
    UnspentOutput,
)
from ledger_client.localnode.node import LocalNode
from ledger_client.localnode.semantics import ConflictReason
from ledger_client.localnode.store import BlockRow
from ledger_client.stardust.codec import StardustSyntaxError, blake2b_256
from ledger_client.stardust.merkle import inclusion_path
from ledger_client.stardust.transaction import TaggedData, Transaction

_SPENT = {ConflictReason.SPENT, ConflictReason.SPENT_IN_MILESTONE}


class LocalLedger(Ledger):
    """Adapts :class:`LocalNode` to the port.

    When the node has no milestone interval, asking for the fate of a pending block issues the
    milestone that decides it, so that a simulation confirms as fast as it asks.
    """

    def __init__(self, node: LocalNode) -> None:
        self.node = node

    def anchor(self, tag: bytes, data: bytes) -> bytes:
        """Attach tagged data; see the port."""
        try:
            payload = TaggedData(tag, data)
        except StardustSyntaxError as error:
            raise LedgerRefusedError(str(error)) from error
        with self.node.store.lock:
            there = self.node.store.blocks_with_payload(blake2b_256(payload.encode()))
            return there[0].block_id if there else self.node.submit(payload)

    def transfer(self, transaction_payload: bytes) -> bytes:
        """Attach a transaction unless that is done or can never succeed; see the port."""
        try:
            transaction = Transaction.decode(transaction_payload)
        except StardustSyntaxError as error:
            raise LedgerRefusedError(str(error)) from error
        transaction_id = blake2b_256(transaction_payload)
        with self.node.store.lock:
            there = self.node.store.blocks_with_payload(transaction_id)
            if not any(_settles(row) for row in there):
                self.node.submit(transaction)
        return transaction_id

    def status(self, identifier: bytes) -> TransferStatus:
        """Return what became of a transaction or a block; see the port."""
        status = self._status(identifier)
        # Twice at most: the first milestone may have been drafted before the block came.
        while status is TransferStatus.PENDING and self._decide():
            status = self._status(identifier)
        return status

    def inclusion_proof(self, identifier: bytes) -> InclusionProof | None:
        """Return the proof for a block id or a transaction id; see the port."""
        proof = self._proof(identifier)
        while proof is None and self._is_pending(identifier) and self._decide():
            proof = self._proof(identifier)
        return proof

    def balance(self, address: bytes) -> Balance:
        """Return what an address can spend; see the port."""
        outputs = tuple(
            UnspentOutput(row.output_id, row.data, row.units)
            for row in self.node.store.unspent_of(address)
            if row.is_plain
        )
        return Balance(sum(output.units for output in outputs), outputs)

    def _decide(self) -> bool:
        """Issue a milestone if the node does so on demand; return whether it did."""
        if self.node.settings.milestone_interval_s is not None:
            return False
        self.node.issue_milestone()
        return True

    def _status(self, identifier: bytes) -> TransferStatus:
        rows = self._rows(identifier)
        if any(_took_effect(row) for row in rows):
            return TransferStatus.CONFIRMED
        if any(row.milestone_index is None for row in rows):
            return TransferStatus.PENDING
        return TransferStatus.CONFLICTING if rows else TransferStatus.UNKNOWN

    def _rows(self, identifier: bytes) -> list[BlockRow]:
        """Return the block with this id, or the blocks that carry the transaction with this id."""
        row = self.node.store.block(identifier)
        return [row] if row else self.node.store.blocks_with_payload(identifier)

    def _is_pending(self, identifier: bytes) -> bool:
        return any(row.milestone_index is None for row in self._rows(identifier))

    def _proof(self, identifier: bytes) -> InclusionProof | None:
        row = self.node.store.block(identifier)
        if row is not None:
            return self._proof_of(row, "inclusion")
        rows = self.node.store.blocks_with_payload(identifier)
        applied = next((row for row in rows if row.conflict == ConflictReason.NONE), None)
        return self._proof_of(applied, "applied") if applied else None

    def _proof_of(
        self, row: BlockRow, root: Literal["inclusion", "applied"]
    ) -> InclusionProof | None:
        if row.milestone_index is None:
            return None
        milestone = self.node.store.milestone_at(row.milestone_index)
        if milestone is None:  # pragma: no cover - written in one commit with the reference
            return None
        ids = self.node.store.referenced_ids(row.milestone_index, applied_only=root == "applied")
        path = inclusion_path(ids, ids.index(row.block_id))
        return InclusionProof(milestone.payload, milestone.index, row.data, path, root)


def _took_effect(row: BlockRow) -> bool:
    """Whether a milestone references the block, and applied it if it is a transaction's."""
    return row.milestone_index is not None and row.conflict in {None, ConflictReason.NONE}


def _settles(row: BlockRow) -> bool:
    """Whether attaching the same transaction again would be pointless."""
    return row.milestone_index is None or row.conflict in {ConflictReason.NONE, *_SPENT}
