"""How much of the ledger a viewer sees: amounts divided by a public price give energy.

The manager sees all of it, a prosumer of the transactions the inputs and outputs of their own
addresses, the grid operator neither amounts nor addresses. People appear by name only where the
viewer may open their pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger_client import verify
from ledger_client.reader import CONFLICT_WORDS, BlockRecord, OutputRecord
from ledger_client.reader import BlockState as RecordState
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.stardust.codec import blake2b_256
from ledger_client.stardust.transaction import (
    ReferenceUnlock,
    SignatureUnlock,
    TaggedData,
    Transaction,
    output_id,
)
from web.ports import Role
from web.ports.ledger import (
    BlockKind,
    BlockLine,
    BlockState,
    CoinLine,
    DataView,
    TransactionView,
)

_SHOWN_BYTES: Final = 512
_STATES: Final = {
    RecordState.PENDING: BlockState.PENDING,
    RecordState.REFERENCED: BlockState.CONFIRMED,
    RecordState.CONFLICTING: BlockState.CONFLICTING,
}

Outputs = Callable[[bytes], OutputRecord | None]


@dataclass(frozen=True, slots=True)
class Sight:
    """What a viewer may see; ``names`` of addresses are those of people whose pages they open."""

    role: Role
    hrp: str
    names: Mapping[bytes, str]

    def sees(self, address: bytes | None) -> bool:
        """Return whether an owner's coins may be shown."""
        if self.role is Role.MANAGER:
            return True
        return self.role is Role.PROSUMER and address in self.names

    def text(self, address: bytes) -> str:
        """Return an address as text."""
        return encode_address_text(self.hrp, address)

    def others(self, address: bytes) -> list[str]:
        """Return a prosumer's other addresses: a new one is used each month."""
        return [self.text(each) for each in self.names if self._is_own(each) and each != address]

    def coin(self, found: OutputRecord) -> CoinLine:
        """Return a booked output."""
        return CoinLine(
            output_id=found.output_id.hex(),
            address=self.text(found.output.address),
            owner=self.names.get(found.output.address),
            own=self._is_own(found.output.address),
            micro=found.output.units,
            spent_index=found.spent_index,
            block_id=found.block_id.hex() if any(found.block_id) else None,
        )

    def transaction(self, transaction: Transaction, outputs: Outputs) -> TransactionView:
        """Return a transaction as far as it may be seen; ``outputs`` finds what is spent."""
        inputs, created = self._inputs(transaction, outputs), self._created(transaction)
        return TransactionView(
            transaction_id=transaction.id().hex(),
            inputs=inputs,
            outputs=created,
            hidden_inputs=len(transaction.essence.inputs) - len(inputs),
            hidden_outputs=len(transaction.essence.outputs) - len(created),
            amounts_hidden=self.role is Role.OPERATOR,
        )

    def _inputs(self, transaction: Transaction, outputs: Outputs) -> list[CoinLine]:
        lines = []
        for position, item in enumerate(transaction.essence.inputs):
            owner = unlocker(transaction, position)
            if not self.sees(owner):
                continue
            spent = outputs(item)
            lines.append(
                CoinLine(
                    output_id=item.hex(),
                    address=self.text(owner),
                    owner=self.names.get(owner),
                    own=self._is_own(owner),
                    micro=spent.output.units if spent else None,
                )
            )
        return lines

    def _created(self, transaction: Transaction) -> list[CoinLine]:
        identifier = transaction.id()
        return [
            CoinLine(
                output_id=output_id(identifier, position).hex(),
                address=self.text(output.address),
                owner=self.names.get(output.address),
                own=self._is_own(output.address),
                micro=output.units,
            )
            for position, output in enumerate(transaction.essence.outputs)
            if self.sees(output.address)
        ]

    def _is_own(self, address: bytes) -> bool:
        return self.role is Role.PROSUMER and address in self.names


def unlocker(transaction: Transaction, position: int) -> bytes:
    """Return the address whose key unlocks an input: the hash of the key that signed (TIP-20)."""
    unlock = transaction.unlocks[position]
    if isinstance(unlock, ReferenceUnlock):
        unlock = transaction.unlocks[unlock.index]
    return blake2b_256(unlock.public_key) if isinstance(unlock, SignatureUnlock) else b""


def tagged_data(block: BlockRecord) -> TaggedData | None:
    """Return the tagged data that a block carries, on its own or inside a transaction."""
    if isinstance(block.payload, TaggedData):
        return block.payload
    return block.transaction.essence.payload if block.transaction else None


def checkpoint(data: TaggedData, origin: str, keys: Sequence[bytes]) -> verify.Checkpoint | None:
    """Return the checkpoint of an anchor that a log key of ``origin`` signed, else None."""
    if data.tag != verify.anchor_tag(origin):
        return None
    try:
        return verify.open_note(verify.AnchorData.read(data.data).note, origin, keys)
    except verify.VerifyError:
        return None


def kind_of(block: BlockRecord, origin: str, keys: Sequence[bytes]) -> BlockKind:
    """Return what a block is for; an anchor is one only with the log key's signature."""
    if block.payload is None:
        return BlockKind.EMPTY if block.readable else BlockKind.OTHER
    if block.milestone:
        return BlockKind.MILESTONE
    data = tagged_data(block)
    if block.transaction:
        pays = data is not None and data.tag == verify.PAY_TAG
        return BlockKind.PAYMENT if pays else BlockKind.TRANSFER
    genuine = data is not None and checkpoint(data, origin, keys) is not None
    return BlockKind.ANCHOR if genuine else BlockKind.DATA


def line(block: BlockRecord, origin: str, keys: Sequence[bytes]) -> BlockLine:
    """Return a block as one line of a list, or one node of a picture."""
    conflict = CONFLICT_WORDS.get(block.conflict, CONFLICT_WORDS[255]) if block.conflict else None
    return BlockLine(
        block_id=block.block_id.hex(),
        kind=kind_of(block, origin, keys),
        state=BlockState.CONFIRMED if block.milestone else _STATES[block.state],
        parents=tuple(parent.hex() for parent in block.parents),
        referenced_by=block.referenced_by,
        conflict=conflict,
        milestone=block.milestone.essence.index if block.milestone else None,
    )


def data_view(data: TaggedData) -> DataView:
    """Return tagged data as hex, and as text where it is printable."""
    return DataView(
        tag=data.tag.hex(),
        tag_text=_printable(data.tag),
        data=data.data[:_SHOWN_BYTES].hex(),
        data_text=_printable(data.data[:_SHOWN_BYTES]),
        size_bytes=len(data.data),
    )


def _printable(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if text and all(sign.isprintable() or sign == "\n" for sign in text) else None
