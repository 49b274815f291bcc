"""What the ledger's rows look like in the REST API (core v2); pure.

Field names and their order follow the node's published API: a field that does not apply is absent.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger_client.localnode.semantics import ConflictReason
from ledger_client.localnode.store import BlockRow, MilestoneRow, OutputRow
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import ID_LENGTH
from ledger_client.stardust.json_form import Json, JsonObject, hex_text, output_json
from ledger_client.stardust.milestone import Milestone
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import Transaction, output_id

YOUNGEST_ROOT_LIMIT = 8
OLDEST_ROOT_LIMIT = 13
"""Milestones that a block's past may lag behind before it should be promoted (the original
node's defaults); 15 behind, it should be attached again."""


def hex_list(items: Iterable[bytes]) -> list[Json]:
    """Return bytes as a list of 0x hex."""
    return [hex_text(item) for item in items]


def milestone_info_json(row: MilestoneRow) -> JsonObject:
    """Return a milestone as GET /info names it."""
    return {
        "index": row.index,
        "timestamp": row.timestamp,
        "milestoneId": hex_text(row.milestone_id),
    }


def block_metadata_json(row: BlockRow, block: Block, tip: JsonObject) -> JsonObject:
    """Return a block's metadata; ``tip`` is what to say of one that nothing references yet."""
    shown: JsonObject = {
        "blockId": hex_text(row.block_id),
        "parents": hex_list(block.parents),
        "isSolid": True,
    }
    if row.milestone_index is not None:
        shown["referencedByMilestoneIndex"] = row.milestone_index
    if isinstance(block.payload, Milestone):
        shown["milestoneIndex"] = block.payload.essence.index
    if row.milestone_index is None:
        return {**shown, **tip}
    shown["ledgerInclusionState"] = _inclusion_state(row.conflict)
    if row.conflict:
        shown["conflictReason"] = row.conflict
    return {**shown, "whiteFlagIndex": row.white_flag_index}


def _inclusion_state(conflict: int | None) -> str:
    if conflict is None:
        return "noTransaction"
    return "included" if conflict == ConflictReason.NONE else "conflicting"


def tip_json(confirmed: int, youngest_root: int, oldest_root: int, max_depth: int) -> JsonObject:
    """Return whether an unreferenced block needs help, from the milestones its past rests on."""
    too_old = confirmed - oldest_root > max_depth
    lazy = (
        confirmed - youngest_root > YOUNGEST_ROOT_LIMIT
        or confirmed - oldest_root > OLDEST_ROOT_LIMIT
    )
    return {"shouldPromote": lazy and not too_old, "shouldReattach": too_old}


def output_metadata_json(row: OutputRow, ledger_index: int) -> JsonObject:
    """Return where an output comes from and what spent it."""
    shown: JsonObject = {
        "blockId": hex_text(row.block_id),
        "transactionId": hex_text(row.output_id[:ID_LENGTH]),
        "outputIndex": int.from_bytes(row.output_id[ID_LENGTH:], "little"),
        "isSpent": row.spent_index is not None,
    }
    if row.spent_transaction is not None:
        shown["milestoneIndexSpent"] = row.spent_index
        shown["milestoneTimestampSpent"] = row.spent_timestamp
        shown["transactionIdSpent"] = hex_text(row.spent_transaction)
    return {
        **shown,
        "milestoneIndexBooked": row.booked_index,
        "milestoneTimestampBooked": row.booked_timestamp,
        "ledgerIndex": ledger_index,
    }


def output_with_metadata_json(row: OutputRow, ledger_index: int) -> JsonObject:
    """Return an output with its metadata."""
    output = output_json(BasicOutput.decode(row.data))
    return {"metadata": output_metadata_json(row, ledger_index), "output": output}


def utxo_changes_json(index: int, applied: Iterable[Transaction]) -> JsonObject:
    """Return what the transactions that a milestone applied created and consumed, in order."""
    created: list[Json] = []
    consumed: list[Json] = []
    for transaction in applied:
        transaction_id = transaction.id()
        count = len(transaction.essence.outputs)
        created += [hex_text(output_id(transaction_id, at)) for at in range(count)]
        consumed += hex_list(transaction.essence.inputs)
    return {"index": index, "createdOutputs": created, "consumedOutputs": consumed}
