"""Simulated meters over real Modbus TCP: what the curve counts is what the client decodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import cycle, islice

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes

from metering.interval import LENGTH_MS, to_ms
from metering.lines.errors import (
    MeterError,
    MeterOfflineError,
    MeterRefusedError,
    MeterTimeoutError,
    MeterUnreachableError,
    ReplyError,
)
from metering.lines.meter import ModbusMeter, Poll
from metering.loadcurves import NetCurve, roof, yearly_load
from metering.profiles import load_profile, profile_names
from metering.registers import EncodingError, MeterValues
from metering.simulator import (
    Fault,
    MeterServer,
    Outage,
    Request,
    Silence,
    SimulatedMeter,
    SimulatorError,
    SunSpecSite,
    Tamper,
)
from tests.metering.line_kit import tcp_line

NOON = to_ms(datetime(2026, 6, 23, 10, tzinfo=UTC))
SITES = [
    *((name, SunSpecSite()) for name in profile_names()),
    ("sunspec_meter", SunSpecSite(base=0, model=201, before=((103, 50),))),
    ("sunspec_meter", SunSpecSite(base=50000, model=213, before=((64001, 7), (12, 98)))),
]


class DistrictClock:
    """A clock that stands where it is put."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def __call__(self) -> int:
        return self.at_ms


def solar_home(serial: str) -> NetCurve:
    return NetCurve([yearly_load("H0-A", annual_kwh=4000), roof("PV1", peak_w=9000)], serial=serial)


def sdm(clock: Callable[[], int], unit: int = 1, outages: Sequence[Outage] = ()) -> SimulatedMeter:
    serial = str(1000 + unit)
    profile = load_profile("eastron_sdm630")
    return SimulatedMeter(profile, unit, serial, solar_home(serial), clock, outages)


def counters(values: MeterValues) -> list[int | None]:
    totals = (values.import_total, values.export_total)
    return [None if total is None else total.wh for total in totals]


def counted_milli_wh(meter: SimulatedMeter) -> tuple[int, int]:
    at_ms = meter.now_ms()
    return meter.curve.import_milli_wh(at_ms), meter.curve.export_milli_wh(at_ms)


async def poll(
    server: MeterServer, meter: SimulatedMeter, *, timeout_s: float = 2.0, tries: int = 1
) -> Poll:
    async with tcp_line(server.port, timeout_s=timeout_s) as bus:
        reader = ModbusMeter(bus.unit(meter.unit), meter.now_ms, tries=tries, busy_pauses_s=(0, 0))
        return await reader.read(meter.profile)


@pytest.mark.parametrize(("name", "site"), SITES)
def test_what_is_decoded_is_what_the_curve_counts(name: str, site: SunSpecSite) -> None:
    """Through the day, and no counter ever shows less than before."""

    async def scenario() -> None:
        clock = DistrictClock(NOON)
        meter = SimulatedMeter(
            load_profile(name), 7, "4711", solar_home("4711"), clock, sunspec=site
        )
        async with (
            MeterServer([meter]) as server,
            tcp_line(server.port) as bus,
        ):
            reader = ModbusMeter(bus.unit(7), clock)
            shown: list[int | None] = [None, None]
            for clock.at_ms in range(NOON, NOON + 8 * 3_600_000, 1_597_003):
                values = (await reader.read(meter.profile)).values
                before, shown = shown, counters(values)
                for old, total, milli_wh in zip(
                    before, shown, counted_milli_wh(meter), strict=True
                ):
                    if total is not None:
                        assert 0 <= milli_wh // 1000 - total <= values.resolution_wh
                        assert old is None or old <= total
                assert (shown[0] is None) == (name == "sunspec_inverter")
                assert shown[1] is not None
                assert values.power is not None
                assert abs(meter.curve.power_w(clock.at_ms) - values.power.w) < 10
                assert values.voltages_mv[0] == 230_000
                assert values.frequency_mhz == 50_000
            assert await reader.serial(meter.profile) in {"4711", None}

    asyncio.run(scenario())


def test_the_serial_number_is_shown_where_the_type_has_one() -> None:
    async def scenario() -> dict[str, str | None]:
        clock = DistrictClock(NOON)
        meters = [
            SimulatedMeter(load_profile(name), unit, f"48{unit}", solar_home("1"), clock)
            for unit, name in enumerate(profile_names(), start=1)
        ]
        async with (
            MeterServer(meters) as server,
            tcp_line(server.port) as bus,
        ):
            return {
                m.profile.name: await ModbusMeter(bus.unit(m.unit), clock).serial(m.profile)
                for m in meters
            }

    assert asyncio.run(scenario()) == {
        name: None if name.startswith("janitza") else f"48{unit}"
        for unit, name in enumerate(profile_names(), start=1)
    }


def test_a_restart_at_the_same_clock_shows_the_same_registers() -> None:
    async def once() -> bytes:
        meter = sdm(DistrictClock(NOON + 123_456))
        async with MeterServer([meter]) as server:
            return (await poll(server, meter)).values.raw_digest

    assert asyncio.run(once()) == asyncio.run(once())


