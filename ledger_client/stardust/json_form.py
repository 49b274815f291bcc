"""The JSON form of blocks and proofs, as Stardust nodes serve it (TIP-25, inx-poi).

Bytes are 0x hex; integers of 64 bits are strings.
"""

from __future__ import annotations

from typing import TypeAlias

from ledger_client.ledger import InclusionProof
from ledger_client.stardust.block import Block, Payload
from ledger_client.stardust.codec import ID_LENGTH
from ledger_client.stardust.milestone import PROTOCOL_VERSION, Milestone
from ledger_client.stardust.output import (
    BASIC_OUTPUT_TYPE,
    ED25519_ADDRESS_TYPE,
    AddressUnlockCondition,
    BasicOutput,
    Feature,
    MetadataFeature,
    SenderFeature,
    StorageDepositReturnUnlockCondition,
    TimelockUnlockCondition,
    UnlockCondition,
)
from ledger_client.stardust.transaction import (
    Essence,
    SignatureUnlock,
    TaggedData,
    Transaction,
    Unlock,
)

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]


def hex_text(data: bytes) -> str:
    """Return bytes as lowercase hex after 0x."""
    return "0x" + data.hex()


def block_json(block: Block) -> JsonObject:
    """Return a block as GET /blocks/{id} shows it."""
    parents: list[Json] = [hex_text(parent) for parent in block.parents]
    shown: JsonObject = {"protocolVersion": PROTOCOL_VERSION, "parents": parents}
    if block.payload is not None:
        shown["payload"] = payload_json(block.payload)
    return {**shown, "nonce": str(block.nonce)}


def payload_json(payload: Payload) -> JsonObject:
    """Return a payload of any type."""
    match payload:
        case TaggedData(tag, data):
            return {"type": payload.TYPE, "tag": hex_text(tag), "data": hex_text(data)}
        case Transaction(essence, unlocks):
            shown: list[Json] = [_unlock_json(unlock) for unlock in unlocks]
            return {"type": payload.TYPE, "essence": _essence_json(essence), "unlocks": shown}
        case Milestone():
            return milestone_json(payload)


def milestone_json(milestone: Milestone) -> JsonObject:
    """Return a milestone payload as GET /milestones/{id} shows it."""
    essence = milestone.essence
    shown: JsonObject = {
        "type": milestone.TYPE,
        "index": essence.index,
        "timestamp": essence.timestamp,
        "protocolVersion": PROTOCOL_VERSION,
        "previousMilestoneId": hex_text(essence.previous_id),
        "parents": [hex_text(parent) for parent in essence.parents],
        "inclusionMerkleRoot": hex_text(essence.inclusion_root),
        "appliedMerkleRoot": hex_text(essence.applied_root),
    }
    if essence.metadata:
        shown["metadata"] = hex_text(essence.metadata)
    signatures: list[Json] = [
        _signature_json(item.public_key, item.signature) for item in milestone.signatures
    ]
    return {**shown, "signatures": signatures}


def output_json(output: BasicOutput) -> JsonObject:
    """Return an output as GET /outputs/{id} shows it."""
    conditions: list[Json] = [_condition_json(item) for item in output.conditions]
    shown: JsonObject = {
        "type": BASIC_OUTPUT_TYPE,
        "amount": str(output.units),
        "unlockConditions": conditions,
    }
    if output.features:
        shown["features"] = [_feature_json(item) for item in output.features]
    return shown


def inclusion_proof_json(proof: InclusionProof) -> JsonObject:
    """Return a proof as inx-poi creates it; an applied proof has the same shape."""
    milestone, block = Milestone.decode(proof.milestone), Block.decode(proof.block)
    path: Json = _copied(proof.path)
    return {"milestone": milestone_json(milestone), "block": block_json(block), "proof": path}


def _copied(node: object) -> Json:
    if isinstance(node, dict):
        return {str(name): _copied(value) for name, value in node.items()}
    return str(node)


def _address_json(address: bytes) -> JsonObject:
    return {"type": ED25519_ADDRESS_TYPE, "pubKeyHash": hex_text(address)}


def _signature_json(public_key: bytes, signature: bytes) -> JsonObject:
    return {"type": 0, "publicKey": hex_text(public_key), "signature": hex_text(signature)}


def _unlock_json(unlock: Unlock) -> JsonObject:
    if isinstance(unlock, SignatureUnlock):
        signature = _signature_json(unlock.public_key, unlock.signature)
        return {"type": unlock.TYPE, "signature": signature}
    return {"type": unlock.TYPE, "reference": unlock.index}


def _essence_json(essence: Essence) -> JsonObject:
    shown: JsonObject = {
        "type": 1,
        "networkId": str(essence.network_id),
        "inputs": [_input_json(item) for item in essence.inputs],
        "inputsCommitment": hex_text(essence.commitment),
        "outputs": [output_json(output) for output in essence.outputs],
    }
    if essence.payload is not None:
        shown["payload"] = payload_json(essence.payload)
    return shown


def _input_json(output_id: bytes) -> JsonObject:
    return {
        "type": 0,
        "transactionId": hex_text(output_id[:ID_LENGTH]),
        "transactionOutputIndex": int.from_bytes(output_id[ID_LENGTH:], "little"),
    }


def _condition_json(condition: UnlockCondition) -> JsonObject:
    shown: JsonObject = {"type": condition.TYPE}
    if isinstance(condition, AddressUnlockCondition):
        return {**shown, "address": _address_json(condition.address)}
    if isinstance(condition, TimelockUnlockCondition):
        return {**shown, "unixTime": condition.unix_time}
    shown["returnAddress"] = _address_json(condition.return_address)
    if isinstance(condition, StorageDepositReturnUnlockCondition):
        return {**shown, "amount": str(condition.return_units)}
    return {**shown, "unixTime": condition.unix_time}


def _feature_json(feature: Feature) -> JsonObject:
    if isinstance(feature, SenderFeature):
        return {"type": feature.TYPE, "address": _address_json(feature.address)}
    if isinstance(feature, MetadataFeature):
        return {"type": feature.TYPE, "data": hex_text(feature.data)}
    return {"type": feature.TYPE, "tag": hex_text(feature.tag)}
