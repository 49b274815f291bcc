"""Files that commands write: there whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written(out: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """Yield a file beside ``out`` that takes its place once it is whole and on the disk.

    Raises:
        OSError: it cannot be written, there is a file already and no ``force``, or ``out`` is a
            folder, a device or a pipe, which no file may replace; what stood at ``out`` stands
            there still.
    """
    if out.exists() and not out.is_file():
        raise OSError(errno.EINVAL, "this is no regular file", str(out))
    if out.exists() and not force:
        raise OSError(errno.EEXIST, "it is there already: name another file, or add --force", out)
    part = out.with_name(f".{out.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    except OSError as error:
        if error.filename in (None, str(part)):  # name what was asked for
            raise OSError(error.errno, error.strerror, str(out)) from error
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
