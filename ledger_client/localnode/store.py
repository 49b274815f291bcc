"""SQLite storage of the node: blocks, milestones, outputs. One connection, one lock, no rules."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode.errors import LedgerCorruptError
from ledger_client.serving.database import Connect, connect_sqlite
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import MAX_U32
from ledger_client.stardust.transaction import Transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS block (
  seq INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  bytes BLOB NOT NULL,
  payload_type INTEGER,
  payload_id BLOB,
  tag BLOB,
  milestone_index INTEGER,
  white_flag_index INTEGER,
  conflict INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS block_payload ON block (payload_id) WHERE payload_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS block_tag ON block (tag, seq) WHERE tag IS NOT NULL;
CREATE INDEX IF NOT EXISTS block_conflict ON block (conflict) WHERE conflict IS NOT NULL;
CREATE INDEX IF NOT EXISTS block_milestone ON block (milestone_index, white_flag_index)
  WHERE milestone_index IS NOT NULL;
CREATE INDEX IF NOT EXISTS block_unreferenced ON block (seq) WHERE milestone_index IS NULL;
CREATE TABLE IF NOT EXISTS milestone (
  milestone_index INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  timestamp INTEGER NOT NULL,
  block_id BLOB NOT NULL UNIQUE,
  payload BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS draft (milestone_index INTEGER PRIMARY KEY, essence BLOB) STRICT;
CREATE TABLE IF NOT EXISTS output (
  id BLOB PRIMARY KEY,
  bytes BLOB NOT NULL,
  address BLOB NOT NULL,
  units INTEGER NOT NULL,
  is_plain INTEGER NOT NULL,
  block_id BLOB NOT NULL,
  booked_index INTEGER NOT NULL,
  booked_timestamp INTEGER NOT NULL,
  spent_index INTEGER,
  spent_timestamp INTEGER,
  spent_transaction BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS output_unspent ON output (address, id) WHERE spent_index IS NULL;
CREATE INDEX IF NOT EXISTS output_booked ON output (booked_index);
CREATE INDEX IF NOT EXISTS output_live ON output (booked_index, id) WHERE spent_index IS NULL;
CREATE INDEX IF NOT EXISTS output_conditional ON output (booked_index, id)
  WHERE spent_index IS NULL AND is_plain = 0;
CREATE INDEX IF NOT EXISTS output_spent ON output (spent_index) WHERE spent_index IS NOT NULL;
"""
_BLOCKS = "SELECT id, bytes, payload_type, milestone_index, white_flag_index, conflict FROM block "
_MILESTONES = "SELECT milestone_index, id, timestamp, block_id, payload FROM milestone "
_OUTPUTS = """
SELECT id, bytes, address, units, is_plain, block_id, booked_index, booked_timestamp,
  spent_index, spent_timestamp, spent_transaction FROM output """
_EACH_BLOCK = """
SELECT seq, id, bytes, payload_type, payload_id, tag FROM block
WHERE seq > ? ORDER BY seq LIMIT 500"""
_EACH_UNREFERENCED = """
SELECT seq, id, bytes FROM block WHERE milestone_index IS NULL AND seq > ? ORDER BY seq LIMIT 500"""
_REFERENCED_IDS = "SELECT id FROM block WHERE milestone_index = ? ORDER BY white_flag_index"
_APPLIED_IDS = """
SELECT id FROM block WHERE milestone_index = ? AND conflict = 0 ORDER BY white_flag_index"""
_ADD_BLOCK = """
INSERT INTO block (id, bytes, payload_type, payload_id, tag) VALUES (?, ?, ?, ?, ?)"""
_ADD_OUTPUT = "INSERT INTO output VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DERIVED = {
    "block": "SELECT id, milestone_index, white_flag_index, conflict FROM block",
    "output": _OUTPUTS,
}
_CHANGED = """
SELECT id FROM (SELECT * FROM ({now}) EXCEPT SELECT * FROM {before})
UNION SELECT id FROM (SELECT * FROM {before} EXCEPT SELECT * FROM ({now})) ORDER BY id LIMIT 1"""
_COUNTS = {
    # Neither blocks nor milestones are ever removed.
    "blocks": "SELECT coalesce(max(seq), 0) FROM block",
    "milestones": "SELECT coalesce(max(milestone_index), 0) FROM milestone",
    "transfers": "SELECT count(*) FROM block WHERE conflict = 0",
    "units": "SELECT coalesce(sum(units), 0) FROM output WHERE spent_index IS NULL",
}

