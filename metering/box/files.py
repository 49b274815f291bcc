"""The box's files and folders: private, whole or not at all, on disk before they count."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

_PRIVATE_FOLDER: Final = stat.S_IRWXU


def write_whole(path: Path, text: str) -> None:
    """Write a file of mode 0600 in place of what is there, whole or not at all, to disk.

    Raises:
        OSError: the folder cannot be written; what was there is untouched.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        inherit_owner(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a private folder, and its parents, where they are missing."""
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        inherit_owner(missing)


def inherit_owner(path: Path) -> None:
    """Give what root makes to whom the folder belongs, so that the service can read it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to disk, so that a new file's name survives a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
