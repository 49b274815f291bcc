"""The edge towards meters: who answers on a line, of which type, and what one shows.

All reading goes through :class:`metering.lines.meter.RegisterReader`; what the answers mean is
judged elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from metering.commissioning.seen import Seen, Snapshot, fits
from metering.lines.config import LineConfig
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
from metering.lines.line import Line, open_line
from metering.lines.meter import RegisterReader
from metering.profiles import Profile
from metering.registers import Block, Field, ReadRange, RegisterMap, text_value
from metering.sunspec import SunSpecError, walk

_AT_ONCE: Final = 32
"""Lines that are scanned side by side."""

_HELLOS: Final = (ReadRange(3, 0, 2), ReadRange(4, 0, 2))
"""Two registers from an even address: what the strictest type allows."""

_DEVICE_FAILURE: Final = 0x04  # Modbus Application Protocol V1.1b3, section 7
_BUSY_S: Final = 0.2

Progress = Callable[[int], None]
"""Told how many units are done, each time some are."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A type that a unit may be. ``sure``: its registers say so; else only its values fit."""

    profile: Profile
    serial: str | None
    sure: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A unit that answers, and what it may be, the surest first."""

    line: LineConfig
    unit: int
    candidates: tuple[Candidate, ...]


class NoMeterError(MeterError):
    """The unit answers and has not the registers of the profile: choose another profile."""


async def scan(
    lines: Sequence[LineConfig],
    units: Sequence[int],
    profiles: Sequence[Profile],
    progress: Progress,
) -> list[Found]:
    """Ask every unit of every line; return those that answer, by line and unit.

    A line that nobody answers at all is passed over: its units are not asked one by one.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(config: LineConfig) -> list[Found]:
        async with gate, open_line(config) as line:
            return await _scan_line(line, units, profiles, progress)

    found = await asyncio.gather(*(one(config) for config in lines))
    return [each for part in found for each in part]


async def read(reader: RegisterReader, profile: Profile, now_ms: Callable[[], int]) -> Seen:
    """Poll a meter once; the two snapshots of what is returned are the same.

    Raises:
        NoMeterError: it has none of the profile's registers.
        MeterError: it does not answer.
    """
    register_map = await _map(reader, profile)
    snapshot = await _snapshot(reader, register_map, now_ms)
    if not snapshot.blocks:
        raise NoMeterError(f"the unit has none of the registers of {profile.name}: choose another")
    settings: dict[str, str | None] = {}
    for setting in profile.watch:
        registers = await _present(reader, setting.field.range)
        settings[setting.name] = None if registers is None else setting.value(registers)
    return Seen(
        profile,
        register_map,
        snapshot,
        snapshot,
        serial=await _serial(reader, register_map.serial),
        settings=settings,
        identified=await _identified(reader, profile) if profile.identify else None,
    )


async def watch(
    reader: RegisterReader,
    profile: Profile,
    now_ms: Callable[[], int],
    pause: Callable[[], Awaitable[None]],
) -> Seen:
    """Poll a meter, wait for ``pause``, poll it again.

    Raises:
        MeterError: as for :func:`read`.
    """
    seen = await read(reader, profile, now_ms)
    await pause()
    return replace(seen, last=await _snapshot(reader, seen.register_map, now_ms))


async def _scan_line(
    line: Line, units: Sequence[int], profiles: Sequence[Profile], progress: Progress
) -> list[Found]:
    try:
        await line.connect()
    except MeterUnreachableError:
        progress(len(units))
        return []
    found = []
    for unit in units:
        reader = line.unit(unit)
        if await _answers(reader):
            found.append(Found(line.config, unit, await identify(reader, profiles)))
        progress(1)
    return found