# An index of spent outputs by address would cost every payment for the sake of a look now and then.
_SPENDS_LOOKED_AT = 20_000


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A stored block; the last three are None until a milestone references it.

    ``conflict`` is a ConflictReason for transactions and stays None for everything else.
    """

    block_id: bytes
    data: bytes
    payload_type: int | None
    milestone_index: int | None
    white_flag_index: int | None
    conflict: int | None


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block that is being attached; ``payload_id`` is the hash of its payload, if any."""

    block_id: bytes
    data: bytes
    payload_type: int | None
    payload_id: bytes | None
    tag: bytes | None


@dataclass(frozen=True, slots=True)
class MilestoneRow:
    """An issued milestone; ``timestamp`` in seconds, ``payload`` with its signatures."""

    index: int
    milestone_id: bytes
    timestamp: int
    block_id: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class OutputRow:
    """A booked output; the ``spent_`` fields are None while it is unspent."""

    output_id: bytes
    data: bytes
    address: bytes
    units: int
    is_plain: int
    block_id: bytes
    booked_index: int
    booked_timestamp: int
    spent_index: int | None = None
    spent_timestamp: int | None = None
    spent_transaction: bytes | None = None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
        raise LedgerUnavailableError(
            f"ledger database: {error}; check the disk and that one node runs, then try again"
        ) from error
    except sqlite3.DatabaseError as error:
        raise LedgerCorruptError(f"ledger database: {error}; restore a backup") from error


