"""Store and forward: readings are chained, signed and on disk before anyone may send them.

A spool is never restored from a backup: the meters would sign old sequence numbers again and
every one of them would be answered 409. After the loss of a spool its meters start a new epoch.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from nacl.signing import SigningKey

from metering import batch
from metering.reading import (
    FIRST_PREV,
    Enrolment,
    Measurement,
    Quality,
    Reading,
    SignedReading,
    link,
)
from metering.signing import Purpose, public_key, sign

BUSY_TIMEOUT_S: Final = 5.0
TOO_EARLY: Final = 425
REMOVED: Final = 410
"""It was acknowledged once, and its people had it removed since (docs/privacy.md)."""

_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_WAL_BYTES: Final = 16 * 1024 * 1024
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS chain (
    key TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, link TEXT NOT NULL,
    PRIMARY KEY (key, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reading (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    payload BLOB NOT NULL, signature BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'acknowledged', 'dead')),
    status INTEGER, receipt TEXT, error TEXT, decided_ms INTEGER,
    UNIQUE (key, epoch, seq)
) STRICT;
CREATE TABLE IF NOT EXISTS ended (
    key TEXT NOT NULL, epoch INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (key, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last_good (
    key TEXT PRIMARY KEY, payload BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reading_pending ON reading (id) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS reading_decided ON reading (state, decided_ms) WHERE state != 'pending';
"""

_ENDED: Final = "SELECT reason FROM ended WHERE key = ? AND epoch >= ?"


class SpoolError(Exception):
    """Root of this module's errors."""


class SpoolUnavailableError(SpoolError):
    """The disk is full, locked or broken: nothing of this call was kept, try again later."""


class SpoolCorruptError(SpoolError):
    """A chain's head differs from its last reading: stop, and start new epochs by hand."""


class EpochEndedError(SpoolError):
    """The epoch's spool was lost, so its numbers are used up: enter a new epoch and set it here."""


class SignerError(SpoolError):
    """Key and enrolment do not belong together: mend the gateway's settings."""


@dataclass(frozen=True, slots=True)
class Signer:
    """An enrolled meter and the private key that signs its readings.

    Raises:
        SignerError: the enrolment names another key.
    """

    enrolment: Enrolment
    key: SigningKey

    def __post_init__(self) -> None:
        if public_key(self.key) != self.enrolment.key:
            raise SignerError(
                f"the key of {self.enrolment.point} is not the enrolled one "
                f"({self.enrolment.key}): load the right key file or enrol again"
            )


@dataclass(frozen=True, slots=True)
class Spooled:
    """A reading on disk; ids rise in the order of appending."""

    id: int
    reading: SignedReading


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's word on one reading: 200 with its receipt, or a status with an error."""

    id: int
    status: int
    receipt: str | None = None
    error: str | None = None

    @property
    def state(self) -> str:
        """What becomes of the reading: final are 200 and every 4xx except 425.

        One that the district removed (410) was acknowledged before: it goes as any other, by age.
        """
        if self.status in (200, REMOVED):
            return "acknowledged"
        return "dead" if 400 <= self.status < 500 and self.status != TOO_EARLY else "pending"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the spool takes of its disk: bytes in use, and bytes of its file that are free again."""

    used_bytes: int
    reusable_bytes: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A reading that the server refused for good; a person decides what to do."""

    id: int
    key: str
    epoch: int
    seq: int
    status: int
    error: str | None
    reading: SignedReading
    decided_ms: int


class Spool:
    """The gateway's SQLite file (WAL, synchronous=FULL); safe to use from several threads.

    ``folder`` is where it stands, ``None`` for one in memory.
    """

    def __init__(self, connection: sqlite3.Connection, folder: Path | None = None) -> None:
        self._connection = connection
        self.folder = folder
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> Self:
        """Open or create the spool at ``path`` (mode 0600, since readings are personal data).

        Raises:
            SpoolUnavailableError: the file cannot be opened or written.
            SpoolCorruptError: a chain's head does not fit the last reading stored.
        """
        with _unavailable(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None,
                check_same_thread=False, factory=factory,
            )  # fmt: skip
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
            connection.executescript(_SCHEMA)
            _sync_folder(path.absolute().parent)
            spool = cls(connection, path.absolute().parent)
            spool._check_heads()
        return spool

    def close(self) -> None:
        """Close the file; what was appended stays."""
        with self._lock:
            self._connection.close()

    def append(self, round_: Sequence[tuple[Signer, Measurement]]) -> list[Spooled]:
        """Chain, sign and commit one poll round in a single transaction.

        Raises:
            SpoolUnavailableError: nothing was kept; the chains stand where they stood.
            MalformedReadingError: a measurement is out of range; nothing was kept.
            EpochEndedError: a signer's epoch is over; nothing was kept.
        """
        with self._transaction() as connection:
            return [_append(connection, signer, measurement) for signer, measurement in round_]

    def unacknowledged(
        self, limit: int = batch.MAX_READINGS, after_id: int = 0
    ) -> list[Spooled]:  # fmt: skip
        """Return the oldest readings that still wait for an answer, as many as fit one batch.

        ``after_id`` skips those already offered, so that one that has to wait blocks none.
        """
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, payload, signature FROM reading"
                " WHERE state = 'pending' AND id > ? ORDER BY id LIMIT ?",
                (after_id, limit),
            ).fetchall()
        found = [
            Spooled(id_, SignedReading(payload, signature)) for id_, payload, signature in rows
        ]
        return found[: batch.fitting([item.reading for item in found])]

    def acknowledge(self, answers: Sequence[Answer], now_ms: int) -> None:
        """Store what the server said, in one transaction; saying it twice changes nothing.

        ``now_ms`` counts for :meth:`prune`. A 200 keeps the receipt, a 410 needs none, another
        final answer makes a dead letter, and anything else leaves the reading where it is.
        """
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE reading SET state = ?, status = ?, receipt = ?, error = ?, decided_ms = ?"
                " WHERE id = ? AND state = 'pending'",
                [
                    (answer.state, answer.status, answer.receipt, answer.error, now_ms, answer.id)
                    for answer in answers
                ],
            )

    def pending(self) -> int:
        """Return how many readings wait for an answer."""
        with self._reading() as connection:
            row = connection.execute("SELECT count(*) FROM reading WHERE state = 'pending'")
            return int(row.fetchone()[0])

    def head(self, key: str, epoch: int) -> tuple[int, str]:
        """Return a chain's last sequence number and the ``prev`` that its next reading carries."""
        with self._reading() as connection:
            return _head(connection, key, epoch)

    def last_good(self, key: str) -> Reading | None:
        """Return the last reading that a key signed as measured; it outlives :meth:`prune`.

        What follows is judged beside it, so that a power loss makes no counter begin anew.
        """
        with self._reading() as connection:
            row = connection.execute(
                "SELECT payload FROM last_good WHERE key = ?", (key,)
            ).fetchone()
            if row is not None:
                return Reading.from_payload(row[0])
            rows = connection.execute(  # a spool from before that was kept
                "SELECT payload FROM reading WHERE key = ? ORDER BY epoch DESC, seq DESC", (key,)
            )
            readings = (Reading.from_payload(payload) for (payload,) in rows)
            return next((one for one in readings if one.quality is Quality.MEASURED), None)

    def receipt(self, key: str, epoch: int, seq: int) -> str | None:
        """Return the receipt (JSON) of a reading, ``None`` while there is none or once pruned."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT receipt FROM reading WHERE key = ? AND epoch = ? AND seq = ?",
                (key, epoch, seq),
            ).fetchone()
        return None if row is None else row[0]

    def oldest_pending(self) -> SignedReading | None:
        """Return the reading that has waited longest for its answer."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT payload, signature FROM reading WHERE state = 'pending' ORDER BY id LIMIT 1"
            ).fetchone()
        return None if row is None else SignedReading(*row)

    def usage(self) -> Usage:
        """Return how much of the disk the spool takes."""
        with self._reading() as connection:
            size, pages, free = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_size", "page_count", "freelist_count")
            )
        return Usage(size * (pages - free), size * free)

    def end_epoch(self, key: str, epoch: int, reason: str) -> None:
        """Sign nothing more up to this epoch, for its numbers may have been used already."""
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO ended VALUES (?, ?, ?)", (key, epoch, reason))

    def ended_epochs(self) -> dict[tuple[str, int], str]:
        """Return the epochs that are over, by key and epoch, each with its reason."""
        with self._reading() as connection:
            rows = connection.execute("SELECT key, epoch, reason FROM ended").fetchall()
        return {(key, epoch): reason for key, epoch, reason in rows}

    def going_on(self, signer: Signer) -> Signer:
        """Return a signer in its next epoch, if the spool of its enrolled one was lost."""
        enrolled = signer.enrolment
        with self._reading() as connection:
            row = connection.execute(
                "SELECT max(epoch) FROM ended WHERE key = ?", (enrolled.key.hex,)
            ).fetchone()
        if row[0] is None or row[0] < enrolled.epoch:
            return signer
        return Signer(replace(enrolled, epoch=row[0] + 1), signer.key)

    def epochs(self) -> list[tuple[str, int, int]]:
        """Return key, epoch and last sequence number of every chain."""
        with self._reading() as connection:
            return connection.execute("SELECT key, epoch, seq FROM chain").fetchall()

    def count_dead(self) -> int:
        """Return how many readings were refused for good."""
        with self._reading() as connection:
            row = connection.execute("SELECT count(*) FROM reading WHERE state = 'dead'")
            return int(row.fetchone()[0])

    def dead_letters(self) -> list[DeadLetter]:
        """Return the readings refused for good, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, key, epoch, seq, status, error, payload, signature, decided_ms"
                " FROM reading WHERE state = 'dead' ORDER BY id"
            ).fetchall()
        return [
            DeadLetter(
                id_, key, epoch, seq, status, error, SignedReading(payload, signature), decided_ms
            )
            for id_, key, epoch, seq, status, error, payload, signature, decided_ms in rows
        ]

    def requeue(self, ids: Sequence[int]) -> None:
        """Offer dead letters again, once a person has mended the cause (a late enrolment, say)."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE reading SET state = 'pending' WHERE id = ? AND state = 'dead'",
                [(id_,) for id_ in ids],
            )

    def prune(self, acknowledged_before_ms: int, dead_before_ms: int, most: int = 2**31) -> int:
        """Delete readings decided before the given times, ``most`` at once; return how many.

        The chains go on: their heads are kept apart from the readings.
        """
        with self._transaction() as connection:
            gone = 0
            for state, before_ms in (
                ("acknowledged", acknowledged_before_ms),
                ("dead", dead_before_ms),
            ):
                gone += connection.execute(
                    "DELETE FROM reading WHERE id IN (SELECT id FROM reading"
                    " WHERE state = ? AND decided_ms < ? LIMIT ?)",
                    (state, before_ms, most - gone),
                ).rowcount
            return gone

    def prune_oldest(self, most: int) -> int:
        """Delete so many receipted readings before their time, the oldest; return how many."""
        with self._transaction() as connection:
            return connection.execute(
                "DELETE FROM reading WHERE id IN (SELECT id FROM reading"
                " WHERE state = 'acknowledged' ORDER BY decided_ms LIMIT ?)",
                (most,),
            ).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _unavailable("the spool"):
            yield self._connection

    def _check_heads(self) -> None:
        rows = self._connection.execute(
            "SELECT key, epoch, seq, link, payload, signature FROM chain"
            " JOIN reading USING (key, epoch, seq)"
        )
        for key, epoch, seq, head, payload, signature in rows:
            if link(payload, signature) != head:
                raise SpoolCorruptError(
                    f"chain of key {key}, epoch {epoch}: its head does not fit reading {seq}; "
                    "keep the file as evidence and start a new epoch"
                )


