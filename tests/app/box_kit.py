"""Real gateways in processes of their own, with real meters before and a real door behind them.

The meters answer over Modbus TCP, the door over HTTP.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from sqlmodel import select

from app.api import events, readings
from app.clock import RealClock, wall_ms
from app.services.events import EventDoor
from app.services.ingest import Door
from app.services.waiting import WaitingReadings
from app.tables import EvidenceRow, ReadingRow
from metering.box.keys import READ_ONLY
from metering.box.main import main
from metering.profiles import load_profile
from metering.reading import SignedReading
from metering.receipt import Receipt
from metering.signing import public_key
from metering.simulator import MeterServer, SimulatedMeter
from metering.spool import Signer
from tests.app import forked
from tests.app.forked import Working
from tests.app.served import ORIGIN, Served, free_port

PROFILE = "sunspec_meter"  # it shows serials that have letters
WAIT_S = 60.0
ROOT = Path(__file__).parents[2]
Rows = list[tuple]


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


@dataclass(frozen=True)
class Steady:
    """Counts 3,000 W since the beginning of 2026."""

    def import_milli_wh(self, at_ms: int) -> int:
        return (at_ms - 1_767_225_600_000) * 3_000 // 3_600

    def export_milli_wh(self, at_ms: int) -> int:
        return 0

    def power_w(self, at_ms: int) -> int:
        return 3_000


@contextmanager
def in_a_loop(start: Callable[[asyncio.Event, Callable[[int], None]], object]) -> Iterator[int]:
    """Run ``start(stop, ready)`` in a thread of its own; yield the port that it is ready at."""
    ports: list[int] = []
    ready = threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    def on_ready(port: int) -> None:
        ports.append(port)
        ready.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(start(stop, on_ready)))
    thread.start()
    try:
        assert ready.wait(WAIT_S)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@contextmanager
def meters(serials: list[str]) -> Iterator[int]:
    """Serve simulated meters, units 1 and up; yield their port."""
    profile = load_profile(PROFILE)

    async def serve(stop: asyncio.Event, ready: Callable[[int], None]) -> None:
        simulated = [
            SimulatedMeter(profile, unit, serial, Steady(), wall_ms)
            for unit, serial in enumerate(serials, start=1)
        ]
        async with MeterServer(simulated) as server:
            ready(server.port)
            await stop.wait()

    with in_a_loop(serve) as port:
        yield port


@dataclass
class DoorServer:
    """The district's door over HTTP, in this process; ``away`` makes it answer 503."""

    served: Served
    away: bool = False

    @contextmanager
    def running(self) -> Iterator[int]:
        served = self.served
        door = Door(served.database, served.settings, served.keyring.receipt, RealClock())
        app = FastAPI()
        app.include_router(events.build_router(EventDoor(served.database, ORIGIN, RealClock())))
        app.include_router(readings.build_router(door, WaitingReadings(64 * 2**20, 20_000)))

        @app.middleware("http")
        async def leave(request: Request, go_on) -> Response:
            return Response(status_code=503) if self.away else await go_on(request)

        async def serve(stop: asyncio.Event, ready: Callable[[int], None]) -> None:
            port = free_port()
            config = uvicorn.Config(
                app, port=port, log_level="error", lifespan="off", timeout_graceful_shutdown=1
            )
            server = uvicorn.Server(config)
            task = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.005)
            ready(port)
            await stop.wait()
            server.should_exit = True
            await task

        with in_a_loop(serve) as port:
            yield port


@dataclass(frozen=True)
class Box:
    """One gateway's folder: settings, keys, spool."""

    folder: Path
    served: Served
    signers: list[Signer] = field(default_factory=list)

    @classmethod
    def laid(cls, folder: Path, served: Served) -> Box:
        """Lay down the keys that the district's founding made."""
        box = cls(folder, served, served.signers())
        (folder / "keys").mkdir(parents=True, mode=0o700)
        keys = {"gateway": served.keyring.gateway} | {
            signer.enrolment.serial: signer.key for signer in box.signers
        }
        for name, key in keys.items():
            path = folder / "keys" / f"{name}.key"
            path.write_text(bytes(key).hex())
            path.chmod(READ_ONLY)
        return box

    @property
    def file(self) -> Path:
        return self.folder / "gateway.toml"

    @property
    def spool(self) -> Path:
        return self.folder / "data" / "spool.db"

    def write(self, url: str, modbus_port: int, every_s: float, status_port: int = 0) -> None:
        """Write the settings."""
        receipt_key = public_key(self.served.keyring.receipt).hex
        head = f"""
district = "{ORIGIN}"
name = "gateway-1"
[server]
url = "{url}"
receipt_key = "{receipt_key}"
[clock]
source = "server"
[status]
port = {status_port}
[readings]
every_s = {every_s}
live_every_s = 1
[limits]
disk_free_mib = 0
[[line]]
name = "bus"
kind = "tcp"
host = "127.0.0.1"
port = {modbus_port}
"""
        tables = [
            f'[[meter]]\npoint = "{one.enrolment.point}"\nserial = "{one.enrolment.serial}"\n'
            f'profile = "{PROFILE}"\nline = "bus"\nunit = {unit}\n'
            f'key_file = "keys/{one.enrolment.serial}.key"\n'
            f'valid_from = "{one.enrolment.valid_from.key}"\n'
            for unit, one in enumerate(self.signers, start=1)
        ]
        self.file.write_text(head + "\n".join(tables))

    def running(self) -> AbstractContextManager[Working]:
        """Run the gateway until the context ends: by then it is killed, if it did not end."""
        return forked.running(self.folder / "log", partial(main, [str(self.file)]))

    def rows(self, what: str, where: str = "true") -> Rows:
        """Ask the spool without disturbing it; nothing where there is none yet."""
        if not self.spool.exists():
            return []
        with closing(sqlite3.connect(f"{self.spool.as_uri()}?mode=ro", uri=True)) as file:
            try:
                return file.execute(f"SELECT {what} FROM reading WHERE {where}").fetchall()
            except sqlite3.OperationalError:  # the process was killed before it made the table
                return []

    def check_arrived(self) -> int:
        """Everything signed stands in the district once, in order, under the receipt kept here."""
        signed = self.rows("key, epoch, seq, payload, signature, receipt", "true ORDER BY id")
        with self.served.database.read() as session:
            row = ReadingRow
            query = select(row.key, row.epoch, row.seq, row.payload, row.signature)
            stored = [tuple(one) for one in session.exec(query.order_by(row.id))]
            assert session.exec(select(EvidenceRow)).all() == []
        assert sorted(stored) == sorted(one[:5] for one in signed)
        for key in {one[0] for one in signed}:
            in_order = [one[2] for one in stored if one[0] == key]
            assert in_order == list(range(1, len(in_order) + 1)), "not once and in order"
        receipt_key = public_key(self.served.keyring.receipt)
        for *_, payload, signature, receipt in signed:
            promise = Receipt.parse(json.loads(receipt))
            promise.check(SignedReading(payload, signature), ORIGIN, receipt_key)
        return len(signed)
