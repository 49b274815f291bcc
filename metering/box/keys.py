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

from metering.box.files import inherit_owner, make_folder, sync_folder
from metering.signing import KeyFileModeError, create_key_file, load_key_file

READ_ONLY: Final = stat.S_IRUSR


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