@contextmanager
def _unavailable(what: object) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            raise SpoolCorruptError(
                f"{what} is damaged ({error}): keep the file as evidence and start new epochs"
            ) from error
        raise SpoolUnavailableError(f"{what}: {error}; check disk space and rights") from error


def _sync_folder(folder: Path) -> None:
    """Bring the file's name to disk, which a power loss could take else."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _head(connection: sqlite3.Connection, key: str, epoch: int) -> tuple[int, str]:
    row = connection.execute(
        "SELECT seq, link FROM chain WHERE key = ? AND epoch = ?", (key, epoch)
    ).fetchone()
    return (0, FIRST_PREV) if row is None else (row[0], row[1])


def _append(connection: sqlite3.Connection, signer: Signer, measurement: Measurement) -> Spooled:
    """Sign the next reading of one chain and move the chain's head, inside a transaction."""
    key, epoch = signer.enrolment.key.hex, signer.enrolment.epoch
    if (row := connection.execute(_ENDED, (key, epoch)).fetchone()) is not None:
        raise EpochEndedError(
            f"meter {signer.enrolment.serial}: epoch {epoch} of key {key} is over ({row[0]}): "
            "enter a new epoch, then set it in the meter's file"
        )
    last, prev = _head(connection, key, epoch)
    payload = Reading.of(signer.enrolment, measurement, last + 1, prev).to_payload()
    signature = sign(signer.key, Purpose.READING, payload)
    cursor = connection.execute(
        "INSERT INTO reading (key, epoch, seq, payload, signature) VALUES (?, ?, ?, ?, ?)",
        (key, epoch, last + 1, payload, signature),
    )
    connection.execute(
        "INSERT INTO chain (key, epoch, seq, link) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (key, epoch) DO UPDATE SET seq = excluded.seq, link = excluded.link",
        (key, epoch, last + 1, link(payload, signature)),
    )
    if measurement.quality is Quality.MEASURED:
        connection.execute(
            "INSERT INTO last_good (key, payload) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET payload = excluded.payload",
            (key, payload),
        )
    if cursor.lastrowid is None:
        raise SpoolCorruptError("the spool gave no id to a reading it stored")
    return Spooled(cursor.lastrowid, SignedReading(payload, signature))
