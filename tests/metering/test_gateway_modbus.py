"""The whole way over real Modbus TCP: registers, reading, signature, spool, batch."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from nacl.signing import SigningKey

from metering.dispatch import GatewayIdentity
from metering.gateway import Gateway
from metering.identity import gsrn_check_digit
from metering.interval import LENGTH_MS, Interval
from metering.lines.config import TcpLine
from metering.lines.line import open_line
from metering.loadcurves import NetCurve, roof, yearly_load
from metering.poller import Meter
from metering.profiles import Role, load_profile, profile_names
from metering.reading import Clock, Enrolment, Quality, Reading
from metering.sender import ItemResult, SenderUnavailableError
from metering.signing import Purpose, public_key, verify
from metering.simulator import MeterServer, Outage, Silence, SimulatedMeter
from metering.spool import Signer, Spool

BORDER = Interval.parse("2026-06-23T10:00:00Z")
SILENT_S = 1.0


@dataclass
class Clockwork:
    ms: int = BORDER.start_ms + 40

    def now_ms(self) -> int:
        return self.ms


def curve(serial: str) -> NetCurve:
    return NetCurve(
        [yearly_load("H0-A", annual_kwh=4_000), roof("PV1", peak_w=9_000)], serial=serial
    )


def enrolled(number: int, profile: str, serial: str) -> Signer:
    key = SigningKey(bytes([number]) * 32)
    body = f"7070575000000{number:04d}"
    return Signer(
        Enrolment(
            "lindenhof.example", body + gsrn_check_digit(body), serial, profile,
            public_key(key), 1, BORDER,
        ),
        key,
    )  # fmt: skip


@dataclass
class Bench:
    """One simulated meter of every profile, each behind its own port, and a gateway."""

    clock: Clockwork = field(default_factory=Clockwork)
    signers: list[Signer] = field(default_factory=list)
    simulated: list[SimulatedMeter] = field(default_factory=list)

    async def build(self, stack: AsyncExitStack, folder: Path) -> Gateway:
        meters = []
        for number, name in enumerate(profile_names(), start=1):
            serial = str(1_000 + number)
            signer = enrolled(number, name, serial)
            simulated = SimulatedMeter(
                load_profile(name), number, serial, curve(serial), self.clock.now_ms
            )
            server = await stack.enter_async_context(MeterServer([simulated]))
            config = TcpLine(
                name=name, host="127.0.0.1", port=server.port, timeout_ms=round(SILENT_S * 1000)
            )
            line = await stack.enter_async_context(open_line(config))
            source = line.meter(number, self.clock.now_ms, tries=1)
            meters.append(Meter(signer, source, simulated.profile))
            self.signers.append(signer)
            self.simulated.append(simulated)
        return Gateway(
            meters, Spool.open(folder / "spool.db"), NoRoad(),
            GatewayIdentity("lindenhof.example", "gw-1", SigningKey(b"\x09" * 32)),
            self.clock.now_ms, lambda: Clock.SYNCHRONISED,
        )  # fmt: skip


class NoRoad:
    """The server is away."""

    async def post(self, batch: object) -> list[ItemResult]:
        raise SenderUnavailableError("nobody there")


async def two_borders(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        bench = Bench()
        gateway = await bench.build(stack, folder)
        dead = bench.simulated[0]
        dead.outages = [Outage(BORDER.end_ms, BORDER.end_ms + LENGTH_MS, Silence.DROP)]
        assert not (await gateway.poll_round(border=True)).missing
        bench.clock.ms += LENGTH_MS
        assert (await gateway.poll_round(border=True)).missing == (
            bench.signers[0].enrolment.point,
        )
        check(bench, gateway)


def check(bench: Bench, gateway: Gateway) -> None:
    """Every reading is signed and says what its meter's curve counted, within its resolution."""
    items = gateway.spool.unacknowledged()
    assert len(items) == 2 * len(bench.signers) - 1
    meters = {
        s.enrolment.point: (s, m) for s, m in zip(bench.signers, bench.simulated, strict=True)
    }
    for item in items:
        reading = Reading.from_payload(item.reading.payload)
        signer, meter = meters[reading.point]
        key = signer.enrolment.key
        assert verify(key, Purpose.READING, item.reading.payload, item.reading.signature)
        assert (reading.meter, reading.quality) == (meter.serial, Quality.MEASURED)
        for total, counted in (
            (reading.import_wh, meter.curve.import_milli_wh(reading.answered_ms)),
            (reading.export_wh, meter.curve.export_milli_wh(reading.answered_ms)),
        ):
            if total is None:
                assert meter.profile.role is Role.PRODUCTION, meter.profile.name
                continue
            assert 0 <= counted // 1_000 - total <= reading.resolution_wh, meter.profile.name


def test_every_profile_is_read_signed_and_spooled(tmp_path: Path) -> None:
    asyncio.run(two_borders(tmp_path))
