"""The latest values, in memory, signed or not: for screens and alarms only."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

STALE_MS: Final = 2 * 60_000


@dataclass(frozen=True, slots=True)
class LiveValue:
    """A point's power (import positive) at a moment of the district clock."""

    power_w: int | None
    at_ms: int


class LiveBoard:
    """Holds the newest value per point; safe to use from several threads."""

    def __init__(self) -> None:
        self._values: dict[str, LiveValue] = {}
        self._lock = threading.Lock()

    def update(self, point: str, value: LiveValue) -> None:
        """Put up a point's value, unless a newer one is there."""
        with self._lock:
            there = self._values.get(point)
            if there is None or there.at_ms <= value.at_ms:
                self._values[point] = value

    def powers(self, now_ms: int) -> Mapping[str, int]:
        """Return the power in W of every point heard of within the last two minutes."""
        return {
            point: value.power_w
            for point, value in self.values().items()
            if value.power_w is not None and now_ms - value.at_ms <= STALE_MS
        }

    def values(self) -> Mapping[str, LiveValue]:
        """Return every point's newest value."""
        with self._lock:
            return dict(self._values)
