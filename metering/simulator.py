"""Simulated meters as real Modbus TCP servers.

What a meter shows is a pure function of the district's clock, worked out at each request: a
restart at the same clock shows the same registers. For tests and for the demo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from functools import partial
from typing import Final, Self, cast

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from metering.loadcurves import EnergyCurve
from metering.profiles import Profile
from metering.registers import TYPES, Field, Kind, RegisterMap, encode, encode_text
from metering.sunspec import COMMON_MODEL, END_MODEL, MARKER, SunSpecLayout

_VOLTAGE_V: Final = Fraction(230)
_FREQUENCY_HZ: Final = Fraction(50)
_COMMON_LENGTH: Final = 66
_NO_SCALE: Final = 0x8000
_EXPONENTS: Final = {"power": 1, "frequency": -2} | dict.fromkeys(
    ("voltage_l1", "voltage_l2", "voltage_l3"), -1
)
"""What the scale registers of a simulated SunSpec meter hold; 0 for the counters."""


class SimulatorError(ValueError):
    """The simulated meters are set up wrongly: a person corrects the configuration."""


class Silence(Enum):
    """How a meter stays silent during an outage."""

    GATEWAY = "gateway"
    """The gateway in front of it answers 0x0B at once."""
    CLOSE = "close"
    """The connection that asks is closed."""
    DROP = "drop"
    """Nothing comes back, so that the client waits for its time-out."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A meter does not answer for from_ms <= district time < to_ms (UTC ms)."""

    from_ms: int
    to_ms: int
    silence: Silence = Silence.GATEWAY


@dataclass(frozen=True, slots=True)
class Request:
    """A read that reached a simulated meter, at a district time (UTC ms)."""

    unit: int
    function: int
    address: int
    count: int
    at_ms: int


Fault = ExcCodes | Silence | Callable[[bytes], bytes] | None
"""An exception to answer, a silence, a rewriting of the reply's frame, or nothing."""

Tamper = Callable[[Request], Awaitable[Fault]]
"""Called for each read; it may also wait, to delay the reply."""


async def _leave_alone(_request: Request) -> Fault:
    return None


@dataclass(frozen=True, slots=True)
class SunSpecSite:
    """Where a simulated SunSpec meter stands: base, meter model, models (id, length) before it.

    Without a ``model`` it is the first that the profile knows.
    """

    base: int = 40000
    model: int | None = None
    before: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class SimulatedMeter:
    """One meter: its type, where it answers, and the curve it counts.

    ``missing`` names quantities that it marks as missing, ``settings`` gives values to settings
    that the profile watches (others stand at a safe one); ``tamper`` injects faults. All may be
    changed while it serves.
    """

    profile: Profile
    unit: int
    serial: str
    curve: EnergyCurve
    now_ms: Callable[[], int]
    outages: Sequence[Outage] = ()
    missing: frozenset[str] = frozenset()
    tamper: Tamper = _leave_alone
    sunspec: SunSpecSite = field(default_factory=SunSpecSite)
    settings: dict[str, str] = field(default_factory=dict)

    def silence(self, at_ms: int) -> Silence | None:
        """Return how the meter stays silent at ``at_ms``, ``None`` when it answers."""
        for outage in self.outages:
            if outage.from_ms <= at_ms < outage.to_ms:
                return outage.silence
        return None

    def register_map(self) -> RegisterMap:
        """Return the addresses at which this meter serves its quantities."""
        layout = self.profile.layout
        if isinstance(layout, RegisterMap):
            return layout
        model = min(layout.models) if self.sunspec.model is None else self.sunspec.model
        if model not in layout.models:
            raise SimulatorError(
                f"unit {self.unit}: profile {self.profile.name} has no model {model}; choose one "
                f"of {sorted(layout.models)}"
            )
        common = self.sunspec.base + len(MARKER)
        address = common + 2 + _COMMON_LENGTH + sum(2 + length for _, length in self.sunspec.before)
        return layout.map_at(layout.models[model], address, common)

    def quantities(self, at_ms: int) -> dict[str, Fraction | None]:
        """Return what the meter measures at ``at_ms``, in the units of ``registers.QUANTITIES``."""
        shown = {
            "import_total": Fraction(self.curve.import_milli_wh(at_ms), 1000),
            "export_total": Fraction(self.curve.export_milli_wh(at_ms), 1000),
            "power": Fraction(self.curve.power_w(at_ms)),
            "voltage_l1": _VOLTAGE_V,
            "voltage_l2": _VOLTAGE_V,
            "voltage_l3": _VOLTAGE_V,
            "frequency": _FREQUENCY_HZ,
        }
        return {name: None if name in self.missing else value for name, value in shown.items()}

    def live_registers(self, at_ms: int) -> Iterator[tuple[Field, list[int]]]:
        """Yield each field that may change and its registers at ``at_ms``."""
        quantities = self.quantities(at_ms)
        fields = self.register_map().fields
        scales = {
            spec.scale_register: (name, spec.function)
            for name, spec in fields.items()
            if spec.scale_register is not None
        }
        for address, (name, function) in scales.items():
            yield Field(function, address, TYPES["uint16"]), [_EXPONENTS.get(name, 0) & 0xFFFF]
        for name, spec in fields.items():
            value = quantities[name]
            exponent = _EXPONENTS.get(name, 0) if spec.scale_register is not None else 0
            if value is None and spec.type.kind is Kind.ACCUMULATOR and spec.scale_register:
                # A counter has no pattern for this; its scale factor, which others share, has.
                yield Field(spec.function, spec.scale_register, TYPES["uint16"]), [_NO_SCALE]
                value = Fraction(0)
            yield spec, encode(spec, value, exponent)
        for setting in self.profile.watch:
            value_now = self.settings.get(setting.name, min(setting.safe, default="0"))
            yield setting.field, encode_text(setting.field, value_now)

    def still_registers(self) -> dict[int, dict[int, int]]:
        """Return all registers that can be read, as {function: {address: value at rest}}."""
        register_map = self.register_map()
        image: dict[int, dict[int, int]] = {}
        for read in register_map.reads:
            addresses = range(read.address, read.address + read.count)
            image.setdefault(read.function, {}).update(dict.fromkeys(addresses, 0))
        if isinstance(self.profile.layout, SunSpecLayout):
            image[self.profile.layout.function] = self._chain(register_map)
        shown = [
            (known.field, min((*known.equals, *known.prefixes))) for known in self.profile.identify
        ]
        if register_map.serial is not None:
            shown.append((register_map.serial, self.serial))
        still = [(spec, encode_text(spec, text)) for spec, text in shown]
        for spec, words in (*still, *self.live_registers(self.now_ms())):
            image.setdefault(spec.function, {}).update(enumerate(words, spec.address))
        return image

    def _chain(self, register_map: RegisterMap) -> dict[int, int]:
        """Return the marker and the chain of models from the base to the end mark."""
        guards = register_map.guards
        model_id, model_length = guards[min(guards)], guards[max(guards)]
        words = list(MARKER)
        before = ((COMMON_MODEL, _COMMON_LENGTH), *self.sunspec.before)
        for id_, length in (*before, (model_id, model_length), (END_MODEL, 0)):
            words += [id_, length, *([0] * length)]
        return dict(enumerate(words, self.sunspec.base))


