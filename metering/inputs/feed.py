"""What a line brought that tells by itself, kept per meter until the gateway polls it.

A P1 port and an MQTT broker are not asked, they tell. A :class:`Feed` is the source that the
gateway polls in place of a meter: it hands out what was told last, with the window (UTC ms) in
which it came, or waits for what comes next. What was told before a border is never handed out after
it, so that the first telegram of a quarter-hour becomes its border reading.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from metering.dispatch import Backoff
from metering.interval import LENGTH_MS
from metering.lines.errors import MeterTimeoutError, MeterUnreachableError
from metering.lines.meter import Poll
from metering.profiles import Profile

PATIENCE_S: Final = 7.0
"""How long a poll waits for what comes next; the gateway gives up on any poll after 8 s."""

_log = logging.getLogger(__name__)


class InputLostError(Exception):
    """The line broke off or cannot be opened: it is tried again, and the status page says so."""


@dataclass(slots=True)
class State:
    """How a line that tells by itself fares: ``error`` is empty while it is connected.

    ``heard_ms`` is when it last brought something whole, ``refused`` what was wrong with the last
    thing that was not taken, and ``refusals`` how many such things there were.
    """

    name: str
    where: str
    error: str = "not connected yet"
    heard_ms: int | None = None
    refusals: int = 0
    refused: str = ""

    def connected(self) -> None:
        """Note that the line is open."""
        _log.info("line %s: connected to %s", self.name, self.where)
        self.error = ""

    def lost(self, error: Exception) -> None:
        """Note that it is not; it is logged once, until it is open again."""
        if not self.error or self.error == "not connected yet":
            _log.warning("line %s: %s", self.name, error)
        self.error = str(error)

    def refuse(self, reason: str) -> None:
        """Note something that came and is not taken; it is logged when the reason is a new one."""
        if reason != self.refused:
            _log.warning("line %s: not taken: %s", self.name, reason)
        self.refused, self.refusals = reason, self.refusals + 1


class Listener(Protocol):
    """A line that tells by itself (``metering.inputs.p1``, ``metering.inputs.mqtt``)."""

    @property
    def state(self) -> State:
        """How it fares."""

    @property
    def feeds(self) -> Mapping[int, Feed]:
        """What it tells of each unit."""

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop``, and connect again whenever the line is lost."""


@dataclass(slots=True)
class Feed:
    """What a meter told last; fits ``metering.poller.MeterSource``.

    ``ask`` makes the meter tell now, where it can be asked: then nothing older is handed out.
    """

    state: State
    now_ms: Callable[[], int]
    max_age_ms: int
    ask: Callable[[], Awaitable[None]] | None = None
    patience_s: float = PATIENCE_S
    refused: str = ""
    _last: Poll | None = None
    _serial: str | None = None
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, poll: Poll, serial: str | None = None) -> None:
        """Take what the meter told, and wake who waits for it."""
        self._last, self._serial, self.refused = poll, serial, ""
        self.state.heard_ms = poll.answered_ms
        came, self._came = self._came, asyncio.Event()
        came.set()

    def refuse(self, reason: str) -> None:
        """Note that what came is not taken, and why: who waits for it is told."""
        self.refused = reason
        self.state.refuse(reason)

    async def read(self, _profile: Profile) -> Poll:
        """Return what was told last or is told next.

        Raises:
            MeterUnreachableError: the line is not connected.
            MeterTimeoutError: nothing came in time, or nothing that could be taken.
        """
        if self.state.error:
            raise MeterUnreachableError(f"line {self.state.name}: {self.state.error}")
        asked_ms, came = self.now_ms(), self._came
        if self.ask is None:
            if self._last is not None and self._is_fresh(self._last, asked_ms):
                return self._last
        else:
            await self.ask()
        try:
            async with asyncio.timeout(self.patience_s):
                await came.wait()
        except TimeoutError:
            raise MeterTimeoutError(self._why()) from None
        if self._last is None:
            raise MeterTimeoutError(self._why())
        if self.ask is None:
            return self._last
        return Poll(
            min(asked_ms, self._last.answered_ms), self._last.answered_ms, self._last.values
        )

    async def serial(self, _profile: Profile) -> str | None:
        """Return the serial number told last; None where the meter tells none."""
        return self._serial

    def _is_fresh(self, poll: Poll, now_ms: int) -> bool:
        """Tell whether it is of this quarter-hour and young enough; a clock set back tells no."""
        return (
            0 <= now_ms - poll.answered_ms <= self.max_age_ms
            and poll.asked_ms // LENGTH_MS == now_ms // LENGTH_MS
        )

    def _why(self) -> str:
        said = f"; the last was not taken: {self.refused}" if self.refused else ""
        return f"line {self.state.name}: nothing was told within {self.patience_s:g} s{said}"


async def keep_listening(
    stop: asyncio.Event, state: State, listen: Callable[[], Awaitable[None]]
) -> None:
    """Listen until ``stop``; after each loss wait 1, 2, 4 ... 60 s, shortened by up to half."""
    backoff = Backoff()
    while not stop.is_set():
        task, end = asyncio.ensure_future(listen()), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
            end.cancel()
            (found, _) = await asyncio.gather(task, end, return_exceptions=True)
        if stop.is_set():
            return
        if not isinstance(found, InputLostError):
            raise found if isinstance(found, Exception) else InputLostError("it ended")
        if not state.error:
            backoff.reset()
        state.lost(found)
        try:
            async with asyncio.timeout(backoff.next_s()):
                await stop.wait()
        except TimeoutError:
            continue
