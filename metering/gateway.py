"""The gateway: polls the meters, signs what answered, spools it and sends it until receipted.

A time-out is a missing reading and is never signed. Whatever waits for a meter waits for that
meter alone: a dead one delays no other.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from nacl.signing import SigningKey

from metering.batch import MAX_READINGS, Batch
from metering.identity import PublicKey
from metering.interval import LENGTH_MS
from metering.lines.poller import Live, Meter, Poller
from metering.reading import Clock
from metering.receipt import Receipt, ReceiptError
from metering.sender import BadAnswerError, ItemResult, Sender, SenderError, SenderUnavailableError
from metering.spool import Answer, Spool, Spooled, SpoolUnavailableError

MINUTE_MS: Final = 60_000
BORDER_WINDOW_MS: Final = 10_000
_DAY_MS: Final = 86_400_000
_BORDER_RETRY_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 1.0

_log = logging.getLogger(__name__)


class GatewayError(Exception):
    """Root of this module's errors."""


class GatewaySetupError(GatewayError):
    """A meter belongs to another district: mend the settings before the gateway starts."""


@dataclass(frozen=True, slots=True)
class GatewayIdentity:
    """Under which name and key the gateway signs its batches."""

    district: str
    name: str
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Options:
    """What may differ between gateways; times are wall time in seconds or district time in ms.

    With ``receipt_key`` a 200 counts only if its receipt holds. ``on_live`` is told every answer.
    """

    receipt_key: PublicKey | None = None
    read_timeout_s: float = 8.0
    live_every_s: float = 5.0
    keep_acknowledged_ms: int = 7 * _DAY_MS
    keep_dead_ms: int = 90 * _DAY_MS
    on_live: Callable[[str, Live], None] | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """A poll round: the points whose readings were committed, and those without one."""

    stored: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """What a pass over the spool came to; ``waiting`` are those to offer again later."""

    acknowledged: int = 0
    dead: int = 0
    waiting: int = 0


