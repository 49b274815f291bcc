"""Which blocks a milestone applied, in white-flag order: found over REST, checked by the root."""

from __future__ import annotations

from collections.abc import Iterable

from ledger_client.ledger import LedgerUnavailableError
from ledger_client.remotenode.client import NodeClient
from ledger_client.remotenode.errors import NodeAnswerError
from ledger_client.stardust.block import block_id
from ledger_client.stardust.codec import ID_LENGTH
from ledger_client.stardust.merkle import merkle_root

_GENESIS = bytes(ID_LENGTH)


def applied_blocks(client: NodeClient, index: int, applied_root: bytes) -> tuple[bytes, ...]:
    """Return the ids of the blocks that milestone ``index`` applied; they give ``applied_root``.

    Nodes list the outputs that a milestone created, from which follow the transactions, their
    blocks and the blocks' order. Some leave out what was created and spent at once: then what was
    consumed is looked at as well. Raises NodeAnswerError when no list gives the root.
    """
    changes = client.utxo_changes(index)
    if changes is None:
        raise LedgerUnavailableError(f"milestone {index}: the node has no list of its changes")
    created = {item[:ID_LENGTH] for item in changes.created_outputs}
    consumed = {item[:ID_LENGTH] for item in changes.consumed_outputs}
    order = _ordered(client, index, created)
    if merkle_root([item for _, item in order]) != applied_root:
        order = sorted(order + _ordered(client, index, consumed - created))
    ids = tuple(item for _, item in order)
    if merkle_root(ids) != applied_root:
        raise NodeAnswerError(
            f"milestone {index}: the transactions that the node names do not give its applied "
            "root; ask another node"
        )
    return ids


def _ordered(
    client: NodeClient, index: int, transaction_ids: Iterable[bytes]
) -> list[tuple[int, bytes]]:
    """Return (white-flag index, block id) of those transactions that the milestone applied."""
    found = []
    for transaction_id in transaction_ids:
        block = None if transaction_id == _GENESIS else client.included_block(transaction_id)
        metadata = None if block is None else client.block_metadata(block_id(block))
        if metadata is None or metadata.referenced_by_milestone_index != index:
            continue
        if metadata.white_flag_index is None:
            raise NodeAnswerError(
                f"block {metadata.block_id.hex()}: the node gives no white-flag index"
                " of it; ask a newer node"
            )
        found.append((metadata.white_flag_index, metadata.block_id))
    return sorted(found)
