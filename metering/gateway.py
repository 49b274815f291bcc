"""The gateway: polls the meters, signs what answered, spools it and sends it until receipted.

A time-out is a missing reading and is never signed. Whatever waits for a meter waits for that
meter alone: a dead one delays no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from metering.dispatch import Backoff, Dispatcher, GatewayIdentity, Reach, Sent
from metering.identity import PublicKey
from metering.interval import LENGTH_MS
from metering.keeping import Keeper, Keeping, Room
from metering.poller import Fare, Live, Meter, Poller
from metering.reading import Clock, Measurement
from metering.sender import Sender, SenderError, SenderUnavailableError
from metering.spool import Spool, SpoolError, SpoolUnavailableError

MINUTE_MS: Final = 60_000
BORDER_WINDOW_MS: Final = 10_000
_BORDER_RETRY_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 1.0
_PARTING_S: Final = 2.0
"""How long what is under way may take after the stop; then it is cancelled, which loses nothing."""

_SPREAD_S: Final = 0.001
"""Where no border is due, this much lies between two meters' polls: 1,000 begin in a second."""

_log = logging.getLogger(__name__)


class GatewayError(Exception):
    """Root of this module's errors."""


class GatewaySetupError(GatewayError):
    """A meter belongs to another district: mend the settings before the gateway starts."""


@dataclass(frozen=True, slots=True)
class Options:
    """What may differ between gateways; times are wall time in seconds or district time in ms.

    With ``receipt_key`` a 200 counts only if its receipt holds. ``on_live`` is told every answer.
    ``sign_every_ms`` divides a quarter-hour, so that each border is one of its moments. What
    ``beacon`` returns then goes into the border readings (docs/protocol.md).
    """

    receipt_key: PublicKey | None = None
    read_timeout_s: float = 8.0
    live_every_s: float = 5.0
    sign_every_ms: int = MINUTE_MS
    keeping: Keeping = field(default_factory=Keeping)
    on_live: Callable[[str, Live], None] | None = None
    beacon: Callable[[], str | None] | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """A poll round: the points whose readings were committed, and those without one."""

    stored: tuple[str, ...]
    missing: tuple[str, ...]


