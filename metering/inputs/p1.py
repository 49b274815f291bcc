"""A P1 port, on a serial port of this machine or behind an adapter on the network.

The port is only listened to: it sends a telegram each second (DSMR 5) or each ten (DSMR 4).
Source: DSMR P1 Companion Standard 5.0.2, section 5 (115,200 baud, 8N1; data line inverted).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios
import tty
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from metering.inputs.config import P1Line
from metering.inputs.dsmr import Telegram, TelegramError, parse, split
from metering.inputs.feed import Feed, InputLostError, State, keep_listening
from metering.lines.meter import Poll

_CHUNK: Final = 4_096
_CONNECT_S: Final = 5.0
_SILENT_S: Final = 45.0
"""After so long without a byte the line is opened anew: a dead adapter does not say so."""


class P1Listener:
    """Listens to one P1 port; its meter is unit 1. ``now_ms`` is the gateway's clock (UTC ms)."""

    def __init__(
        self, config: P1Line, now_ms: Callable[[], int], *, silent_s: float = _SILENT_S
    ) -> None:
        self._config = config
        self._now_ms = now_ms
        self._silent_s = silent_s
        self._last_digest = b""
        self.state = State(config.name, config.where)
        self.feed = Feed(self.state, now_ms, round(config.max_age_s * 1_000))

    @property
    def feeds(self) -> Mapping[int, Feed]:
        """The one meter that is behind a P1 port."""
        return {1: self.feed}

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop``, and open the line again whenever it is lost."""
        await keep_listening(stop, self.state, self._listen)

    async def _listen(self) -> None:
        opening = _serial(self._config) if self._config.device else _network(self._config)
        async with opening as reader:
            self.state.connected()
            await self._take_all(reader)

    async def _take_all(self, reader: asyncio.StreamReader) -> None:
        """Take telegram after telegram; garbage between them costs the one that it hit."""
        begun, began_ms = b"", 0
        while True:
            chunk = await self._chunk(reader)
            now_ms = self._now_ms()
            was_begun = bool(begun)
            telegrams, begun = split(begun + chunk)
            for number, data in enumerate(telegrams):
                self._take(data, began_ms if was_begun and number == 0 else now_ms, now_ms)
            if telegrams or not was_begun:
                began_ms = now_ms

    async def _chunk(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._silent_s):
                chunk = await reader.read(_CHUNK)
        except TimeoutError as error:
            raise InputLostError(
                f"{self._config.where} has been silent for {self._silent_s:g} s: check the cable, "
                "and that the port is switched on"
            ) from error
        except OSError as error:
            raise InputLostError(f"{self._config.where}: {error}") from error
        if not chunk:
            raise InputLostError(f"{self._config.where} closed the connection")
        return chunk

    def _take(self, data: bytes, began_ms: int, ended_ms: int) -> None:
        try:
            telegram = parse(data)
        except TelegramError as error:
            self.feed.refuse(f"{type(error).__name__}: {error}")
            return
        reason = self._stale(telegram, ended_ms)
        if reason:
            self.feed.refuse(reason)
            return
        self._last_digest = telegram.values.raw_digest
        self.feed.put(
            Poll(min(began_ms, ended_ms), ended_ms, telegram.values), serial=telegram.serial
        )

    def _stale(self, telegram: Telegram, now_ms: int) -> str:
        """Return why a telegram is not of now; '' of one that is."""
        if telegram.values.raw_digest == self._last_digest:
            return "the telegram before came once more: the meter or its adapter stands still"
        off_s = abs(telegram.at_ms - now_ms) / 1_000
        if off_s > self._config.clock_s:
            return (
                f"the telegram's time is {off_s:,.0f} s from the gateway's clock, allowed are "
                f"{self._config.clock_s:g} s (clock_s): it is an old one, or a clock is wrong"
            )
        return ""


@asynccontextmanager
async def _network(config: P1Line) -> AsyncIterator[asyncio.StreamReader]:
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(config.host, config.port)
    except (OSError, TimeoutError) as error:
        reason = str(error) or f"no answer within {_CONNECT_S:g} s"
        raise InputLostError(f"{config.where}: {reason}; check address and adapter") from error
    try:
        yield reader
    finally:
        writer.close()


@asynccontextmanager
async def _serial(config: P1Line) -> AsyncIterator[asyncio.StreamReader]:
    try:
        port = _opened(config.device)
    except (OSError, termios.error) as error:
        raise InputLostError(f"{config.where}: {error}; check its name and rights") from error
    reader, loop = asyncio.StreamReader(), asyncio.get_running_loop()

    def readable() -> None:
        try:
            chunk = os.read(port, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:  # the adapter was pulled out
            loop.remove_reader(port)
            reader.set_exception(error)
            return
        if chunk:
            reader.feed_data(chunk)
        else:
            loop.remove_reader(port)
            reader.feed_eof()

    loop.add_reader(port, readable)
    try:
        yield reader
    finally:
        loop.remove_reader(port)
        os.close(port)


def _opened(device: str) -> int:
    """Open a serial port for this process alone: 115,200 baud, 8N1, no flow control."""
    port = os.open(device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(port, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tty.setraw(port)
        iflag, oflag, cflag, lflag, _, _, chars = termios.tcgetattr(port)
        cflag &= ~(termios.CSIZE | termios.PARENB | termios.CSTOPB | termios.CRTSCTS)
        cflag |= termios.CS8 | termios.CREAD | termios.CLOCAL
        speed = termios.B115200
        termios.tcsetattr(port, termios.TCSANOW, [iflag, oflag, cflag, lflag, speed, speed, chars])
    except BaseException:
        os.close(port)
        raise
    return port
