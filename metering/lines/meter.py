"""Polling one meter through any reader of registers: its values, with their time window.

Nothing is retried below: :meth:`ModbusMeter.read` starts a whole poll again instead, so that
``asked_ms`` and ``answered_ms`` hold what was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from metering.lines.errors import (
    NO_REGISTER,
    MeterBusyError,
    MeterRefusedError,
    MeterTimeoutError,
    MeterUnreachableError,
    RegisterAbsentError,
    ReplyError,
)
from metering.profiles import Profile
from metering.registers import (
    Block,
    MeterValues,
    ReadRange,
    RegisterError,
    RegisterMap,
    decode,
    text_value,
)
from metering.sunspec import SunSpecError, SunSpecLayout, walk

_T = TypeVar("_T")

BUSY_PAUSES_S: Final = (0.1, 0.4)
"""A meter that is busy (0x06) is asked again after each of these pauses."""


class RegisterReader(Protocol):
    """Reads raw 16-bit registers of one unit; no scaling here."""

    async def read(self, function: int, address: int, count: int) -> list[int]:
        """Return exactly ``count`` registers from ``address`` by function 3 or 4.

        Raises:
            MeterError: and no registers.
        """
        ...


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll: the values, and the moments (UTC ms) between which the meter showed them.

    ``absent`` names the quantities of the profile that this meter has no registers for.
    """

    asked_ms: int
    answered_ms: int
    values: MeterValues
    absent: tuple[str, ...] = ()


class ModbusMeter:
    """Polls one meter; remembers where its registers are until something goes wrong.

    ``now_ms`` is the clock of the readings (UTC ms). ``tries`` whole polls are made at most;
    a busy meter is asked again after each pause of ``busy_pauses_s``. ``turn`` waits until a shared
    line is this meter's, so that its window does not hold the time in the queue.
    """

    def __init__(
        self,
        reader: RegisterReader,
        now_ms: Callable[[], int],
        *,
        tries: int = 2,
        busy_pauses_s: tuple[float, ...] = BUSY_PAUSES_S,
        turn: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._reader = reader
        self._now_ms = now_ms
        self._tries = tries
        self._busy_pauses_s = busy_pauses_s
        self._turn = turn
        self._maps: dict[str, RegisterMap] = {}
        self._absent: set[ReadRange] = set()

    async def read(self, profile: Profile) -> Poll:
        """Poll the meter once.

        Raises:
            MeterError: there is no reading; its kind says what to do next.
        """
        return await self._try_again(self._poll, profile)

    async def serial(self, profile: Profile) -> str | None:
        """Return the serial number that the meter shows, ``None`` where its type has none.

        Raises:
            MeterError: as for :meth:`read`.
        """
        return await self._try_again(self._serial, profile)

    async def _try_again(self, call: Callable[[Profile], Awaitable[_T]], profile: Profile) -> _T:
        for tries_left in range(self._tries - 1, -1, -1):
            try:
                return await call(profile)
            except (MeterTimeoutError, MeterUnreachableError, ReplyError):
                # The meter may have been exchanged meanwhile: find its registers anew.
                self._maps.clear()
                self._absent.clear()
                if not tries_left:
                    raise
        raise ValueError(f"tries must be at least 1, got {self._tries}")

    async def _poll(self, profile: Profile) -> Poll:
        register_map = await self._map(profile)
        if self._turn is not None:
            await self._turn()
        asked_ms = self._now_ms()
        blocks = [
            Block(wanted, registers)
            for wanted in register_map.reads
            if (registers := await self._read_if_present(wanted)) is not None
        ]
        answered_ms = self._now_ms()
        if not blocks:
            raise RegisterAbsentError(
                f"the meter has none of the registers of profile {profile.name}: check the profile",
                NO_REGISTER,
            )
        try:
            values = decode(register_map, blocks)
        except RegisterError as error:
            raise ReplyError(f"profile {profile.name}: {error}") from error
        return Poll(asked_ms, answered_ms, values, _absent(register_map, blocks))

    async def _serial(self, profile: Profile) -> str | None:
        field = (await self._map(profile)).serial
        if field is None:
            return None
        wanted = ReadRange(field.function, field.address, field.type.words)
        registers = await self._read_if_present(wanted)
        return None if registers is None else text_value(field, [Block(wanted, registers)])

    async def _map(self, profile: Profile) -> RegisterMap:
        if isinstance(profile.layout, RegisterMap):
            return profile.layout
        if profile.name not in self._maps:
            self._maps[profile.name] = await self._discover(profile.layout)
        return self._maps[profile.name]

    async def _discover(self, layout: SunSpecLayout) -> RegisterMap:
        steps = walk(layout)
        try:
            wanted = next(steps)
            while True:
                wanted = steps.send(await self._read_if_present(wanted))
        except StopIteration as found:
            register_map: RegisterMap = found.value
            return register_map
        except SunSpecError as error:
            raise MeterRefusedError(str(error), NO_REGISTER) from error

    async def _read_if_present(self, wanted: ReadRange) -> list[int] | None:
        if wanted in self._absent:
            return None
        try:
            return await self._read_patiently(wanted)
        except RegisterAbsentError:
            self._absent.add(wanted)
            return None

    async def _read_patiently(self, wanted: ReadRange) -> list[int]:
        for pause_s in self._busy_pauses_s:
            try:
                return await self._reader.read(wanted.function, wanted.address, wanted.count)
            except MeterBusyError:
                await asyncio.sleep(pause_s)
        return await self._reader.read(wanted.function, wanted.address, wanted.count)


def _absent(register_map: RegisterMap, blocks: list[Block]) -> tuple[str, ...]:
    if len(blocks) == len(register_map.reads):
        return ()
    return tuple(
        name
        for name, field in register_map.fields.items()
        if not any(
            block.range.covers(field.function, field.address, field.type.words) for block in blocks
        )
    )
