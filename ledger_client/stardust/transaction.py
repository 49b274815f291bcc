"""Transaction payloads (TIP-20) of basic outputs, and tagged data (TIP-23)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from ledger_client.stardust.codec import (
    ID_LENGTH,
    MAX_U64,
    SIGNATURE_LENGTH,
    Reader,
    blake2b_256,
    require,
    require_length,
    u8,
    u16,
    u32,
    u64,
)
from ledger_client.stardust.output import MAX_TAG_LENGTH, BasicOutput

MAX_INPUTS = 128
MAX_OUTPUTS = 128
OUTPUT_ID_LENGTH = 34
_ESSENCE_TYPE = 1


def output_id(transaction_id: bytes, index: int) -> bytes:
    """Return the 34-byte id of a transaction's output: transaction id and uint16 index."""
    require_length(transaction_id, ID_LENGTH, "transaction id")
    require(0 <= index < MAX_OUTPUTS, f"output index {index} must be 0 to {MAX_OUTPUTS - 1}")
    return transaction_id + u16(index)


def inputs_commitment(outputs: Iterable[bytes]) -> bytes:
    """Return the commitment to the serialised outputs that the inputs consume, in input order."""
    return blake2b_256(b"".join(blake2b_256(output) for output in outputs))


@dataclass(frozen=True, slots=True)
class TaggedData:
    """Arbitrary data with a tag of at most 64 bytes (TIP-23)."""

    TYPE: ClassVar[int] = 5
    tag: bytes
    data: bytes

    def __post_init__(self) -> None:
        require(len(self.tag) <= MAX_TAG_LENGTH, f"tagged data: tag of {len(self.tag)} bytes > 64")

    def encode(self) -> bytes:
        """Serialise as of TIP-23."""
        return u32(self.TYPE) + u8(len(self.tag)) + self.tag + u32(len(self.data)) + self.data

    @classmethod
    def decode(cls, data: bytes) -> TaggedData:
        """Parse a whole payload; refuses trailing bytes."""
        reader = Reader(data, "tagged data")
        reader.constant(cls.TYPE, 4, "payload type")
        payload = cls(reader.blob(1, "tag"), reader.blob(4, "data"))
        reader.done()
        return payload


@dataclass(frozen=True, slots=True)
class Essence:
    """The signed part of a transaction.

    ``inputs`` are 34-byte output ids, unique; ``commitment`` binds the outputs they consume.
    """

    network_id: int
    inputs: tuple[bytes, ...]
    commitment: bytes
    outputs: tuple[BasicOutput, ...]
    payload: TaggedData | None = None

    def __post_init__(self) -> None:
        require(0 <= self.network_id <= MAX_U64, f"essence: network id {self.network_id}")
        require(0 < len(self.inputs) <= MAX_INPUTS, f"essence: {len(self.inputs)} inputs, 1 to 128")
        require(len(set(self.inputs)) == len(self.inputs), "essence: an input appears twice")
        for item in self.inputs:
            require_length(item, OUTPUT_ID_LENGTH, "input")
            index = int.from_bytes(item[ID_LENGTH:], "little")
            require(index < MAX_OUTPUTS, f"essence: output index {index} of an input exceeds 127")
        require_length(self.commitment, ID_LENGTH, "inputs commitment")
        count = len(self.outputs)
        require(0 < count <= MAX_OUTPUTS, f"essence: {count} outputs, must be 1 to 128")

    def encode(self) -> bytes:
        """Serialise as of TIP-20."""
        payload = b"" if self.payload is None else self.payload.encode()
        return b"".join(
            (
                u8(_ESSENCE_TYPE) + u64(self.network_id) + u16(len(self.inputs)),
                *(b"\x00" + item for item in self.inputs),
                self.commitment + u16(len(self.outputs)),
                *(output.encode() for output in self.outputs),
                u32(len(payload)) + payload,
            )
        )

    def signing_hash(self) -> bytes:
        """Return the 32-byte hash that every signature unlock signs."""
        return blake2b_256(self.encode())

    @classmethod
    def read(cls, reader: Reader) -> Essence:
        """Read the essence of a transaction payload."""
        reader.constant(_ESSENCE_TYPE, 1, "essence type")
        network = reader.number(8, "network id")
        inputs = []
        for _ in range(reader.count(1, MAX_INPUTS, 2, "input count")):
            reader.constant(0, 1, "input type")
            inputs.append(reader.take(OUTPUT_ID_LENGTH, "input"))
        commitment = reader.take(ID_LENGTH, "inputs commitment")
        count = reader.count(1, MAX_OUTPUTS, 2, "output count")
        outputs = tuple(BasicOutput.read(reader) for _ in range(count))
        payload = reader.blob(4, "payload")
        tagged = TaggedData.decode(payload) if payload else None
        return cls(network, tuple(inputs), commitment, outputs, tagged)


