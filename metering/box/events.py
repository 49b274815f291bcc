"""The gateway's signed events: kept in its spool file, sent whenever there are some."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from metering.dispatch import Backoff
from metering.event_spool import EventSpool, HttpEventSender, Reporter, send_events
from metering.sender import SenderError
from metering.spool import SpoolUnavailableError


@dataclass(slots=True)
class Events:
    """Keeps and sends events; a server that does not take them is asked again ever later."""

    spool: EventSpool
    now_ms: Callable[[], int]
    wake: asyncio.Event
    backoff: Backoff = field(default_factory=Backoff)
    sender: HttpEventSender | None = None

    @classmethod
    def open(cls, path: Path, reporter: Reporter, now_ms: Callable[[], int]) -> Events:
        """Open the events of the spool file; a running event loop is woken by each new one.

        ``now_ms`` (UTC ms) dates what the server answers.

        Raises:
            SpoolUnavailableError: the file cannot be opened.
        """
        wake, loop = asyncio.Event(), asyncio.get_running_loop()
        wake.set()  # for those of an earlier run

        def on_event() -> None:
            loop.call_soon_threadsafe(wake.set)

        try:
            spool = EventSpool.open(path, reporter, on_event)
        except (sqlite3.Error, OSError) as error:
            raise SpoolUnavailableError(f"{path}: {error}; check disk and rights") from error
        return cls(spool, now_ms, wake)

    def connect(self, url: str, client: httpx.AsyncClient) -> None:
        """Send to the server at ``url`` by this client from now on."""
        self.sender = HttpEventSender(url, client)

    def close(self) -> None:
        """Close the file; what was reported stays."""
        self.spool.close()

    async def send(self, stop: asyncio.Event) -> None:
        """Send what there is whenever something is reported, until ``stop``."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                self.wake.clear()
                wait_s = await self.send_once()
                woken = asyncio.ensure_future(asyncio.sleep(wait_s) if wait_s else self.wake.wait())
                await asyncio.wait({woken, stopping}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
        finally:
            stopping.cancel()

    async def send_once(self) -> float:
        """Offer all that waits once; return the seconds before the next try, 0 when all went."""
        if self.sender is None:
            return self.backoff.next_s()
        try:
            await send_events(self.spool, self.sender, self.now_ms)
        except SenderError:
            return self.backoff.next_s()  # the readings' way tells people of it
        if self.spool.pending():
            return self.backoff.next_s()
        self.backoff.reset()
        return 0.0
