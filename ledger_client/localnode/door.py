"""What a block has to be before it may enter the Tangle, whatever is there already; pure."""

from __future__ import annotations

from dataclasses import dataclass

from ledger_client.localnode.errors import BlockRefusedError, ProofOfWorkMissingError
from ledger_client.localnode.semantics import TransactionRules, check_syntax
from ledger_client.localnode.store import NewBlock
from ledger_client.stardust.block import Block, Payload, block_id
from ledger_client.stardust.codec import ID_LENGTH, StardustSyntaxError, blake2b_256
from ledger_client.stardust.milestone import Milestone
from ledger_client.stardust.pow import score
from ledger_client.stardust.transaction import TaggedData, Transaction

_HEAD_LENGTH, _LENGTH_LENGTH, _NONCE_LENGTH = 2, 4, 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sound block: what is stored of it, and its parents."""

    row: NewBlock
    parents: tuple[bytes, ...]

    @property
    def has_transaction(self) -> bool:
        """Whether it carries a transaction."""
        return self.row.payload_type == Transaction.TYPE

    @classmethod
    def of(cls, block: Block, data: bytes) -> Candidate:
        """Take apart a block and its bytes."""
        payload = block.payload
        start = _HEAD_LENGTH + ID_LENGTH * len(block.parents) + _LENGTH_LENGTH
        row = NewBlock(
            block_id(data),
            data,
            payload.TYPE if payload else None,
            blake2b_256(data[start:-_NONCE_LENGTH]) if payload else None,
            payload.tag if isinstance(payload, TaggedData) else None,
        )
        return cls(row, block.parents)


@dataclass(frozen=True, slots=True)
class Door:
    """Judges blocks one by one by the network's rules."""

    rules: TransactionRules
    min_pow_score: int

    def judge(self, data: bytes) -> Candidate | BlockRefusedError:
        """Return what a serialised block is, or why it is refused."""
        try:
            block = Block.decode(data)
            if isinstance(block.payload, Milestone):
                return BlockRefusedError("block: only this node issues milestones")
            self.check(block.payload)
        except StardustSyntaxError as error:
            return BlockRefusedError(str(error))
        if self.min_pow_score and score(data) < self.min_pow_score:
            return ProofOfWorkMissingError(
                f"block: its proof of work scores below {self.min_pow_score}; mine a nonce (TIP-12)"
            )
        return Candidate.of(block, data)

    def check(self, payload: Payload | None) -> None:
        """Raise StardustSyntaxError unless the payload may enter the Tangle."""
        if isinstance(payload, Transaction):
            check_syntax(payload, self.rules)
