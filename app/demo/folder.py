"""The data folder of a run: what it made may be put aside, and files appear in it whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from app.serve.folder import LOCK

_DATABASES: Final = ("district.db", "ledger.db", "spool.db")
_FILES: Final = (
    *(f"{name}{tail}" for name in _DATABASES for tail in ("", "-wal", "-shm", "-journal")),
    "keys.json",
)
_FOLDERS: Final = ("keys", "proofs")
_MARKS: Final = (LOCK, "keys", "district.db")


class NoRunError(Exception):
    """What is to be put aside is no run of the demo: name its folder, or empty it by hand."""


def check_run(folder: Path) -> None:
    """Make sure that the folder holds a run, or nothing; ask before a lock makes it one.

    Raises:
        NoRunError: it is something else, or one of a run's names is a link or of another kind.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise NoRunError(f"{folder} is no folder of its own (a link?): name the folder itself")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if names and not names.intersection(_MARKS):
        raise NoRunError(f"{folder} holds no run, but other files: name another --data folder")
    for name in sorted(names.intersection((*_FILES, *_FOLDERS, LOCK))):
        path = folder / name
        as_it_should = path.is_dir() if name in _FOLDERS else path.is_file()
        if path.is_symlink() or not as_it_should:
            raise NoRunError(f"{path} is not what a run makes there (a link?): look at it first")


def put_aside(folder: Path) -> Path | None:
    """Move what a run made into a new folder ``old-N`` beside it; return that, None if nothing.

    Every other file stays where it is. Call it alone in the folder
    (:func:`app.serve.folder.alone`), after :func:`check_run`.
    """
    there = [folder / name for name in (*_FOLDERS, *_FILES) if (folder / name).exists()]
    if not there:
        return None
    number = 1
    while (folder / f"old-{number}").exists():
        number += 1
    aside = folder / f"old-{number}"
    aside.mkdir(mode=0o700)
    for path in there:
        path.rename(aside / path.name)
    return aside


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or, after a crash at any moment, as it was before."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
