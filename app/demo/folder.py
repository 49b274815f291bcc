"""The data folder of a run: one process at a time works in it, and files appear in it whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderInUseError(Exception):
    """Another run works in the data folder: stop that one, or name another folder."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder (mode 0700) and keep others out of it; the system lets go of a dead run's.

    Raises:
        FolderInUseError: another process is in there.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUseError(
                f"{folder} is in use by another run: stop that one, or name another --data folder"
            ) from error
        yield


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or, after a crash at any moment, as it was before."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