class Store:
    """The node's database. Hold ``lock`` around a sequence that must not be interleaved."""

    def __init__(self, path: str | Path, connect: Connect = connect_sqlite) -> None:
        self.lock = threading.RLock()
        with _translated():
            self._connection = connect(str(path))
            self._connection.row_factory = sqlite3.Row
            self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database; further calls fail."""
        with self.lock:
            self._connection.close()

    def backup(self, path: str | Path) -> None:
        """Copy the whole database to a new file while the node runs; other processes cannot."""
        with self._using() as connection, closing(sqlite3.connect(path)) as copy:
            connection.backup(copy)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Run one atomic write: committed to disk when the block ends, undone when it raises."""
        with self.lock, _translated():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self.lock, _translated():
            yield self._connection

    def _all(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._using() as connection:
            return connection.execute(query, values).fetchall()

    # Settings -----------------------------------------------------------------------------------

    def settings(self) -> dict[str, str]:
        """Return the stored settings; empty for a new database."""
        rows = self._all("SELECT name, value FROM setting")
        return {row["name"]: row["value"] for row in rows}

    def put_settings(self, settings: dict[str, str]) -> None:
        """Store settings by name."""
        with self._using() as connection:
            connection.executemany("INSERT INTO setting VALUES (?, ?)", settings.items())

    # Blocks -------------------------------------------------------------------------------------

    def add_blocks(self, rows: Iterable[NewBlock]) -> None:
        """Store attached blocks."""
        with self._using() as connection:
            connection.executemany(_ADD_BLOCK, map(_values, rows))

    def reference_blocks(self, rows: Iterable[tuple[int, int, int | None, bytes]]) -> None:
        """Set (milestone index, white-flag index, conflict) of blocks by id."""
        with self._using() as connection:
            connection.executemany(
                "UPDATE block SET milestone_index = ?, white_flag_index = ?, conflict = ? "
                "WHERE id = ?",
                rows,
            )

    def block(self, block_id: bytes) -> BlockRow | None:
        """Return one block."""
        return next(iter(self._blocks("WHERE id = ?", block_id)), None)

    def has_block(self, block_id: bytes) -> bool:
        """Return whether a block is stored."""
        return bool(self._all("SELECT 1 FROM block WHERE id = ?", block_id))

    def referenced_by(self, block_id: bytes) -> int | None:
        """Return the index of the milestone that references a block; None as long as none does."""
        rows = self._all("SELECT milestone_index FROM block WHERE id = ?", block_id)
        return rows[0][0] if rows else None

    def each_block(self) -> Iterator[NewBlock]:
        """Yield every block as it was attached, in that order, a few in memory at a time."""
        return (NewBlock(*row[1:]) for row in self._each(_EACH_BLOCK))

    def each_unreferenced(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (id, bytes) of the blocks that no milestone references, in order of arrival."""
        return ((block_id, data) for _, block_id, data in self._each(_EACH_UNREFERENCED))

    def _each(self, query: str) -> Iterator[sqlite3.Row]:
        rows = self._all(query, 0)
        while rows:
            yield from rows
            rows = self._all(query, rows[-1][0])

    def transaction(self, block_id: bytes) -> Transaction | None:
        """Return the transaction that a stored block carries, if it carries one."""
        row = self.block(block_id)
        payload = Block.decode(row.data).payload if row else None
        return payload if isinstance(payload, Transaction) else None

    def blocks_with_payload(self, payload_id: bytes) -> list[BlockRow]:
        """Return the blocks that carry a payload (for transactions: by transaction id)."""
        return self._blocks("WHERE payload_id = ? ORDER BY seq", payload_id)

    def blocks_with_tag(self, tag: bytes) -> list[BlockRow]:
        """Return the blocks with tagged data under ``tag``, in order of arrival."""
        return self._blocks("WHERE tag = ? ORDER BY seq", tag)

    def referenced_ids(self, index: int, *, applied_only: bool) -> list[bytes]:
        """Return the block ids that a milestone references (or applied), in white-flag order."""
        query = _APPLIED_IDS if applied_only else _REFERENCED_IDS
        return [block_id for (block_id,) in self._all(query, index)]

    def referenced_blocks(self, index: int, limit: int) -> list[BlockRow]:
        """Return at most ``limit`` blocks that a milestone references, in white-flag order."""
        return self._blocks(
            "WHERE milestone_index = ? ORDER BY white_flag_index LIMIT ?", index, limit
        )

    def count_referenced(self, index: int) -> int:
        """Return how many blocks a milestone references."""
        with self._using() as connection:
            query = "SELECT count(*) FROM block WHERE milestone_index = ?"
            (number,) = connection.execute(query, (index,)).fetchone()
            return int(number)

    def blocks_after(self, block_id: bytes, limit: int) -> list[BlockRow]:
        """Return at most ``limit`` blocks that arrived after one, in order of arrival."""
        rest = "WHERE seq > (SELECT seq FROM block WHERE id = ?) ORDER BY seq LIMIT ?"
        return self._blocks(rest, block_id, limit)

    def _blocks(self, rest: str, *values: object) -> list[BlockRow]:
        return [BlockRow(*row) for row in self._all(_BLOCKS + rest, *values)]

    # Milestones ---------------------------------------------------------------------------------

    def add_milestone(self, row: MilestoneRow) -> None:
        """Store an issued milestone."""
        with self._using() as connection:
            connection.execute("INSERT INTO milestone VALUES (?, ?, ?, ?, ?)", _values(row))

    def milestone(self, milestone_id: bytes) -> MilestoneRow | None:
        """Return a milestone by id."""
        return next(iter(self._milestones("WHERE id = ?", milestone_id)), None)

    def milestone_at(self, index: int) -> MilestoneRow | None:
        """Return a milestone by index."""
        return next(iter(self._milestones("WHERE milestone_index = ?", index)), None)

    def latest_milestone(self) -> MilestoneRow | None:
        """Return the newest milestone; None for a new database."""
        rows = self._milestones("ORDER BY milestone_index DESC LIMIT 1")
        return next(iter(rows), None)

    def milestones_below(self, index: int | None, limit: int) -> list[MilestoneRow]:
        """Return at most ``limit`` milestones below an index (all when None), newest first."""
        rest = "WHERE milestone_index < ? ORDER BY milestone_index DESC LIMIT ?"
        return self._milestones(rest, MAX_U32 + 1 if index is None else index, limit)

    def all_milestones(self) -> list[MilestoneRow]:
        """Return every milestone by rising index."""
        return self._milestones("ORDER BY milestone_index")

    def _milestones(self, rest: str, *values: object) -> list[MilestoneRow]:
        return [MilestoneRow(*row) for row in self._all(_MILESTONES + rest, *values)]

    def put_draft(self, index: int, essence: bytes) -> None:
        """Store the essence of the milestone that is to be signed; at most one at a time."""
        with self._using() as connection:
            connection.execute("INSERT INTO draft VALUES (?, ?)", (index, essence))

    def draft(self) -> bytes | None:
        """Return the essence of the milestone that waits for signatures."""
        rows = self._all("SELECT essence FROM draft")
        return rows[0][0] if rows else None

    def drop_draft(self) -> None:
        """Forget the draft, in the same write that stores its milestone."""
        with self._using() as connection:
            connection.execute("DELETE FROM draft")

    # Outputs ------------------------------------------------------------------------------------

    def book_outputs(self, rows: Iterable[OutputRow]) -> None:
        """Store new outputs."""
        with self._using() as connection:
            connection.executemany(_ADD_OUTPUT, map(_values, rows))

    def spend_outputs(self, index: int, timestamp: int, spent: Mapping[bytes, bytes]) -> None:
        """Mark outputs as spent in a milestone, each by its transaction's id."""
        with self._using() as connection:
            connection.executemany(
                "UPDATE output SET spent_index = ?, spent_timestamp = ?, spent_transaction = ? "
                "WHERE id = ?",
                [(index, timestamp, by, output_id) for output_id, by in spent.items()],
            )

    def output(self, output_id: bytes) -> OutputRow | None:
        """Return a booked output, spent or not."""
        return next(iter(self._outputs("WHERE id = ?", output_id)), None)

    def unspent_of(self, address: bytes) -> list[OutputRow]:
        """Return the unspent outputs whose address unlock condition names ``address``."""
        return self._outputs("WHERE address = ? AND spent_index IS NULL ORDER BY id", address)

    def unspent_page(
        self,
        start: tuple[int, bytes],
        limit: int,
        address: bytes | None = None,
        *,
        conditional: bool = False,
    ) -> list[OutputRow]:
        """Return at most ``limit`` unspent outputs from (booked index, id) ``start`` on, in order.

        With ``address`` only those whose address unlock condition names it, with ``conditional``
        only those with further conditions or features, with both the ones and the others.
        """
        kinds = ["address = ?"] * (address is not None) + ["is_plain = 0"] * conditional
        rest = "WHERE spent_index IS NULL AND (booked_index, id) >= (?, ?) "
        rest += f"AND ({' OR '.join(kinds) or 'TRUE'}) ORDER BY booked_index, id LIMIT ?"
        values = [*start, *([] if address is None else [address]), limit]
        return self._outputs(rest, *values)

    def spent_of(self, address: bytes, limit: int) -> list[OutputRow]:
        """Return an address's spent outputs, newest first, looking at the latest spends alone."""
        latest = "SELECT rowid FROM output WHERE spent_index IS NOT NULL "
        latest += f"ORDER BY spent_index DESC LIMIT {_SPENDS_LOOKED_AT}"
        rest = f"WHERE rowid IN ({latest}) AND address = ? ORDER BY spent_index DESC, id LIMIT ?"
        return self._outputs(rest, address, limit)

    def _outputs(self, rest: str, *values: object) -> list[OutputRow]:
        return [OutputRow(*row) for row in self._all(_OUTPUTS + rest, *values)]

    # Whole ledger -------------------------------------------------------------------------------

    def count(self, what: str) -> int:
        """Return a count: ``blocks``, ``milestones``, ``transfers`` or ``units`` unspent."""
        return int(self._all(_COUNTS[what])[0][0])

    def forget_ledger(self) -> None:
        """Drop everything that replaying the milestones gives again; blocks stay."""
        with self._using() as connection:
            connection.execute("DELETE FROM output")
            connection.execute(
                "UPDATE block SET milestone_index = NULL, white_flag_index = NULL, conflict = NULL"
            )

    def changed_by(self, derive: Callable[[], None]) -> str | None:
        """Derive the state anew, inside a write; return which row of it came out otherwise first.

        Looks at what became of each block, and at the outputs: ``block ID`` or ``output ID``.
        """
        changed = None
        with self._using() as connection:
            for name, query in _DERIVED.items():
                connection.execute(f"CREATE TEMP TABLE {name}_before AS {query}")
            derive()
            for name, query in _DERIVED.items():
                rows = self._all(_CHANGED.format(now=query, before=f"{name}_before"))
                changed = changed or next((f"{name} {row[0].hex()}" for row in rows), None)
                connection.execute(f"DROP TABLE {name}_before")
        return changed

    def ledger_rows(self) -> list[BlockRow | OutputRow]:
        """Return all derived state in a fixed order, to compare two ledgers."""
        return [*self._blocks("ORDER BY id"), *self._outputs("ORDER BY id")]


def _values(row: NewBlock | MilestoneRow | OutputRow) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in row.__slots__)
