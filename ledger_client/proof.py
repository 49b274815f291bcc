"""Assembles proof files. The layout is the records of :mod:`.verify`; here they are filled.

A caller gathers the stored bytes (payloads, signatures, salts, entries, blocks) into the records,
and :func:`to_bytes` writes the file. Nothing is checked here: ``verify`` alone judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger_client.ledger import InclusionProof
from ledger_client.merkle import inclusion_path
from ledger_client.verify import (
    Anchor,
    Borders,
    ConsistencyProof,
    Correction,
    Corrections,
    Equivocation,
    Keys,
    LogEntry,
    MeterEquivocation,
    MilestoneEquivocation,
    Payment,
    PointProof,
    ReadingProof,
    ReceiptFile,
    RosterLeaf,
    SaltedLeaf,
    SealedLeaves,
    SettlementProof,
    SignedReading,
    Slot,
    Tariff,
    Value,
    canonical,
    order_leaf,
    poi_path,
    reading_leaf,
    receipt_leaf,
    roster_leaf,
    slot_leaf,
    statement_leaf,
    tariff_leaf,
    value_leaf,
)

__all__ = [
    "Anchor",
    "Borders",
    "ConsistencyProof",
    "Correction",
    "Corrections",
    "Equivocation",
    "Keys",
    "LogEntry",
    "MilestoneEquivocation",
    "Payment",
    "PointProof",
    "ProofFile",
    "ReadingProof",
    "RosterLeaf",
    "SaltedLeaf",
    "SettlementProof",
    "SignedReading",
    "Slot",
    "Tariff",
    "Value",
    "anchored",
    "order_leaf",
    "paid",
    "reading_leaf",
    "receipt_leaf",
    "roster_leaf",
    "salted_leaf",
    "slot_leaf",
    "statement_leaf",
    "tariff_leaf",
    "to_bytes",
    "value_leaf",
]


ProofFile = (
    SettlementProof
    | ReadingProof
    | ConsistencyProof
    | Equivocation
    | MilestoneEquivocation
    | MeterEquivocation
    | ReceiptFile
    | SealedLeaves
)


def to_bytes(record: ProofFile | Keys) -> bytes:
    """Return the bytes of a proof or KEYS file: canonical JSON and a final newline."""
    return canonical(record) + b"\n"


def salted_leaf(text: str, salt: bytes, index: int, leaf_hashes: Sequence[bytes]) -> SaltedLeaf:
    """Return an order's or statement's leaf with its place among its tree's leaf hashes."""
    return SaltedLeaf(index, text, tuple(inclusion_path(leaf_hashes, index)), salt)


def anchored(proof: InclusionProof, cosignatures: Iterable[str] = ()) -> Anchor:
    """Return the ledger's evidence for the block that anchors a checkpoint.

    Args:
        proof: The proof by block id.
        cosignatures: The signature lines that stand beside the anchored note.
    """
    lines = tuple(sorted(cosignatures))
    return Anchor(proof.block, proof.milestone, poi_path(proof.path)[1], lines)


def paid(proof: InclusionProof, consumed: Sequence[bytes]) -> Payment:
    """Return the ledger's evidence for a transaction.

    Args:
        proof: The proof by transaction id, which leads to the applied root.
        consumed: The bytes of the outputs that it consumed, in the order of its inputs.
    """
    return Payment(proof.block, tuple(consumed), proof.milestone, poi_path(proof.path)[1])
