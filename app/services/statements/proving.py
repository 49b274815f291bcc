"""The proof of a statement: leaf, salt, path, log entry and path, and the checkpoint over it."""

from __future__ import annotations

from sqlmodel import Session, col, select

from app.services.statements import reading
from app.store import log, statements
from app.tables import CheckpointRow
from ledger_client.log import decode_entry
from ledger_client.merkle import inclusion_path


class NotAnchoredError(Exception):
    """No checkpoint over the statement is on the ledger yet: ask again later (409)."""


def proof_of(session: Session, number: str) -> dict[str, object]:
    """Return what shows that a statement stands in the log that the ledger anchors.

    Root of the tree: from leaf hash 0x00 || prefix || salt || statement along ``path``; the log
    entry holds it, and ``entry_path`` leads from the entry to the checkpoint's root.

    Raises:
        UnknownStatementError: there is no such statement.
        NotAnchoredError: the checkpoint is on its way.
    """
    row, run = reading.find(session, number)
    checkpoint = session.exec(
        select(CheckpointRow)
        .where(CheckpointRow.state == "confirmed", col(CheckpointRow.size) > run.log_index)
        .order_by(col(CheckpointRow.size))
        .limit(1)
    ).first()
    if checkpoint is None:
        raise NotAnchoredError(f"{number} is issued, and its checkpoint is on its way: ask later")
    hashes = statements.run_hashes(session, run.id or 0)
    return {
        "block": checkpoint.block_id,
        "checkpoint": checkpoint.note,
        "entry": decode_entry(log.entry(session, run.log_index))[1],
        "entry_index": run.log_index,
        "entry_path": [
            step.hex() for step in log.inclusion_path(session, run.log_index, checkpoint.size)
        ],
        "index": row.position,
        "path": [step.hex() for step in inclusion_path(hashes, row.position)],
        "salt": row.salt.hex(),
        "statement": row.payload.decode(),
    }
