"""All tables in a new database; SQLite files are copies, since migrating is most of founding."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from app.db import Database


def lay_tables(database: Database) -> None:
    """Bring a database to the newest version."""
    url = database.engine.url
    path = Path(url.database or "")
    if url.get_backend_name() == "sqlite" and not path.exists():
        shutil.copy(_migrated(), path)
    else:
        database.migrate()


@cache
def _migrated() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="wattloom-tables-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "empty.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path
