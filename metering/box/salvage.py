"""What of a spool's file goes into the one that takes its place, as far as it can be read.

Only what is whole goes over: readings and events whose signatures hold. The rest stays in the old
file, which nobody deletes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from metering.event import EventError, GatewayEvent
from metering.identity import IdentityError, PublicKey
from metering.reading import Reading, ReadingError
from metering.signing import Purpose, verify

Row = tuple[str | int | bytes | None, ...]

_SELECT: Final[Mapping[str, str]] = {
    "reading": "SELECT key, epoch, seq, payload, signature, state, status, error, decided_ms"
    " FROM reading WHERE state != 'acknowledged' ORDER BY id",
    "event": "SELECT key, seq, payload, signature FROM event WHERE state = 'pending' ORDER BY id",
    "event_chain": "SELECT key, seq, link FROM event_chain",
    "last_good": "SELECT key, payload FROM last_good",
}
_INSERT: Final[Mapping[str, str]] = {
    "reading": "INSERT OR IGNORE INTO reading (key, epoch, seq, payload, signature, state, status,"
    " error, decided_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "event": "INSERT OR IGNORE INTO event (key, seq, payload, signature) VALUES (?, ?, ?, ?)",
    "event_chain": "INSERT OR IGNORE INTO event_chain (key, seq, link) VALUES (?, ?, ?)",
    "last_good": "INSERT OR IGNORE INTO last_good (key, payload) VALUES (?, ?)",
}
_UNSURE_STEP: Final = 10
"""So many epochs are left out where nobody can tell which ones were used."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """What could be read of a spool: rows by table, and the last epoch of each key (hex).

    ``epochs`` is None where the chains could not be read, ``torn`` names the tables of which some
    rows could not.
    """

    rows: Mapping[str, list[Row]]
    epochs: Mapping[str, int] | None
    torn: Collection[str]

    @classmethod
    def of(cls, path: Path) -> Salvage:
        """Read a spool's file; nothing in it is changed."""
        if not path.exists():
            return cls({}, None, ("reading", "event_chain"))
        rows, torn = dict[str, list[Row]](), []
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            for table, query in _SELECT.items():
                found, whole = _read(file, query)
                rows[table] = [row for row in found if _SOUND[table](row)]
                if not whole or len(rows[table]) < len(found):
                    torn.append(table)
            used, sound = _read(file, "SELECT key, epoch FROM chain")
            ended, whole = _read(file, "SELECT key, epoch FROM ended")
        last = dict[str, int]()
        for key, epoch in (*used, *ended):
            if isinstance(key, str) and isinstance(epoch, int):
                last[key] = max(epoch, last.get(key, 0))
        return cls(rows, last if sound and whole else None, torn)

    def last_epoch(self, key: str, enrolled: int, lost_before: int) -> int:
        """Return the last epoch of a key whose numbers may be used up, 0 where none is.

        Where the chains could not be read, ten epochs are left out for each spool lost so far.
        """
        if self.epochs is not None:
            return self.epochs.get(key, 0)
        return enrolled + _UNSURE_STEP * (lost_before + 1) - 1

    def put_into(self, path: Path) -> None:
        """Write the rows into a spool that is new.

        Raises:
            sqlite3.Error: they cannot be written.
        """
        with closing(sqlite3.connect(path)) as file, file:
            for table, rows in self.rows.items():
                file.executemany(_INSERT[table], rows)


def _read(file: sqlite3.Connection, query: str) -> tuple[list[Row], bool]:
    """Return the rows up to where the file is torn, and whether it is not torn there.

    A table that is not there has no rows: the spool is of an older gateway.
    """
    rows = list[Row]()
    try:
        rows.extend(file.execute(query))  # what comes before the tear stays in
    except sqlite3.Error as error:
        return rows, "no such table" in str(error)
    return rows, True


def _is_reading(row: Row) -> bool:
    key, epoch, seq, payload, signature, *_ = row
    if not (isinstance(payload, bytes) and isinstance(signature, bytes)):
        return False
    try:
        found = Reading.from_payload(payload)
        signer = PublicKey.parse(found.key)
    except (ReadingError, IdentityError):
        return False
    return (found.key, found.epoch, found.seq) == (key, epoch, seq) and verify(
        signer, Purpose.READING, payload, signature
    )


def _is_event(row: Row) -> bool:
    key, seq, payload, signature = row
    if not (isinstance(payload, bytes) and isinstance(signature, bytes)):
        return False
    try:
        found = GatewayEvent.from_payload(payload)
    except EventError:
        return False
    return (found.key, found.seq) == (key, seq) and verify(
        PublicKey.parse(found.key), Purpose.EVENT, payload, signature
    )


def _is_head(row: Row) -> bool:
    key, seq, link = row
    return (
        isinstance(key, str) and isinstance(seq, int) and isinstance(link, str) and len(link) == 64
    )


def _is_last_good(row: Row) -> bool:
    key, payload = row
    try:
        return isinstance(payload, bytes) and Reading.from_payload(payload).key == key
    except ReadingError:
        return False


_SOUND: Final[Mapping[str, Callable[[Row], bool]]] = {
    "reading": _is_reading,
    "event": _is_event,
    "event_chain": _is_head,
    "last_good": _is_last_good,
}
