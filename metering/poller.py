"""Polling meters side by side: a dead, slow or lying meter delays and disturbs no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

from metering.event import EventSink
from metering.profiles import Profile
from metering.reading import Clock, Measurement, Quality
from metering.spool import Signer, Spool
from metering.watchman import Polled, ShowsSerial, Watchman

_BREAKER_AFTER: Final = 3
_BREAKER_MAX_MS: Final = 60_000
_GROUP_S: Final = 0.5

_GOLDEN: Final = (5**0.5 - 1) / 2
"""Phases that are multiples of it, modulo 1, lie evenly, whichever neighbours share a line."""

_log = logging.getLogger(__name__)


class PollerError(Exception):
    """Root of this module's errors."""


class NoCounterError(PollerError):
    """The meter showed neither counter: the reading is missing, look at the register map."""


class MeterSetupError(PollerError):
    """The meters do not fit together: mend the gateway's settings before it starts."""


class MeterSource(Protocol):
    """Reads one meter (``metering.lines.meter.ModbusMeter`` fits)."""

    async def read(self, profile: Profile) -> Polled:
        """Poll once; any exception means that there is no reading."""


@dataclass(frozen=True, slots=True)
class Meter:
    """An enrolled meter within the gateway's reach.

    With a ``watchman`` what it shows is judged before it is signed (docs/faults.md).
    """

    signer: Signer
    source: MeterSource
    profile: Profile
    watchman: Watchman | None = None

    @classmethod
    def watched(
        cls,
        signer: Signer,
        source: MeterSource,
        profile: Profile,
        spool: Spool,
        sink: EventSink,
        previous: Signer | None = None,
    ) -> Self:
        """Return a meter with a watchman that goes on after its last good reading in ``spool``.

        ``sink`` takes the events of what the watchman sees; ``previous`` signs until ``signer``
        begins.
        """
        last = spool.last_good(signer.enrolment.key.hex)
        if previous is not None:
            last = last or spool.last_good(previous.enrolment.key.hex)
            previous = spool.going_on(previous)
        going_on = spool.going_on(signer)
        watchman = Watchman.after(going_on, sink, profile.rated_w, last, previous)
        return cls(signer, source, profile, watchman)

    @property
    def point(self) -> str:
        """The metering point it stands for."""
        return self.signer.enrolment.point


@dataclass(frozen=True, slots=True)
class Live:
    """A meter's last answer, unsigned: for screens and alarms only."""

    power_w: int | None
    answered_ms: int
    import_wh: int | None = None
    export_wh: int | None = None
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class Fare:
    """How a meter fares: its last answer, how many reads failed since, and why the last one did.

    ``resting_ms`` is for how long (district time) it is left alone, 0 when it is asked each time.
    """

    live: Live | None
    failures: int
    resting_ms: int
    error: str


@dataclass(slots=True)
class _Watch:
    """What the gateway remembers of one meter between polls."""

    meter: Meter
    phase: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    failures: int = 0
    retry_ms: int = 0
    counters: tuple[bool, bool] = (False, False)
    live: Live | None = None
    error: str = ""

    def failed(self, error: Exception, now_ms: int) -> None:
        self.failures += 1
        self.error = str(error) or type(error).__name__
        if self.failures >= _BREAKER_AFTER:
            doublings = min(self.failures - _BREAKER_AFTER, 6)
            self.retry_ms = now_ms + min(_BREAKER_MAX_MS, 1_000 * 2**doublings)
        if self.failures in (1, _BREAKER_AFTER):
            _log.warning(
                "meter of %s: no reading (%d in a row): %s %s",
                self.meter.point, self.failures, type(error).__name__, error,
            )  # fmt: skip

    def answered(self, live: Live) -> None:
        if self.failures:
            _log.info("meter of %s: answers again", self.meter.point)
        self.failures = self.retry_ms = 0
        self.live, self.error = live, ""


