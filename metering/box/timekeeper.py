"""Watches the clock while the gateway runs: asks who tells the time, and reports jumps."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Final

import httpx

from metering.box import time_sources
from metering.box.clock import ClockStatus, Jump, steady_ms
from metering.box.config import ClockConfig
from metering.box.time_sources import TimeSourceError, date_bounds
from metering.event import Event, EventSink, Finding, Kind
from metering.reading import Clock

LOOK_S: Final = 1.0
ASK_S: Final = 64.0
_ASKED: Final = "wattloom.asked"
_NAMES: Final = {
    Clock.SYNCHRONISED: "synchronised",
    Clock.INFORMATIVE: "informative",
    Clock.UNKNOWN: "unknown",
    Clock.RELATIVE: "relative",
}

_log = logging.getLogger(__name__)


def wall_ms() -> int:
    """Return UTC milliseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1_000_000


def name_of(status: Clock) -> str:
    """Return what people call a clock's status."""
    return _NAMES[status]


class Timekeeper:
    """Keeps the clock's status; ``sink`` takes its jumps and changes as events."""

    def __init__(self, config: ClockConfig, sink: EventSink) -> None:
        self._config = config
        self._sink = sink
        self._said = ""
        self.clock = ClockStatus(config.source)
        self.last_jump = ""

    def status(self) -> Clock:
        """Return how far the clock can be trusted right now."""
        return self.clock.status

    async def watch(self, stop: asyncio.Event) -> None:
        """Look at the clock each second and ask the sources about each minute, until ``stop``."""
        asked_ms = -ASK_S * 1_000
        while not stop.is_set():
            if steady_ms() - asked_ms >= ASK_S * 1_000 or not self.clock.heard:
                asked_ms = steady_ms()
                await self.ask()
            self.look(wall_ms(), steady_ms())
            try:
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()
            except TimeoutError:
                continue

    async def ask(self) -> None:
        """Ask the sources of the settings; one that does not answer grows old by itself."""
        self.clock.hear("system", time_sources.kernel() or await time_sources.chrony())
        if not self._config.ntp_server:
            return
        try:
            self.clock.hear("ntp", await time_sources.ntp(self._config.ntp_server))
        except TimeSourceError as error:
            if str(error) != self._said:
                _log.warning("%s", error)
            self._said = str(error)

    def look(self, now_ms: int, steady: float) -> None:
        """Judge the clock; report a jump, and a status that has changed."""
        before = self.clock.status
        jump = self.clock.look(now_ms, steady)
        if jump is not None:
            self._jumped(jump)
        if self.clock.status is not before:
            was, now = name_of(before), name_of(self.clock.status)
            _log.warning("the clock was %s and is %s now", was, now)
            self._report(
                Finding(Kind.CLOCK_STATE, {"was": before.value, "now": self.clock.status.value})
            )

    async def note_asked(self, request: httpx.Request) -> None:
        """Note when a request goes out (a hook of the HTTP client)."""
        request.extensions[_ASKED] = (time.time_ns() / 1_000_000, steady_ms())

    async def note_date(self, response: httpx.Response) -> None:
        """Compare the Date of the district's answer with this clock (a hook, too)."""
        asked_ms, asked_at = response.request.extensions[_ASKED]
        date = response.headers.get("Date", "")
        bounds = date_bounds(date, asked_ms, steady_ms() - asked_at)
        if bounds is not None:
            self.clock.hear("server", bounds)

    def _jumped(self, jump: Jump) -> None:
        at = datetime.fromtimestamp(jump.after_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        self.last_jump = f"by {jump.by_ms / 1_000:+,.1f} s to {at}"
        _log.warning(
            "the clock jumped %s; it is not trusted until vouched for anew", self.last_jump
        )
        self._report(Finding(Kind.CLOCK_JUMP, {"by_ms": jump.by_ms}))

    def _report(self, finding: Finding) -> None:
        self._sink.report(Event(finding, None, wall_ms(), self.clock.status))