async def _answers(reader: RegisterReader) -> bool:
    """Tell whether a unit is there: even a refusal comes from somebody.

    But for "device failure" (0x04) to all that is asked: so do some gateways say that nobody is
    there, who should say 0x0B.
    """
    for hello in _HELLOS:
        try:
            await reader.read(hello.function, hello.address, hello.count)
        except MeterBusyError:
            return True
        except MeterRefusedError as error:
            if error.code != _DEVICE_FAILURE:
                return True
        except (MeterTimeoutError, MeterOfflineError, MeterUnreachableError, ReplyError):
            return False
        else:
            return True
    return False


async def identify(reader: RegisterReader, profiles: Sequence[Profile]) -> tuple[Candidate, ...]:
    """Return what a unit may be: what its registers say, else the types whose values fit."""
    remembering = _Remembering(reader)
    sure: list[Candidate] = []
    weak: list[Candidate] = []
    for profile in profiles:
        try:
            candidate = await _candidate(remembering, profile, weak_too=not sure)
        except MeterError:
            continue
        if candidate is not None:
            (sure if candidate.sure else weak).append(candidate)
    return tuple(sure or weak)


async def _candidate(
    reader: RegisterReader, profile: Profile, *, weak_too: bool
) -> Candidate | None:
    if profile.identify:
        if not await _identified(reader, profile):
            return None
        sure = True
    else:
        sure = not isinstance(profile.layout, RegisterMap)  # SunSpec: its marker and model say so
    if not sure and not weak_too:
        return None
    register_map = await _map(reader, profile)
    if not sure:
        blocks = (await _snapshot(reader, register_map, lambda: 0)).blocks
        if not fits(register_map, blocks):
            return None
    return Candidate(profile, await _serial(reader, register_map.serial), sure)


async def _identified(reader: RegisterReader, profile: Profile) -> bool:
    for each in profile.identify:
        registers = await _present(reader, each.field.range)
        if registers is None or not each.fits(registers):
            return False
    return True


async def _map(reader: RegisterReader, profile: Profile) -> RegisterMap:
    layout = profile.layout
    if isinstance(layout, RegisterMap):
        return layout
    steps = walk(layout)
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(await _present(reader, wanted))
    except StopIteration as found:
        register_map: RegisterMap = found.value
        return register_map
    except SunSpecError as error:
        raise NoMeterError(str(error)) from error


async def _snapshot(
    reader: RegisterReader, register_map: RegisterMap, now_ms: Callable[[], int]
) -> Snapshot:
    asked_ms = now_ms()
    blocks = [
        Block(wanted, registers)
        for wanted in register_map.reads
        if (registers := await _present(reader, wanted)) is not None
    ]
    return Snapshot((asked_ms + now_ms()) // 2, blocks)


async def _serial(reader: RegisterReader, field: Field | None) -> str | None:
    if field is None:
        return None
    registers = await _present(reader, field.range)
    return None if registers is None else text_value(field, [Block(field.range, registers)])


async def _present(reader: RegisterReader, wanted: ReadRange) -> list[int] | None:
    """Read registers, ``None`` where the unit has none there; a busy one is asked once more."""
    try:
        return await reader.read(wanted.function, wanted.address, wanted.count)
    except MeterBusyError:
        await asyncio.sleep(_BUSY_S)
    except RegisterAbsentError:
        return None
    try:
        return await reader.read(wanted.function, wanted.address, wanted.count)
    except RegisterAbsentError:
        return None


class _Remembering:
    """Asks a unit for the same registers once, however many types are tried on it."""

    def __init__(self, reader: RegisterReader) -> None:
        self._reader = reader
        self._known: dict[ReadRange, list[int] | MeterRefusedError] = {}

    async def read(self, function: int, address: int, count: int) -> list[int]:
        wanted = ReadRange(function, address, count)
        if wanted not in self._known:
            try:
                self._known[wanted] = await self._reader.read(function, address, count)
            except MeterRefusedError as error:
                self._known[wanted] = error
        known = self._known[wanted]
        if isinstance(known, MeterRefusedError):
            raise known
        return known