class Gateway:
    """Polls, signs, spools and sends for a set of meters.

    ``now_ms`` is the district clock and ``clock`` tells how far it can be trusted right now;
    readings under a clock that is not synchronised or informative never settle.

    Raises:
        GatewaySetupError: a meter of another district.
        MeterSetupError: two meters for one point, or another profile than the enrolled one.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        spool: Spool,
        sender: Sender,
        identity: GatewayIdentity,
        now_ms: Callable[[], int],
        clock: Callable[[], Clock],
        options: Options = Options(),
    ) -> None:
        for meter in meters:
            if meter.signer.enrolment.district != identity.district:
                raise GatewaySetupError(
                    f"{meter.point} is enrolled in {meter.signer.enrolment.district}, "
                    f"not in {identity.district}: give it to that district's gateway"
                )
        self._poller = Poller(meters, now_ms, clock, options.read_timeout_s, options.on_live)
        self.spool = spool
        self._dispatcher = Dispatcher(spool, sender, identity, now_ms, options.receipt_key)
        self._keeper = Keeper(spool, options.keeping, now_ms)
        self._now_ms = now_ms
        self._options = options
        self._wake = asyncio.Event()
        self.trouble = ""
        """Why the last round could not be kept; empty when it was."""
        self.beat_s = time.monotonic()
        """When the signing last came round (monotonic): it is stuck when this grows old."""

    @property
    def reach(self) -> Reach:
        """How the server fares."""
        return self._dispatcher.reach

    @property
    def room(self) -> Room:
        """How much room the spool has, and so what is signed."""
        return self._keeper.room

    def live(self) -> dict[str, Live]:
        """Return the last answer of every point that ever answered (unsigned)."""
        return self._poller.live()

    def fares(self) -> dict[str, Fare]:
        """Return how each meter fares, by point (unsigned)."""
        return self._poller.fares()

    async def poll_live(self) -> None:
        """Poll every meter for the screen; nothing is signed or stored."""
        points = self._poller.points
        await self._poller.poll(points, spread_s=len(points) * _SPREAD_S)

    async def poll_round(
        self, *, border: bool = False, points: Collection[str] | None = None
    ) -> Round:
        """Poll all meters (or ``points``), sign what answered, commit it twice a second.

        At a ``border`` all are asked at once, even those that keep failing.

        Raises:
            SpoolUnavailableError: what had answered by then was not kept.
        """
        asked = self._poller.points if points is None else points
        spread_s = 0.0 if border else len(asked) * _SPREAD_S
        stored: set[str] = set()
        async for measured in self._poller.groups(asked, even_failing=border, spread_s=spread_s):
            entries = [
                (self._poller.signer(point, values.answered_ms), values)
                for point, values in self._marked(measured, border=border).items()
            ]
            if entries:
                await asyncio.to_thread(self.spool.append, entries)
                self._wake.set()
            stored |= measured.keys()
        return Round(
            tuple(point for point in asked if point in stored),
            tuple(point for point in asked if point not in stored),
        )

    def _marked(self, measured: dict[str, Measurement], *, border: bool) -> dict[str, Measurement]:
        """Put the newest beacon into border readings: one a quarter-hour bounds all after it."""
        beacon = self._options.beacon() if border and self._options.beacon else None
        if beacon is None:
            return measured
        return {point: replace(values, beacon=beacon) for point, values in measured.items()}

    async def send(self) -> Sent:
        """Offer everything in the spool to the server once, oldest first, then tidy the spool up.

        Raises:
            SenderError: the server gave no answer that counts; every reading is kept.
            SpoolUnavailableError: an answer could not be stored; it will be asked for again.
        """
        sent = await self._dispatcher.send()
        await asyncio.to_thread(self._keeper.tidy)
        return sent

    async def run(self, stop: asyncio.Event, speed: float = 1.0) -> None:
        """Work until ``stop``: sign every minute and at each border, show live values, send.

        ``speed`` is how many district seconds pass in a wall second. What fails in a way that
        nobody foresaw is logged and begun again; the other two go on.
        """
        await until_stopped(
            stop,
            lambda: self._sign_each_period(stop, speed),
            lambda: self._show_live(stop),
            lambda: self._send_all(stop),
            lambda: self._wake_at_the_end(stop),
        )

    async def _wake_at_the_end(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _sign_each_period(self, stop: asyncio.Event, speed: float) -> None:
        """Poll once per period of the district clock, whichever way the clock jumps."""
        done, every_ms = -1, self._options.sign_every_ms
        while not stop.is_set():
            now, self.beat_s = self._now_ms(), time.monotonic()
            moment = now - now % every_ms
            if moment == done:
                left_s = (moment + every_ms - now) / 1_000 / speed
                await _pause(stop, min(left_s, _LONGEST_PAUSE_S))
                continue
            done = moment
            await self._sign_at(moment, stop, speed)

    async def _sign_at(self, moment: int, stop: asyncio.Event, speed: float) -> None:
        """Sign this period's readings; at a border ask again whoever is missing, for 10 s."""
        border = moment % LENGTH_MS == 0
        if not await self._may_sign(border=border):
            return
        missing = await self._signed_round(border=border, points=self._poller.points)
        while border and missing and self._now_ms() <= moment + BORDER_WINDOW_MS:
            if await _pause(stop, _BORDER_RETRY_S / speed):
                break
            missing = await self._signed_round(border=True, points=missing)

    async def _may_sign(self, *, border: bool) -> bool:
        """Make room, and tell whether there is enough for this kind of reading."""
        try:
            found = await asyncio.to_thread(self._keeper.tidy)
        except (SpoolUnavailableError, OSError):
            _log.exception("the spool cannot be tidied up")
            found = self._keeper.room
        return found < Room.BORDERS or (border and found < Room.FULL)

    async def _signed_round(self, *, border: bool, points: Sequence[str]) -> Sequence[str]:
        try:
            missing = (await self.poll_round(border=border, points=points)).missing
        except SpoolError as error:
            if str(error) != self.trouble:
                _log.warning("readings cannot be kept: %s", error)
            self.trouble = str(error)
            return points
        self.trouble = ""
        return missing

    async def _show_live(self, stop: asyncio.Event) -> None:
        while not await _pause(stop, self._options.live_every_s):
            await self.poll_live()

    async def _send_all(self, stop: asyncio.Event) -> None:
        """Send whenever a round is done; after a failure wait, longer each time, up to 60 s."""
        backoff = Backoff()
        while not stop.is_set():
            self._wake.clear()
            wait_s = await self._try_to_send(backoff)
            if wait_s is None:
                await self._wake.wait()
            else:
                await _pause(stop, wait_s)

    async def _try_to_send(self, backoff: Backoff) -> float | None:
        """Send once and return the seconds to wait before the next try, ``None`` if all went."""
        try:
            sent = await self.send()
        except SenderUnavailableError as error:
            return max(error.retry_after_s or 0.0, backoff.next_s())
        except (SenderError, SpoolUnavailableError):
            return backoff.next_s()
        if sent.waiting:
            return backoff.next_s()
        backoff.reset()
        return None


async def until_stopped(stop: asyncio.Event, *works: Callable[[], Awaitable[None]]) -> None:
    """Do works side by side until ``stop``, each begun again when it fails unforeseen.

    What is under way then may take two seconds more, and is cancelled after that.
    """
    tasks = [asyncio.create_task(_again_and_again(stop, work)) for work in works]
    try:
        await stop.wait()
        await asyncio.wait(tasks, timeout=_PARTING_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _again_and_again(stop: asyncio.Event, work: Callable[[], Awaitable[None]]) -> None:
    """Do a work until ``stop``; when it fails unforeseen, say so and begin again after a while."""
    backoff = Backoff()
    while not stop.is_set():
        task = asyncio.ensure_future(work())
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        if (error := task.exception()) is not None:
            _log.error("a part of the gateway failed and begins again", exc_info=error)
            await _pause(stop, backoff.next_s())


async def _pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait, at most until ``stop``, and tell whether it is time to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True