@dataclass(slots=True)
class Backoff:
    """Waits of 1, 2, 4 ... 60 s, each shortened by up to half so that gateways spread out."""

    jitter: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)
    _failures: int = 0

    def reset(self) -> None:
        """Begin at 1 s again."""
        self._failures = 0

    def next_s(self) -> float:
        """Return the seconds to wait after one more failure."""
        longest = min(60.0, 2.0 ** min(self._failures, 6))
        self._failures += 1
        return longest * (0.5 + 0.5 * self.jitter())


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
        self._sender = sender
        self._identity = identity
        self._now_ms = now_ms
        self._options = options
        self._sending = asyncio.Lock()
        self._wake = asyncio.Event()

    def live(self) -> dict[str, Live]:
        """Return the last answer of every point that ever answered (unsigned)."""
        return self._poller.live()

    async def poll_live(self) -> None:
        """Poll every meter for the screen; nothing is signed or stored."""
        await self._poller.poll(self._poller.points)

    async def poll_round(
        self, *, border: bool = False, points: Collection[str] | None = None
    ) -> Round:
        """Poll all meters (or ``points``) at once, sign what answered, commit it in one go.

        At a ``border`` even meters that keep failing are asked.

        Raises:
            SpoolUnavailableError: nothing of this round was kept.
        """
        asked = self._poller.points if points is None else points
        measured = await self._poller.poll(asked, even_failing=border)
        entries = [(self._poller.signer(point), values) for point, values in measured.items()]
        if entries:
            await asyncio.to_thread(self.spool.append, entries)
            self._wake.set()
        return Round(tuple(measured), tuple(point for point in asked if point not in measured))

    async def send(self) -> Sent:
        """Offer everything in the spool to the server once, oldest first, batch by batch.

        A reading that has to wait (425) blocks none behind it. Answers already given are kept
        when a later batch fails.

        Raises:
            SenderError: the server gave no answer that counts; every reading is kept.
            SpoolUnavailableError: an answer could not be stored; it will be asked for again.
        """
        async with self._sending:
            sent, after = Sent(), 0
            while items := await asyncio.to_thread(self.spool.unacknowledged, MAX_READINGS, after):
                answers = await self._offer(items)
                await asyncio.to_thread(self.spool.acknowledge, answers, self._now_ms())
                states = [answer.state for answer in answers]
                sent = Sent(
                    sent.acknowledged + states.count("acknowledged"),
                    sent.dead + states.count("dead"),
                    sent.waiting + states.count("pending"),
                )
                after = items[-1].id
            now = self._now_ms()
            await asyncio.to_thread(
                self.spool.prune,
                now - self._options.keep_acknowledged_ms,
                now - self._options.keep_dead_ms,
            )
            return sent

    async def run(self, stop: asyncio.Event, speed: float = 1.0) -> None:
        """Work until ``stop``: sign every minute and at each border, show live values, send.

        ``speed`` is how many district seconds pass in a wall second.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sign_each_minute(stop, speed))
            tasks.create_task(self._show_live(stop))
            tasks.create_task(self._send_all(stop))
            await stop.wait()
            self._wake.set()

    async def _offer(self, items: Sequence[Spooled]) -> list[Answer]:
        batch = Batch.pack(
            [item.reading for item in items], self._identity.key,
            self._identity.district, self._identity.name, self._now_ms(),
        )  # fmt: skip
        results = await self._sender.post(batch)
        if [result.index for result in results] != list(range(len(items))):
            raise BadAnswerError(f"{len(items)} results in order were expected")
        return [self._answer(item, result) for item, result in zip(items, results, strict=True)]

    def _answer(self, item: Spooled, result: ItemResult) -> Answer:
        """Turn a result into what the spool stores; a 200 without a good receipt has to wait."""
        if result.status != 200:
            if result.status != 425:
                _log.warning("reading %d: status %d %s", item.id, result.status, result.error)
            return Answer(item.id, result.status, error=result.error)
        try:
            receipt = Receipt.parse(result.receipt or {})
            if self._options.receipt_key is not None:
                receipt.check(item.reading, self._identity.district, self._options.receipt_key)
        except ReceiptError as error:
            _log.error("reading %d: receipt refused, keeping the reading: %s", item.id, error)
            return Answer(item.id, 0, error=str(error))
        return Answer(item.id, 200, receipt=receipt.to_json())

    async def _sign_each_minute(self, stop: asyncio.Event, speed: float) -> None:
        """Poll once per minute of the district clock, whichever way the clock jumps."""
        done = -1
        while not stop.is_set():
            now = self._now_ms()
            minute = now - now % MINUTE_MS
            if minute == done:
                left_s = (minute + MINUTE_MS - now) / 1_000 / speed
                await _pause(stop, min(left_s, _LONGEST_PAUSE_S))
                continue
            done = minute
            border = minute % LENGTH_MS == 0
            missing = await self._signed_round(border=border, points=self._poller.points)
            while border and missing and self._now_ms() <= minute + BORDER_WINDOW_MS:
                if await _pause(stop, _BORDER_RETRY_S / speed):
                    break
                missing = await self._signed_round(border=True, points=missing)

    async def _signed_round(self, *, border: bool, points: Sequence[str]) -> Sequence[str]:
        try:
            return (await self.poll_round(border=border, points=points)).missing
        except SpoolUnavailableError:
            _log.exception("readings of this round could not be kept")
            return points

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
            _log.warning("server not available, readings are kept: %s", error)
            return max(error.retry_after_s or 0.0, backoff.next_s())
        except (SenderError, SpoolUnavailableError):
            _log.exception("sending failed, readings are kept")
            return backoff.next_s()
        if sent.waiting:
            return backoff.next_s()
        backoff.reset()
        return None


async def _pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait, at most until ``stop``, and tell whether it is time to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True
