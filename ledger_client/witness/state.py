"""Every checkpoint that a witness cosigned, on disk before the cosignature leaves."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger_client.serving.database import Connect, connect_sqlite
from ledger_client.witness.errors import WitnessSettingsError, WitnessStateError

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS cosigned (
  origin TEXT NOT NULL,
  size INTEGER NOT NULL,
  root BLOB NOT NULL,
  note TEXT NOT NULL,
  cosignature TEXT NOT NULL,
  time_s INTEGER NOT NULL,
  PRIMARY KEY (origin, size)
) STRICT, WITHOUT ROWID;
"""
_ROWS: Final = "SELECT size, root, note, cosignature, time_s FROM cosigned WHERE origin = ? "


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint with the log's signature line (``note``) and ours, made at ``time_s`` (UTC)."""

    size: int
    root: bytes
    note: str
    cosignature: str
    time_s: int


class WitnessState:
    """The checkpoints cosigned so far. Hold :meth:`turn` around looking and adding."""

    def __init__(self, path: Path | str, connect: Connect = connect_sqlite) -> None:
        self._lock = threading.RLock()
        with _translated():
            self._connection = connect(str(path))
            self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def claim(self, settings: dict[str, str]) -> None:
        """Write whose folder this is, or find it as it was written.

        Raises WitnessSettingsError.
        """
        with self.turn() as connection:
            found = dict(connection.execute("SELECT name, value FROM setting").fetchall())
            if not found:
                connection.executemany("INSERT INTO setting VALUES (?, ?)", settings.items())
                return
        for name, value in settings.items():
            if found.get(name) != value:
                raise WitnessSettingsError(
                    f"the folder is that of the witness with the {name} {found.get(name)}, "
                    f"not {value}: name another folder"
                )

    @contextmanager
    def turn(self) -> Iterator[sqlite3.Connection]:
        """Run one atomic step: on disk when the block ends, undone when it raises."""
        with self._lock, _translated():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def latest(self, origin: str) -> Cosigned | None:
        """Return the largest checkpoint of a log."""
        return self._one("ORDER BY size DESC LIMIT 1", origin)

    def at(self, origin: str, size: int) -> Cosigned | None:
        """Return the checkpoint of a log that has this size."""
        return self._one("AND size = ?", origin, size)

    def put(self, origin: str, row: Cosigned) -> None:
        """Store a checkpoint; one of the same size gets the newer cosignature."""
        with self._lock, _translated():
            values = (origin, row.size, row.root, row.note, row.cosignature, row.time_s)
            query = "INSERT OR REPLACE INTO cosigned VALUES (?, ?, ?, ?, ?, ?)"
            self._connection.execute(query, values)

    def _one(self, rest: str, *values: object) -> Cosigned | None:
        with self._lock, _translated():
            row = self._connection.execute(_ROWS + rest, values).fetchone()
        return None if row is None else Cosigned(row[0], bytes(row[1]), *row[2:])


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise WitnessStateError(
            f"the witness's state: {error}; check the disk and that one witness runs in the folder"
        ) from error
