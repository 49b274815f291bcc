"""Milestone payloads (TIP-29) and their k-of-n Ed25519 signatures."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import ClassVar

from nacl.signing import SigningKey

from ledger_client.stardust.codec import (
    ID_LENGTH,
    MAX_U32,
    SIGNATURE_LENGTH,
    Reader,
    blake2b_256,
    require,
    require_length,
    require_sorted_unique,
    u8,
    u16,
    u32,
)
from ledger_client.stardust.output import MAX_METADATA_LENGTH
from ledger_client.stardust.signature import is_valid_signature
from ledger_client.stardust.transaction import encode_signature, read_signature

MAX_PARENTS = 8
PROTOCOL_VERSION = 2


def require_parents(parents: tuple[bytes, ...], what: str) -> None:
    """Refuse anything but 1 to 8 sorted, unique block ids (TIP-24)."""
    require(0 < len(parents) <= MAX_PARENTS, f"{what}: {len(parents)} parents, must be 1 to 8")
    for parent in parents:
        require_length(parent, ID_LENGTH, f"{what}: parent")
    require_sorted_unique(parents, f"{what}: parents")


def read_parents(reader: Reader) -> tuple[bytes, ...]:
    """Read a counted list of parents."""
    count = reader.count(1, MAX_PARENTS, 1, "parent count")
    return tuple(reader.take(ID_LENGTH, "parent") for _ in range(count))


@dataclass(frozen=True, slots=True)
class MilestoneEssence:
    """The signed part of a milestone; ``timestamp`` in seconds since the Unix epoch."""

    index: int
    timestamp: int
    previous_id: bytes
    parents: tuple[bytes, ...]
    inclusion_root: bytes
    applied_root: bytes
    metadata: bytes = b""

    def __post_init__(self) -> None:
        require(0 < self.index <= MAX_U32, f"milestone: index {self.index} out of range")
        require(0 <= self.timestamp <= MAX_U32, f"milestone: timestamp {self.timestamp}")
        require_length(self.previous_id, ID_LENGTH, "milestone: previous id")
        require_parents(self.parents, "milestone")
        require_length(self.inclusion_root, ID_LENGTH, "milestone: inclusion root")
        require_length(self.applied_root, ID_LENGTH, "milestone: applied root")
        require(len(self.metadata) <= MAX_METADATA_LENGTH, "milestone: metadata exceeds 8192 bytes")

    def encode(self) -> bytes:
        """Serialise as of TIP-29; this network uses no milestone options."""
        return b"".join(
            (
                u32(self.index) + u32(self.timestamp) + u8(PROTOCOL_VERSION) + self.previous_id,
                u8(len(self.parents)) + b"".join(self.parents),
                self.inclusion_root + self.applied_root,
                u16(len(self.metadata)) + self.metadata + u8(0),
            )
        )

    def id(self) -> bytes:
        """Return the milestone id, which is also what the signatures sign."""
        return blake2b_256(self.encode())

    @classmethod
    def read(cls, reader: Reader) -> MilestoneEssence:
        """Read the essence of a milestone payload."""
        index, timestamp = reader.number(4, "index"), reader.number(4, "timestamp")
        reader.constant(PROTOCOL_VERSION, 1, "protocol version")
        essence = cls(
            index,
            timestamp,
            reader.take(ID_LENGTH, "previous id"),
            read_parents(reader),
            reader.take(ID_LENGTH, "inclusion root"),
            reader.take(ID_LENGTH, "applied root"),
            reader.blob(2, "metadata"),
        )
        reader.constant(0, 1, "option count")
        return essence

    @classmethod
    def decode(cls, data: bytes) -> MilestoneEssence:
        """Parse a whole essence; refuses trailing bytes."""
        reader = Reader(data, "milestone")
        essence = cls.read(reader)
        reader.done()
        return essence


@dataclass(frozen=True, slots=True)
class MilestoneSignature:
    """One Ed25519 signature over the milestone id."""

    public_key: bytes
    signature: bytes

    def __post_init__(self) -> None:
        require_length(self.public_key, ID_LENGTH, "milestone: public key")
        require_length(self.signature, SIGNATURE_LENGTH, "milestone: signature")


@dataclass(frozen=True, slots=True)
class Milestone:
    """A milestone payload: essence and signatures sorted by key, each key once."""

    TYPE: ClassVar[int] = 7
    essence: MilestoneEssence
    signatures: tuple[MilestoneSignature, ...]

    def __post_init__(self) -> None:
        require(0 < len(self.signatures) <= 255, "milestone: 1 to 255 signatures are needed")
        require_sorted_unique([s.public_key for s in self.signatures], "milestone: signatures")

    @classmethod
    def sign(cls, essence: MilestoneEssence, keys: Iterable[SigningKey]) -> Milestone:
        """Return the milestone signed by every one of ``keys``."""
        digest = essence.id()
        made = (
            MilestoneSignature(bytes(key.verify_key), key.sign(digest).signature) for key in keys
        )
        return cls(essence, tuple(sorted(made, key=lambda item: item.public_key)))

    def count_valid(self, keys: Collection[bytes]) -> int:
        """Return how many distinct keys of ``keys`` signed it validly."""
        digest = self.essence.id()
        return sum(
            item.public_key in keys and is_valid_signature(item.public_key, digest, item.signature)
            for item in self.signatures
        )

    def encode(self) -> bytes:
        """Serialise as of TIP-29."""
        return b"".join(
            (
                u32(self.TYPE) + self.essence.encode() + u8(len(self.signatures)),
                *(encode_signature(item.public_key, item.signature) for item in self.signatures),
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Milestone:
        """Parse a whole payload; refuses trailing bytes."""
        reader = Reader(data, "milestone")
        reader.constant(cls.TYPE, 4, "payload type")
        essence = MilestoneEssence.read(reader)
        count = reader.count(1, 255, 1, "signature count")
        signatures = tuple(MilestoneSignature(*read_signature(reader)) for _ in range(count))
        reader.done()
        return cls(essence, signatures)