class Poller:
    """Reads meters through their sources and remembers how each one fares.

    ``now_ms`` is the district clock and ``clock`` tells how far it can be trusted right now.
    ``timeout_s`` (wall time) bounds one read whatever its source does; ``on_live`` is told of
    every answer.

    Raises:
        MeterSetupError: two meters for one point, or another profile than the enrolled one.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        now_ms: Callable[[], int],
        clock: Callable[[], Clock],
        timeout_s: float,
        on_live: Callable[[str, Live], None] | None = None,
    ) -> None:
        self._watches = {
            meter.point: _Watch(meter, place * _GOLDEN % 1) for place, meter in enumerate(meters)
        }
        if len(self._watches) != len(meters):
            raise MeterSetupError("two meters stand for one point: give each its own")
        for meter in meters:
            if meter.profile.name != meter.signer.enrolment.profile:
                raise MeterSetupError(
                    f"{meter.point} is enrolled with profile {meter.signer.enrolment.profile}, "
                    f"not {meter.profile.name}: set that one or enrol again"
                )
        self._now_ms = now_ms
        self._clock = clock
        self._timeout_s = timeout_s
        self._on_live = on_live

    @property
    def points(self) -> tuple[str, ...]:
        """The points polled, in the order given."""
        return tuple(self._watches)

    def live(self) -> dict[str, Live]:
        """Return the last answer of every point that ever answered."""
        return {point: watch.live for point, watch in self._watches.items() if watch.live}

    def fares(self) -> dict[str, Fare]:
        """Return how each meter fares, by point."""
        now = self._now_ms()
        return {
            point: Fare(watch.live, watch.failures, max(0, watch.retry_ms - now), watch.error)
            for point, watch in self._watches.items()
        }

    def signer(self, point: str, answered_ms: int) -> Signer:
        """Return who signs what a point's meter answered at a moment, in the epoch of that key."""
        meter = self._watches[point].meter
        return meter.signer if meter.watchman is None else meter.watchman.signer_at(answered_ms)

    async def poll(
        self, points: Collection[str], *, even_failing: bool = False, spread_s: float = 0.0
    ) -> dict[str, Measurement]:
        """Return what the meters of ``points`` showed, once the last of them has answered.

        The arguments are those of :meth:`groups`.
        """
        measured: dict[str, Measurement] = {}
        async for group in self.groups(points, even_failing=even_failing, spread_s=spread_s):
            measured |= group
        return measured

    async def groups(
        self, points: Collection[str], *, even_failing: bool = False, spread_s: float = 0.0
    ) -> AsyncGenerator[dict[str, Measurement], None]:
        """Yield what the meters of ``points`` showed, every half second what has come in.

        So a meter that is slow or dead keeps no other's values back. All are asked at once, or
        each at its phase of ``spread_s``. A meter that failed three times in a row is left alone
        for 1, 2, 4 ... 60 s of district time, unless ``even_failing``. Whatever goes wrong with
        one meter stays with that meter.
        """
        now = self._now_ms()
        watches = [self._watches[point] for point in points]
        reads = {
            asyncio.create_task(self._read(watch, spread_s * watch.phase)): watch
            for watch in watches
            if even_failing or watch.retry_ms <= now
        }
        try:
            while reads:
                done, _ = await asyncio.wait(reads, timeout=_GROUP_S)
                ended = [(task, reads.pop(task)) for task in list(reads) if task in done]
                yield {
                    watch.meter.point: task.result()
                    for task, watch in ended
                    if self._came_in(watch, task.exception())
                }
        finally:
            for task in reads:
                task.cancel()

    def _came_in(self, watch: _Watch, error: BaseException | None) -> bool:
        """Tell whether a read brought values; what went wrong is noted of that meter."""
        if isinstance(error, Exception):
            watch.failed(error, self._now_ms())
            if watch.meter.watchman is not None:
                watch.meter.watchman.failed(error, self._now_ms(), self._clock())
        elif error is not None:
            raise error
        return error is None

    async def _read(self, watch: _Watch, wait_s: float) -> Measurement:
        if wait_s:
            await asyncio.sleep(wait_s)
        async with watch.lock, asyncio.timeout(self._timeout_s):
            measurement = await self._measure(watch)
        live = Live(
            measurement.power_w, measurement.answered_ms, measurement.import_wh,
            measurement.export_wh, measurement.quality,
        )  # fmt: skip
        watch.answered(live)
        if self._on_live is not None:
            self._on_live(watch.meter.point, live)
        return measurement

    async def _measure(self, watch: _Watch) -> Measurement:
        """Poll once, and once more where the first answer is in doubt."""
        meter = watch.meter
        poll, watchman = await meter.source.read(meter.profile), meter.watchman
        if watchman is None:
            return _measurement(watch, poll, self._clock())
        watchman.absent(poll.absent, poll.answered_ms, self._clock())
        serial = None
        if watchman.wants_serial(poll.answered_ms) and isinstance(meter.source, ShowsSerial):
            serial = await meter.source.serial(meter.profile)
        judged = watchman.judge(poll, self._clock(), serial)
        if judged.again:
            poll = await meter.source.read(meter.profile)
            judged = watchman.judge(poll, self._clock(), serial, second=True)
        return judged.measurement


def _measurement(watch: _Watch, poll: Polled, clock: Clock) -> Measurement:
    """Return what is to be signed; a counter that was there before and is not now is missing."""
    values = poll.values
    shown = (values.import_total is not None, values.export_total is not None)
    if not any(shown):
        raise NoCounterError("neither counter was shown: check the profile's register map")
    lost = any(before and not now for before, now in zip(watch.counters, shown, strict=True))
    watch.counters = (watch.counters[0] or shown[0], watch.counters[1] or shown[1])
    return Measurement(
        asked_ms=poll.asked_ms, answered_ms=poll.answered_ms, clock=clock,
        import_wh=None if values.import_total is None else values.import_total.wh,
        export_wh=None if values.export_total is None else values.export_total.wh,
        resolution_wh=values.resolution_wh,
        power_w=None if values.power is None else values.power.w,
        quality=Quality.MISSING if lost else Quality.MEASURED,
        raw=values.raw_digest.hex(),
    )  # fmt: skip
