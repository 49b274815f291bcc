"""Stored readings as links of their meters' chains: look-up of neighbours, inserts, receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from sqlalchemy import ColumnElement, RowMapping, bindparam, insert, update
from sqlmodel import Session, SQLModel, col, select

from app.store import bulk, changes, stretches
from app.store.changes import Epochs
from app.store.stretches import of_chain
from app.tables import ReceiptBatchRow
from metering.reading import Reading


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
            self.parsed = Reading.from_stored(self.payload)
        return self.parsed


_COLUMNS: Final = tuple(name for name in Entry.__dataclass_fields__ if name != "parsed")
_TABLE: Final = SQLModel.metadata.tables["reading"]
_ENROLMENT: Final = SQLModel.metadata.tables["enrolment"]
_POINT: Final = SQLModel.metadata.tables["metering_point"]
_SEAT: Final = [
    *(_ENROLMENT.c[name] for name in ("key", "point", "serial", "epoch", "valid_from")),
    *(_ENROLMENT.c[name] for name in ("revoked_from", "removed_through")),
    _POINT.c.max_power_w,
]
_OWN: Final = ("key", "epoch", "seq", "point", "answered_ms", "import_wh", "export_wh", "power_w")
_KEPT: Final = tuple(name for name in _COLUMNS if name != "id")
_ADDED: Final = (*_OWN, "prev", "received_ms", *_KEPT)
_own: Final = attrgetter(*_OWN)
_kept: Final = attrgetter(*_KEPT)


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
    epochs: Epochs = ()  # those approved since; until then the enrolled one holds


def seats(session: Session, keys: Sequence[str]) -> Mapping[str, Seat]:
    """Return the enrolments of ``keys``, locked: one writer at a time works on a key's chain."""
    rows = session.connection().execute(
        select(*_SEAT)
        .join_from(_ENROLMENT, _POINT, _POINT.c.gsrn == _ENROLMENT.c.point)
        .where(bulk.one_of(session, _ENROLMENT.c.key, keys))
        .order_by(_ENROLMENT.c.key)
        .with_for_update(key_share=True, of=_ENROLMENT)
    )
    epochs = changes.approved_epochs(session, keys)
    return {
        key: Seat(
            point, serial, epoch, since, until, max_power_w, through or 0, epochs.get(key, ())
        )
        for key, point, serial, epoch, since, until, through, max_power_w in rows
    }


def around(
    session: Session, wanted: Mapping[tuple[str, int], Sequence[int]]
) -> dict[tuple[str, int], dict[int, Entry]]:
    """Return the stored entries at numbers of chains (key, epoch), and the next ones around each.

    By chain and number. Readings that were removed are not among them (``app/store/removed.py``).
    """
    found: dict[tuple[str, int], dict[int, Entry]] = {whose: {} for whose in wanted}
    parts = [each for whose, seqs in wanted.items() for each in of_chain(*whose, seqs)]
    for row in stretches.rows(session, parts, _COLUMNS):
        found[row["key"], row["epoch"]][row["seq"]] = _entry(row)
    return found


def below(session: Session, whose: tuple[str, int], seq: int, limit: int) -> list[Entry]:
    """Return the nearest stored entries of lower numbers of a chain (key, epoch), nearest first."""
    return _some(session, whose, _TABLE.c.seq < seq, _TABLE.c.seq.desc(), limit)


def above(session: Session, whose: tuple[str, int], seq: int, limit: int) -> list[Entry]:
    """Return the stored entries from number ``seq`` on, in order."""
    return _some(session, whose, _TABLE.c.seq >= seq, _TABLE.c.seq, limit)


def _some(
    session: Session,
    whose: tuple[str, int],
    where: ColumnElement[bool],
    order: ColumnElement[int],
    limit: int,
) -> list[Entry]:
    key, epoch = whose
    rows = session.connection().execute(
        select(*(_TABLE.c[name] for name in _COLUMNS))
        .where(_TABLE.c.key == key, _TABLE.c.epoch == epoch, _TABLE.c.payload != b"", where)
        .order_by(order)
        .limit(limit)
    )
    return [_entry(row) for row in rows.mappings()]


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
    """Insert new entries in one go."""
    bulk.append(session, _TABLE, _ADDED, [_values(entry, received_ms) for entry in entries])


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
    return around(session, {(key, epoch): [seq]})[key, epoch].get(seq)


def _entry(row: RowMapping) -> Entry:
    return Entry(**{name: row[name] for name in _COLUMNS})


def _values(entry: Entry, received_ms: int) -> tuple[object, ...]:
    reading = entry.reading
    return (*_own(reading), bytes.fromhex(reading.prev), received_ms, *_kept(entry))
