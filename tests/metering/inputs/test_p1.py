"""P1 ports over a pseudo terminal and over TCP: in step again after garbage, and judged by age."""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from metering.event import Event, Kind
from metering.identity import gsrn_check_digit
from metering.inputs.config import P1Line
from metering.inputs.p1 import P1Listener
from metering.inputs.types import P1
from metering.interval import Interval
from metering.lines.errors import MeterTimeoutError, MeterUnreachableError
from metering.lines.meter import Poll
from metering.poller import Meter, Poller
from metering.reading import Clock, Enrolment, Quality
from metering.signing import public_key
from metering.spool import Signer
from metering.watchman import Watchman
from tests.metering.inputs.inputs_kit import SERIAL, Now, free_port, telegram, until

START = Interval.parse("2026-06-23T09:00:00Z").start_ms
LATER = START + 30_000


@dataclass
class Adapter:
    """A P1-to-network adapter: sends what it is told to whoever is connected."""

    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connected(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)

    def send(self, data: bytes) -> None:
        self.writers[-1].write(data)


async def listening(
    listener: P1Listener, act: Callable[[], Awaitable[None]], *, connected: bool = True
) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(listener.run(stop))
    try:
        if connected:
            await until(lambda: not listener.state.error)
        await act()
    finally:
        stop.set()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)


