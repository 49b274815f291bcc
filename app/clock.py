"""The two clocks: the district's (real or simulated, injected everywhere) and the wall's.

The district clock drives intervals, readings, grace, deadlines and tariffs. The wall clock drives
time-outs, backoff, sessions and milestones, and is simply :func:`wall_ms`.
"""

from __future__ import annotations

import time
from typing import Protocol


def wall_ms() -> int:
    """Return the wall clock in UTC milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class ClockError(ValueError):
    """The clock was asked for something impossible: a programming or settings mistake."""


class Clock(Protocol):
    """The district clock."""

    simulated: bool

    def now_ms(self) -> int:
        """Return the district's time in UTC milliseconds since 1970."""
        ...


class RealClock:
    """The district clock of a real district: the wall's."""

    simulated = False

    def now_ms(self) -> int:
        """Return the wall clock in UTC milliseconds since 1970."""
        return wall_ms()


class SimulatedClock:
    """A district clock that stands still until somebody advances it; it never goes back."""

    simulated = True

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        """Return the simulated time in UTC milliseconds since 1970."""
        return self._now_ms

    def advance_to(self, moment_ms: int) -> None:
        """Move on to ``moment_ms``.

        Raises:
            ClockError: the moment lies in the past.
        """
        if moment_ms < self._now_ms:
            raise ClockError(f"a clock does not go back from {self._now_ms} to {moment_ms} ms")
        self._now_ms = moment_ms
