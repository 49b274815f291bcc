"""A small district for tests of ingest: points, keys, a gateway, and readings signed by meters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from nacl.signing import SigningKey

from app.clock import SimulatedClock
from app.db import Database
from app.services import enrolment
from app.services.ingest import Door
from app.settings import Settings
from app.tables import DistrictRow, MeteringPointRow, ParticipantRow, TariffRow
from metering.batch import Batch
from metering.identity import gsrn_check_digit
from metering.interval import Interval
from metering.reading import (
    FIRST_PREV,
    Clock,
    Enrolment,
    Measurement,
    Quality,
    Reading,
    SignedReading,
    link,
)
from metering.signing import Purpose, public_key, sign
from tests.app.schema import lay_tables

ORIGIN = "lindenhof.wattloom.example"
START = Interval.parse("2026-06-23T09:00:00Z")
MAX_POWER_W = 10_000
MINUTE_MS = 60_000
GATEWAY = "gateway-1"


def gsrn(number: int) -> str:
    body = f"57{number:015d}"
    return body + gsrn_check_digit(body)


def key_of(number: int) -> SigningKey:
    """A key of its own per number, the same in every run."""
    return SigningKey(number.to_bytes(32, "big"))


@dataclass
class Meter:
    """One enrolled meter: signs readings one minute apart, 100 Wh each, well below its fuse."""

    number: int
    signing_key: SigningKey
    point: str
    signed: list[SignedReading] = field(default_factory=list)

    @property
    def key(self) -> str:
        return public_key(self.signing_key).hex

    @property
    def enrolment(self) -> Enrolment:
        return Enrolment(
            district=ORIGIN,
            point=self.point,
            serial=f"1WLM{self.number:06d}",
            profile="simulated",
            key=public_key(self.signing_key),
            epoch=1,
            valid_from=START,
        )

    def reading(self, seq: int, link_before: str = FIRST_PREV, /, **changes: object) -> Reading:
        moment = START.start_ms + seq * MINUTE_MS
        measurement = Measurement(
            asked_ms=moment - 20,
            answered_ms=moment,
            clock=Clock.SYNCHRONISED,
            import_wh=1_000 + 100 * seq,
            export_wh=None,
            resolution_wh=1,
            power_w=6_000,
            quality=Quality.MEASURED,
            raw="ab" * 32,
        )
        return replace(Reading.of(self.enrolment, measurement, seq, link_before), **changes)

    def sign(self, reading: Reading) -> SignedReading:
        payload = reading.to_payload()
        return SignedReading(payload, sign(self.signing_key, Purpose.READING, payload))

    def chain(self, count: int, **by_seq: dict[str, object]) -> list[SignedReading]:
        """Sign ``count`` readings in a row; ``_3={...}`` changes fields of number 3."""
        signed: list[SignedReading] = []
        prev = FIRST_PREV
        for seq in range(1, count + 1):
            one = self.sign(self.reading(seq, prev, **by_seq.get(f"_{seq}", {})))
            prev = link(one.payload, one.signature)
            signed.append(one)
        return signed


@dataclass
class District:
    """A migrated database with a few enrolled meters, one gateway and a door."""

    url: str
    count: int = 2
    founded: bool = False  # the database holds this district already

    def __post_init__(self) -> None:
        self.settings = Settings(origin=ORIGIN, data=Path("unused"))
        self.clock = SimulatedClock(START.start_ms + 600 * MINUTE_MS)
        self.registry, self.gateway, self.receipt_key = key_of(9_001), key_of(9_002), key_of(9_003)
        self.meters = [Meter(n, key_of(n), gsrn(n)) for n in range(1, self.count + 1)]
        if not self.founded:
            lay_tables(self.database)
            with self.database.write() as session:
                self._found(session)

    @cached_property
    def database(self) -> Database:
        return Database(self.url)

    @cached_property
    def door(self) -> Door:
        return Door(self.database, self.settings, self.receipt_key, self.clock)

    def _found(self, session) -> None:
        session.add(
            DistrictRow(
                origin=ORIGIN,
                name="Lindenhof",
                zone="Europe/Berlin",
                simulated=True,
                clock_ms=self.clock.now_ms(),
                seed=1,
            )
        )
        session.add(
            TariffRow(
                id="t",
                energy_micro_per_kwh=1,
                grid_fee_micro_per_kwh=1,
                vat_ppm=0,
                local_grid_fee_micro_per_kwh=0,
                levy_micro_per_kwh=0,
                feed_in_micro_per_kwh=0,
            )
        )
        session.add(
            ParticipantRow(id="p", name="P", account=1, address="00" * 32, credit_limit_micro=0)
        )
        session.flush()
        for meter in self.meters:
            session.add(
                MeteringPointRow(
                    gsrn=meter.point,
                    name="home",
                    kind="home",
                    feeder="f",
                    participant="p",
                    tariff="t",
                    max_power_w=MAX_POWER_W,
                )
            )
        session.flush()
        enrolment.allow_gateway(session, GATEWAY, public_key(self.gateway))
        for meter in self.meters:
            signed = enrolment.endorse(meter.enrolment, meter.signing_key, self.registry)
            enrolment.enrol(session, ORIGIN, public_key(self.registry), signed)

    def batch(self, *readings: SignedReading) -> Batch:
        return Batch.pack(readings, self.gateway, ORIGIN, GATEWAY, self.clock.now_ms())

    def send(self, *readings: SignedReading):
        return self.door.receive(self.batch(*readings))
