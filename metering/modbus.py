"""Reading meters over Modbus TCP: raw registers in, values with their time window out.

:class:`ModbusConnection` is one TCP connection (to a meter, or to a gateway with many units
behind it); :class:`ModbusMeter` polls one unit through any :class:`RegisterReader`. A reply that
comes late must never be taken for the next one's: after a time-out, a cancelled call or a
damaged reply the connection is closed, and the next call opens a new one. Nothing is retried
inside pymodbus, which would ask again under the same transaction id; :meth:`ModbusMeter.read`
starts a whole poll again instead, so that ``asked_ms`` and ``answered_ms`` hold what was read.

Source: Modbus Application Protocol V1.1b3, section 7 (exception codes).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU

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

# What goes wrong is raised here; without a handler the library would also print it.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())


class MeterError(Exception):
    """Root of this module's errors: there is no reading from this poll; never repeat an old one."""


class MeterTimeoutError(MeterError):
    """No reply in time: record the reading as missing and poll again when it is due."""


class MeterUnreachableError(MeterError):
    """No connection, or it broke off: record as missing and poll again when it is due."""


class MeterOfflineError(MeterError):
    """The gateway answers for a meter that does not (0x0A, 0x0B): missing; other units go on."""


class MeterBusyError(MeterError):
    """Still busy (0x06) after backing off: record as missing and poll again when it is due."""


class ReplyError(MeterError):
    """A short, long, foreign or senseless reply: reject it; the connection was closed."""


