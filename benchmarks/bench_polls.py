"""Polls of meters: CPU per poll against a raw asyncio reader of MBAP, and how many keep up at 1 Hz.

Run: ``pytest benchmarks/bench_polls.py`` (``make bench``). A poll is three reads over Modbus TCP,
decoding and signing. Every meter has a connection of its own, to a server in a process of its
own. The raw reader does the same reads on a bare ``asyncio.Protocol``, decodes and signs alike, in
the same run. *Cores* is the share of a core at one poll per meter and second; *behind* is by how
much the last poll came late.
"""

from __future__ import annotations

import asyncio
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import cast

import pytest
import uvloop
from nacl.signing import SigningKey

from metering.identity import gsrn_check_digit
from metering.interval import Interval
from metering.lines.config import TcpLine
from metering.lines.line import open_line
from metering.poller import Meter, Poller
from metering.profiles import parse_profile
from metering.reading import FIRST_PREV, Clock, Enrolment, Measurement, Quality, Reading
from metering.registers import Block, RegisterMap, decode
from metering.signing import Purpose, public_key, sign
from metering.spool import Signer

ROUNDS = 5
WARM_UP = 1
MOST_CORES = 0.5  # for 1,000 meters
BEHIND_S = 1.0

PROFILE = parse_profile(
    "bench",
    """
title = "three blocks of an SDM630"
source = "this benchmark"
layout = "fixed"
function = 4
read = [{ address = 0x00, count = 6 }, { address = 0x34, count = 2 }, { address = 0x46, count = 6 }]
quantity.import_total = { address = 0x48, type = "float32", unit = "kWh" }
quantity.export_total = { address = 0x4A, type = "float32", unit = "kWh" }
quantity.power = { address = 0x34, type = "float32", unit = "W" }
quantity.voltage_l1 = { address = 0x00, type = "float32", unit = "V" }
quantity.voltage_l2 = { address = 0x02, type = "float32", unit = "V" }
quantity.voltage_l3 = { address = 0x04, type = "float32", unit = "V" }
quantity.frequency = { address = 0x46, type = "float32", unit = "Hz" }
""",
)

SERVER = """
import asyncio, struct, uvloop

class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        count = data[11]
        registers = b"\\x43\\x66\\x00\\x00" * (count // 2)
        head = struct.pack(">HHBBB", 0, 3 + 2 * count, data[6], 4, 2 * count)
        self.transport.write(data[:2] + head + registers)

async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

uvloop.run(main())
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to; times in seconds."""

    polls: int
    cpu_s: float
    behind_s: float

    @property
    def per_poll_us(self) -> float:
        return 1e6 * self.cpu_s / self.polls

    def line(self, who: str) -> str:
        cores = self.cpu_s / ROUNDS
        return (
            f"{who:24} {self.per_poll_us:6.0f} us CPU a poll, {cores:5.2f} cores, "
            f"{self.behind_s:5.2f} s behind, {self.polls / (ROUNDS + self.behind_s):7,.0f} polls/s"
        )


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the server inherits it
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.terminate()


def signer(number: int) -> Signer:
    key = SigningKey(number.to_bytes(32, "big"))
    body = f"7070575{number:010d}"
    enrolment = Enrolment(
        "bench.example", body + gsrn_check_digit(body), str(number), PROFILE.name,
        public_key(key), 1, Interval.parse("2026-06-23T10:00:00Z"),
    )  # fmt: skip
    return Signer(enrolment, key)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Chain:
    """Signs a meter's readings in a row, as a spool does."""

    def __init__(self, signer: Signer) -> None:
        self.signer, self.seq = signer, 0

    def sign(self, measurement: Measurement) -> None:
        self.seq += 1
        reading = Reading.of(self.signer.enrolment, measurement, self.seq, FIRST_PREV)
        sign(self.signer.key, Purpose.READING, reading.to_payload())


async def measure(rounds: Callable[[float, int], Awaitable[int]]) -> Figures:
    """Run a warm-up and then the rounds, given when they begin; return what they took."""
    loop = asyncio.get_running_loop()
    await rounds(loop.time(), WARM_UP)
    began, cpu = loop.time(), time.process_time()
    polls = await rounds(began, ROUNDS)
    return Figures(polls, time.process_time() - cpu, loop.time() - began - ROUNDS)


async def ours(port: int, meters: int) -> Figures:
    """A line per meter, and the poller that the gateway has."""
    chains = {}
    async with AsyncExitStack() as stack:
        polled = []
        for number in range(1, meters + 1):
            config = TcpLine(name=str(number), host="127.0.0.1", port=port, timeout_ms=5_000)
            line = await stack.enter_async_context(open_line(config))
            one = signer(number)
            polled.append(Meter(one, line.meter(1, now_ms), PROFILE))
            chains[polled[-1].point] = Chain(one)
        poller = Poller(polled, now_ms, lambda: Clock.SYNCHRONISED, timeout_s=10)

        async def round_at(begin: float) -> int:
            await asyncio.sleep(begin - asyncio.get_running_loop().time())
            count = 0
            async for group in poller.groups(poller.points, spread_s=1.0):
                for point, measurement in group.items():
                    chains[point].sign(measurement)
                count += len(group)
            return count

        async def rounds(began: float, count: int) -> int:
            return sum(await asyncio.gather(*(round_at(began + k) for k in range(count))))

        return await measure(rounds)


class RawReader(asyncio.Protocol):
    """The least that reads registers over MBAP: no checks, no time-outs, no second unit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.number = cast("asyncio.Transport", transport), 0  # uvloop's is none
        self.reply: asyncio.Future[bytes] | None = None

    def data_received(self, data: bytes) -> None:
        assert self.reply is not None
        self.reply.set_result(data)

    async def read(self, address: int, count: int) -> tuple[int, ...]:
        self.number = self.number + 1 & 0xFFFF
        self.reply = asyncio.get_running_loop().create_future()
        self.transport.write(struct.pack(">HHHBBHH", self.number, 0, 6, 1, 4, address, count))
        return struct.unpack_from(f">{count}H", await self.reply, 9)


async def raw(port: int, meters: int) -> Figures:
    """Bare connections, the same decoding and signing."""
    loop = asyncio.get_running_loop()
    layout = PROFILE.layout
    assert isinstance(layout, RegisterMap)
    readers = [
        (await loop.create_connection(RawReader, "127.0.0.1", port))[1] for _ in range(meters)
    ]
    chains = [Chain(signer(number)) for number in range(1, meters + 1)]

    async def keep_polling(place: int, began: float, count: int) -> int:
        for k in range(count):
            await asyncio.sleep(began + k + place / meters - loop.time())
            asked = now_ms()
            blocks = [
                Block(wanted, await readers[place].read(wanted.address, wanted.count))
                for wanted in layout.reads
            ]
            values = decode(layout, blocks)
            assert values.import_total is not None
            assert values.export_total is not None
            assert values.power is not None
            chains[place].sign(
                Measurement(
                    asked_ms=asked, answered_ms=now_ms(), clock=Clock.SYNCHRONISED,
                    import_wh=values.import_total.wh, export_wh=values.export_total.wh,
                    resolution_wh=values.resolution_wh, power_w=values.power.w,
                    quality=Quality.MEASURED, raw=values.raw_digest.hex(),
                )
            )  # fmt: skip
        return count

    async def rounds(began: float, count: int) -> int:
        return sum(
            await asyncio.gather(*(keep_polling(place, began, count) for place in range(meters)))
        )

    figures = await measure(rounds)
    for reader in readers:
        reader.transport.close()
    return figures


@pytest.mark.parametrize("meters", [100, 1_000, 2_000])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_polls_at_1_hz(
    meters: int, loop: str, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        bare = runner.run(raw(port, meters))
        found = runner.run(ours(port, meters))
    with capsys.disabled():
        print(f"\n{bare.line(f'{meters:,} raw, {loop}')}\n{found.line(f'{meters:,} ours, {loop}')}")
        print(f"ratio {found.per_poll_us / bare.per_poll_us:.2f}")
    assert found.polls == meters * ROUNDS, "a meter was not read"
    if loop == "uvloop" or meters <= 1_000:
        assert found.behind_s < BEHIND_S
    if meters == 1_000:
        assert found.cpu_s / ROUNDS <= MOST_CORES
