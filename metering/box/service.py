"""The running gateway: puts the parts together, watches over them, and reports how they fare."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from metering.box.beacon import Beacon
from metering.box.clock import steady_ms
from metering.box.config import BoxConfig, ConfigError
from metering.box.entries import MeterEntry
from metering.box.events import Events
from metering.box.keys import load_key
from metering.box.lock import BoxError, alone
from metering.box.notify import notify, watchdog_s
from metering.box.report import (
    ClockReport,
    InputReport,
    MeterReport,
    Report,
    ServerReport,
    SpoolReport,
    readings,
)
from metering.box.status import StatusPage, StatusPageError
from metering.box.timekeeper import Timekeeper, name_of, wall_ms
from metering.dispatch import GatewayIdentity
from metering.event import EventSink
from metering.event_spool import Reporter
from metering.gateway import Gateway, Options, until_stopped
from metering.inputs.config import InputConfig
from metering.inputs.feed import Listener
from metering.inputs.open import open_input
from metering.inputs.types import meter_type, type_of
from metering.keeping import Keeping, Room
from metering.lines.line import Line, open_line
from metering.poller import Fare, Meter, MeterSource
from metering.profiles import Profile
from metering.reading import Clock, Enrolment, Reading
from metering.sender import HttpSender
from metering.signing import SigningError, public_key
from metering.spool import Signer, Spool

_POST_TIMEOUT_S: Final = 30.0
_STUCK_S: Final = 120.0
"""A gateway whose signing did not come round for so long is restarted by its watchdog."""

MOST_BEYOND: Final = 1_000
"""So far beyond the enrolled epoch the district takes readings (docs/protocol.md, "Epochs")."""

_log = logging.getLogger(__name__)


class NewSpoolBegunError(BoxError):
    """A new spool was begun and not finished: give that command again."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a running gateway consists of; ``stopped`` says for whom nothing is signed, and why."""

    config: BoxConfig
    gateway: Gateway
    events: Events
    timekeeper: Timekeeper
    beacon: Beacon
    lines: Mapping[str, Line]
    listeners: Mapping[str, Listener]
    stopped: Mapping[str, str]
    started_s: float = field(default_factory=time.monotonic)


def load_signers(config: BoxConfig) -> dict[str, tuple[Signer, ...]]:
    """Read every meter's keys and return who signs, by point: the newest key last.

    Raises:
        ConfigError: a key file is absent, may be read by others, or holds no key; or two roles
            share one key.
    """
    faults, signers = [], dict[str, tuple[Signer, ...]]()
    for entry in config.meters:
        try:
            signers[entry.point] = _signers(config, entry)
        except (SigningError, OSError) as error:
            faults.append(f"{entry.written_in}: key_file: {_told(error)}")
    try:
        keys = [public_key(load_key(config.key_file))]
    except (SigningError, OSError) as error:
        faults.append(f"{config.path}: key_file: {_told(error)}")
        keys = []
    keys += [one.enrolment.key for each in signers.values() for one in each]
    if len(set(keys)) != len(keys):
        faults.append(f"{config.path}: two key files hold one key: each role needs its own")
    if faults:
        raise ConfigError(*faults)
    return signers


def _signers(config: BoxConfig, entry: MeterEntry) -> tuple[Signer, ...]:
    starts = [entry.valid_from]
    if entry.previous is not None:
        starts.insert(0, entry.previous.valid_from)
    signers = []
    for file, begins in zip(entry.key_files, starts, strict=True):
        key = load_key(file)
        enrolment = Enrolment(
            config.district, entry.point, entry.serial, entry.profile, public_key(key),
            entry.epoch, begins,
        )  # fmt: skip
        signers.append(Signer(enrolment, key))
    return tuple(signers)


def begun_mark(config: BoxConfig) -> Path:
    """Return the file that stands while a new spool is begun and not finished."""
    return config.data / "new-spool.begun"


async def run_box(config: BoxConfig, stop: asyncio.Event) -> None:
    """Work until ``stop``; what is under way then is kept.

    Raises:
        ConfigError, BoxError, SpoolError: it cannot start; the message says what to do.
    """
    with alone(config.data):
        async with AsyncExitStack() as stack:
            parts = await _open(stack, config)
            address = await stack.enter_async_context(_status_page(parts))
            _log.info(
                "gateway %s: %d meters on %d lines, %s", config.name, len(config.meters),
                len(parts.lines) + len(parts.listeners),
                f"status page {address}" if address else "no status page",
            )  # fmt: skip
            notify("READY=1")
            await until_stopped(
                stop,
                lambda: parts.gateway.run(stop),
                lambda: parts.events.send(stop),
                lambda: parts.timekeeper.watch(stop),
                lambda: parts.beacon.watch(stop),
                lambda: _tell(parts, stop),
                *(partial(one.run, stop) for one in parts.listeners.values()),
            )
            notify("STOPPING=1")


