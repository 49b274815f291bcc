"""A backlog drained: how fast a gateway catches up, against the door alone with the same readings.

A hundred meters, one reading a minute: a week is 1,008,000 readings. Signing them all takes longer
than draining, so ``WATTLOOM_BACKLOG`` says how many of a week's hours are measured (6 unless set,
36,000 readings; 168 is the whole week). Over HTTP on loopback, SQLite with ``synchronous=FULL`` on
both sides, receipts checked. Run: ``pytest benchmarks/bench_backlog.py``; the ratio is printed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.clock import RealClock, wall_ms
from app.services.ingest import Door
from benchmarks.memory import peak_megabytes
from metering.batch import MAX_READINGS, Batch
from metering.dispatch import GatewayIdentity
from metering.gateway import Gateway, Options
from metering.reading import Clock, Measurement, Quality
from metering.sender import HttpSender
from metering.signing import public_key
from metering.spool import Spool
from tests.app.box_kit import ROOT, Box, DoorServer, meters, until
from tests.app.served import ORIGIN, Served

METERS = 100
HOURS = int(os.environ.get("WATTLOOM_BACKLOG", "6"))
LEAST_RATIO = 0.4
MOST_MEGABYTES = 80


def _shown(moment_ms: int) -> Measurement:
    return Measurement(
        moment_ms, moment_ms, Clock.SYNCHRONISED, 123_456_789, 12_345_678,
        1, 3_000, Quality.MEASURED, "ab" * 32,
    )  # fmt: skip


def _fill(served: Served, path: Path) -> Spool:
    """Sign a backlog; its rounds are a millisecond apart, since the enrolments are that young."""
    spool, signers = Spool.open(path), served.signers()
    start_ms = signers[0].enrolment.valid_from.start_ms
    for minute in range(HOURS * 60):
        shown = _shown(start_ms + minute)
        spool.append([(signer, shown) for signer in signers])
    return spool


def _bodies(served: Served, spool: Spool) -> Iterator[bytes]:
    """The same readings as the batches that a gateway makes of them."""
    after = 0
    while items := spool.unacknowledged(MAX_READINGS, after):
        yield served.pack([item.reading for item in items]).to_body()
        after = items[-1].id


def _ingest_s(served: Served, bodies: list[bytes]) -> float:
    """Seconds that the door alone takes for all bodies."""
    door = Door(served.database, served.settings, served.keyring.receipt, RealClock())
    start = time.perf_counter()
    for body in bodies:
        assert all(result.status == 200 for result in door.receive(Batch.from_body(body)))
    return time.perf_counter() - start


async def _drain_s(served: Served, spool: Spool, url: str) -> float:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        gateway = Gateway(
            [], spool, HttpSender(url, client),
            GatewayIdentity(ORIGIN, "gateway-1", served.keyring.gateway),
            wall_ms, lambda: Clock.SYNCHRONISED,
            Options(receipt_key=public_key(served.keyring.receipt)),
        )  # fmt: skip
        start = time.perf_counter()
        sent = await gateway.send()
        assert sent.acknowledged == METERS * HOURS * 60
        return time.perf_counter() - start


def test_a_backlog_is_drained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The door is timed on a district of its own with the same keys' readings."""
    count = METERS * HOURS * 60
    alone = Served.found(tmp_path / "a", f"sqlite:///{tmp_path / 'a.db'}", METERS)
    bodies = list(_bodies(alone, _fill(alone, tmp_path / "alone.db")))
    bare = count / _ingest_s(alone, bodies)
    served = Served.found(tmp_path / "b", f"sqlite:///{tmp_path / 'b.db'}", METERS)
    spool = _fill(served, tmp_path / "spool.db")
    with served.running():  # `wattloom serve`, a process of its own as the gateway is one
        until(served.answers)
        rate = count / asyncio.run(_drain_s(served, spool, served.url))
    assert spool.pending() == 0
    with capsys.disabled():
        print(
            f"\nbacklog of {count:,} readings ({HOURS} h of {METERS} meters): {rate:,.0f}/s, the "
            f"door alone {bare:,.0f}/s, ratio {rate / bare:.2f}; a week takes "
            f"{1_008_000 / rate / 60:.1f} min"
        )
    assert rate / bare >= LEAST_RATIO


def test_a_gateway_of_a_hundred_meters_is_small(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served = Served.found(tmp_path / "hof", f"sqlite:///{tmp_path / 'district.db'}", METERS)
    box = Box.laid(tmp_path / "box", served)
    serials = [signer.enrolment.serial for signer in box.signers]
    with meters(serials) as modbus, DoorServer(served).running() as port:
        box.write(f"http://127.0.0.1:{port}", modbus, 1)
        command = [sys.executable, "-m", "metering.box", str(box.file)]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            until(lambda: len(box.rows("1", "state = 'acknowledged'")) >= 10 * METERS)
            peak = peak_megabytes(process.pid)
            process.terminate()
    with capsys.disabled():
        print(f"\na gateway of {METERS} meters at 1 Hz: {peak} MB at its peak")
    assert peak < MOST_MEGABYTES
