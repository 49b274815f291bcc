"""What a run leaves in its folder: the public keys, proofs, and the summary where it was asked."""

from __future__ import annotations

import json
from pathlib import Path

from sqlmodel import col, select

from app.demo.folder import write_whole
from app.services.checkpoints import public_keys
from app.services.house import House
from app.services.proofs import ProofError, settlement_proof
from app.services.summary import Summary
from app.tables import IntervalRow, StatementRow

_PROOFS_PER_RUN = 12


def write_keys(house: House) -> Path:
    """Write the district's KEYS and return where."""
    path = house.settings.data / "keys.json"
    write_whole(path, public_keys(house))
    return path


def write_proofs(house: House) -> list[Path]:
    """Write everybody's proofs of the newest intervals and one of each earlier one."""
    folder = house.settings.data / "proofs"
    folder.mkdir(exist_ok=True)
    with house.database.read() as session:
        statements = session.exec(
            select(StatementRow.interval, StatementRow.participant)
            .join(IntervalRow, col(IntervalRow.key) == StatementRow.interval)
            .where(IntervalRow.anchor == "confirmed")
            .order_by(col(StatementRow.interval).desc(), StatementRow.participant)
        ).all()
    wanted = list(statements[:_PROOFS_PER_RUN])
    wanted += [pair for place, pair in enumerate(statements[_PROOFS_PER_RUN:]) if place % 13 == 0]
    written = []
    for key, participant in wanted:
        try:
            content = settlement_proof(house, key, participant)
        except ProofError:
            continue  # still on its way: the next run writes it
        path = folder / f"{key.replace(':', '')}-{participant}.json"
        write_whole(path, content)
        written.append(path)
    return written


def write_summary(path: Path, summary: Summary) -> None:
    """Write the summary whole or not at all."""
    write_whole(path, (json.dumps(summary, indent=2) + "\n").encode())
