"""What waits at the door for readings, bounded in bytes and in readings.

Whoever finds it full is told at once to come back later, so that a flood costs an answer and no
memory. Counted is what is really held: bytes as they arrive, until the answer is sent, and readings
from the arrival of their body until they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

_SOONEST_S: Final = 2
_SPREAD_S: Final = 8


class QueueFullError(Exception):
    """Nothing more may wait (503): send the same batch again after ``retry_after_s``."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            "too many readings wait to be stored; nothing of this batch was: send it again in "
            f"{retry_after_s} s"
        )
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Place:
    """What one upload holds of the queue."""

    queue: WaitingReadings
    bytes_held: int = 0

    def hold(self, count: int) -> None:
        """Hold so many bytes more.

        Raises:
            QueueFullError: there is no room for them.
        """
        self.queue.change(bytes_=count)
        self.bytes_held += count


class WaitingReadings:
    """The bounds, and what is held of them; safe to use from several threads."""

    def __init__(self, most_bytes: int, most_readings: int) -> None:
        self._most = (most_bytes, most_readings)
        self._held = (0, 0)
        self._refused = 0
        self._lock = Lock()

    @property
    def held(self) -> tuple[int, int]:
        """Bytes and readings that wait now."""
        return self._held

    @contextmanager
    def place(self, declared: int) -> Iterator[Place]:
        """Yield the place of an upload that says how many bytes it has; it is let go of after.

        Raises:
            QueueFullError: there is no room for as much, or enough readings wait.
        """
        with self._lock:
            bytes_, readings = self._held
            if bytes_ + declared > self._most[0] or readings >= self._most[1]:
                raise self._full()
        place = Place(self)
        try:
            yield place
        finally:
            self.change(bytes_=-place.bytes_held)

    @contextmanager
    def counted(self, readings: int) -> Iterator[None]:
        """Count readings that wait to be stored; those of an upload that has its place may pass."""
        with self._lock:
            self._held = (self._held[0], self._held[1] + readings)
        try:
            yield
        finally:
            with self._lock:
                self._held = (self._held[0], self._held[1] - readings)

    def change(self, bytes_: int) -> None:
        """Hold so many bytes more, or (below 0) fewer.

        Raises:
            QueueFullError: there is no room for more.
        """
        with self._lock:
            now = self._held[0] + bytes_
            if bytes_ > 0 and now > self._most[0]:
                raise self._full()
            self._held = (now, self._held[1])

    def _full(self) -> QueueFullError:
        # Each one is told another moment, so that they do not all come back at once.
        self._refused += 1
        return QueueFullError(_SOONEST_S + self._refused % _SPREAD_S)
