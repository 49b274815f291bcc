"""The embedded Tangle node: one writer over SQLite, feeless transfers, signed milestones."""

from ledger_client.localnode.adapter import LocalLedger
from ledger_client.localnode.node import LedgerStats, LocalNode
from ledger_client.localnode.semantics import ConflictReason
from ledger_client.localnode.settings import NodeOptions, NodeSettings
from ledger_client.localnode.store import Store

__all__ = [
    "ConflictReason",
    "LedgerStats",
    "LocalLedger",
    "LocalNode",
    "NodeOptions",
    "NodeSettings",
    "Store",
]
