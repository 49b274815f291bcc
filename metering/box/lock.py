"""One gateway at a time in a data folder, and whether there is one now."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from metering.box.files import make_folder

_LOCK: Final = "gateway.lock"


class BoxError(Exception):
    """Root of a box's errors: the gateway does not start; a person acts as it says."""


class FolderBusyError(BoxError):
    """Another gateway works in the data folder: two would sign the same numbers twice."""


@contextmanager
def alone(data: Path) -> Iterator[None]:
    """Hold the data folder for one process.

    Raises:
        FolderBusyError: another one has it.
    """
    make_folder(data)
    descriptor = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderBusyError(
                f"{data} is in use by another gateway: stop that one first"
            ) from error
        yield
    finally:
        os.close(descriptor)


def is_running(data: Path) -> bool | None:
    """Tell whether a gateway works in the data folder; None where this account may not look."""
    try:
        descriptor = os.open(data / _LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except PermissionError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