async def _open(stack: AsyncExitStack, config: BoxConfig) -> Parts:
    signers, key = load_signers(config), load_key(config.key_file)
    if begun_mark(config).exists():
        raise NewSpoolBegunError(
            f"{config.data}: a new spool was begun and not finished: give the command again, "
            f"wattloom gateway --new-spool {config.path}"
        )
    spool = Spool.open(config.spool)
    stack.callback(spool.close)
    events = Events.open(config.spool, Reporter(config.district, config.name, key), wall_ms)
    stack.callback(events.close)
    timekeeper = Timekeeper(config.clock, events.spool)
    await timekeeper.ask()
    client = await stack.enter_async_context(_client(config, timekeeper))
    events.connect(config.server.url, client)
    lines = {name: open_line(line) for name, line in config.lines.items()}
    for line in lines.values():
        stack.push_async_callback(line.close)
    listeners = {
        name: open_input(one, wall_ms, config.server.url, client)
        for name, one in config.inputs.items()
    }
    sources = _Sources(config.inputs, lines, listeners)
    stopped, beacon = _stopped(signers, spool), Beacon(config.server.url, client)
    meters = [
        _meter(entry, sources, signers[entry.point], spool, events.spool)
        for entry in config.meters
        if entry.point not in stopped
    ]
    gateway = Gateway(
        meters,
        spool,
        HttpSender(config.server.url, client),
        GatewayIdentity(config.district, config.name, key),
        wall_ms,
        timekeeper.status,
        _options(config, beacon),
    )
    return Parts(config, gateway, events, timekeeper, beacon, lines, listeners, stopped)


def _stopped(signers: Mapping[str, Sequence[Signer]], spool: Spool) -> dict[str, str]:
    """Return the points for which nothing may be signed, each with the reason."""
    return {
        point: "its spool was lost too often: rotate its key (wattloom meter rotate)"
        for point, (*_, who) in signers.items()
        if spool.going_on(who).enrolment.epoch > who.enrolment.epoch + MOST_BEYOND
    }


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where meters are: on lines that are asked, and on those that tell by themselves."""

    inputs: Mapping[str, InputConfig]
    lines: Mapping[str, Line]
    listeners: Mapping[str, Listener]

    def profile(self, entry: MeterEntry) -> Profile:
        """Return the type of a meter."""
        told = self.inputs.get(entry.line)
        return meter_type(entry.profile) if told is None else type_of(told, entry.unit)

    def of(self, entry: MeterEntry) -> MeterSource:
        """Return what is polled for a meter."""
        if entry.line in self.listeners:
            return self.listeners[entry.line].feeds[entry.unit]
        return self.lines[entry.line].meter(entry.unit, wall_ms)


def _meter(
    entry: MeterEntry,
    sources: _Sources,
    signers: Sequence[Signer],
    spool: Spool,
    sink: EventSink,
) -> Meter:
    profile, source = sources.profile(entry), sources.of(entry)
    previous = signers[0] if len(signers) > 1 else None
    return Meter.watched(signers[-1], source, profile, spool, sink, previous)


def _options(config: BoxConfig, beacon: Beacon) -> Options:
    limits = config.limits
    return Options(
        receipt_key=config.server.receipt_key,
        live_every_s=limits.live_every_s,
        sign_every_ms=limits.sign_every_ms,
        keeping=Keeping(
            acknowledged_ms=limits.keep_receipts_ms,
            max_bytes=limits.spool_max_bytes,
            disk_free_bytes=limits.disk_free_bytes,
        ),
        beacon=beacon.newest,
    )


def _client(config: BoxConfig, timekeeper: Timekeeper) -> httpx.AsyncClient:
    try:
        trusted = ssl.create_default_context(cafile=config.server.ca_file)
    except OSError as error:
        raise ConfigError(f"{config.path}: server.ca_file: {_told(error)}") from error
    return httpx.AsyncClient(
        timeout=_POST_TIMEOUT_S,
        verify=trusted,
        event_hooks={"request": [timekeeper.note_asked], "response": [timekeeper.note_date]},
    )


@asynccontextmanager
async def _status_page(parts: Parts) -> AsyncIterator[str]:
    """Serve the page while the gateway runs; without one, meters are read all the same."""
    status = parts.config.status
    password = None
    if status.password_file is not None:
        password = _password(status.password_file)
    page = StatusPage(lambda: report(parts), password)
    async with AsyncExitStack() as stack:
        try:
            address = await stack.enter_async_context(page.serving(status.host, status.port))
        except StatusPageError as error:
            _log.warning("%s; the gateway works without it", error)
            address = ""
        yield address


def _password(path: Path) -> str:
    try:
        password = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"status.password_file: {error}") from error
    if path.stat().st_mode & 0o077 or len(password) < 8:
        raise ConfigError(
            f"status.password_file: {path} has to be readable by its owner alone (chmod 400) and "
            "to hold at least 8 characters"
        )
    return password


async def _tell(parts: Parts, stop: asyncio.Event) -> None:
    """Tell systemd's watchdog that the gateway lives, as long as its signing comes round."""
    every_s = watchdog_s()
    while not stop.is_set():
        if every_s is not None and time.monotonic() - parts.gateway.beat_s < _STUCK_S:
            notify("WATCHDOG=1")
        try:
            async with asyncio.timeout(every_s):
                await stop.wait()
        except TimeoutError:
            continue


