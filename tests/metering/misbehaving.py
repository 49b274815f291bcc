"""Meters that misbehave on purpose, down to the byte: over Modbus TCP, RTU over TCP, TLS, a pty.

A :class:`Meter` has registers (by default each says whose it is, :func:`coded`) and a ``plan``: for
each request that reaches it, the :class:`Act` to perform. Acts:

=====================  =========================================================================
``RIGHT``              answer as it should
``late(seconds)``      the right answer, later: maybe into the next request's time
``SILENT``             nothing comes back
``exception(code)``    a Modbus exception, e.g. 0x06 busy, 0x0A/0x0B, 0x02
``short(n)``           a well-formed reply with n registers fewer; ``too_long(n)`` with n more
``cut(n)``             the frame stops after n bytes, and stays so
``in_pieces(n)``       the right frame, n bytes at a time
``garbage(bytes)``     noise instead of a frame; ``garbage(bytes, before=True)`` in front of it
``foreign_unit(u)``    the right registers under another unit id
``foreign_function(f)``the right registers under another function
``foreign_number(t)``  the right registers under another transaction number (MBAP only)
``BAD_CHECKSUM``       a frame with a wrong CRC (RTU only)
``RESET``              the connection is reset instead of an answer
=====================  =========================================================================

A meter does one thing after the other: a late reply holds up its later ones. Any act can be
delayed: ``late(0.2, SILENT)``, ``late(0.1, RESET)``. Plans: ``always(act)``,
``in_turn(act, act, ...)`` (then RIGHT), or any callable.

:class:`Gateway` serves meters on one TCP port (``framing="mbap"`` or ``"rtu"``, ``ssl=`` for
TLS). With ``one_bus=True`` its requests wait for one another; with ``transparent=True`` it is a
plain serial converter: what the bus says late goes to whoever is connected by then.
:class:`SerialBus` serves meters on a pty; its ``device`` is what a serial line opens. Both keep
every request in ``asked``::

    meters = {3: Meter(), 4: Meter(plan=in_turn(late(0.4), exception(0x06)))}
    async with Gateway(meters, framing="rtu") as gateway, rtu_line(gateway.port) as line:
        assert await line.unit(3).read(4, 100, 2) == coded(3, 100, 2)
"""

from __future__ import annotations

import asyncio
import os
import pty
import ssl
import struct
import tty
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from pymodbus.framer import FramerRTU

LOOPBACK = 8
"""Diagnostics, sub-function 0: the unit returns the number that stands in place of a count."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that reached a meter; ``number`` is its transaction number (0 without one)."""

    unit: int
    function: int
    address: int
    count: int
    number: int = 0


def coded(unit: int, address: int, count: int) -> list[int]:
    """Registers that say whose they are: any two of (unit 0-31, address 0-2047) differ."""
    return [(unit << 11 | a & 0x7FF) & 0xFFFF for a in range(address, address + count)]


def coded_registers(asked: Asked) -> list[int]:
    return coded(asked.unit, asked.address, asked.count)


def _same(data: bytes) -> bytes:
    return data


@dataclass(frozen=True, slots=True)
class Act:
    """What a meter does with one request: how its PDU, its head and its frame differ."""

    delay_s: float = 0.0
    silent: bool = False
    reset: bool = False
    pdu: Callable[[bytes], bytes] = _same
    frame: Callable[[bytes], bytes] = _same
    unit: int | None = None
    number: int | None = None
    piece: int = 512


RIGHT = Act()
SILENT = Act(silent=True)
RESET = Act(reset=True)
BAD_CHECKSUM = Act(frame=lambda frame: frame[:-1] + bytes([frame[-1] ^ 0x55]))


def late(delay_s: float, act: Act = RIGHT) -> Act:
    return replace(act, delay_s=delay_s)


def exception(code: int) -> Act:
    return Act(pdu=lambda pdu: bytes([pdu[0] | 0x80, code]))


def short(registers: int = 1) -> Act:
    return Act(pdu=lambda pdu: _counted(pdu[0], pdu[2 : len(pdu) - 2 * registers]))


def too_long(registers: int = 1) -> Act:
    return Act(pdu=lambda pdu: _counted(pdu[0], pdu[2:] + b"\x12\x34" * registers))


def cut(length: int) -> Act:
    return Act(frame=lambda frame: frame[:length])


def in_pieces(length: int) -> Act:
    return Act(piece=length)


def garbage(noise: bytes, *, before: bool = False) -> Act:
    return Act(frame=lambda frame: noise + frame if before else noise)


def foreign_unit(unit: int) -> Act:
    return Act(unit=unit)


def foreign_function(function: int) -> Act:
    return Act(pdu=lambda pdu: bytes([function]) + pdu[1:])


def foreign_number(number: int) -> Act:
    return Act(number=number)


Plan = Callable[[Asked], Act]


def always(act: Act) -> Plan:
    return lambda _asked: act


def in_turn(*acts: Act) -> Plan:
    """These acts for the first requests, the right answer to all later ones."""
    left = list(acts)
    return lambda _asked: left.pop(0) if left else RIGHT


