"""The outbox of anchors: each checkpoint becomes one tagged-data block on the ledger."""

from __future__ import annotations

from sqlmodel import col, select

from app.services import beacons
from app.services.alarms import alarm
from app.services.house import House
from app.tables import CheckpointRow, IntervalRow
from ledger_client.ledger import LedgerError, LedgerUnavailableError, TransferStatus
from ledger_client.stardust.block import block_id
from ledger_client.verify import anchor_tag


def anchor(house: House) -> bool:
    """Take the oldest unconfirmed checkpoint one step further; return whether anything moved.

    A ledger that does not answer leaves everything as it is, to be tried again; what it refuses
    for good waits for a person.
    """
    with house.database.read() as session:
        checkpoint = session.exec(
            select(CheckpointRow)
            .where(col(CheckpointRow.state).in_(("pending", "submitted")))
            .order_by(col(CheckpointRow.size))
            .limit(1)
        ).first()
    if checkpoint is None:
        return False
    try:
        if checkpoint.block_id is None:
            return _submit(house, checkpoint)
        return _look(house, checkpoint)
    except LedgerUnavailableError:
        return False
    except LedgerError as error:
        place = f"checkpoint {checkpoint.size}"
        alarm(house, f"anchor/{checkpoint.size}", f"the anchor of {place} stands still: {error}")
        return False


def _submit(house: House, checkpoint: CheckpointRow) -> bool:
    attached = house.ledger.anchor(anchor_tag(house.settings.origin), checkpoint.data)
    with house.database.write() as session:
        row = session.get_one(CheckpointRow, checkpoint.size)
        row.block_id = attached.hex()
        row.state = "submitted"
    return True


def _look(house: House, checkpoint: CheckpointRow) -> bool:
    """Conclude what is proved; send again, once in this run, what the ledger has forgotten.

    The proof's block may be another than the one that was sent: the ledger may attach it again.
    """
    identifier = bytes.fromhex(checkpoint.block_id or "")
    proof = house.ledger.inclusion_proof(identifier)
    if proof is None:
        if house.ledger.status(identifier) is TransferStatus.UNKNOWN:
            _submit(house, checkpoint)
        return False
    with house.database.write() as session:
        anchored = session.get_one(CheckpointRow, checkpoint.size)
        anchored.state = "confirmed"
        anchored.block_id = block_id(proof.block).hex()
        beacons.keep(session, proof.milestone)
        rows = session.exec(
            select(IntervalRow).where(
                IntervalRow.state == "sealed",  # none is final before; an index answers it
                IntervalRow.anchor == "pending",
                col(IntervalRow.seal_index) < checkpoint.size,
            )
        )
        for row in rows:
            row.anchor = "confirmed"
    return True
