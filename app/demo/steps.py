"""The demo's way through district time: step by step, patient with what does not answer.

District time stands still during a step: the gateway polls and sends, the worker does what is due,
and only then is the next step's time stored and taken. So a run that was killed goes on at the
step where it was, and at any speed no border is missed.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from sqlmodel import col, select

from app.clock import SimulatedClock
from app.db import DatabaseUnavailableError
from app.services.house import House
from app.services.ledger import LedgerFigures
from app.settings import Settings
from app.store import intervals, payments, people
from app.tables import IntervalRow
from app.worker import Worker
from metering.box.events import Events
from metering.gateway import MINUTE_MS, Gateway
from metering.interval import LENGTH_MS
from metering.sender import SenderError, SenderUnavailableError

STEP_MS: Final = 5_000
_RETRY_S: Final = 1.0
_SEALED: Final = ("sealed", "final")
_SEND_WAITS_S: Final = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)  # before each try of one step

_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How the demo runs. ``speed`` None means as fast as it can; ``intervals`` None, for ever."""

    settings: Settings
    headless: bool
    intervals: int | None
    speed: float | None
    seed: int
    fresh: bool  # put an earlier run aside and begin again
    on_step: Callable[[int, int], None]  # (sealed intervals, district clock in ms)
    on_sealed: Callable[[dict[str, object]], None]
    on_ready: Callable[[str], None]  # the address of the pages
    on_notice: Callable[[str], None]  # what whoever runs it should know


@dataclass(slots=True)
class Demo:
    """Everything of one running demo."""

    options: DemoOptions
    house: House
    clock: SimulatedClock
    figures: Callable[[], LedgerFigures]
    gateway: Gateway
    events: Events
    worker: Worker
    stop: asyncio.Event = field(default_factory=asyncio.Event)


async def drive(demo: Demo) -> None:
    """Take step after step until everything asked for is done, or somebody stops the demo."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, demo.stop.set)
    step_ms = MINUTE_MS if demo.options.speed is None else STEP_MS
    while not demo.stop.is_set() and not await _patiently(demo, _done):
        began = time.monotonic()
        await _step(demo, step_ms)
        if demo.options.speed is not None:
            left_s = step_ms / 1000 / demo.options.speed - (time.monotonic() - began)
            await _rest(demo.stop, left_s)


async def _step(demo: Demo, step_ms: int) -> None:
    now_ms = demo.clock.now_ms()
    if now_ms % MINUTE_MS == 0:
        await poll_patiently(demo.gateway, border=now_ms % LENGTH_MS == 0)
        await send_patiently(demo.gateway)
        await demo.events.send_once()
        await _patiently(demo, _work)
    else:
        await demo.gateway.poll_live()
    next_ms = now_ms + step_ms
    if next_ms % MINUTE_MS == 0:
        await _patiently(demo, partial(_store_clock, moment_ms=next_ms))
    demo.options.on_step(await _patiently(demo, _sealed), now_ms)
    demo.clock.advance_to(next_ms)


async def _patiently(demo: Demo, work: Callable[[Demo], _Result]) -> _Result:
    """Do ``work`` in a thread, again and again while the database does not answer.

    District time stands still meanwhile. Whoever stops the demo then is told the error.
    """
    told = False
    while True:
        try:
            done = await asyncio.to_thread(work, demo)
        except DatabaseUnavailableError as error:
            if demo.stop.is_set():
                raise
            if not told:
                demo.options.on_notice(f"{error}; the district stands still until it answers")
            told = True
            await _rest(demo.stop, _RETRY_S)
        else:
            if told:
                demo.options.on_notice("the database answers again; the district goes on")
            return done


def _work(demo: Demo) -> None:
    demo.worker.run_due()


async def poll_patiently(gateway: Gateway, *, border: bool) -> None:
    """Poll and sign; at a border, ask those that did not answer once more."""
    polled = await gateway.poll_round(border=border)
    if border and polled.missing:
        await gateway.poll_round(border=True, points=polled.missing)


async def send_patiently(gateway: Gateway) -> None:
    """Send what the spool holds; what the server has no time for stays there for the next step.

    District time stands still meanwhile, so that a reading which is tried again is not late.
    """
    for wait_s in _SEND_WAITS_S:
        await asyncio.sleep(wait_s)
        try:
            await gateway.send()
        except SenderUnavailableError as error:
            _log.warning("the server has no time, the readings are kept: %s", error)
        except SenderError as error:
            _log.error("sending failed, the readings are kept: %s", error)
            return
        else:
            return
    _log.error("the server stays away; the readings wait in the spool for the next minute")


def _store_clock(demo: Demo, moment_ms: int) -> None:
    with demo.house.database.write() as session:
        people.district(session, lock=True).clock_ms = moment_ms


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await stop.wait()
    except TimeoutError:
        pass


def _sealed(demo: Demo) -> int:
    with demo.house.database.read() as session:
        return len(intervals.in_state(session, *_SEALED))


def _done(demo: Demo) -> bool:
    """Return whether the intervals asked for are sealed, paid and anchored."""
    wanted = demo.options.intervals
    if wanted is None:
        return False
    with demo.house.database.read() as session:
        anchored = session.exec(
            select(IntervalRow.key).where(
                col(IntervalRow.state).in_(_SEALED), IntervalRow.anchor == "confirmed"
            )
        ).all()
        unpaid = payments.unpaid(session)
    return len(set(anchored) - unpaid) >= wanted
