"""One line, one worker: requests queue up, one is under way, no unit holds up another for long.

Whoever waits for a reply may give up: the worker waits the reply out and drops it, so that a
cancelled call disturbs neither the line nor the next request. After a time-out, a damaged reply or
a lost connection the transport is closed and opened again. Behind RTU framing nothing in a reply
says which request of its unit it answers, and a converter or a bus may still hold one: there such
a unit, and each one at first, has to return a number (``Transport.sync``), which comes behind all
that it still had to say. A unit that never does is left alone for a while instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from metering.lines import capacity
from metering.lines.config import LineConfig, TcpLine, TlsLine
from metering.lines.errors import (
    MeterError,
    MeterOfflineError,
    MeterTimeoutError,
    MeterUnreachableError,
    ReplyError,
)
from metering.lines.meter import ModbusMeter, RegisterReader
from metering.lines.transport import ModbusTransport, Transport
from metering.lines.turns import Turns
from metering.registers import ReadRange

SHARED_TIMEOUT_S: Final = 0.5
"""What a unit has for its answer, beside the time on the wire, where others wait for the line."""

SLOW_S: Final = 0.25
"""A unit that takes longer than this, beside the time on the wire, comes after prompt ones."""

_CONNECT_S: Final = 2.0
_RECONNECT_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True, eq=False)
class _Request:
    """A read, or (without ``wanted``) the line's turn, and who waits for it."""

    unit: int
    wanted: ReadRange | None
    reply: asyncio.Future[list[int]]

    @property
    def given_up(self) -> bool:
        return self.reply.done()

    @property
    def claims(self) -> bool:
        return self.wanted is None


@dataclass(slots=True)
class _Past:
    """How the last requests to a unit went."""

    unsure: bool
    """An old reply of it may still be on its way (RTU framing only), maybe to a gateway before."""
    returns: bool = False
    """It once returned a number, or refused to."""
    mute: bool = False
    """It never did, and did not now: it may be a unit that leaves such a request unanswered."""
    excused: bool = False
    """Its time-out came right after another unit's, and was put down to that one."""


