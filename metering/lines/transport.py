"""Modbus over TCP, RTU over TCP, a serial port or TLS: one request at a time, checked, no retries.

The only module of the package that knows pymodbus. A reply that comes late must never be taken
for the next one's, so after a time-out, a cancelled call or a damaged reply the caller closes the
transport and opens it anew. Nothing is retried inside pymodbus, which would ask again under the
same transaction number, and a lost connection does not come back by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU
from pymodbus.transport import CommParams, CommType

from metering.lines.config import LineConfig, RtuOverTcpLine, SerialLine, TcpLine, TlsLine
from metering.lines.errors import (
    MeterTimeoutError,
    MeterUnreachableError,
    ReplyError,
    refusal,
)
from metering.lines.tls import TlsError, check_role, context
from metering.registers import ReadRange

_NEVER_S: Final = 86_400.0
"""Our own time-outs come first; pymodbus has one for connecting and for replies together."""

_PARITY: Final = {"none": "N", "even": "E", "odd": "O"}

_Client = AsyncModbusTcpClient | AsyncModbusSerialClient

# What goes wrong is raised here; without a handler the library would also print it.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())


class Transport(Protocol):
    """Carries one request at a time to the units of a line."""

    @property
    def is_open(self) -> bool:
        """Whether it can be asked; it may close by itself."""

    async def open(self, within_s: float) -> None:
        """Open it.

        Raises:
            MeterUnreachableError: nobody is there, or not the right one; try again later.
        """

    async def ask(self, unit: int, wanted: ReadRange, within_s: float) -> list[int]:
        """Return exactly ``wanted.count`` registers of ``unit``.

        Raises:
            MeterError: one of its kinds. After a time-out, a damaged reply or a lost connection
                close the transport.
        """

    def close(self) -> None:
        """Close it, whatever is under way; it may be opened again."""


class ModbusTransport:
    """The transport of ``config``; opening it makes a new connection each time."""

    def __init__(self, config: LineConfig) -> None:
        self._config = config
        self._numbered = isinstance(config, TcpLine | TlsLine)
        self._where = place(config)
        self._client: _Client | None = None
        self._scope: asyncio.Timeout | None = None
        self._lost = False
        self._answered = False

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self._client is not None and not self._lost

    async def open(self, within_s: float) -> None:
        """Connect, as :class:`Transport` says."""
        self.close()
        reasons: list[str] = []
        try:
            client = _client(self._config, self._on_connect)
            _keep_reason(client, reasons)
        except TlsError as error:
            raise MeterUnreachableError(str(error)) from error
        self._lost = self._answered = False
        try:
            async with asyncio.timeout(within_s):
                connected = await client.connect()
            if connected and isinstance(self._config, TlsLine):
                check_role(self._config, client.ctx.transport)
        except TimeoutError:
            client.close()
            raise self._unreachable(f"no answer within {within_s:g} s") from None
        except TlsError as error:
            client.close()
            raise MeterUnreachableError(str(error)) from error
        except BaseException:
            client.close()
            raise
        if not connected:
            client.close()
            raise self._unreachable(*reasons)
        self._client = client

    async def ask(self, unit: int, wanted: ReadRange, within_s: float) -> list[int]:
        """Read registers, as :class:`Transport` says."""
        response = await self._response(unit, wanted, within_s)
        self._answered = True
        if response.isError():
            raise refusal(self._unit(unit), response.exception_code, wanted.address)
        self._check(response, unit, wanted)
        return list(response.registers)

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _response(self, unit: int, wanted: ReadRange, within_s: float) -> ModbusPDU:
        client = self._client
        if client is None or self._lost:
            raise self._broke_off(unit)
        call = (
            client.read_holding_registers if wanted.function == 3 else client.read_input_registers
        )
        try:
            async with asyncio.timeout(within_s) as self._scope:
                return await call(wanted.address, count=wanted.count, device_id=unit)
        except (TimeoutError, ModbusException) as error:
            if self._lost:
                raise self._broke_off(unit) from error
            raise MeterTimeoutError(
                f"{self._unit(unit)} gave no reply within {within_s:g} s: check the unit id, "
                "the bus and the time-out"
            ) from error
        finally:
            self._scope = None

    def _on_connect(self, connected: object) -> None:
        """Note a lost connection, and end the request that would wait for its time-out."""
        if not connected:
            self._lost = True
            if self._scope is not None:
                self._scope.reschedule(asyncio.get_running_loop().time())

    def _check(self, response: ModbusPDU, unit: int, wanted: ReadRange) -> None:
        foreign = response.function_code != wanted.function or (
            self._numbered and response.transaction_id == 0
        )
        if foreign:
            raise ReplyError(
                f"{self._unit(unit)} answered another request (function "
                f"{response.function_code}, transaction {response.transaction_id})"
            )
        if len(response.registers) != wanted.count:
            raise ReplyError(
                f"{self._unit(unit)} sent {len(response.registers)} registers from "
                f"{wanted.address} instead of {wanted.count}"
            )

    def _unit(self, unit: int) -> str:
        return f"unit {unit} at {self._where}"

    def _unreachable(self, *reasons: str) -> MeterUnreachableError:
        why = f" ({'; '.join(reasons)})" if reasons else ""
        check = (
            "check the device, its rights and that no other program has it open"
            if isinstance(self._config, SerialLine)
            else "check address, cable and power"
        )
        return MeterUnreachableError(f"{self._where} accepts no connection{why}: {check}")

    def _broke_off(self, unit: int) -> MeterUnreachableError:
        refused = (
            ": a server that refuses this gateway's certificate shows it only now (TLS 1.3): "
            f"check {self._config.certificate_file} and the role in it"
            if isinstance(self._config, TlsLine) and not self._answered
            else ""
        )
        return MeterUnreachableError(
            f"the connection broke off before {self._unit(unit)} gave a readable reply{refused}"
        )


def place(config: LineConfig) -> str:
    """Return where a line leads, for messages: ``host:port`` or the device."""
    return config.device if isinstance(config, SerialLine) else f"{config.host}:{config.port}"


class _TlsClient(AsyncModbusTcpClient):
    """MBAP over TLS with replies cut by their length, as on TCP: ``FramerTLS`` takes any chunk."""

    def __init__(self, config: TlsLine, trace_connect: Callable[[bool], None]) -> None:
        self.comm_params = CommParams(
            comm_type=CommType.TLS,
            host=config.host,
            port=config.port,
            sslctx=context(config),
            reconnect_delay=0,
            timeout_connect=_NEVER_S,
        )
        super().__init__(
            config.host, framer=FramerType.SOCKET, retries=0, trace_connect=trace_connect
        )
        self.ctx.call_create = partial(
            asyncio.get_running_loop().create_connection,
            self.ctx.handle_new_connection,
            config.host,
            config.port,
            ssl=self.comm_params.sslctx,
            server_hostname=config.server_name or config.host,
        )


def _client(config: LineConfig, trace_connect: Callable[[bool], None]) -> _Client:
    if isinstance(config, TlsLine):
        return _TlsClient(config, trace_connect)
    if isinstance(config, SerialLine):
        return AsyncModbusSerialClient(
            config.device,
            baudrate=config.baud,
            parity=_PARITY[config.parity],
            stopbits=config.stop_bits,
            timeout=_NEVER_S,
            retries=0,
            reconnect_delay=0,
            trace_connect=trace_connect,
        )
    return AsyncModbusTcpClient(
        config.host,
        port=config.port,
        framer=FramerType.RTU if isinstance(config, RtuOverTcpLine) else FramerType.SOCKET,
        timeout=_NEVER_S,
        retries=0,
        reconnect_delay=0,
        trace_connect=trace_connect,
    )


def _keep_reason(client: _Client, reasons: list[str]) -> None:
    """Keep why a connection fails: pymodbus says only that it did."""
    create: Callable[[], Awaitable[object]] = client.ctx.call_create

    async def create_noting() -> object:
        try:
            return await create()
        except OSError as error:
            reasons.append(str(error))
            raise

    client.ctx.call_create = create_noting