class MeterServer:
    """Serves meters, told apart by unit id, on one TCP port of this machine.

    Use it as ``async with MeterServer([...]) as server``; :attr:`port` is chosen by the system
    unless one is given. Closing silences hit every unit polled over the same connection.

    Raises:
        SimulatorError: two meters have one unit id, or a serial does not fit its meter type.
    """

    def __init__(self, meters: Sequence[SimulatedMeter], *, port: int = 0) -> None:
        units = [meter.unit for meter in meters]
        if len(set(units)) != len(units):
            raise SimulatorError(f"unit ids {units} are not unique: give each meter its own")
        self._meters = meters
        self._port = port
        self._server: ModbusTcpServer | None = None
        self._rewrites: dict[int, Callable[[bytes], bytes]] = {}

    @property
    def port(self) -> int:
        """The TCP port in use."""
        if self._server is None:
            raise SimulatorError("the server is not running: enter it with 'async with' first")
        listener = cast("asyncio.Server", self._server.transport)
        return int(listener.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = ModbusTcpServer(
            [self._device(meter) for meter in self._meters],
            address=("127.0.0.1", self._port),
            trace_packet=self._pass_packet,
        )
        await self._server.serve_forever(background=True)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _device(self, meter: SimulatedMeter) -> SimDevice:
        image = meter.still_registers()
        coils = [SimData(0, values=False, datatype=DataType.BITS)]
        holding, inputs = _sim_data(image.get(3, {})), _sim_data(image.get(4, {}))
        return SimDevice(
            id=meter.unit,
            simdata=(coils, list(coils), holding, inputs),
            action=partial(self._answer, meter),
        )

    async def _answer(
        self,
        meter: SimulatedMeter,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        _written: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if function not in {3, 4}:  # coils, and everything that writes
            return ExcCodes.ILLEGAL_FUNCTION
        at_ms = meter.now_ms()
        fault: Fault = meter.silence(at_ms)
        fault = fault or await meter.tamper(Request(meter.unit, function, address, count, at_ms))
        if isinstance(fault, ExcCodes):
            return fault
        if isinstance(fault, Silence):
            return self._keep_silent(meter.unit, fault)
        if fault is not None:
            self._rewrites[meter.unit] = fault
        for spec, words in meter.live_registers(meter.now_ms()):
            if spec.function == function:
                at = spec.address - start
                registers[at : at + len(words)] = words
        return None

    def _keep_silent(self, unit: int, silence: Silence) -> ExcCodes | None:
        if silence is Silence.GATEWAY:
            return ExcCodes.GATEWAY_NO_RESPONSE
        self._rewrites[unit] = _drop
        if silence is Silence.CLOSE and self._server is not None:
            for handler in list(self._server.active_connections.values()):
                asked = getattr(handler, "last_pdu", None)
                if asked is not None and asked.dev_id == unit:
                    handler.close()
        return None

    def _pass_packet(self, sending: object, packet: bytes) -> bytes:
        rewrite = self._rewrites.pop(packet[6], None) if sending and len(packet) > 6 else None
        return packet if rewrite is None else rewrite(packet)


def _drop(_packet: bytes) -> bytes:
    return b""


def _sim_data(image: dict[int, int]) -> list[SimData]:
    """Return the registers as runs of neighbours; at least one entry, as the library demands."""
    runs: list[tuple[int, list[int]]] = []
    for address, value in sorted(image.items()):
        if runs and runs[-1][0] + len(runs[-1][1]) == address:
            runs[-1][1].append(value)
        else:
            runs.append((address, [value]))
    if not runs:
        return [SimData(0, datatype=DataType.INVALID)]
    return [SimData(address, values=words, datatype=DataType.REGISTERS) for address, words in runs]