@dataclass(frozen=True, slots=True)
class SignatureUnlock:
    """An Ed25519 signature over the essence hash."""

    TYPE: ClassVar[int] = 0
    public_key: bytes
    signature: bytes

    def __post_init__(self) -> None:
        require_length(self.public_key, ID_LENGTH, "public key")
        require_length(self.signature, SIGNATURE_LENGTH, "signature")

    def encode(self) -> bytes:
        """Serialise as of TIP-20."""
        return u8(self.TYPE) + encode_signature(self.public_key, self.signature)


@dataclass(frozen=True, slots=True)
class ReferenceUnlock:
    """Points back to the signature unlock that also unlocks this input."""

    TYPE: ClassVar[int] = 1
    index: int

    def encode(self) -> bytes:
        """Serialise as of TIP-20."""
        return u8(self.TYPE) + u16(self.index)


Unlock: TypeAlias = SignatureUnlock | ReferenceUnlock


def encode_signature(public_key: bytes, signature: bytes) -> bytes:
    """Serialise an Ed25519 signature with its type byte (TIP-20, TIP-29)."""
    return b"\x00" + public_key + signature


def read_signature(reader: Reader) -> tuple[bytes, bytes]:
    """Read an Ed25519 signature; return public key and signature."""
    reader.constant(0, 1, "signature type")
    return reader.take(ID_LENGTH, "public key"), reader.take(SIGNATURE_LENGTH, "signature")


def _read_unlock(reader: Reader) -> Unlock:
    kind = reader.count(0, 1, 1, "unlock type")
    if kind == SignatureUnlock.TYPE:
        return SignatureUnlock(*read_signature(reader))
    return ReferenceUnlock(reader.number(2, "reference"))


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction payload: essence and one unlock per input (TIP-20)."""

    TYPE: ClassVar[int] = 6
    essence: Essence
    unlocks: tuple[Unlock, ...]

    def __post_init__(self) -> None:
        inputs = len(self.essence.inputs)
        require(len(self.unlocks) == inputs, f"transaction: {inputs} unlocks are needed")
        seen: set[bytes] = set()
        for position, unlock in enumerate(self.unlocks):
            if isinstance(unlock, SignatureUnlock):
                require(unlock.signature not in seen, "transaction: a signature appears twice")
                seen.add(unlock.signature)
                continue
            points_back = 0 <= unlock.index < position and isinstance(
                self.unlocks[unlock.index], SignatureUnlock
            )
            require(points_back, f"transaction: unlock {position} must refer to a signature before")

    def encode(self) -> bytes:
        """Serialise as of TIP-20."""
        return b"".join(
            (
                u32(self.TYPE) + self.essence.encode() + u16(len(self.unlocks)),
                *(unlock.encode() for unlock in self.unlocks),
            )
        )

    def id(self) -> bytes:
        """Return the transaction id: the hash of the whole payload."""
        return blake2b_256(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> Transaction:
        """Parse a whole payload; refuses trailing bytes."""
        reader = Reader(data, "transaction")
        reader.constant(cls.TYPE, 4, "payload type")
        essence = Essence.read(reader)
        count = reader.count(1, MAX_INPUTS, 2, "unlock count")
        unlocks = tuple(_read_unlock(reader) for _ in range(count))
        reader.done()
        return cls(essence, unlocks)
