"""What the transparency page shows, from the log and the public keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from sqlmodel import Session

from app.services.checkpoints import (
    cosignatures,
    newest,
    previous_size,
    public_keys,
    sealed_between,
)
from app.services.house import House
from app.store import log, people
from app.tables import CheckpointRow
from ledger_client.checkpoint import NoteLine
from ledger_client.verify import Keys, LedgerKeys, load_keys
from web.ports.transparency import CheckpointLine, KeyLine, TransparencyPage

_MOST_BYTES_OF_A_CODE = 64


class Listed(NamedTuple):
    """Checkpoints, newest first, and whether there are older ones."""

    lines: Sequence[CheckpointLine]
    more: bool


def checkpoints(house: House, session: Session, before: int | None, limit: int) -> Listed:
    """Return checkpoints below a size (all when None)."""
    rows = newest(session, before, limit + 1)
    shown = rows[:limit]
    beside = cosignatures(house, session, [row.size for row in shown])
    previous = [row.size for row in rows[1:]]
    if len(previous) < len(shown):
        previous.append(previous_size(session, shown[-1].size))
    seals = sealed_between(session, previous[-1], shown[0].size) if shown else {}
    own = house.settings.origin
    lines = []
    for row, old in zip(shown, previous, strict=True):
        names = [NoteLine.read(line).name for line in beside[row.size]]
        intervals = [key for index, key in seals.items() if old <= index < row.size]
        lines.append(_line(row, old, intervals, names, own))
    return Listed(lines, len(rows) > limit)


def _line(
    row: CheckpointRow, previous: int, intervals: Sequence[str], signers: Sequence[str], own: str
) -> CheckpointLine:
    return CheckpointLine(
        size=row.size,
        root=row.root.hex(),
        intervals=intervals,
        state=row.state,
        anchor_block=row.block_id,
        cosigned_by=[name for name in signers if name != own],
        second_signature=own in signers,
        previous_size=previous,
    )


def page(house: House, before: int | None, limit: int) -> TransparencyPage:
    """Return the page: checkpoints below a size (all when None), and the keys."""
    keys = load_keys(public_keys(house))
    if isinstance(keys, LedgerKeys):
        raise TypeError("the district's own KEYS are those of a ledger alone")
    with house.database.read() as session:
        row = people.district(session)
        listed = checkpoints(house, session, before, limit)
        return TransparencyPage(
            origin=row.origin,
            name=row.name,
            zone=row.zone,
            clock_ms=house.clock.now_ms(),
            simulated=house.clock.simulated,
            entries=log.size(session),
            checkpoints=listed.lines,
            more=listed.more,
            keys=[_key(role, name, key) for role, name, key in _roles(keys)],
            milestone_threshold=keys.milestones.threshold,
            witness_threshold=keys.witnesses.threshold,
        )


def _roles(keys: Keys) -> Iterable[tuple[str, str, bytes]]:
    yield from (("log", "", key) for key in keys.log)
    yield from (("mldsa", "", key) for key in keys.mldsa)
    yield from (("witness", item.name, item.key) for item in keys.witnesses.keys)
    yield from (("milestone", "", item.key) for item in keys.milestones.keys)
    yield from (("registry", "", key) for key in keys.registry)
    yield from (("receipts", "", key) for key in keys.receipts)


def _key(role: str, name: str, key: bytes) -> KeyLine:
    fingerprint = sha256(key).hexdigest()
    whole = len(key) <= _MOST_BYTES_OF_A_CODE
    return KeyLine(role, name, key.hex() if whole else f"sha256:{fingerprint}", fingerprint, whole)
