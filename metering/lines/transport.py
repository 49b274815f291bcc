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
from pymodbus.pdu.diag_message import ReturnQueryDataResponse
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

_LOOPBACK: Final = 0x08  # diagnostics, sub-function 0: returns what it was given
_REFUSED: Final = 0x80

_Client = AsyncModbusTcpClient | AsyncModbusSerialClient
_Accepts = Callable[[ModbusPDU], bool]
_OnConnect = Callable[[bool], None]
_OnPdu = Callable[[bool, ModbusPDU], ModbusPDU]

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

    async def sync(self, unit: int, within_s: float) -> None:
        """Return once ``unit`` has no answer on the way to anything asked before.

        Raises:
            MeterError: as for :meth:`ask`.
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
        self._wanted: _Accepts = _all_but_loopback
        self._reply: asyncio.Future[ModbusPDU] | None = None
        self._lost = self._answered = False
        self._marks = 0

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self._client is not None and not self._lost

    async def open(self, within_s: float) -> None:
        """Connect, as :class:`Transport` says."""
        self.close()
        reasons: list[str] = []
        try:
            client = _client(self._config, self._on_connect, self._on_pdu)
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

        def send(client: _Client) -> Awaitable[ModbusPDU]:
            call = (
                client.read_holding_registers
                if wanted.function == 3
                else client.read_input_registers
            )
            return call(
                wanted.address, count=wanted.count, device_id=unit, no_response_expected=True
            )

        response = await self._exchange(unit, send, _all_but_loopback, within_s)
        self._check(response, unit, wanted)
        return list(response.registers)

    async def sync(self, unit: int, within_s: float) -> None:
        """Have the unit return a number never used before, as :class:`Transport` says.

        A unit answers in the order in which it was asked, so that what it still had to say comes
        before. Units that do not know the request refuse it, which tells the same.
        """
        self._marks = (self._marks + 1) & 0xFFFF
        mark = self._marks.to_bytes(2, "big")

        def send(client: _Client) -> Awaitable[ModbusPDU]:
            return client.diag_query_data(mark, device_id=unit, no_response_expected=True)

        def accepts(pdu: ModbusPDU) -> bool:
            if isinstance(pdu, ReturnQueryDataResponse):
                return pdu.message == mark
            return pdu.function_code == _LOOPBACK | _REFUSED

        await self._exchange(unit, send, accepts, within_s)

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _exchange(
        self,
        unit: int,
        send: Callable[[_Client], Awaitable[ModbusPDU]],
        accepts: _Accepts,
        within_s: float,
    ) -> ModbusPDU:
        client = self._client
        if client is None or self._lost:
            raise self._broke_off(unit)
        loop = asyncio.get_running_loop()
        self._wanted, self._reply = accepts, loop.create_future()
        # Thousands of times a second: a bare timer, which asyncio.timeout wraps at some cost.
        timer = loop.call_later(within_s, _expire, self._reply)
        try:
            await send(client)
            response = await self._reply
        except TimeoutError as error:
            raise MeterTimeoutError(
                f"{self._unit(unit)} gave no reply within {within_s:g} s: check the unit id, "
                "the bus and the time-out"
            ) from error
        except ModbusException as error:
            raise self._broke_off(unit) from error
        finally:
            timer.cancel()
            self._reply = None
        self._answered = True
        return response

    def _on_pdu(self, sending: object, pdu: ModbusPDU) -> ModbusPDU:
        """Take what comes in; the client's own way would wait with a timer of its own."""
        reply = self._reply
        if not sending and reply is not None and not reply.done() and self._wanted(pdu):
            reply.set_result(pdu)
        return pdu

    def _on_connect(self, connected: object) -> None:
        """Note a lost connection, and end the request that would wait for its time-out."""
        if not connected:
            self._lost = True
            if self._reply is not None and not self._reply.done():
                self._reply.set_exception(ModbusException("connection lost"))

    def _check(self, response: ModbusPDU, unit: int, wanted: ReadRange) -> None:
        foreign = response.function_code & ~_REFUSED != wanted.function or (
            self._numbered and response.transaction_id == 0
        )
        if foreign:
            raise ReplyError(
                f"{self._unit(unit)} answered another request (function "
                f"{response.function_code}, transaction {response.transaction_id})"
            )
        if response.isError():
            raise refusal(self._unit(unit), response.exception_code, wanted.address)
        if len(response.registers) != wanted.count:
            raise ReplyError(
                f"{self._unit(unit)} sent {len(response.registers)} registers from "
                f"{wanted.address} instead of {wanted.count}"
            )

    def _unit(self, unit: int) -> str:
        return f"unit {unit} at {self._where}"

    def _unreachable(self, *reasons: str) -> MeterUnreachableError:
        why = f" ({'; '.join(reasons)})" if reasons else ""
        if isinstance(self._config, SerialLine):
            return MeterUnreachableError(
                f"{self._where} cannot be opened{why}: check that it is there, that this program "
                "may use it, and that no other has it open"
            )
        return MeterUnreachableError(
            f"{self._where} accepts no connection{why}: check address, cable and power"
        )

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


def _expire(reply: asyncio.Future[ModbusPDU]) -> None:
    if not reply.done():
        reply.set_exception(TimeoutError())


def _all_but_loopback(pdu: ModbusPDU) -> bool:
    return pdu.function_code & ~_REFUSED != _LOOPBACK


class _TlsClient(AsyncModbusTcpClient):
    """MBAP over TLS with replies cut by their length, as on TCP: ``FramerTLS`` takes any chunk."""

    def __init__(self, config: TlsLine, on_connect: _OnConnect, on_pdu: _OnPdu) -> None:
        self.comm_params = CommParams(
            comm_type=CommType.TLS,
            host=config.host,
            port=config.port,
            sslctx=context(config),
            reconnect_delay=0,
            timeout_connect=_NEVER_S,
        )
        super().__init__(
            config.host,
            framer=FramerType.SOCKET,
            retries=0,
            trace_connect=on_connect,
            trace_pdu=on_pdu,
        )
        self.ctx.call_create = partial(
            asyncio.get_running_loop().create_connection,
            self.ctx.handle_new_connection,
            config.host,
            config.port,
            ssl=self.comm_params.sslctx,
            server_hostname=config.server_name or config.host,
        )


def _client(config: LineConfig, on_connect: _OnConnect, on_pdu: _OnPdu) -> _Client:
    if isinstance(config, TlsLine):
        return _TlsClient(config, on_connect, on_pdu)
    if isinstance(config, SerialLine):
        return AsyncModbusSerialClient(
            config.device,
            baudrate=config.baud,
            parity=_PARITY[config.parity],
            stopbits=config.stop_bits,
            timeout=_NEVER_S,
            retries=0,
            reconnect_delay=0,
            trace_connect=on_connect,
            trace_pdu=on_pdu,
        )
    return AsyncModbusTcpClient(
        config.host,
        port=config.port,
        framer=FramerType.RTU if isinstance(config, RtuOverTcpLine) else FramerType.SOCKET,
        timeout=_NEVER_S,
        retries=0,
        reconnect_delay=0,
        trace_connect=on_connect,
        trace_pdu=on_pdu,
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
