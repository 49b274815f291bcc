"""A line over TCP: every way in which a reply can be late, wrong or absent."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest
from pymodbus.framer import FramerRTU

from metering.lines.errors import (
    MeterBusyError,
    MeterError,
    MeterOfflineError,
    MeterRefusedError,
    MeterTimeoutError,
    MeterUnreachableError,
    RegisterAbsentError,
    ReplyError,
)
from tests.metering.line_kit import rtu_line, tcp_line

FAST_S = 0.15
"""A time-out for tests that must run into it."""


def pdu(function: int, *registers: int) -> bytes:
    return struct.pack(f">BB{len(registers)}H", function, 2 * len(registers), *registers)


def mbap(request: bytes, body: bytes, *, transaction: int | None = None) -> bytes:
    number = struct.unpack(">H", request[:2])[0] if transaction is None else transaction
    return struct.pack(">HHHB", number, 0, len(body) + 1, request[6]) + body


def truth(request: bytes) -> bytes:
    """The right reply: register n shows n."""
    function, address, wanted = struct.unpack(">BHH", request[7:12])
    return mbap(request, pdu(function, *range(address, address + wanted)))


Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(answer: Answer, *, request_bytes: int = 12) -> AsyncIterator[int]:
    """A TCP server that hands each request of fixed size to ``answer``; yields its port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await answer(await reader.readexactly(request_bytes), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def first_then_truth(wrong: Callable[[bytes], bytes]) -> Answer:
    """Answer the first request with ``wrong`` bytes, all later ones rightly."""
    numbers = count()

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(wrong(request) if next(numbers) == 0 else truth(request))

    return answer


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        pytest.param(lambda r: mbap(r, pdu(3, 1)), ReplyError, id="too short"),
        pytest.param(lambda r: mbap(r, pdu(3, 1, 2, 3)), ReplyError, id="too long"),
        pytest.param(lambda r: mbap(r, pdu(4, 1, 2)), ReplyError, id="other function"),
        pytest.param(
            lambda r: mbap(r, pdu(3, 1, 2), transaction=0), ReplyError, id="no transaction"
        ),
        pytest.param(
            lambda r: mbap(r, pdu(3, 1, 2), transaction=99), MeterTimeoutError, id="other number"
        ),
        pytest.param(
            lambda r: mbap(r[:6] + b"\x09", pdu(3, 1, 2), transaction=1),
            MeterTimeoutError,
            id="other unit",
        ),
        pytest.param(lambda r: mbap(r, b"\x83"), MeterUnreachableError, id="cut off"),
        pytest.param(lambda r: b"\xde\xad\xbe\xef" * 8, MeterTimeoutError, id="noise"),
        pytest.param(lambda r: b"", MeterTimeoutError, id="nothing"),
        pytest.param(lambda r: mbap(r, b"\x83\x06"), MeterBusyError, id="busy"),
        pytest.param(lambda r: mbap(r, b"\x83\x0a"), MeterOfflineError, id="no path"),
        pytest.param(lambda r: mbap(r, b"\x83\x0b"), MeterOfflineError, id="no answer"),
        pytest.param(lambda r: mbap(r, b"\x83\x02"), RegisterAbsentError, id="no register"),
        pytest.param(lambda r: mbap(r, b"\x83\x01"), MeterRefusedError, id="no function"),
        pytest.param(lambda r: mbap(r, b"\x83\x04"), MeterRefusedError, id="failure"),
    ],
)
def test_a_wrong_reply_is_named_and_the_next_one_is_right(
    wrong: Callable[[bytes], bytes], expected: type[MeterError]
) -> None:
    async def scenario() -> None:
        async with (
            raw_server(first_then_truth(wrong)) as port,
            tcp_line(port, timeout_s=FAST_S) as bus,
        ):
            with pytest.raises(MeterError) as caught:
                await bus.unit(1).read(3, 100, 2)
            assert type(caught.value) is expected
            assert await bus.unit(1).read(3, 200, 3) == [200, 201, 202]

    asyncio.run(scenario())


def late_rtu_server() -> Answer:
    """RTU frames; whoever stays on the connection of a late reply gets that reply first."""
    held: dict[asyncio.StreamWriter, bytes] = {}

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        unit, function, address, wanted = struct.unpack(">BBHH", request[:6])
        body = bytes([unit]) + pdu(function, *range(address, address + wanted))
        reply = body + FramerRTU.compute_CRC(body).to_bytes(2, "big")
        if address == 0:
            held[writer] = reply
        else:
            writer.write(held.pop(writer, b"") + reply)

    return answer


@pytest.mark.parametrize("cancelled", [True, False])
def test_without_transaction_numbers_a_late_reply_never_meets_the_next_request(
    *, cancelled: bool
) -> None:
    async def scenario() -> None:
        async with raw_server(late_rtu_server(), request_bytes=8) as port:
            bus = rtu_line(port, timeout_s=FAST_S)
            async with bus:
                if cancelled:
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(bus.unit(1).read(3, 0, 2), FAST_S / 3)
                else:
                    with pytest.raises(MeterTimeoutError):
                        await bus.unit(1).read(3, 0, 2)
                for address in (500, 600, 700):
                    assert await bus.unit(1).read(3, address, 2) == [address, address + 1]

    asyncio.run(scenario())


def test_a_cancelled_read_leaves_the_queue_behind_it_intact() -> None:
    async def slow_at_zero(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request[8:10] != b"\0\0":
            writer.write(truth(request))

    async def scenario() -> None:
        async with raw_server(slow_at_zero) as port, tcp_line(port) as bus:
            stuck = asyncio.create_task(bus.unit(1).read(3, 0, 1))
            queued = [asyncio.create_task(bus.unit(unit).read(3, unit, 2)) for unit in range(2, 6)]
            await asyncio.sleep(0)
            stuck.cancel()
            assert await asyncio.gather(*queued) == [[unit, unit + 1] for unit in range(2, 6)]
            assert stuck.cancelled()

    asyncio.run(scenario())


def test_a_closed_connection_is_noticed_at_once_and_opened_again() -> None:
    async def close_on_zero(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request[8:10] == b"\0\0":
            writer.close()
        else:
            writer.write(truth(request))

    async def scenario() -> None:
        async with (
            raw_server(close_on_zero) as port,
            tcp_line(port, timeout_s=30) as bus,
        ):
            started = time.monotonic()
            with pytest.raises(MeterUnreachableError, match="broke off"):
                await bus.unit(1).read(3, 0, 2)
            assert time.monotonic() - started < 5
            assert await bus.unit(1).read(3, 7, 1) == [7]

    asyncio.run(scenario())


def test_nobody_there_is_unreachable() -> None:
    async def scenario() -> None:
        async with raw_server(first_then_truth(truth)) as port:
            pass
        with pytest.raises(MeterUnreachableError, match=f"127.0.0.1:{port} accepts no connection"):
            await tcp_line(port).connect()
        with pytest.raises(MeterUnreachableError):
            await tcp_line(port).unit(1).read(3, 0, 1)

    asyncio.run(scenario())
