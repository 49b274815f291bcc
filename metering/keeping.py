"""What stays in the spool and for how long, and what gives way first when the disk fills.

Receipted readings go by age; when room is tight, the oldest of them go before their time. A signed
reading that waits for its receipt is never deleted: rather, fewer are signed (ADR 31).
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from metering.spool import Spool, Usage

_DAY_MS: Final = 86_400_000
_PIECE: Final = 5_000  # rows deleted at once: meanwhile nothing can be appended

_log = logging.getLogger(__name__)


class Room(IntEnum):
    """How much room is left, and what is signed."""

    AMPLE = 0
    """Everything."""
    TIGHT = 1
    """Everything; receipted readings are deleted before their time."""
    BORDERS = 2
    """Border readings alone: they make the bills."""
    FULL = 3
    """Nothing any more."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long decided readings stay, and how large the spool may grow; times in district ms.

    ``disk_free_bytes`` are to stay free on the disk for others.
    """

    acknowledged_ms: int = 7 * _DAY_MS
    dead_ms: int = 90 * _DAY_MS
    max_bytes: int = 2 * 1024**3
    disk_free_bytes: int = 0


def room(usage: Usage, disk_free: int, keeping: Keeping) -> Room:
    """Return how much room there is: the worse of the spool's bound and the disk's.

    Pages that were freed within the spool's file are used again, so they count as free.
    """
    found = [Room.AMPLE]
    if usage.used_bytes >= keeping.max_bytes:
        found.append(Room.FULL)
    elif usage.used_bytes * 10 >= keeping.max_bytes * 9:
        found.append(Room.BORDERS)
    elif usage.used_bytes * 10 >= keeping.max_bytes * 8:
        found.append(Room.TIGHT)
    free = disk_free + usage.reusable_bytes
    if free * 2 <= keeping.disk_free_bytes:
        found.append(Room.FULL)
    elif free <= keeping.disk_free_bytes:
        found.append(Room.BORDERS)
    elif free <= keeping.disk_free_bytes * 2:
        found.append(Room.TIGHT)
    return max(found)


class Keeper:
    """Tidies a spool up and tells how much room is left; ``now_ms`` is the district clock."""

    def __init__(self, spool: Spool, keeping: Keeping, now_ms: Callable[[], int]) -> None:
        self._spool = spool
        self._keeping = keeping
        self._now_ms = now_ms
        self._folder: Path | None = spool.folder
        self.room = Room.AMPLE

    def tidy(self) -> Room:
        """Delete what may go and return the room that is left; blocks, so call it in a thread.

        Raises:
            SpoolUnavailableError: the spool cannot be written now.
        """
        keeping, now_ms = self._keeping, self._now_ms()
        before = (now_ms - keeping.acknowledged_ms, now_ms - keeping.dead_ms)
        while self._spool.prune(*before, _PIECE) == _PIECE:
            pass
        found = self._look()
        while found >= Room.TIGHT and self._spool.prune_oldest(_PIECE):
            found = self._look()
        self._tell(found)
        self.room = found
        return found

    def _look(self) -> Room:
        free = 2**62 if self._folder is None else shutil.disk_usage(self._folder).free
        return room(self._spool.usage(), free, self._keeping)

    def _tell(self, found: Room) -> None:
        """Say once that less is signed, or that everything is again."""
        if found == self.room or max(found, self.room) < Room.BORDERS:
            return
        said = {
            Room.BORDERS: "the spool is nearly full: only border readings are signed",
            Room.FULL: "the spool is full: nothing is signed any more",
        }.get(found, "there is room again: every reading is signed")
        log = _log.warning if found < Room.BORDERS else _log.error
        log("%s; %d readings wait for the server", said, self._spool.pending())
