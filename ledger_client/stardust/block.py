"""Blocks, the vertices of the Tangle (TIP-24)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ledger_client.stardust.codec import MAX_U64, Reader, blake2b_256, require, u8, u32, u64
from ledger_client.stardust.milestone import (
    PROTOCOL_VERSION,
    Milestone,
    read_parents,
    require_parents,
)
from ledger_client.stardust.transaction import TaggedData, Transaction

MAX_BLOCK_LENGTH = 32_768

Payload: TypeAlias = TaggedData | Transaction | Milestone
_PAYLOADS: dict[int, type[Payload]] = {
    TaggedData.TYPE: TaggedData,
    Transaction.TYPE: Transaction,
    Milestone.TYPE: Milestone,
}


def decode_payload(data: bytes) -> Payload:
    """Parse a payload of any known type; refuses trailing bytes."""
    kind = int.from_bytes(data[:4], "little")
    require(len(data) >= 4 and kind in _PAYLOADS, f"payload: type {kind} is unknown")
    return _PAYLOADS[kind].decode(data)


@dataclass(frozen=True, slots=True)
class Block:
    """A block with 1 to 8 parents (sorted, unique 32-byte block ids) and an optional payload."""

    parents: tuple[bytes, ...]
    payload: Payload | None = None
    nonce: int = 0

    def __post_init__(self) -> None:
        require_parents(self.parents, "block")
        require(0 <= self.nonce <= MAX_U64, f"block: nonce {self.nonce} out of range")
        if isinstance(self.payload, Milestone):
            matches = self.payload.essence.parents == self.parents and self.nonce == 0
            require(matches, "block: a milestone's parents are its block's, and its nonce is 0")

    def encode(self) -> bytes:
        """Serialise as of TIP-24; at most 32,768 bytes."""
        payload = b"" if self.payload is None else self.payload.encode()
        data = b"".join(
            (
                u8(PROTOCOL_VERSION) + u8(len(self.parents)),
                *self.parents,
                u32(len(payload)) + payload + u64(self.nonce),
            )
        )
        require(len(data) <= MAX_BLOCK_LENGTH, f"block: {len(data)} bytes, at most 32768")
        return data

    def id(self) -> bytes:
        """Return the block id: the hash of the serialised block."""
        return block_id(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> Block:
        """Parse a whole block; refuses trailing bytes and more than 32,768 bytes."""
        require(len(data) <= MAX_BLOCK_LENGTH, f"block: {len(data)} bytes, at most 32768")
        reader = Reader(data, "block")
        reader.constant(PROTOCOL_VERSION, 1, "protocol version")
        parents = read_parents(reader)
        payload = reader.blob(4, "payload")
        nonce = reader.number(8, "nonce")
        reader.done()
        return cls(parents, decode_payload(payload) if payload else None, nonce)


def block_id(data: bytes) -> bytes:
    """Return the id of a serialised block."""
    return blake2b_256(data)