class MeterRefusedError(MeterError):
    """The meter refuses the request for good: ask a person to check profile and unit id."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class RegisterAbsentError(MeterRefusedError):
    """The meter has no such register (0x02): do without the fields there, and tell a person."""


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


class ModbusConnection:
    """One TCP connection, opened when first needed and again whenever it was closed.

    Calls on it queue up, one request at a time. ``rtu_framing`` is for plain serial-to-TCP
    converters that pass RTU frames through.
    """

    def __init__(
        self, host: str, port: int = 502, *, timeout_s: float = 2.0, rtu_framing: bool = False
    ) -> None:
        self._host, self._port = host, port
        self._timeout_s = timeout_s
        self._rtu = rtu_framing
        self._lock = asyncio.Lock()
        self._client: AsyncModbusTcpClient | None = None
        self._lost: asyncio.Future[None] | None = None

    async def connect(self) -> None:
        """Open the connection now, if it is not open.

        Raises:
            MeterUnreachableError: nobody accepts it within the time-out.
        """
        async with self._lock:
            await self._connected()

    async def close(self) -> None:
        """Close the connection once the request under way has ended."""
        async with self._lock:
            self._drop()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def unit(self, unit: int) -> RegisterReader:
        """Return the reader of one unit id (1-247; 255 for a meter without a bus behind it)."""
        return _UnitReader(self, unit)

    async def read(self, unit: int, function: int, address: int, count: int) -> list[int]:
        """Return exactly ``count`` registers of ``unit``.

        Raises:
            MeterError: one of its kinds, by what went wrong.
        """
        async with self._lock:
            client, lost = await self._connected()
            try:
                response = await self._ask(client, lost, unit, ReadRange(function, address, count))
                if not response.isError():
                    self._check(response, unit, ReadRange(function, address, count))
            except BaseException:  # also a cancelled call: its reply may still be on the way
                self._drop()
                raise
        if response.isError():
            raise _refusal(self._where(unit), response.exception_code, address)
        return list(response.registers)

    async def _connected(self) -> tuple[AsyncModbusTcpClient, asyncio.Future[None]]:
        if self._client is not None and self._lost is not None and not self._lost.done():
            return self._client, self._lost
        self._drop()
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def watch(connected: object) -> None:
            if not connected and not lost.done():
                lost.set_result(None)

        client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            framer=FramerType.RTU if self._rtu else FramerType.SOCKET,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,  # a connection that comes back by itself could bring old replies
            trace_connect=watch,
        )
        try:
            connected = await client.connect()
        except BaseException:
            client.close()
            raise
        if not connected:
            client.close()
            raise MeterUnreachableError(
                f"{self._host}:{self._port} accepts no connection within {self._timeout_s} s: "
                "check address, cable and power"
            )
        self._client, self._lost = client, lost
        return client, lost

    async def _ask(
        self,
        client: AsyncModbusTcpClient,
        lost: asyncio.Future[None],
        unit: int,
        wanted: ReadRange,
    ) -> ModbusPDU:
        call = (
            client.read_holding_registers if wanted.function == 3 else client.read_input_registers
        )
        request = asyncio.ensure_future(call(wanted.address, count=wanted.count, device_id=unit))
        try:
            # pymodbus waits for its time-out even when the connection has gone: race the two.
            racers: set[asyncio.Future[ModbusPDU] | asyncio.Future[None]] = {request, lost}
            await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
            if not request.done():
                raise MeterUnreachableError(
                    f"the connection broke off before {self._where(unit)} gave a readable reply"
                )
            return request.result()
        except ModbusException as error:
            raise MeterTimeoutError(
                f"{self._where(unit)} gave no reply within {self._timeout_s} s: check the unit id, "
                "the bus and the time-out"
            ) from error
        finally:
            request.cancel()

    def _check(self, response: ModbusPDU, unit: int, wanted: ReadRange) -> None:
        foreign = response.function_code != wanted.function or (
            not self._rtu and response.transaction_id == 0
        )
        if foreign:
            raise ReplyError(
                f"{self._where(unit)} answered another request (function "
                f"{response.function_code}, transaction {response.transaction_id})"
            )
        if len(response.registers) != wanted.count:
            raise ReplyError(
                f"{self._where(unit)} sent {len(response.registers)} registers from "
                f"{wanted.address} instead of {wanted.count}"
            )

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = self._lost = None

    def _where(self, unit: int) -> str:
        return f"unit {unit} at {self._host}:{self._port}"


@dataclass(frozen=True, slots=True)
class _UnitReader:
    connection: ModbusConnection
    unit: int

    async def read(self, function: int, address: int, count: int) -> list[int]:
        return await self.connection.read(self.unit, function, address, count)


class ModbusMeter:
    """Polls one meter; remembers where its registers are until something goes wrong.

    ``now_ms`` is the clock of the readings (UTC ms). ``tries`` whole polls are made at most;
    a busy meter is asked again after each pause of ``busy_pauses_s``.
    """

    def __init__(
        self,
        reader: RegisterReader,
        now_ms: Callable[[], int],
        *,
        tries: int = 2,
        busy_pauses_s: tuple[float, ...] = (0.1, 0.4),
    ) -> None:
        self._reader = reader
        self._now_ms = now_ms
        self._tries = tries
        self._busy_pauses_s = busy_pauses_s
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
                ExcCodes.ILLEGAL_ADDRESS,
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
            raise MeterRefusedError(str(error), ExcCodes.ILLEGAL_ADDRESS) from error

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
    return tuple(
        name
        for name, field in register_map.fields.items()
        if not any(
            block.range.covers(field.function, field.address, field.type.words) for block in blocks
        )
    )


def _refusal(where: str, code: int, address: int) -> MeterError:
    if code == ExcCodes.DEVICE_BUSY:
        return MeterBusyError(f"{where} is busy (0x06): poll it less often")
    if code in {ExcCodes.GATEWAY_PATH_UNAVIABLE, ExcCodes.GATEWAY_NO_RESPONSE}:
        return MeterOfflineError(
            f"the gateway of {where} cannot reach it (0x{code:02X}): check the bus and its power"
        )
    if code == ExcCodes.ILLEGAL_ADDRESS:
        return RegisterAbsentError(
            f"{where} has no register {address} (0x02): check the profile against the meter", code
        )
    return MeterRefusedError(
        f"{where} refuses to read register {address} (0x{code:02X}): check profile and unit id",
        code,
    )
