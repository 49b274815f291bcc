"""One meter of a gateway as its settings have it, and the files that hold such entries."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from metering.interval import Interval

METERS_FOLDER: Final = "meters.d"

FileState = tuple[str, int, int]
"""A file's name, the time of its last change (ns) and its size."""


@dataclass(frozen=True, slots=True)
class PreviousKey:
    """The key that a meter's new one takes over from, and the first interval that it signed."""

    key_file: Path
    valid_from: Interval


@dataclass(frozen=True, slots=True)
class MeterEntry:
    """One meter of the gateway: whose it is, of which type, where it answers, who signs for it.

    ``key_file`` is absolute, or relative to the folder of the settings; ``written_in`` is the
    file that holds the entry, ``None`` for one that no file holds yet. ``previous`` signs what is
    answered before ``valid_from``, so that a rotation can be entered ahead of its border.
    """

    point: str
    serial: str
    profile: str
    line: str
    unit: int
    key_file: Path
    epoch: int
    valid_from: Interval
    written_in: Path | None = None
    previous: PreviousKey | None = None

    @property
    def key_files(self) -> tuple[Path, ...]:
        """The files of its keys."""
        return (
            (self.key_file,) if self.previous is None else (self.previous.key_file, self.key_file)
        )


def files_beside(path: Path) -> frozenset[FileState]:
    """Return how the files of ``meters.d`` are: other than before means that a command was there.

    A file that cannot be looked at counts as absent.
    """
    found = set[FileState]()
    for file in (path.absolute().parent / METERS_FOLDER).glob("*.toml"):
        with suppress(OSError):
            state = file.stat()
            found.add((file.name, state.st_mtime_ns, state.st_size))
    return frozenset(found)
