"""The log's checkpoints with their cosignatures, and the public keys to judge them by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, func, select

from app.services.house import House
from app.store import log
from app.tables import CheckpointRow, CosignatureRow, IntervalRow
from ledger_client import proof
from ledger_client.checkpoint import Checkpoint, NoteLine, full_note, key_id, mldsa_sign
from ledger_client.verify import COSIGNATURE, MLDSA, Witness


class CheckpointError(LookupError):
    """There is no such checkpoint: look the sizes up in the list (404)."""


def public_keys(house: House) -> bytes:
    """Return the district's KEYS file, as it is to be pinned."""
    settings = house.settings
    return house.keyring.public_keys_file(
        settings.origin, house.milestones, witnesses(house), settings.witness_threshold
    )


def witnesses(house: House) -> list[Witness]:
    """Return who is asked to cosign checkpoints."""
    return [item.witness for item in house.settings.witnesses]


def sign_again(house: House, session: Session, head: Checkpoint) -> None:
    """Keep the log's second signature, by ML-DSA-44, if there is a key for it."""
    if house.keyring.mldsa is None:
        return
    line = mldsa_sign(head, house.keyring.mldsa)
    session.add(CosignatureRow(size=head.size, kind="mldsa", name=head.origin, line=line, time_s=0))


def cosignatures(house: House, session: Session, sizes: Sequence[int]) -> Mapping[int, list[str]]:
    """Return, by size, the signature lines that the district's present KEYS can judge."""
    known = set(_judged_keys(house))
    rows = session.exec(
        select(CosignatureRow)
        .where(col(CosignatureRow.size).in_(sizes))
        .order_by(CosignatureRow.kind, CosignatureRow.name)
    )
    found: dict[int, list[str]] = {size: [] for size in sizes}
    for row in rows:
        line = NoteLine.read(row.line)
        if (line.name, line.key_id) in known:
            found[row.size].append(row.line)
    return found


def _judged_keys(house: House) -> list[tuple[str, bytes]]:
    pinned = [(item.name, key_id(item.name, item.key, COSIGNATURE)) for item in witnesses(house)]
    if house.keyring.mldsa is not None:
        key = house.keyring.mldsa.public_key().public_bytes_raw()
        pinned.append((house.settings.origin, key_id(house.settings.origin, key, MLDSA)))
    return pinned


def is_enough(house: House, lines: Sequence[str]) -> bool:
    """Tell whether a checkpoint has the signatures that KEYS demand, and of one witness at least.

    Of one at least where there are witnesses at all: it excludes a split view.
    """
    own = house.settings.origin
    names = {line.name for line in map(NoteLine.read, lines)}
    need = max(house.settings.witness_threshold, min(1, len(house.settings.witnesses)))
    return len(names - {own}) >= need and (house.keyring.mldsa is None or own in names)


def latest_note(house: House) -> str:
    """Return the newest checkpoint's note with its cosignatures.

    Raises:
        CheckpointError: there is none yet.
    """
    with house.database.read() as session:
        row = session.exec(
            select(CheckpointRow).order_by(col(CheckpointRow.size).desc()).limit(1)
        ).first()
        if row is None:
            raise CheckpointError("the log has no checkpoint yet: the first seal makes one")
        return full_note(row.note, cosignatures(house, session, [row.size])[row.size])


def newest(session: Session, before: int | None, limit: int) -> Sequence[CheckpointRow]:
    """Return checkpoints below a size (all when None), the newest first."""
    query = select(CheckpointRow).order_by(col(CheckpointRow.size).desc()).limit(limit)
    if before is not None:
        query = query.where(CheckpointRow.size < before)
    return session.exec(query).all()


def previous_size(session: Session, size: int) -> int:
    """Return the size of the checkpoint before; 0 when it is the first."""
    below = select(func.coalesce(func.max(CheckpointRow.size), 0)).where(CheckpointRow.size < size)
    return session.exec(below).one()


def sealed_between(session: Session, old: int, new: int) -> Mapping[int, str]:
    """Return the intervals whose seals the log holds from entry ``old`` to below ``new``."""
    rows = session.exec(
        select(IntervalRow.seal_index, IntervalRow.key)
        .where(col(IntervalRow.seal_index) >= old, col(IntervalRow.seal_index) < new)
        .order_by(IntervalRow.key)
    ).all()
    return {index: key for index, key in rows if index is not None}


def consistency_proof(house: House, old: int, new: int) -> bytes:
    """Return the proof file that the log only grew between two checkpoints.

    Raises:
        CheckpointError: one of the sizes is no checkpoint's, or they stand the wrong way round.
    """
    with house.database.read() as session:
        notes = [_note(session, size) for size in (old, new)]
        if old > new:
            raise CheckpointError(f"the log does not shrink from {old} to {new}: swap the two")
        path = log.consistency_path(session, old, new)
        return proof.to_bytes(proof.ConsistencyProof(old=notes[0], new=notes[1], path=tuple(path)))


def _note(session: Session, size: int) -> str:
    row = session.get(CheckpointRow, size)
    if row is None:
        raise CheckpointError(f"there is no checkpoint of {size} entries: take sizes from the list")
    return row.note
