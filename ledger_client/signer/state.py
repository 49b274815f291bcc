"""What a signer has signed, on disk before any signature leaves. One process per folder."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ledger_client.serving.database import Connect, connect_sqlite
from ledger_client.signer.rules import (
    NOTHING,
    Head,
    SignerSettingsError,
    SignerUnavailableError,
)
from ledger_client.stardust.milestone import MilestoneEssence

KEPT: Final = 10_000
"""How many essences are kept: for the same answer again, and as one half of evidence."""
_MOST_EVIDENCE: Final = 1_000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS signed (
  milestone_index INTEGER PRIMARY KEY,
  essence BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS evidence (
  refused BLOB PRIMARY KEY,
  signed BLOB NOT NULL,
  milestone_index INTEGER NOT NULL,
  seen_s INTEGER NOT NULL
) STRICT;
"""


class SignerState:
    """The essences signed so far. Every method may be called from any thread."""

    def __init__(self, path: Path | str, connect: Connect = connect_sqlite) -> None:
        self._lock = threading.Lock()
        with _translated():
            self._connection = connect(str(path))
            self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def claim(self, settings: dict[str, str]) -> None:
        """Write what the folder is for, or find it as it was written.

        Raises SignerSettingsError.
        """
        with self._using() as connection:
            found = dict(connection.execute("SELECT name, value FROM setting").fetchall())
            if not found:
                with self._writing(connection):
                    connection.executemany("INSERT INTO setting VALUES (?, ?)", settings.items())
                return
        for name, value in settings.items():
            if found.get(name) != value:
                raise SignerSettingsError(
                    f"the signer's folder is for the {name} {found.get(name)}, not {value}: "
                    "name another folder"
                )

    def essence(self, index: int) -> bytes | None:
        """Return the essence that was signed at an index, if it is still kept."""
        with self._using() as connection:
            query = "SELECT essence FROM signed WHERE milestone_index = ?"
            row = connection.execute(query, (index,)).fetchone()
            return None if row is None else bytes(row[0])

    def last(self) -> Head:
        """Return what was signed last."""
        with self._using() as connection:
            query = "SELECT essence FROM signed ORDER BY milestone_index DESC LIMIT 1"
            row = connection.execute(query).fetchone()
        if row is None:
            return NOTHING
        return Head.of(MilestoneEssence.decode(bytes(row[0])))

    def record(self, essence: MilestoneEssence) -> None:
        """Put down what is about to be signed; it is on disk when this returns."""
        with self._using() as connection, self._writing(connection):
            row = (essence.index, essence.encode())
            connection.execute("INSERT INTO signed VALUES (?, ?)", row)
            forgotten = (essence.index - KEPT,)
            connection.execute("DELETE FROM signed WHERE milestone_index <= ?", forgotten)

    def keep_evidence(self, signed: bytes, refused: MilestoneEssence, seen_s: int) -> None:
        """Keep an essence that was refused beside the one that was signed at its index."""
        with self._using() as connection, self._writing(connection):
            (count,) = connection.execute("SELECT count(*) FROM evidence").fetchone()
            if count < _MOST_EVIDENCE:
                row = (refused.encode(), signed, refused.index, seen_s)
                connection.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?, ?, ?)", row)

    def evidence(self) -> list[tuple[int, bytes, bytes]]:
        """Return (index, signed essence, refused essence) of every attempt, oldest first."""
        with self._using() as connection:
            query = "SELECT milestone_index, signed, refused FROM evidence ORDER BY rowid"
            return [(int(n), bytes(a), bytes(b)) for n, a, b in connection.execute(query)]

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated():
            yield self._connection

    @staticmethod
    @contextmanager
    def _writing(connection: sqlite3.Connection) -> Iterator[None]:
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise SignerUnavailableError(
            f"the signer's state: {error}; check the disk and that one signer runs in the folder"
        ) from error


Clock = Callable[[], float]
"""The wall clock, in seconds since the Unix epoch."""