class Line:
    """A line and the units on it. Use it as ``async with``, or :meth:`close` it.

    It connects when it is first asked and whenever the connection was lost, at most every 5 s
    when nobody is there; meanwhile each read fails at once.
    """

    def __init__(self, config: LineConfig, transport: Transport) -> None:
        self.config = config
        self._transport = transport
        self._numbered = isinstance(config, TcpLine | TlsLine)
        self._turns: Turns[_Request] = Turns()
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._busy = self._closed = False
        self._failed_opens = 0
        self._open_again_at = 0.0
        self._unreachable = ""
        self._late_unit: int | None = None
        self._pasts: dict[int, _Past] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def is_free(self) -> bool:
        """Whether it is open and nobody has it, or wants it."""
        return not self._busy and not self._turns and self._transport.is_open

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        return self.config.name

    def unit(self, unit: int) -> Unit:
        """Return the reader of one unit id (1-247; 0 or 255 for a meter without a bus)."""
        if unit not in self._pasts:
            self._pasts[unit] = _Past(unsure=not self._numbered)
        return Unit(self, unit)

    def meter(self, unit: int, now_ms: Callable[[], int], *, tries: int = 2) -> ModbusMeter:
        """Return what polls the meter at ``unit``, in a window that begins with its turn."""
        reader = self.unit(unit)
        return ModbusMeter(reader, now_ms, tries=tries, turn=reader.turn)

    async def connect(self) -> None:
        """Open the line now, if it is not open.

        Raises:
            MeterUnreachableError: nobody is there.
        """
        await self.ask(0, None)

    async def close(self) -> None:
        """Close the line; what waits for it fails as unreachable."""
        self._closed = True
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self._transport.close()
        for request in self._turns.drain():
            _settle(request, self._is_closed())

    async def ask(self, unit: int, wanted: ReadRange | None) -> list[int]:
        """Return the registers of ``unit``; without ``wanted`` only wait for its turn.

        Raises:
            MeterError: one of its kinds, by what went wrong.
        """
        if self._closed:
            raise self._is_closed()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name=f"line {self.name}")
        request = _Request(unit, wanted, asyncio.get_running_loop().create_future())
        self._turns.add(request)
        self._wake.set()
        return await request.reply

    async def _work(self) -> None:
        loop, gap_s = asyncio.get_running_loop(), self.config.gap_ms / 1_000
        while True:
            self._wake.clear()
            request = self._turns.take(loop.time()) if self._turns else None
            self._busy = request is not None
            if request is None:
                await self._wait(loop.time())
                continue
            try:
                registers = await self._serve(request)
            except MeterError as error:
                _settle(request, error)
            except BaseException as error:  # cancelled; or a bug, after which a new worker starts
                self._transport.close()
                _settle(request, error if isinstance(error, Exception) else self._is_closed())
                raise
            else:
                if registers is None:
                    self._turns.add(request)
                else:
                    _settle(request, registers)
            self._turns.served(request.unit, loop.time())
            if request.wanted and gap_s:
                await asyncio.sleep(gap_s)
            elif self._turns:
                # The unit just served asks for its next block before another has the line.
                await asyncio.sleep(0)

    async def _wait(self, now: float) -> None:
        """Wait until somebody asks, or a unit need not be left alone any longer."""
        until = self._turns.next_at()
        if until is None:
            await self._wake.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, until - now)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _serve(self, request: _Request) -> list[int] | None:
        """Return what ``request`` asks for; ``None`` if it has to queue up once more."""
        await self._open()
        if request.wanted is None:
            return []
        loop = asyncio.get_running_loop()
        past = self._pasts[request.unit]
        wire_s = capacity.wire_ms(self.config, request.wanted) / 1_000
        within_s = self._patience_s() + wire_s
        sent = loop.time()
        try:
            if past.unsure and not past.mute:
                await self._sync(request.unit, past, within_s)
                return None
            registers = await self._transport.ask(request.unit, request.wanted, within_s)
        except MeterError as error:
            self._failed(request.unit, past, error)
            raise
        past.unsure = past.mute = past.excused = False
        self._late_unit = None
        slow = loop.time() - sent > SLOW_S + wire_s
        (self._turns.doubt if slow else self._turns.prompt)(request.unit)
        return registers

    async def _sync(self, unit: int, past: _Past, within_s: float) -> None:
        """Make sure that no old reply of ``unit`` is on its way, or leave it alone for a while."""
        try:
            await self._transport.sync(unit, within_s)
        except MeterTimeoutError as error:
            if past.returns:
                raise
            self._failed(unit, past, error)
            past.mute = True
            self._turns.leave_alone(unit, asyncio.get_running_loop().time() + within_s)
        else:
            past.unsure, past.returns = False, True

    def _failed(self, unit: int, past: _Past, error: MeterError) -> None:
        """Note what ``error`` says of the unit and of the line."""
        late = isinstance(error, MeterTimeoutError)
        if late or isinstance(error, ReplyError | MeterUnreachableError):
            self._transport.close()
            past.unsure, past.mute = not self._numbered, False
        # Right after another unit's time-out, once, this may be that one's late reply at work.
        excused = late and self._late_unit not in {None, unit} and not past.excused
        if (late and not excused) or isinstance(error, MeterOfflineError):
            self._turns.doubt(unit)
        past.excused = past.excused or excused
        self._late_unit = unit if late else None

    async def _open(self) -> None:
        if self._transport.is_open:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._open_again_at:
            raise MeterUnreachableError(self._unreachable)
        try:
            await self._transport.open(_CONNECT_S)
        except MeterUnreachableError as error:
            self._unreachable = str(error)
            self._failed_opens = min(self._failed_opens + 1, len(_RECONNECT_S) - 1)
            self._open_again_at = loop.time() + _RECONNECT_S[self._failed_opens]
            raise
        self._failed_opens, self._open_again_at = 0, 0.0

    def _patience_s(self) -> float:
        own = self.config.timeout_ms / 1_000
        return own if len(self._pasts) < 2 else min(own, SHARED_TIMEOUT_S)

    def _is_closed(self) -> MeterUnreachableError:
        return MeterUnreachableError(f"line {self.name} was closed: open it again to read")


@dataclass(frozen=True, slots=True)
class Unit(RegisterReader):
    """One unit on a line."""

    line: Line
    unit: int

    async def read(self, function: int, address: int, count: int) -> list[int]:
        """Return exactly ``count`` registers from ``address`` by function 3 or 4.

        Raises:
            MeterError: one of its kinds, by what went wrong.
        """
        return await self.line.ask(self.unit, ReadRange(function, address, count))

    async def turn(self) -> None:
        """Wait until the line is open and this unit's turn has come: what it reads now goes first.

        Raises:
            MeterUnreachableError: nobody is at the other end of the line.
        """
        if not self.line.is_free:
            await self.line.ask(self.unit, None)


def open_line(config: LineConfig) -> Line:
    """Return the line of ``config``; it connects when it is first asked."""
    return Line(config, ModbusTransport(config))


def _settle(request: _Request, outcome: list[int] | Exception) -> None:
    if request.reply.done():
        return
    if isinstance(outcome, Exception):
        request.reply.set_exception(outcome)
    else:
        request.reply.set_result(outcome)
