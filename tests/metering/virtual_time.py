"""An event loop whose time passes only when nothing else is left to do: hours in milliseconds.

For code that waits for timers and other coroutines alone; sockets never become ready here.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


class _Sleeper(selectors.SelectSelector):
    """Instead of waiting for the time-out, says that it has passed."""

    now = 0.0

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, selectors._EventMask]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits, and for nothing"
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._sleeper = _Sleeper()
        super().__init__(self._sleeper)

    def time(self) -> float:
        return self._sleeper.now


def run(main: Coroutine[None, None, T]) -> T:
    """``asyncio.run`` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
