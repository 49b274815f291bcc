"""A real district served in a process of its own, to be killed, and its meters' gateway."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import httpx
from sqlmodel import select

from app.clock import wall_ms
from app.db import Database
from app.serve.command import run_serve
from app.services.founding import GATEWAY_NAME, Founding, NewParticipant, NewPoint, found
from app.services.keyring import Keyring
from app.settings import Settings, load_settings
from app.tables import EnrolmentRow
from market.money import Price
from market.tariff import Tariff
from market.tariffs import flat
from metering.batch import Batch
from metering.dispatch import GatewayIdentity
from metering.gateway import Gateway, Options
from metering.identity import PublicKey
from metering.interval import Interval
from metering.reading import Clock, Enrolment, Measurement, Quality, SignedReading
from metering.sender import HttpSender
from metering.signing import public_key
from metering.spool import Signer, Spool
from tests.app import forked
from tests.app.doorway import gsrn
from tests.app.schema import lay_tables

ORIGIN = "hof.wattloom.example"
WAIT_S = 60.0
TARIFF = Tariff(Price(1), Price(1), Price(0), Price(0), Price(0), 0)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


@dataclass(frozen=True)
class Served:
    """A district's folder and the address at which each of its processes serves, one by one."""

    folder: Path
    database_url: str
    port: int
    meters: int

    @classmethod
    def found(cls, folder: Path, database_url: str, meters: int, since_s: int = 0) -> Served:
        """Lay down settings, keys and a real district whose meters are enrolled for ``since_s``."""
        served = cls(folder, database_url, free_port(), meters)
        folder.mkdir(mode=0o700)
        served.file.write_text(
            f'origin = "{ORIGIN}"\ndata = "{folder}"\ndatabase_url = "{database_url}"\n'
            f'port = {served.port}\nnetwork = "wattloom-hof"\n'
        )
        lay_tables(served.database)
        points = [_point(number) for number in range(1, meters + 1)]
        founding = Founding(
            {"t": flat(TARIFF)},
            [NewParticipant("p", "P", 0, points)],
            Interval.containing_ms(wall_ms() - since_s * 1000),
            simulated=False,
            seed=0,
        )
        with served.database.write() as session:
            found(session, served.settings, served.keyring, founding)
        return served

    @property
    def file(self) -> Path:
        return self.folder / "district.toml"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def settings(self) -> Settings:
        return load_settings(self.file)

    @cached_property
    def database(self) -> Database:
        return Database(self.database_url)

    @cached_property
    def keyring(self) -> Keyring:
        return Keyring.open(self.folder / "keys")

    # Its processes ------------------------------------------------------------------------------

    @contextmanager
    def running(self, *, working: bool = True) -> Iterator[ForkServerProcess]:
        """Run ``wattloom serve`` until the context ends: by then it is killed, if nobody did."""
        serve = partial(run_serve, self.file, {}, working=working)
        with forked.running(self.folder / "serve.log", serve) as served:
            yield served.process

    def answers(self) -> bool:
        """Whether it takes requests."""
        try:
            return httpx.get(f"{self.url}/api/v1/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    # Its meters ---------------------------------------------------------------------------------

    def signers(self) -> list[Signer]:
        """The meters as their gateway holds them."""
        with self.database.read() as session:
            rows = session.exec(select(EnrolmentRow).order_by(EnrolmentRow.point)).all()
        return [
            Signer(
                Enrolment(
                    ORIGIN, row.point, row.serial, row.profile, PublicKey.parse(row.key),
                    row.epoch, Interval.parse(row.valid_from),
                ),
                self.keyring.meter(row.serial),
            )
            for row in rows
        ]  # fmt: skip

    def gateway(self, spool: Spool, client: httpx.AsyncClient) -> Gateway:
        """A real gateway without lines: what is appended to its spool, it sends."""
        return Gateway(
            [],
            spool,
            HttpSender(self.url, client),
            GatewayIdentity(ORIGIN, GATEWAY_NAME, self.keyring.gateway),
            wall_ms,
            lambda: Clock.SYNCHRONISED,
            Options(receipt_key=public_key(self.keyring.receipt)),
        )

    def pack(self, readings: Sequence[SignedReading]) -> Batch:
        """A batch as the gateway signs it."""
        return Batch.pack(readings, self.keyring.gateway, ORIGIN, GATEWAY_NAME, wall_ms())


def measured(import_wh: int) -> Measurement:
    """What a meter shows now."""
    now = wall_ms()
    return Measurement(
        asked_ms=now,
        answered_ms=now,
        clock=Clock.SYNCHRONISED,
        import_wh=import_wh,
        export_wh=None,
        resolution_wh=1,
        power_w=0,
        quality=Quality.MEASURED,
        raw="ab" * 32,
    )


def _point(number: int) -> NewPoint:
    return NewPoint(
        gsrn=gsrn(number), name=f"home {number}", kind="home", feeder="f", max_power_w=10_000,
        serial=f"1WLM{number:06}", profile="simulated",
    )  # fmt: skip
