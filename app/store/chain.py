"""Stored readings as links of their meters' chains: look-up of neighbours, inserts, receipts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, RowMapping, and_, bindparam, false, insert, update
from sqlmodel import Session, SQLModel, col, func, select

from app.store import partitions
from app.tables import EnrolmentRow, MeteringPointRow, ReceiptBatchRow
from metering.reading import Reading

# Neighbouring numbers of one batch are read with one query; farther apart begins another.
_RUN_BREAK: Final = 64


@dataclass(slots=True)
class Entry:
    """A reading in its chain: stored already, or (``id`` None) about to be.

    ``link`` is SHA-256(payload || signature); ``path`` the receipt's, as concatenated hashes.
    """

    payload: bytes
    signature: bytes
    link: bytes
    salt: bytes
    leaf: bytes
    seal_interval: str
    flags: str
    quality: str
    id: int | None = None
    receipt_batch: int = 0
    receipt_index: int = 0
    receipt_path: bytes = b""
    parsed: Reading | None = None

    @property
    def reading(self) -> Reading:
        """The payload's fields, parsed once."""
        if self.parsed is None:
            self.parsed = Reading.from_payload(self.payload)
        return self.parsed


_COLUMNS: Final = tuple(name for name in Entry.__dataclass_fields__ if name != "parsed")
_TABLE: Final = SQLModel.metadata.tables["reading"]


@dataclass(frozen=True, slots=True)
class Seat:
    """A key's enrolment, and what its point's fuse allows."""

    point: str
    serial: str
    epoch: int
    valid_from: str
    revoked_from: str | None
    max_power_w: int
    removed_through: int = 0  # up to this number, some readings were removed


def seats(session: Session, keys: Sequence[str]) -> Mapping[str, Seat]:
    """Return the enrolments of ``keys``, locked: one writer at a time works on a key's chain."""
    rows = session.exec(
        select(EnrolmentRow, MeteringPointRow.max_power_w)
        .join(MeteringPointRow, col(MeteringPointRow.gsrn) == col(EnrolmentRow.point))
        .where(col(EnrolmentRow.key).in_(keys))
        .order_by(col(EnrolmentRow.key))
        .with_for_update(key_share=True, of=EnrolmentRow)
    )
    return {
        row.key: Seat(
            row.point,
            row.serial,
            row.epoch,
            row.valid_from,
            row.revoked_from,
            max_power_w,
            row.removed_through or 0,
        )
        for row, max_power_w in rows
    }


def around(session: Session, key: str, epoch: int, seqs: Sequence[int]) -> dict[int, Entry]:
    """Return the stored entries at ``seqs`` and the next one below and above each, by seq.

    Readings that were removed are not among them (``app/store/removed.py``).
    """
    found: dict[int, Entry] = {}
    for first, last in _runs(sorted(set(seqs))):
        chain = (_TABLE.c.key == key, _TABLE.c.epoch == epoch, _TABLE.c.payload != b"")
        rows = session.connection().execute(
            select(_TABLE.c.seq, *(_TABLE.c[name] for name in _COLUMNS)).where(
                *chain, _near(session, key, epoch, first, last)
            )
        )
        found |= {row["seq"]: _entry(row) for row in rows.mappings()}
    return found


def _near(session: Session, key: str, epoch: int, first: int, last: int) -> ColumnElement[bool]:
    """Return the condition of the numbers from ``first`` to ``last`` and the next ones around."""
    if partitions.is_parted(session):
        found = partitions.reach(session, key, epoch, first, last)
        if found is None:
            return false()
        return and_(
            _TABLE.c.seq.between(found.first_seq, found.last_seq),
            _TABLE.c.answered_ms.between(found.first_ms, found.last_ms),
        )
    chain = (_TABLE.c.key == key, _TABLE.c.epoch == epoch)
    below = select(func.max(_TABLE.c.seq)).where(*chain, _TABLE.c.seq < first)
    above = select(func.min(_TABLE.c.seq)).where(*chain, _TABLE.c.seq > last)
    return _TABLE.c.seq.between(
        func.coalesce(below.scalar_subquery(), first),
        func.coalesce(above.scalar_subquery(), last),
    )


def add_receipt_batch(session: Session, values: Mapping[str, object]) -> int:
    """Store what one signature of the receipt key covers and return its id."""
    table = SQLModel.metadata.tables["receipt_batch"]
    statement = insert(table).values(**values).returning(table.c.id)
    return int(session.connection().execute(statement).scalar_one())


def receipt_batches(session: Session, ids: Sequence[int]) -> Mapping[int, ReceiptBatchRow]:
    """Return receipt batches by id."""
    rows = session.exec(select(ReceiptBatchRow).where(col(ReceiptBatchRow.id).in_(ids)))
    return {row.id: row for row in rows if row.id is not None}


def add(session: Session, entries: Sequence[Entry], received_ms: int) -> None:
    """Insert new entries in one go (Core's executemany)."""
    if entries:
        session.connection().execute(
            insert(_TABLE), [_values(entry, received_ms) for entry in entries]
        )


def judge_again(session: Session, entries: Sequence[Entry]) -> None:
    """Write the flags and the quality of stored entries."""
    if entries:
        statement = update(_TABLE).where(_TABLE.c.id == bindparam("row"))
        session.connection().execute(
            statement.values(flags=bindparam("flags"), quality=bindparam("quality")),
            [{"row": each.id, "flags": each.flags, "quality": each.quality} for each in entries],
        )


def find(session: Session, key: str, epoch: int, seq: int) -> Entry | None:
    """Return one stored entry."""
    return around(session, key, epoch, [seq]).get(seq)


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of stretches of numbers that lie close together."""
    first = last = seqs[0]
    for seq in seqs[1:]:
        if seq - last > _RUN_BREAK:
            yield first, last
            first = seq
        last = seq
    yield first, last


def _entry(row: RowMapping) -> Entry:
    return Entry(**{name: row[name] for name in _COLUMNS})


def _values(entry: Entry, received_ms: int) -> dict[str, object]:
    reading = entry.reading
    return {
        "key": reading.key,
        "epoch": reading.epoch,
        "seq": reading.seq,
        "point": reading.point,
        "answered_ms": reading.answered_ms,
        "import_wh": reading.import_wh,
        "export_wh": reading.export_wh,
        "power_w": reading.power_w,
        "quality": entry.quality,
        "flags": entry.flags,
        "payload": entry.payload,
        "signature": entry.signature,
        "link": entry.link,
        "prev": bytes.fromhex(reading.prev),
        "salt": entry.salt,
        "leaf": entry.leaf,
        "seal_interval": entry.seal_interval,
        "received_ms": received_ms,
        "receipt_batch": entry.receipt_batch,
        "receipt_index": entry.receipt_index,
        "receipt_path": entry.receipt_path,
    }
