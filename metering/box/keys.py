"""The box's key files: made whole or not at all, of mode 0400, and refused when looser.

A meter's private key never leaves its gateway. A file appears under its name only once it is
written and synced; of two makers at once the first wins.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey

from metering.signing import KeyFileModeError, create_key_file, load_key_file

READ_ONLY: Final = stat.S_IRUSR
_PRIVATE_FOLDER: Final = stat.S_IRWXU


def create_key(path: Path) -> SigningKey:
    """Make a new key in ``path`` (mode 0400; its folder 0700) and return it.

    Raises:
        FileExistsError: there is a key already, and one is never overwritten.
        OSError: the folder cannot be written.
    """
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    key = create_key_file(draft, READ_ONLY)
    try:
        inherit_owner(draft)
        os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)
    return key


def load_key(path: Path) -> SigningKey:
    """Read a key file of mode 0400.

    Raises:
        KeyFileModeError: anybody else has a right on it, or somebody may write it.
        SigningError: it holds no key.
        OSError: it cannot be read.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~READ_ONLY:
        raise KeyFileModeError(f"{path} has mode {mode:04o}: run chmod 400 {path}")
    return load_key_file(path)


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
