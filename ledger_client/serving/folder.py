"""A service's data folder: one process at a time works in it, and its key never leaves it."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey

_LOCK: Final = ".lock"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_SHORTEST_TOKEN: Final = 16
_MOST_BYTES: Final = 1_000


class FolderError(Exception):
    """Root of this module's errors: stop, ask the person who started the service."""


class FolderInUseError(FolderError):
    """Another process works in the data folder: stop that one, or name another folder."""


class SecretFileError(FolderError):
    """A key or token file is readable by others or holds no secret: mend the file."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder (mode 0700) and keep others out of it; the system lets go of a dead one's.

    Raises:
        FolderInUseError: another process is in there.
        FolderError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never through a link: the file may be somebody else's.
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise FolderError(f"{folder}: {error.strerror}; name a folder of your own") from error
    with os.fdopen(handle, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderInUseError(
                f"{folder} is in use by another process: stop that one, or name another folder"
            ) from error
        yield


def service_key(path: Path) -> SigningKey:
    """Return the key of a file (64 hex digits of its seed, mode 0600), made if it is missing.

    Call it alone in the folder. Raises SecretFileError.
    """
    try:
        if not path.exists():
            _create(path)
        return SigningKey(bytes.fromhex(read_secret(path)))
    except ValueError as error:
        raise SecretFileError(f"{path} holds no key: 64 hex digits are expected") from error


def read_token(path: Path) -> str:
    """Return the bearer token of a file: one line of at least 16 printable characters.

    Raises SecretFileError.
    """
    token = read_secret(path)
    if len(token) < _SHORTEST_TOKEN or not all("!" <= sign <= "~" for sign in token):
        raise SecretFileError(
            f"{path}: a token is one line of at least {_SHORTEST_TOKEN} letters, digits and signs "
            "without spaces; `openssl rand -hex 32` makes one"
        )
    return token


def read_secret(path: Path) -> str:
    """Return the stripped content of a small file that nobody else may read.

    Raises SecretFileError.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & _OTHERS:
                raise SecretFileError(f"{path} has mode {mode:04o}: run chmod 600 {path}")
            return file.read(_MOST_BYTES).decode("ascii").strip()
    except OSError as error:
        raise SecretFileError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SecretFileError(f"{path} holds other signs than ASCII") from error


def write_synced(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 that is there whole, and on disk, or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _create(path: Path) -> None:
    try:
        write_synced(path, bytes(SigningKey.generate()).hex().encode() + b"\n")
    except OSError as error:
        raise SecretFileError(f"{path} cannot be written: {error.strerror}") from error
