"""Telegrams as a P1 port sends them, a clock that a test sets, and waiting for a condition."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from metering.inputs.dsmr import crc16

SERIAL = "E0065000005612"


def telegram(at_ms: int, import_wh: int, export_wh: int = 0, serial: str = SERIAL) -> bytes:
    """A whole telegram of a meter whose clock (summer time) shows ``at_ms``."""
    local = datetime.fromtimestamp(at_ms / 1_000, UTC).astimezone(timezone(timedelta(hours=2)))
    lines = [
        "/WLM5\\3WATTLOOM-1",
        "",
        f"0-0:1.0.0({local:%y%m%d%H%M%S}S)",
        f"0-0:96.1.1({serial.encode().hex()})",
        f"1-0:1.8.1({import_wh / 1000:010.3f}*kWh)",
        f"1-0:2.8.1({export_wh / 1000:010.3f}*kWh)",
        "1-0:1.7.0(00.500*kW)",
        "1-0:2.7.0(00.000*kW)",
        "",
    ]
    data = "\r\n".join(lines).encode() + b"!"
    return data + f"{crc16(data):04X}\r\n".encode()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Now:
    """A gateway's clock that a test sets."""

    ms: int
    asked: int = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.ms


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def p1_adapter(serial: str, now_ms: Callable[[], int]) -> AsyncIterator[int]:
    """Serve a P1 port whose meter tells ten times a second; yield its port."""

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            for wh in range(4_000, 10_000):
                writer.write(b"\x00garbage" + telegram(now_ms(), wh, serial=serial))
                await writer.drain()
                await asyncio.sleep(0.1)

    async with await asyncio.start_server(tell, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