def over_tcp(act: Callable[[P1Listener, Adapter, Now], Awaitable[None]]) -> None:
    async def run() -> None:
        adapter, now = Adapter(), Now(LATER)
        async with await asyncio.start_server(adapter.connected, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            config = P1Line(kind="p1", name="port", host="127.0.0.1", port=port)
            listener = P1Listener(config, now)
            listener.feed.patience_s = 0.05
            await listening(listener, lambda: _once_there(listener, adapter, now, act))
            for writer in adapter.writers:
                writer.close()

    asyncio.run(run())


async def _once_there(
    listener: P1Listener,
    adapter: Adapter,
    now: Now,
    act: Callable[[P1Listener, Adapter, Now], Awaitable[None]],
) -> None:
    await until(lambda: adapter.writers)
    await act(listener, adapter, now)


def shown(poll: Poll) -> tuple[int, int, int | None]:
    total = poll.values.import_total
    return poll.asked_ms, poll.answered_ms, None if total is None else total.wh


def test_a_telegram_over_tcp_is_what_the_meter_answers() -> None:
    async def act(listener: P1Listener, adapter: Adapter, now: Now) -> None:
        data = telegram(now.ms, 4_512_345)
        adapter.send(data[:40])
        await until(lambda: now.asked)
        now.ms += 80
        adapter.send(data[40:])
        await until(lambda: listener.state.heard_ms)
        poll = await listener.feed.read(P1)
        assert shown(poll) == (START + 30_000, START + 30_080, 4_512_345)
        assert await listener.feed.serial(P1) == SERIAL

    over_tcp(act)


def test_after_garbage_the_next_whole_telegram_counts() -> None:
    async def act(listener: P1Listener, adapter: Adapter, now: Now) -> None:
        good, damaged = telegram(now.ms, 2_000), bytearray(telegram(now.ms, 1_000))
        damaged[90] ^= 0x01
        cut = telegram(now.ms, 1_500)[:120]
        adapter.send(b"\xff\x00!!\r\n" + os.urandom(300) + cut + bytes(damaged) + good)
        await until(lambda: listener.state.heard_ms)
        assert shown(await listener.feed.read(P1))[2] == 2_000
        assert listener.state.refused.startswith("ChecksumError")

    over_tcp(act)


REFUSED = {
    "an hour old": (-3_600_000, "3,600 s from the gateway's clock"),
    "of tomorrow": (86_400_000, "86,400 s from the gateway's clock"),
}


@pytest.mark.parametrize(("off_ms", "said"), REFUSED.values(), ids=REFUSED)
def test_a_telegram_of_another_time_is_not_taken(off_ms: int, said: str) -> None:
    async def act(listener: P1Listener, adapter: Adapter, now: Now) -> None:
        adapter.send(telegram(now.ms + off_ms, 2_000))
        await until(lambda: listener.state.refusals)
        with pytest.raises(MeterTimeoutError, match=said):
            await listener.feed.read(P1)

    over_tcp(act)


def test_an_adapter_that_repeats_itself_shows_nothing_new() -> None:
    async def act(listener: P1Listener, adapter: Adapter, now: Now) -> None:
        data = telegram(now.ms, 2_000)
        adapter.send(data)
        await until(lambda: listener.state.heard_ms)
        now.ms += 5_000
        adapter.send(data)
        await until(lambda: listener.state.refusals)
        assert "once more" in listener.state.refused
        now.ms += 10_000
        with pytest.raises(MeterTimeoutError, match="once more"):
            await listener.feed.read(P1)

    over_tcp(act)


def test_what_came_before_a_border_is_not_read_after_it() -> None:
    """The first telegram of the quarter-hour is what its border is read from."""

    async def act(listener: P1Listener, adapter: Adapter, now: Now) -> None:
        now.ms = START - 400
        adapter.send(telegram(START - 1_000, 2_000))
        await until(lambda: listener.state.heard_ms)
        now.ms = START + 5
        with pytest.raises(MeterTimeoutError):
            await listener.feed.read(P1)
        listener.feed.patience_s = 5
        reading = asyncio.create_task(listener.feed.read(P1))
        now.ms = START + 600
        adapter.send(telegram(START, 2_001))
        assert shown(await reading) == (START + 600, START + 600, 2_001)

    over_tcp(act)


def test_an_adapter_that_is_away_is_told_and_tried_again() -> None:
    unused_port = free_port()

    async def run() -> None:
        config = P1Line(kind="p1", name="port", host="127.0.0.1", port=unused_port)
        listener, adapter, now = (
            P1Listener(config, Now(LATER)),
            Adapter(),
            Now(LATER),
        )

        async def act() -> None:
            await until(lambda: "check address" in listener.state.error)
            with pytest.raises(MeterUnreachableError, match=f"127.0.0.1:{unused_port}"):
                await listener.feed.read(P1)
            server = await asyncio.start_server(adapter.connected, "127.0.0.1", unused_port)
            async with server:
                await until(lambda: adapter.writers and not listener.state.error)
                adapter.send(telegram(now.ms, 7_000))
                await until(lambda: listener.state.heard_ms)
                adapter.writers[-1].close()
                await until(lambda: "closed the connection" in listener.state.error)
                await until(lambda: len(adapter.writers) == 2 and not listener.state.error)
                adapter.writers[-1].close()

        await listening(listener, act, connected=False)

    asyncio.run(run())


def test_a_line_that_fell_silent_is_opened_anew() -> None:
    async def run() -> None:
        adapter = Adapter()
        async with await asyncio.start_server(adapter.connected, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            config = P1Line(kind="p1", name="port", host="127.0.0.1", port=port)
            listener = P1Listener(config, Now(LATER), silent_s=0.05)

            async def act() -> None:
                await until(lambda: "silent for 0.05 s" in listener.state.error)
                await until(lambda: len(adapter.writers) > 1)

            await listening(listener, act)
            for writer in adapter.writers:
                writer.close()

    asyncio.run(run())


def test_a_serial_port_is_heard_and_its_loss_told() -> None:
    async def run() -> None:
        master, slave = pty.openpty()
        listener = P1Listener(P1Line(kind="p1", name="port", device=os.ttyname(slave)), Now(LATER))
        os.close(slave)

        async def act() -> None:
            data = telegram(START + 30_000, 4_000, 25)
            os.write(master, b"!garbage" + data[:100])
            os.write(master, data[100:])
            await until(lambda: listener.state.heard_ms)
            poll = await listener.feed.read(P1)
            assert shown(poll)[2] == 4_000
            os.close(master)
            await until(lambda: listener.state.error)

        await listening(listener, act)

    asyncio.run(run())


def test_no_port_and_one_that_is_none_are_told(tmp_path: Path) -> None:
    async def run(device: Path, said: str) -> None:
        listener = P1Listener(P1Line(kind="p1", name="port", device=str(device)), Now(LATER))
        await listening(
            listener, lambda: until(lambda: said in listener.state.error), connected=False
        )

    (tmp_path / "plain").write_text("")
    asyncio.run(run(tmp_path / "none", "No such file"))
    asyncio.run(run(tmp_path / "plain", "check its name"))


def signer(serial: str) -> Signer:
    key = SigningKey(b"\x07" * 32)
    point = "57000000000000002"
    point += gsrn_check_digit(point)
    begins = Interval.containing_ms(START)
    return Signer(Enrolment("hof.example", point, serial, P1.name, public_key(key), 1, begins), key)


@dataclass
class Told:
    """Takes events."""

    events: list[Event] = field(default_factory=list)

    def report(self, event: Event) -> None:
        self.events.append(event)


@pytest.mark.parametrize(
    ("enrolled", "quality", "kinds"),
    [(SERIAL, Quality.MEASURED, []), ("E-1", Quality.INVALID, [Kind.EXCHANGED])],
)
def test_it_is_judged_as_any_other_meter(
    enrolled: str, quality: Quality, kinds: list[Kind]
) -> None:
    """Another meter's serial number in the telegram makes it invalid, and people are told."""

    async def act(listener: P1Listener, adapter: Adapter, now: Now) -> None:
        adapter.send(telegram(now.ms, 2_000))
        await until(lambda: listener.state.heard_ms)
        who, told = signer(enrolled), Told()
        meter = Meter(who, listener.feed, P1, Watchman.after(who, told, None, None))
        poller = Poller([meter], now, lambda: Clock.SYNCHRONISED, 5)
        (measured,) = (await poller.poll(poller.points)).values()
        assert (measured.import_wh, measured.quality) == (2_000, quality)
        assert [event.finding.kind for event in told.events] == kinds

    over_tcp(act)