@dataclass(slots=True)
class Meter:
    """One unit, which does one thing after the other; its fields may be changed while it serves.

    ``loopback`` is what it does when it is asked to return a number (function 8): all it may do.
    """

    plan: Plan = field(default_factory=lambda: always(RIGHT))
    registers: Callable[[Asked], list[int]] = coded_registers
    loopback: Act = RIGHT
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


Framing = Literal["mbap", "rtu"]


def _counted(function: int, data: bytes) -> bytes:
    return bytes([function, len(data)]) + data


def _reply(asked: Asked, act: Act, meter: Meter, framing: Framing) -> bytes:
    if asked.function == LOOPBACK:
        right = struct.pack(">BHH", LOOPBACK, asked.address, asked.count)
    else:
        registers = meter.registers(asked)
        right = _counted(asked.function, struct.pack(f">{len(registers)}H", *registers))
    pdu = act.pdu(right)
    unit = asked.unit if act.unit is None else act.unit
    if framing == "rtu":
        body = bytes([unit]) + pdu
        return act.frame(body + FramerRTU.compute_CRC(body).to_bytes(2, "big"))
    number = asked.number if act.number is None else act.number
    return act.frame(struct.pack(">HHHB", number, 0, len(pdu) + 1, unit) + pdu)


@dataclass(slots=True)
class _Units:
    """What gateway and bus share: requests in, acts out."""

    meters: Mapping[int, Meter]
    framing: Framing
    asked: list[Asked] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    bus: asyncio.Lock | None = None

    def take(self, asked: Asked, send: Callable[[bytes], None], reset: Callable[[], None]) -> None:
        """Let the unit act, beside whatever else is under way."""
        self.asked.append(asked)
        meter = self.meters.get(asked.unit)
        if meter is not None:
            task = asyncio.create_task(self._act(asked, meter, send, reset))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _act(
        self, asked: Asked, meter: Meter, send: Callable[[bytes], None], reset: Callable[[], None]
    ) -> None:
        async with self.bus or meter.busy:
            await self._perform(asked, meter, send, reset)

    async def _perform(
        self, asked: Asked, meter: Meter, send: Callable[[bytes], None], reset: Callable[[], None]
    ) -> None:
        act = meter.loopback if asked.function == LOOPBACK else meter.plan(asked)
        if act.delay_s:
            await asyncio.sleep(act.delay_s)
        if act.reset:
            reset()
        elif not act.silent and (reply := _reply(asked, act, meter, self.framing)):
            for start in range(0, len(reply), act.piece):
                send(reply[start : start + act.piece])
                await asyncio.sleep(0.001)

    async def stop(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def _rtu_request(frame: bytes) -> Asked | None:
    """A read's eight bytes, or ``None`` where the checksum says that they are none."""
    if FramerRTU.compute_CRC(frame[:6]) != int.from_bytes(frame[6:8], "big"):
        return None
    return Asked(*struct.unpack(">BBHH", frame[:6]))


class Gateway:
    """Meters on one TCP port of this machine; see the module."""

    def __init__(
        self,
        meters: Mapping[int, Meter],
        *,
        framing: Framing = "mbap",
        one_bus: bool = False,
        transparent: bool = False,
        ssl: ssl.SSLContext | None = None,
    ) -> None:
        self._units = _Units(meters, framing, bus=asyncio.Lock() if one_bus else None)
        self._transparent = transparent
        self._ssl = ssl
        self._newest: asyncio.StreamWriter | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.connections = 0

    @property
    def asked(self) -> list[Asked]:
        return self._units.asked

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port, ssl=self._ssl)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._units.stop()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._newest = writer
        self._writers.add(writer)

        def send(reply: bytes) -> None:
            to = self._newest if self._transparent else writer
            if to is not None and not to.is_closing():
                to.write(reply)

        try:
            while True:
                asked = await self._request(reader)
                if asked is not None:
                    self._units.take(asked, send, writer.transport.abort)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> Asked | None:
        if self._units.framing == "rtu":
            return _rtu_request(await reader.readexactly(8))
        number, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
        function, address, count = struct.unpack(">BHH", await reader.readexactly(length - 1))
        return Asked(unit, function, address, count, number)


class SerialBus:
    """Meters behind a pseudo terminal: ``device`` is what a serial line opens."""

    def __init__(self, meters: Mapping[int, Meter]) -> None:
        self._units = _Units(meters, "rtu", bus=asyncio.Lock())
        self._master = self._slave = -1
        self._bytes = b""
        self.device = ""

    @property
    def asked(self) -> list[Asked]:
        return self._units.asked

    async def __aenter__(self) -> Self:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.device = os.ttyname(self._slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._units.stop()
        self.unplug()

    def unplug(self) -> None:
        """Take the adapter away: whoever has the device open loses it."""
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = -1

    def _read(self) -> None:
        self._bytes += os.read(self._master, 4096)
        while len(self._bytes) >= 8:
            asked = _rtu_request(self._bytes[:8])
            # After a byte too many a real meter waits for silence; here one byte is skipped.
            self._bytes = self._bytes[8 if asked else 1 :]
            if asked is not None:
                self._units.take(asked, self._send, self.unplug)

    def _send(self, reply: bytes) -> None:
        if self._master >= 0:
            os.write(self._master, reply)
