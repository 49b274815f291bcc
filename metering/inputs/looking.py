"""Looking at a meter that tells by itself, before it is put into service.

Commissioning judges registers. So what a meter told is laid out as registers: made up here, read
by nobody else, and none of what is signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Final

from metering.inputs.config import InputConfig, P1Line
from metering.inputs.feed import Feed, Listener
from metering.inputs.mqtt import DoorAnswer, MqttListener
from metering.inputs.p1 import P1Listener
from metering.inputs.types import type_of
from metering.lines.errors import MeterUnreachableError, RegisterAbsentError
from metering.lines.meter import RegisterReader
from metering.profiles import Profile
from metering.registers import (
    TYPES,
    Field,
    Kind,
    MeterValues,
    ReadRange,
    RegisterMap,
    RegisterType,
    encode,
    encode_text,
)

PATIENCE_S: Final = 15.0
"""A DSMR 4 meter tells each ten seconds."""

_WORDS: Final = 4
_NAMES: Final = (
    "import_total", "export_total", "power", "voltage_l1", "voltage_l2", "voltage_l3",
)  # fmt: skip
_SERIAL: Final = Field(3, _WORDS * len(_NAMES), RegisterType(Kind.TEXT, 32))
_NO_REGISTER: Final = 0x02


@asynccontextmanager
async def looking(
    config: InputConfig, unit: int, now_ms: Callable[[], int]
) -> AsyncIterator[tuple[RegisterReader, Profile]]:
    """Listen to a line; yield what reads the meter of ``unit``, and its type with registers.

    Raises:
        MeterUnreachableError: the line cannot be opened, or has no such unit.
        MeterTimeoutError: the meter tells nothing in time.
    """
    listener, stop = _listener(config, now_ms), asyncio.Event()
    feed = listener.feeds.get(unit)
    if feed is None:
        raise MeterUnreachableError(f"line {config.name} tells of no unit {unit}")
    feed.patience_s = PATIENCE_S
    task = asyncio.create_task(listener.run(stop))
    try:
        await _connected(listener)
        kind = type_of(config, unit)
        shown = (await feed.read(kind)).values
        serial = await feed.serial(kind)
        yield _FeedReader(feed, kind), replace(kind, layout=_layout(shown, serial))
    finally:
        stop.set()
        await task


def _listener(config: InputConfig, now_ms: Callable[[], int]) -> Listener:
    if isinstance(config, P1Line):
        return P1Listener(config, now_ms)
    return MqttListener(config.model_copy(update={"relay": False}), now_ms, _nobody)


async def _nobody(_: bytes) -> DoorAnswer:
    return DoorAnswer(503, "this gateway only looks at a meter: send it again later")


async def _connected(listener: Listener) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while listener.state.error:
                await asyncio.sleep(0.05)
    except TimeoutError:
        state = listener.state
        raise MeterUnreachableError(f"line {state.name}: {state.error}") from None


def _values(shown: MeterValues) -> tuple[Fraction | None, ...]:
    """Return what was told in the order of the registers: Wh, W and V."""
    totals = (shown.import_total, shown.export_total)
    return (
        *(None if one is None else Fraction(one.wh) for one in totals),
        None if shown.power is None else Fraction(shown.power.w),
        *(None if one is None else Fraction(one, 1_000) for one in shown.voltages_mv),
    )


def _field(number: int, shown: MeterValues) -> Field:
    name = _NAMES[number]
    return Field(
        3, _WORDS * number, TYPES["int64"],
        scale=Fraction(1, 1_000) if name.startswith("voltage") else Fraction(1),
        step=Fraction(shown.resolution_wh) if name.endswith("total") else None,
    )  # fmt: skip


def _layout(shown: MeterValues, serial: str | None) -> RegisterMap:
    """Return the registers of what a meter tells, and of nothing else."""
    fields = {
        _NAMES[number]: _field(number, shown)
        for number, value in enumerate(_values(shown))
        if value is not None
    }
    reads = (ReadRange(3, 0, _SERIAL.address),)
    return RegisterMap(reads, fields, None if serial is None else _SERIAL, {})


class _FeedReader:
    """Reads what a meter tells as registers; see :class:`RegisterReader`."""

    def __init__(self, feed: Feed, kind: Profile) -> None:
        self._feed = feed
        self._kind = kind

    async def read(self, function: int, address: int, count: int) -> list[int]:
        """Return the registers of what was told last or is told next."""
        if ReadRange(function, address, count) == _SERIAL.range:
            return encode_text(_SERIAL, await self._feed.serial(self._kind) or "")
        if ReadRange(function, address, count) != ReadRange(3, 0, _SERIAL.address):
            raise RegisterAbsentError("there is no such register", _NO_REGISTER)
        shown = (await self._feed.read(self._kind)).values
        return [
            word
            for number, value in enumerate(_values(shown))
            for word in encode(_field(number, shown), value or Fraction(0))
        ]