# --- What it says about itself -------------------------------------------------------------------


def report(parts: Parts) -> Report:
    """Return how everything fares; looks into the spool, so call it in a thread."""
    config, now_ms = parts.config, wall_ms()
    meters = _meter_reports(parts, now_ms)
    spool, server = _spool_report(parts, now_ms), _server_report(parts, now_ms)
    clock = parts.timekeeper.clock
    at = datetime.fromtimestamp(now_ms / 1_000, UTC)
    return Report(
        gateway=config.name,
        district=config.district,
        at=at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        up_s=int(time.monotonic() - parts.started_s),
        meters=meters,
        spool=spool,
        server=server,
        clock=ClockReport(
            name_of(clock.status),
            clock.source,
            clock.off_by_ms(steady_ms()),
            parts.timekeeper.last_jump,
        ),
        alarms=tuple(_alarms(parts, meters, spool, server)),
        inputs=_input_reports(parts, now_ms),
    )


def _meter_reports(parts: Parts, now_ms: int) -> tuple[MeterReport, ...]:
    fares = parts.gateway.fares()
    return tuple(
        _meter_report(parts, entry, fares.get(entry.point), now_ms) for entry in parts.config.meters
    )


def _meter_report(parts: Parts, entry: MeterEntry, fare: Fare | None, now_ms: int) -> MeterReport:
    who = (entry.point, entry.serial, entry.profile, entry.line, entry.unit)
    if fare is None:
        return MeterReport(*who, "stopped", error=parts.stopped.get(entry.point, ""))
    live = fare.live
    state = "resting" if fare.resting_ms else "silent" if fare.failures else "ok"
    if live is None:
        state = state if fare.failures else "waiting"
        return MeterReport(*who, state, failures=fare.failures, error=fare.error)
    return MeterReport(
        *who, state, power_w=live.power_w, import_wh=live.import_wh, export_wh=live.export_wh,
        quality=live.quality, age_s=max(0, now_ms - live.answered_ms) // 1_000,
        failures=fare.failures, error=fare.error,
    )  # fmt: skip


def _spool_report(parts: Parts, now_ms: int) -> SpoolReport:
    spool = parts.gateway.spool
    oldest = spool.oldest_pending()
    oldest_s = None
    if oldest is not None:
        oldest_s = max(0, now_ms - Reading.from_payload(oldest.payload).answered_ms) // 1_000
    return SpoolReport(
        pending=spool.pending(),
        oldest_s=oldest_s,
        dead=spool.count_dead(),
        used_bytes=spool.usage().used_bytes,
        max_bytes=parts.config.limits.spool_max_bytes,
        room=parts.gateway.room.name.lower(),
    )


def _input_reports(parts: Parts, now_ms: int) -> tuple[InputReport, ...]:
    states = [listener.state for listener in parts.listeners.values()]
    return tuple(
        InputReport(
            one.name,
            parts.config.inputs[one.name].kind,
            one.where,
            None if one.heard_ms is None else max(0, now_ms - one.heard_ms) // 1_000,
            one.error,
            one.refusals,
            one.refused,
        )
        for one in states
    )


def _server_report(parts: Parts, now_ms: int) -> ServerReport:
    reach = parts.gateway.reach
    answered, failing = (
        None if moment is None else max(0, now_ms - moment) // 1_000
        for moment in (reach.answered_ms, reach.failing_since_ms)
    )
    return ServerReport(parts.config.server.url, answered, failing, reach.error)


def _alarms(
    parts: Parts, meters: Sequence[MeterReport], spool: SpoolReport, server: ServerReport
) -> Iterator[str]:
    """Yield what a person should know, the gravest first."""
    gateway = parts.gateway
    if gateway.trouble:
        yield f"Readings cannot be kept: {gateway.trouble}"
    if gateway.room is Room.FULL:
        yield "The spool is full: nothing is signed until the server takes readings again."
    elif gateway.room is Room.BORDERS:
        yield "The spool is nearly full: only border readings are signed."
    if parts.timekeeper.status() is Clock.UNKNOWN:
        yield "The clock is not trusted: readings are signed, but do not settle. Check NTP."
    if server.failing_s is not None:
        yield f"The server does not take readings; they are kept. {server.error}"
    if spool.dead:
        yield (
            f"Refused for good: {readings(spool.dead)}. See them with: wattloom gateway "
            f"--dead {parts.config.path}"
        )
    yield from _silent(parts, meters)


def _silent(parts: Parts, meters: Sequence[MeterReport]) -> Iterator[str]:
    """Yield which lines and meters bring nothing."""
    for listener in parts.listeners.values():
        if listener.state.error:
            yield f"Line {listener.state.name} is not connected: {listener.state.error}"
    for meter in meters:
        if meter.state in {"resting", "stopped"}:
            yield f"Meter {meter.serial} of {meter.point}: {meter.error}"


def _told(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}; check its name and rights"
    return str(error)
