"""Stardust nodes over REST: a client that checks every answer, and the ledger port over it."""

from ledger_client.remotenode.adapter import RestLedger
from ledger_client.remotenode.answers import BlockMetadata, NodeInfo, OutputMetadata, UtxoChanges
from ledger_client.remotenode.client import NodeClient

__all__ = [
    "BlockMetadata",
    "NodeClient",
    "NodeInfo",
    "OutputMetadata",
    "RestLedger",
    "UtxoChanges",
]
