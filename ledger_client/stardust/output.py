"""Basic outputs with their unlock conditions and features (TIP-18), and their deposit (TIP-19).

This network knows Ed25519 addresses and basic outputs without native tokens only; everything else
is refused, since nobody here could ever spend it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias, TypeVar

from ledger_client.stardust.codec import (
    ID_LENGTH,
    MAX_U32,
    MAX_U64,
    Reader,
    StardustSyntaxError,
    require,
    require_length,
    u8,
    u16,
    u32,
    u64,
)

BASIC_OUTPUT_TYPE = 3
ED25519_ADDRESS_TYPE = 0
MAX_METADATA_LENGTH = 8192
MAX_TAG_LENGTH = 64
_OUTPUT_ID_LENGTH = 34
_BOOKKEEPING_LENGTH = 32 + 4 + 4
"""Block id, milestone index and timestamp that a node keeps beside an output (TIP-19)."""


def encode_address(address: bytes) -> bytes:
    """Return the serialised Ed25519 address: type byte and hash (TIP-31)."""
    require_length(address, ID_LENGTH, "address")
    return u8(ED25519_ADDRESS_TYPE) + address


def read_address(reader: Reader, field: str) -> bytes:
    """Read an Ed25519 address and return its 32-byte hash."""
    reader.constant(ED25519_ADDRESS_TYPE, 1, f"type of {field}")
    return reader.take(ID_LENGTH, field)


def _require_time(unix_time: int, field: str) -> None:
    require(0 < unix_time <= MAX_U32, f"{field}: unix time {unix_time} must be 1 to {MAX_U32}")


@dataclass(frozen=True, slots=True)
class AddressUnlockCondition:
    """The owner, who unlocks with a signature. ``address`` is the 32-byte hash."""

    TYPE: ClassVar[int] = 0
    address: bytes

    def encode(self) -> bytes:
        """Serialise as of TIP-18."""
        return u8(self.TYPE) + encode_address(self.address)

    @classmethod
    def read(cls, reader: Reader) -> AddressUnlockCondition:
        """Read what follows the type byte."""
        return cls(read_address(reader, "address"))


@dataclass(frozen=True, slots=True)
class StorageDepositReturnUnlockCondition:
    """Whoever spends the output returns ``return_units`` to ``return_address``."""

    TYPE: ClassVar[int] = 1
    return_address: bytes
    return_units: int

    def __post_init__(self) -> None:
        require(0 < self.return_units <= MAX_U64, f"return amount {self.return_units} out of range")

    def encode(self) -> bytes:
        """Serialise as of TIP-18."""
        return u8(self.TYPE) + encode_address(self.return_address) + u64(self.return_units)

    @classmethod
    def read(cls, reader: Reader) -> StorageDepositReturnUnlockCondition:
        """Read what follows the type byte."""
        return cls(read_address(reader, "return address"), reader.number(8, "return amount"))


@dataclass(frozen=True, slots=True)
class TimelockUnlockCondition:
    """Not spendable before ``unix_time`` (seconds, of the confirming milestone)."""

    TYPE: ClassVar[int] = 2
    unix_time: int

    def __post_init__(self) -> None:
        _require_time(self.unix_time, "timelock")

    def encode(self) -> bytes:
        """Serialise as of TIP-18."""
        return u8(self.TYPE) + u32(self.unix_time)

    @classmethod
    def read(cls, reader: Reader) -> TimelockUnlockCondition:
        """Read what follows the type byte."""
        return cls(reader.number(4, "timelock"))


@dataclass(frozen=True, slots=True)
class ExpirationUnlockCondition:
    """From ``unix_time`` (seconds) on only ``return_address`` can spend the output."""

    TYPE: ClassVar[int] = 3
    return_address: bytes
    unix_time: int

    def __post_init__(self) -> None:
        _require_time(self.unix_time, "expiration")

    def encode(self) -> bytes:
        """Serialise as of TIP-18."""
        return u8(self.TYPE) + encode_address(self.return_address) + u32(self.unix_time)

    @classmethod
    def read(cls, reader: Reader) -> ExpirationUnlockCondition:
        """Read what follows the type byte."""
        return cls(read_address(reader, "return address"), reader.number(4, "expiration"))


@dataclass(frozen=True, slots=True)
class SenderFeature:
    """Vouches that ``address`` was unlocked in the transaction that made the output."""

    TYPE: ClassVar[int] = 0
    address: bytes

    def encode(self) -> bytes:
        """Serialise as of TIP-18."""
        return u8(self.TYPE) + encode_address(self.address)

    @classmethod
    def read(cls, reader: Reader) -> SenderFeature:
        """Read what follows the type byte."""
        return cls(read_address(reader, "sender"))


@dataclass(frozen=True, slots=True)
class MetadataFeature:
    """Arbitrary bytes, 1 to 8,192."""

    TYPE: ClassVar[int] = 2
    data: bytes

    def __post_init__(self) -> None:
        size = len(self.data)
        require(0 < size <= MAX_METADATA_LENGTH, f"metadata: {size} bytes, must be 1 to 8192")

    def encode(self) -> bytes:
        """Serialise as of TIP-18."""
        return u8(self.TYPE) + u16(len(self.data)) + self.data

    @classmethod
    def read(cls, reader: Reader) -> MetadataFeature:
        """Read what follows the type byte."""
        return cls(reader.blob(2, "metadata"))


@dataclass(frozen=True, slots=True)
class TagFeature:
    """A tag of 1 to 64 bytes by which outputs can be found."""

    TYPE: ClassVar[int] = 3
    tag: bytes

    def __post_init__(self) -> None:
        require(0 < len(self.tag) <= MAX_TAG_LENGTH, f"tag: {len(self.tag)} bytes, must be 1 to 64")

    def encode(self) -> bytes:
        """Serialise as of TIP-18."""
        return u8(self.TYPE) + u8(len(self.tag)) + self.tag

    @classmethod
    def read(cls, reader: Reader) -> TagFeature:
        """Read what follows the type byte."""
        return cls(reader.blob(1, "tag"))


UnlockCondition: TypeAlias = (
    AddressUnlockCondition
    | StorageDepositReturnUnlockCondition
    | TimelockUnlockCondition
    | ExpirationUnlockCondition
)
Feature: TypeAlias = SenderFeature | MetadataFeature | TagFeature
_CONDITIONS: dict[int, type[UnlockCondition]] = {
    0: AddressUnlockCondition,
    1: StorageDepositReturnUnlockCondition,
    2: TimelockUnlockCondition,
    3: ExpirationUnlockCondition,
}
_FEATURES: dict[int, type[Feature]] = {0: SenderFeature, 2: MetadataFeature, 3: TagFeature}
_Part = TypeVar("_Part", UnlockCondition, Feature)


def _require_rising_types(parts: tuple[UnlockCondition, ...] | tuple[Feature, ...]) -> None:
    types = [part.TYPE for part in parts]
    require(types == sorted(set(types)), f"basic output: types {types} must rise, one of each")


@dataclass(frozen=True, slots=True)
class BasicOutput:
    """``units`` that belong to an address, under optional further conditions (TIP-18)."""

    units: int
    conditions: tuple[UnlockCondition, ...]
    features: tuple[Feature, ...] = ()

    def __post_init__(self) -> None:
        require(0 < self.units <= MAX_U64, f"basic output: amount {self.units} out of range")
        _require_rising_types(self.conditions)
        _require_rising_types(self.features)
        owned = self.conditions and isinstance(self.conditions[0], AddressUnlockCondition)
        require(owned, "basic output: the address unlock condition is missing")
        back = self.deposit_return
        require(
            back is None or back.return_units <= self.units,
            "basic output: the return amount exceeds the amount",
        )

    @classmethod
    def to(cls, address: bytes, units: int) -> BasicOutput:
        """Return a plain output: an amount and its owner."""
        return cls(units, (AddressUnlockCondition(address),))

    @property
    def address(self) -> bytes:
        """The owner's 32-byte address hash."""
        owner = self.conditions[0]
        if not isinstance(owner, AddressUnlockCondition):  # pragma: no cover - refused at birth
            raise StardustSyntaxError("basic output: the address unlock condition is missing")
        return owner.address

    @property
    def is_plain(self) -> bool:
        """Whether the owner's signature alone spends it and nothing else is attached."""
        return len(self.conditions) == 1 and not self.features

    @property
    def deposit_return(self) -> StorageDepositReturnUnlockCondition | None:
        """The storage deposit return condition, if any."""
        return _find(self.conditions, StorageDepositReturnUnlockCondition)

    @property
    def timelock(self) -> TimelockUnlockCondition | None:
        """The timelock condition, if any."""
        return _find(self.conditions, TimelockUnlockCondition)

    @property
    def expiration(self) -> ExpirationUnlockCondition | None:
        """The expiration condition, if any."""
        return _find(self.conditions, ExpirationUnlockCondition)

    @property
    def sender(self) -> SenderFeature | None:
        """The sender feature, if any."""
        return _find(self.features, SenderFeature)

    def encode(self) -> bytes:
        """Serialise as of TIP-18; the native token count is always 0."""
        return b"".join(
            (
                u8(BASIC_OUTPUT_TYPE) + u64(self.units) + u8(0),
                u8(len(self.conditions)),
                *(condition.encode() for condition in self.conditions),
                u8(len(self.features)),
                *(feature.encode() for feature in self.features),
            )
        )

    @classmethod
    def read(cls, reader: Reader) -> BasicOutput:
        """Read one output from a list of outputs."""
        reader.constant(BASIC_OUTPUT_TYPE, 1, "output type")
        units = reader.number(8, "amount")
        reader.constant(0, 1, "native token count")
        return cls(
            units,
            _read_parts(reader, _CONDITIONS, "unlock condition"),
            _read_parts(reader, _FEATURES, "feature"),
        )

    @classmethod
    def decode(cls, data: bytes) -> BasicOutput:
        """Parse a serialised output; refuses trailing bytes."""
        reader = Reader(data, "output")
        output = cls.read(reader)
        reader.done()
        return output


_Found = TypeVar("_Found")


def _find(
    parts: tuple[UnlockCondition, ...] | tuple[Feature, ...], kind: type[_Found]
) -> _Found | None:
    return next((part for part in parts if isinstance(part, kind)), None)


def _read_parts(reader: Reader, kinds: dict[int, type[_Part]], field: str) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    for _ in range(reader.number(1, f"{field} count")):
        kind = reader.number(1, f"{field} type")
        require(kind in kinds, f"basic output: {field} type {kind} is unknown or not allowed")
        parts.append(kinds[kind].read(reader))
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class Rent:
    """The rent structure of a network (TIP-19); (1, 0, 1) asks 34 units of every basic output."""

    v_byte_cost: int = 1
    v_byte_factor_data: int = 0
    v_byte_factor_key: int = 1

    def deposit(self, output: BasicOutput) -> int:
        """Return the least amount that ``output`` must hold, in units."""
        data = _BOOKKEEPING_LENGTH + len(output.encode())
        weighted = self.v_byte_factor_key * _OUTPUT_ID_LENGTH + self.v_byte_factor_data * data
        return self.v_byte_cost * weighted

    def plain_deposit(self) -> int:
        """Return the deposit of a plain output, which is also the least return amount."""
        return self.deposit(BasicOutput.to(bytes(ID_LENGTH), 1))

    def check(self, output: BasicOutput) -> None:
        """Refuse an output, or a return amount, below its storage deposit."""
        least = self.deposit(output)
        require(output.units >= least, f"output: {output.units} units, deposit is {least}")
        back = output.deposit_return
        if back is not None:
            least = self.plain_deposit()
            require(back.return_units >= least, f"return amount below the deposit of {least}")
