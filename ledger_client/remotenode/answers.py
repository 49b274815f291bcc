"""What a Stardust node says about itself, blocks and outputs: read strictly from its JSON; pure.

Names are those of the REST API (core v2) in snake case, ids and hashes are bytes, and numbers that
travel as text are integers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from ledger_client.stardust.block import MAX_BLOCK_LENGTH
from ledger_client.stardust.codec import ID_LENGTH, MAX_U32, MAX_U64
from ledger_client.stardust.milestone import MAX_PARENTS
from ledger_client.stardust.transaction import OUTPUT_ID_LENGTH

InclusionState: TypeAlias = Literal["noTransaction", "included", "conflicting"]
_STATES = ("noTransaction", "included", "conflicting")
_HEX = re.compile(r"0x((?:[0-9a-f]{2})*)")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")
_MAX_TEXT = 256
MAX_BINARY_LENGTH = 2 * MAX_BLOCK_LENGTH
"""More bytes than any block, milestone or output has."""


class AnswerSyntaxError(ValueError):
    """A field of an answer is missing or not what it has to be: do not use the answer."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """``GET /info``: the node, how far it is (milestone indexes) and the network's rules.

    ``token_supply`` is in units. Timestamps are Unix seconds, None where the node keeps them back.
    """

    name: str
    version: str
    is_healthy: bool
    latest_milestone_index: int
    latest_milestone_timestamp: int | None
    confirmed_milestone_index: int
    pruning_index: int
    protocol_version: int
    network_name: str
    bech32_hrp: str
    min_pow_score: int
    below_max_depth: int
    token_supply: int
    v_byte_cost: int
    v_byte_factor_data: int
    v_byte_factor_key: int
    features: tuple[str, ...]

    @property
    def network(self) -> tuple[str, int, str, int]:
        """What two nodes of one network have in common."""
        return self.network_name, self.protocol_version, self.bech32_hrp, self.token_supply


@dataclass(frozen=True, slots=True)
class BlockMetadata:
    """``GET /blocks/{id}/metadata``.

    ``should_promote`` and ``should_reattach`` are None once a milestone references the block, the
    five fields about that milestone are None before. ``milestone_index`` is set for a milestone.
    """

    block_id: bytes
    parents: tuple[bytes, ...]
    is_solid: bool
    referenced_by_milestone_index: int | None
    ledger_inclusion_state: InclusionState | None
    conflict_reason: int | None
    white_flag_index: int | None
    should_promote: bool | None
    should_reattach: bool | None
    milestone_index: int | None


@dataclass(frozen=True, slots=True)
class OutputMetadata:
    """``GET /outputs/{id}/metadata``; the three ``_spent`` fields are None while it is unspent."""

    block_id: bytes
    transaction_id: bytes
    output_index: int
    is_spent: bool
    milestone_index_spent: int | None
    milestone_timestamp_spent: int | None
    transaction_id_spent: bytes | None
    milestone_index_booked: int
    milestone_timestamp_booked: int
    ledger_index: int


@dataclass(frozen=True, slots=True)
class UtxoChanges:
    """``GET /milestones/by-index/{index}/utxo-changes``: 34-byte output ids."""

    index: int
    created_outputs: tuple[bytes, ...]
    consumed_outputs: tuple[bytes, ...]


class Fields:
    """One JSON object, read field by field; ``where`` names it in errors."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise AnswerSyntaxError(f"{where} must be an object")
        self._value = cast("Mapping[str, object]", value)
        self._where = where

    def has(self, name: str) -> bool:
        """Tell whether a field is there and not null."""
        return self._value.get(name) is not None

    def inner(self, name: str) -> Fields:
        """Return an object inside."""
        return Fields(self._value.get(name), f"{self._where}.{name}")

    def text(self, name: str) -> str:
        """Return a text of at most 256 printable characters."""
        value = self._value.get(name)
        if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
            raise self._wrong(name, "a short text")
        return value

    def flag(self, name: str, *, otherwise: bool | None = None) -> bool:
        """Return a boolean."""
        value = self._value.get(name, otherwise)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def number(self, name: str, otherwise: int | None = None) -> int:
        """Return an integer of 32 bits."""
        value = self._value.get(name, otherwise)
        if type(value) is not int or not 0 <= value <= MAX_U32:
            raise self._wrong(name, "an integer of 32 bits")
        return value

    def large_number(self, name: str) -> int:
        """Return an integer of 64 bits, which travels as text."""
        value = self._value.get(name)
        if not isinstance(value, str) or not _DECIMAL.fullmatch(value) or int(value) > MAX_U64:
            raise self._wrong(name, "a text with an integer of 64 bits")
        return int(value)

    def binary(self, name: str, length: int = ID_LENGTH) -> bytes:
        """Return bytes of a fixed length."""
        return self._bytes(name, self._value.get(name), length)

    def binaries(self, name: str, length: int = ID_LENGTH) -> tuple[bytes, ...]:
        """Return a list of byte strings of a fixed length."""
        return tuple(self._bytes(name, item, length) for item in self.items(name))

    def items(self, name: str) -> list[object]:
        """Return a list."""
        value = self._value.get(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return cast("list[object]", value)

    def anything(self, name: str) -> object:
        """Return a field as it is, to be checked elsewhere."""
        return self._value.get(name)

    def _bytes(self, name: str, value: object, length: int) -> bytes:
        match = _HEX.fullmatch(value) if isinstance(value, str) else None
        if match is None or len(match[1]) != 2 * length:
            raise self._wrong(name, f"{length} bytes as lowercase hex after 0x")
        return bytes.fromhex(match[1])

    def _wrong(self, name: str, wanted: str) -> AnswerSyntaxError:
        return AnswerSyntaxError(f"{self._where}.{name} must be {wanted}")


def parse_json(body: bytes) -> object:
    """Return the value of a JSON text; refuses what Python takes beyond JSON."""
    try:
        value: object = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise AnswerSyntaxError("the answer is not JSON") from error
    return value


def _refuse(constant: str) -> None:
    raise AnswerSyntaxError(f"{constant} is not JSON")


def read_info(value: object) -> NodeInfo:
    """Read ``GET /info``."""
    info = Fields(value, "info")
    status, protocol = info.inner("status"), info.inner("protocol")
    latest, rent = status.inner("latestMilestone"), protocol.inner("rentStructure")
    features = info.items("features") if info.has("features") else []
    return NodeInfo(
        name=info.text("name"),
        version=info.text("version"),
        is_healthy=status.flag("isHealthy"),
        latest_milestone_index=latest.number("index"),
        latest_milestone_timestamp=_optional_number(latest, "timestamp"),
        confirmed_milestone_index=status.inner("confirmedMilestone").number("index"),
        pruning_index=status.number("pruningIndex"),
        protocol_version=protocol.number("version"),
        network_name=protocol.text("networkName"),
        bech32_hrp=protocol.text("bech32Hrp"),
        min_pow_score=protocol.number("minPowScore"),
        below_max_depth=protocol.number("belowMaxDepth"),
        token_supply=protocol.large_number("tokenSupply"),
        v_byte_cost=rent.number("vByteCost"),
        v_byte_factor_data=rent.number("vByteFactorData"),
        v_byte_factor_key=rent.number("vByteFactorKey"),
        features=tuple(str(item)[:_MAX_TEXT] for item in features),
    )


def read_tips(value: object) -> tuple[bytes, ...]:
    """Read ``GET /tips``: 1 to 8 block ids, sorted as parents must be."""
    tips = set(Fields(value, "tips").binaries("tips"))
    if not 1 <= len(tips) <= MAX_PARENTS:
        raise AnswerSyntaxError(f"tips: {len(tips)} block ids, must be 1 to 8")
    return tuple(sorted(tips))


def read_block_metadata(value: object, block_id: bytes) -> BlockMetadata:
    """Read the metadata of the block that was asked for."""
    found = Fields(value, "metadata")
    if found.binary("blockId") != block_id:
        raise AnswerSyntaxError("metadata.blockId is another than the one asked for")
    state = None
    if found.has("referencedByMilestoneIndex"):
        state = found.text("ledgerInclusionState")
        if state not in _STATES:
            raise AnswerSyntaxError(f"metadata.ledgerInclusionState must be one of {_STATES}")
    referenced = state is not None
    return BlockMetadata(
        block_id=block_id,
        parents=found.binaries("parents"),
        is_solid=found.flag("isSolid"),
        referenced_by_milestone_index=_optional_number(found, "referencedByMilestoneIndex"),
        ledger_inclusion_state=cast("InclusionState | None", state),
        conflict_reason=found.number("conflictReason", 0) if referenced else None,
        white_flag_index=_optional_number(found, "whiteFlagIndex") if referenced else None,
        should_promote=None if referenced else found.flag("shouldPromote", otherwise=False),
        should_reattach=None if referenced else found.flag("shouldReattach", otherwise=False),
        milestone_index=_optional_number(found, "milestoneIndex"),
    )


def read_output_metadata(value: object, output_id: bytes) -> OutputMetadata:
    """Read the metadata of the output that was asked for."""
    found = Fields(value, "metadata")
    spent = found.flag("isSpent")
    metadata = OutputMetadata(
        block_id=found.binary("blockId"),
        transaction_id=found.binary("transactionId"),
        output_index=found.number("outputIndex"),
        is_spent=spent,
        milestone_index_spent=found.number("milestoneIndexSpent") if spent else None,
        milestone_timestamp_spent=found.number("milestoneTimestampSpent") if spent else None,
        transaction_id_spent=found.binary("transactionIdSpent") if spent else None,
        milestone_index_booked=found.number("milestoneIndexBooked"),
        milestone_timestamp_booked=found.number("milestoneTimestampBooked"),
        ledger_index=found.number("ledgerIndex"),
    )
    index = metadata.output_index.to_bytes(4, "little")[:2]
    if metadata.transaction_id + index != output_id or metadata.output_index >= 1 << 16:
        raise AnswerSyntaxError("metadata is of another output than the one asked for")
    return metadata


def read_utxo_changes(value: object, index: int) -> UtxoChanges:
    """Read what the milestone that was asked for created and consumed."""
    found = Fields(value, "utxo-changes")
    if found.number("index") != index:
        raise AnswerSyntaxError("utxo-changes are of another milestone than the one asked for")
    return UtxoChanges(
        index,
        found.binaries("createdOutputs", OUTPUT_ID_LENGTH),
        found.binaries("consumedOutputs", OUTPUT_ID_LENGTH),
    )


def read_output_ids(value: object) -> tuple[tuple[bytes, ...], str | None]:
    """Read one page of the indexer: 34-byte output ids and the cursor of the next page, if any."""
    found = Fields(value, "indexer")
    cursor = found.text("cursor") if found.has("cursor") else ""
    return found.binaries("items", OUTPUT_ID_LENGTH), cursor or None


def read_error_message(body: bytes) -> str | None:
    """Return the message of the node's error form; None when the body is something else."""
    try:
        error = Fields(parse_json(body), "answer").inner("error")
    except AnswerSyntaxError:
        return None
    message = str(error.anything("message") or "")
    return "".join(symbol for symbol in message if symbol.isprintable())[:_MAX_TEXT]


def _optional_number(fields: Fields, name: str) -> int | None:
    return fields.number(name) if fields.has(name) else None
