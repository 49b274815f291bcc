"""SQLite for one writer: the node's store, a signer's and a witness's memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

Connect = Callable[[str], sqlite3.Connection]


def connect_sqlite(path: str) -> sqlite3.Connection:
    """Open a database for one writer: WAL, every commit on disk before it returns."""
    connection = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
    # A second process must not write: the node keeps part of the Tangle in memory.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection
