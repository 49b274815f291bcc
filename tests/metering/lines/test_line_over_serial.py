"""Modbus RTU over a pair of pseudo terminals: a real serial server, and one that misbehaves."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from metering.lines.config import SerialLine
from metering.lines.errors import (
    MeterBusyError,
    MeterTimeoutError,
    MeterUnreachableError,
    RegisterAbsentError,
    ReplyError,
)
from metering.lines.line import Line, open_line
from tests.metering.misbehaving import (
    BAD_CHECKSUM,
    LOOPBACK,
    SILENT,
    Act,
    Meter,
    SerialBus,
    coded,
    cut,
    exception,
    foreign_function,
    foreign_unit,
    garbage,
    in_pieces,
    in_turn,
    late,
    short,
    too_long,
)

TIMEOUT_MS = 100


def serial_line(device: str, timeout_ms: int = TIMEOUT_MS) -> Line:
    return open_line(
        SerialLine(
            name="bus", device=device, baud=115_200, parity="none", timeout_ms=timeout_ms, gap_ms=0
        )
    )


def _pass_on(source: int, target: int) -> None:
    os.write(target, os.read(source, 1024))


@asynccontextmanager
async def cable() -> AsyncIterator[tuple[str, str]]:
    """Two devices; what is written to one is read from the other."""
    ends = [pty.openpty(), pty.openpty()]
    loop = asyncio.get_running_loop()
    for (master, slave), (other, _) in zip(ends, reversed(ends), strict=True):
        tty.setraw(master)
        tty.setraw(slave)
        loop.add_reader(master, _pass_on, master, other)
    try:
        yield os.ttyname(ends[0][1]), os.ttyname(ends[1][1])
    finally:
        for master, slave in ends:
            loop.remove_reader(master)
            os.close(master)
            os.close(slave)


def test_a_real_server_is_read() -> None:
    async def scenario() -> None:
        registers = [SimData(100, values=list(range(80)), datatype=DataType.REGISTERS)]
        async with cable() as (ours, theirs):
            server = ModbusSerialServer(
                [SimDevice(id=unit, simdata=registers) for unit in (1, 2)], port=theirs
            )
            await server.serve_forever(background=True)
            async with serial_line(ours, 1_000) as line:
                for unit in (1, 2, 1):
                    assert await line.unit(unit).read(3, 100, 80) == list(range(80))
                with pytest.raises(RegisterAbsentError):
                    await line.unit(2).read(3, 999, 2)
                assert await line.unit(2).read(3, 101, 2) == [1, 2]
            server.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        pytest.param(SILENT, MeterTimeoutError, id="silent"),
        pytest.param(late(0.15), MeterTimeoutError, id="late"),
        pytest.param(BAD_CHECKSUM, MeterTimeoutError, id="checksum"),
        pytest.param(cut(7), MeterTimeoutError, id="cut off"),
        pytest.param(garbage(b"\x00\xff\x13" * 9), MeterTimeoutError, id="noise"),
        pytest.param(foreign_unit(9), MeterTimeoutError, id="other unit"),
        pytest.param(foreign_function(4), ReplyError, id="other function"),
        pytest.param(short(1), ReplyError, id="too short"),
        pytest.param(too_long(1), ReplyError, id="too long"),
        pytest.param(exception(0x06), MeterBusyError, id="busy"),
    ],
)
@pytest.mark.parametrize("loopback", [Act(), SILENT, exception(0x01)], ids=["echo", "mute", "no"])
def test_a_wrong_reply_is_named_and_the_next_one_is_right(
    wrong: Act, expected: type[Exception], loopback: Act
) -> None:
    """Whether the unit returns a number, leaves the request unanswered or refuses it."""

    async def scenario() -> None:
        meter = Meter(plan=in_turn(wrong), loopback=loopback)
        async with SerialBus({3: meter}) as bus, serial_line(bus.device) as line:
            with pytest.raises(expected):
                await line.unit(3).read(3, 100, 2)
            assert await line.unit(3).read(3, 200, 2) == coded(3, 200, 2)
            synced = sum(asked.function == LOOPBACK for asked in bus.asked)
            assert synced == (1 if expected is MeterBusyError else 2)

    asyncio.run(scenario())


def test_a_reply_that_comes_byte_by_byte_is_put_together() -> None:
    async def scenario() -> None:
        meter = Meter(plan=lambda _asked: in_pieces(3))
        async with SerialBus({3: meter}) as bus, serial_line(bus.device, 2_000) as line:
            assert await line.unit(3).read(3, 100, 40) == coded(3, 100, 40)

    asyncio.run(scenario())


def test_an_adapter_that_is_pulled_out_is_named() -> None:
    async def scenario() -> None:
        async with SerialBus({3: Meter()}) as bus, serial_line(bus.device) as line:
            assert await line.unit(3).read(3, 100, 2) == coded(3, 100, 2)
            bus.unplug()
            with pytest.raises(MeterUnreachableError):
                await line.unit(3).read(3, 100, 2)
            with pytest.raises(MeterUnreachableError, match="cannot be opened"):
                await line.unit(3).read(3, 100, 2)

    asyncio.run(scenario())


def test_a_device_that_is_taken_is_named() -> None:
    async def scenario() -> None:
        async with SerialBus({3: Meter()}) as bus, serial_line(bus.device) as line:
            await line.connect()
            async with serial_line(bus.device) as second:
                with pytest.raises(MeterUnreachableError, match="no other has it open"):
                    await second.connect()

    asyncio.run(scenario())