@pytest.mark.parametrize("name", [name for name, _ in SITES[: len(profile_names())]])
def test_a_value_marked_missing_is_none_never_nought(name: str) -> None:
    async def scenario() -> None:
        meter = SimulatedMeter(load_profile(name), 1, "1", solar_home("1"), DistrictClock(NOON))
        meter.missing = frozenset({"export_total", "power"})
        async with MeterServer([meter]) as server:
            values = (await poll(server, meter)).values
            meter.missing = frozenset()
            again = (await poll(server, meter)).values
        assert values.export_total is None
        assert values.power is None
        # An accumulator goes missing with the scale factor that it shares with its neighbour.
        assert (values.import_total is None) == (name in {"sunspec_meter", "sunspec_inverter"})
        assert (again.import_total is None) == (name == "sunspec_inverter")
        assert again.export_total is not None

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("silence", "expected"),
    [
        (Silence.GATEWAY, MeterOfflineError),
        (Silence.CLOSE, MeterUnreachableError),
        (Silence.DROP, MeterTimeoutError),
    ],
)
def test_a_meter_drops_out_and_returns_by_district_time(
    silence: Silence, expected: type[Exception]
) -> None:
    async def scenario() -> None:
        clock = DistrictClock(NOON - 1)
        out = sdm(clock, 1, [Outage(NOON, NOON + LENGTH_MS, silence)])
        neighbour = sdm(clock, 2)
        async with MeterServer([out, neighbour]) as server:
            await poll(server, out)
            for clock.at_ms in (NOON, NOON + LENGTH_MS - 1):
                started = time.monotonic()
                with pytest.raises(expected):
                    await poll(server, out, timeout_s=0.15 if silence is Silence.DROP else 30)
                assert time.monotonic() - started < 5
                await poll(server, neighbour)
            clock.at_ms = NOON + LENGTH_MS
            values = (await poll(server, out)).values
            assert values.import_total is not None

    asyncio.run(scenario())


def one_register_less(frame: bytes) -> bytes:
    """Shorten an 80-register reply consistently: MBAP length, byte count, data."""
    return frame[:4] + (161).to_bytes(2, "big") + frame[6:8] + bytes([158]) + frame[9:-2]


def test_injected_faults_reach_the_client_and_pass() -> None:
    faults: list[tuple[Fault, type[MeterError]]] = [
        (ExcCodes.ILLEGAL_VALUE, MeterRefusedError),
        (one_register_less, ReplyError),
        (Silence.CLOSE, MeterUnreachableError),
    ]

    async def scenario() -> None:
        meter = sdm(DistrictClock(NOON))
        held = asyncio.Event()

        async def delay(_request: Request) -> Fault:
            await held.wait()
            return None

        def once(fault: Fault) -> Tamper:
            left = [fault]

            async def tamper(request: Request) -> Fault:
                assert (request.unit, request.function, request.count) == (1, 4, 80)
                return left.pop() if left else None

            return tamper

        async with MeterServer([meter]) as server:
            for fault, expected in faults:
                meter.tamper = once(fault)
                with pytest.raises(expected):
                    await poll(server, meter)
                await poll(server, meter)
            meter.tamper = once(ExcCodes.DEVICE_BUSY)
            await poll(server, meter)  # the client backs off and asks again
            meter.tamper = delay
            waiting = asyncio.create_task(poll(server, meter))
            done, _ = await asyncio.wait({waiting}, timeout=0.1)
            assert not done
            held.set()
            await waiting

    asyncio.run(scenario())


def test_only_what_the_meter_has_can_be_read_and_nothing_be_written() -> None:
    async def scenario() -> None:
        meter = sdm(DistrictClock(NOON))
        async with (
            MeterServer([meter]) as server,
            tcp_line(server.port) as bus,
        ):
            for function, address, wanted in ((4, 0x50, 2), (3, 0x00, 2), (4, 0x4F, 2)):
                with pytest.raises(MeterRefusedError):
                    await bus.unit(1).read(function, address, wanted)
            assert len(await bus.unit(1).read(3, 0xFC00, 2)) == 2
            client = AsyncModbusTcpClient("127.0.0.1", port=server.port)
            assert await client.connect()
            assert (await client.write_register(0xFC00, 7, device_id=1)).isError()
            assert (await client.write_registers(0xFC00, [7, 8], device_id=1)).isError()
            assert (await client.read_coils(0, device_id=1)).isError()
            client.close()
            assert await bus.unit(1).read(3, 0xFC00, 2) == [0, 1001]

    asyncio.run(scenario())


def test_fifteen_meters_are_polled_side_by_side() -> None:
    async def scenario() -> None:
        clock = DistrictClock(NOON)
        names = islice(cycle(profile_names()), 15)
        meters = [
            SimulatedMeter(load_profile(name), unit, str(unit), solar_home(str(unit)), clock)
            for unit, name in enumerate(names, start=1)
        ]
        async with MeterServer(meters) as server:
            polls = await asyncio.gather(*(poll(server, meter) for meter in meters))
        for meter, one in zip(meters, polls, strict=True):
            assert one.values.export_total is not None
            behind = meter.curve.export_milli_wh(NOON) // 1000 - one.values.export_total.wh
            assert 0 <= behind <= one.values.resolution_wh

    asyncio.run(scenario())


def test_wrong_set_ups_are_named() -> None:
    clock = DistrictClock(NOON)
    with pytest.raises(SimulatorError, match="not unique"):
        MeterServer([sdm(clock), sdm(clock)])
    with pytest.raises(SimulatorError, match="not running"):
        _ = MeterServer([sdm(clock)]).port
    meter = sdm(clock)
    meter.serial = "A17"
    with pytest.raises(EncodingError, match="digits"):
        meter.still_registers()
    meter.profile = load_profile("sunspec_meter")
    meter.sunspec = SunSpecSite(model=999)
    with pytest.raises(SimulatorError, match="no model 999"):
        meter.register_map()
