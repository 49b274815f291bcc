"""The data folder of a district: one process at a time works in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LOCK: Final = ".lock"


class FolderInUseError(Exception):
    """Another run works in the data folder: stop that one, or name another folder."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder (mode 0700) and keep others out of it; the system lets go of a dead run's.

    Raises:
        FolderInUseError: another process is in there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Never through a link: the file may be somebody else's.
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUseError(
                f"{folder} is in use by another run: stop that one, or name another --data folder"
            ) from error
        yield
