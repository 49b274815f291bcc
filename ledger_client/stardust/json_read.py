"""Reading of the JSON form of blocks and milestones (TIP-25): the way back from json_form.

Strict, since the id of a block is the hash of its bytes: what this form cannot keep (an unknown
field, a key given twice, a number that is no integer) is refused instead of dropped. Everything
raises :class:`StardustSyntaxError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from ledger_client.stardust.block import Block, Payload
from ledger_client.stardust.codec import (
    MAX_U32,
    MAX_U64,
    StardustSyntaxError,
    require,
    require_length,
    u16,
)
from ledger_client.stardust.json_form import Json
from ledger_client.stardust.milestone import (
    PROTOCOL_VERSION,
    Milestone,
    MilestoneEssence,
    MilestoneSignature,
)
from ledger_client.stardust.output import (
    BASIC_OUTPUT_TYPE,
    ED25519_ADDRESS_TYPE,
    AddressUnlockCondition,
    BasicOutput,
    ExpirationUnlockCondition,
    Feature,
    MetadataFeature,
    SenderFeature,
    StorageDepositReturnUnlockCondition,
    TagFeature,
    TimelockUnlockCondition,
    UnlockCondition,
)
from ledger_client.stardust.transaction import (
    Essence,
    ReferenceUnlock,
    SignatureUnlock,
    TaggedData,
    Transaction,
    Unlock,
)

MAX_U16 = 2**16 - 1
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_U64 = re.compile(r"0|[1-9][0-9]{0,19}")
_INTEGER_DIGITS = 20

Parents: TypeAlias = Callable[[], tuple[bytes, ...]]
"""Gives the parents of a block that came without: the tips of this moment."""


def parse_json(data: bytes) -> Json:
    """Return the value of a JSON text; no key twice, no fraction, no NaN, no huge integer."""
    try:
        value: Json = json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_not_whole,
            parse_constant=_not_whole,
        )
    except UnicodeDecodeError:
        raise StardustSyntaxError("JSON: the text is not UTF-8") from None
    except RecursionError:
        raise StardustSyntaxError("JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise StardustSyntaxError(f"JSON: {error}") from None
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    require(len(found) == len(pairs), "JSON: an object has the same key twice")
    return found


def _integer(text: str) -> int:
    require(len(text) <= _INTEGER_DIGITS, f"JSON: {_shown(text)} is too large for any field")
    return int(text)


def _not_whole(text: str) -> NoReturn:
    raise StardustSyntaxError(f"JSON: {_shown(text)} is not an integer")


def _shown(value: object) -> str:
    return f"{value!a:.60}"


def bytes_of_hex(text: object, what: str, length: int | None = None) -> bytes:
    """Return the bytes of 0x hex, of exactly ``length`` bytes if given; either case is read."""
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise StardustSyntaxError(f"{what}: {_shown(text)} is not hex after 0x")
    data = bytes.fromhex(text[2:])
    if length is not None:
        require_length(data, length, what)
    return data


class _Fields:
    """The fields of one JSON object, taken one by one; what is left over is refused."""

    def __init__(self, value: Json, where: str) -> None:
        if not isinstance(value, dict):
            raise StardustSyntaxError(f"{where}: must be an object")
        self._left = dict(value)
        self.where = where

    def has(self, name: str) -> bool:
        """Return whether a field is there that was not taken yet; null counts as absent."""
        return self._left.get(name) is not None

    def take(self, name: str) -> Json:
        """Return a field that must be there."""
        require(name in self._left, f"{self.where}: {name} is missing")
        return self._left.pop(name)

    def done(self) -> None:
        """Refuse fields that nobody took."""
        for name, value in self._left.items():
            empty = value is None or value == []
            require(empty, f"{self.where}: the field {_shown(name)} is unknown here")

    def number(self, name: str, top: int = MAX_U32) -> int:
        """Take an integer of 0 to ``top``."""
        value = self.take(name)
        if type(value) is not int or not 0 <= value <= top:
            raise StardustSyntaxError(
                f"{self.where}: {name} is {_shown(value)}, must be an integer of 0 to {top}"
            )
        return value

    def u64(self, name: str) -> int:
        """Take an integer of 64 bits, which JSON keeps as decimal text."""
        value = self.take(name)
        if not isinstance(value, str) or not _U64.fullmatch(value) or int(value) > MAX_U64:
            raise StardustSyntaxError(
                f"{self.where}: {name} is {_shown(value)}, must be decimal text below 2^64"
            )
        return int(value)

    def constant(self, name: str, value: int) -> None:
        """Take an integer that must be ``value``."""
        got = self.number(name)
        require(got == value, f"{self.where}: {name} is {got}, must be {value}")

    def hex(self, name: str, length: int | None = None) -> bytes:
        """Take bytes."""
        return bytes_of_hex(self.take(name), f"{self.where}: {name}", length)

    def items(self, name: str) -> list[Json]:
        """Take an array."""
        value = self.take(name)
        if not isinstance(value, list):
            raise StardustSyntaxError(f"{self.where}: {name} must be an array")
        return value

    def object(self, name: str) -> _Fields:
        """Take an object."""
        return _Fields(self.take(name), f"{self.where}: {name}")

    def objects(self, name: str) -> list[_Fields]:
        """Take an array of objects."""
        return [
            _Fields(item, f"{self.where}: {name}[{position}]")
            for position, item in enumerate(self.items(name))
        ]

    def ids(self, name: str) -> tuple[bytes, ...]:
        """Take an array of 32-byte ids."""
        what = f"{self.where}: {name}"
        return tuple(bytes_of_hex(item, what, 32) for item in self.items(name))


def read_block(value: Json, tips: Parents | None = None) -> Block:
    """Return the block that a JSON value describes.

    With ``tips`` a block may leave out its parents, which are then these, and its nonce (0), as
    clients do that let the node finish a block.
    """
    fields = _Fields(value, "block")
    if fields.has("protocolVersion"):
        fields.constant("protocolVersion", PROTOCOL_VERSION)
    payload = _payload(fields.object("payload")) if fields.has("payload") else None
    finishes = tips is not None
    nonce = fields.u64("nonce") if fields.has("nonce") or not finishes else 0
    given = fields.ids("parents") if fields.has("parents") or not finishes else ()
    fields.done()
    return Block(given or (tips() if tips else ()), payload, nonce)


def read_milestone(value: Json) -> Milestone:
    """Return the milestone payload that a JSON value describes."""
    return _milestone(_Fields(value, "milestone"))


def read_output(value: Json) -> BasicOutput:
    """Return the output that a JSON value describes."""
    return _output(_Fields(value, "output"))


def _payload(fields: _Fields) -> Payload:
    kind = fields.number("type")
    if kind == TaggedData.TYPE:
        return _tagged(fields, kind)
    if kind == Transaction.TYPE:
        essence = _essence(fields.object("essence"))
        unlocks = tuple(_unlock(item) for item in fields.objects("unlocks"))
        fields.done()
        return Transaction(essence, unlocks)
    require(kind == Milestone.TYPE, f"{fields.where}: type {kind} is unknown")
    return _milestone(fields, kind)


def _tagged(fields: _Fields, kind: int | None = None) -> TaggedData:
    if kind is None:
        fields.constant("type", TaggedData.TYPE)
    tag = fields.hex("tag") if fields.has("tag") else b""
    data = fields.hex("data") if fields.has("data") else b""
    fields.done()
    return TaggedData(tag, data)


def _essence(fields: _Fields) -> Essence:
    fields.constant("type", 1)
    essence = Essence(
        fields.u64("networkId"),
        tuple(_input(item) for item in fields.objects("inputs")),
        fields.hex("inputsCommitment"),
        tuple(_output(item) for item in fields.objects("outputs")),
        _tagged(fields.object("payload")) if fields.has("payload") else None,
    )
    fields.done()
    return essence


def _input(fields: _Fields) -> bytes:
    fields.constant("type", 0)
    transaction_id = fields.hex("transactionId", 32)
    index = fields.number("transactionOutputIndex", MAX_U16)
    fields.done()
    return transaction_id + u16(index)


def _unlock(fields: _Fields) -> Unlock:
    kind = fields.number("type")
    unlock: Unlock
    if kind == SignatureUnlock.TYPE:
        unlock = SignatureUnlock(*_signature(fields.object("signature")))
    else:
        require(kind == ReferenceUnlock.TYPE, f"{fields.where}: unlock type {kind} is unknown")
        unlock = ReferenceUnlock(fields.number("reference", MAX_U16))
    fields.done()
    return unlock


def _signature(fields: _Fields) -> tuple[bytes, bytes]:
    fields.constant("type", 0)
    public_key, signature = fields.hex("publicKey", 32), fields.hex("signature", 64)
    fields.done()
    return public_key, signature


def _output(fields: _Fields) -> BasicOutput:
    fields.constant("type", BASIC_OUTPUT_TYPE)
    conditions = tuple(_condition(item) for item in fields.objects("unlockConditions"))
    listed = fields.objects("features") if fields.has("features") else []
    output = BasicOutput(fields.u64("amount"), conditions, tuple(_feature(item) for item in listed))
    fields.done()
    return output


def _address(fields: _Fields) -> bytes:
    fields.constant("type", ED25519_ADDRESS_TYPE)
    address = fields.hex("pubKeyHash", 32)
    fields.done()
    return address


def _condition(fields: _Fields) -> UnlockCondition:
    kind = fields.number("type")
    condition: UnlockCondition
    if kind == AddressUnlockCondition.TYPE:
        condition = AddressUnlockCondition(_address(fields.object("address")))
    elif kind == StorageDepositReturnUnlockCondition.TYPE:
        back = _address(fields.object("returnAddress"))
        condition = StorageDepositReturnUnlockCondition(back, fields.u64("amount"))
    elif kind == TimelockUnlockCondition.TYPE:
        condition = TimelockUnlockCondition(fields.number("unixTime"))
    else:
        known = kind == ExpirationUnlockCondition.TYPE
        require(known, f"{fields.where}: unlock condition type {kind} is unknown or not allowed")
        back = _address(fields.object("returnAddress"))
        condition = ExpirationUnlockCondition(back, fields.number("unixTime"))
    fields.done()
    return condition


def _feature(fields: _Fields) -> Feature:
    kind = fields.number("type")
    feature: Feature
    if kind == SenderFeature.TYPE:
        feature = SenderFeature(_address(fields.object("address")))
    elif kind == MetadataFeature.TYPE:
        feature = MetadataFeature(fields.hex("data"))
    else:
        known = kind == TagFeature.TYPE
        require(known, f"{fields.where}: feature type {kind} is unknown or not allowed")
        feature = TagFeature(fields.hex("tag"))
    fields.done()
    return feature


def _milestone(fields: _Fields, kind: int | None = None) -> Milestone:
    if kind is None:
        fields.constant("type", Milestone.TYPE)
    essence = MilestoneEssence(
        fields.number("index"),
        fields.number("timestamp"),
        _version_and_previous(fields),
        fields.ids("parents"),
        fields.hex("inclusionMerkleRoot"),
        fields.hex("appliedMerkleRoot"),
        fields.hex("metadata") if fields.has("metadata") else b"",
    )
    signatures = tuple(MilestoneSignature(*_signature(s)) for s in fields.objects("signatures"))
    fields.done()
    return Milestone(essence, signatures)


def _version_and_previous(fields: _Fields) -> bytes:
    fields.constant("protocolVersion", PROTOCOL_VERSION)
    return fields.hex("previousMilestoneId")
