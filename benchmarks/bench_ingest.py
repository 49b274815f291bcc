"""Signed readings per second through the one door, against libsodium's bare verify rate.

Run: ``pytest benchmarks/bench_ingest.py`` (``make bench``). First the door alone on SQLite, then
behind HTTP as it is served: `wattloom serve` in a process of its own, batches of 1,000, durable
(``synchronous=FULL``, PostgreSQL with ``fsync``), receipts included. At last 10,000 meters whose
readings arrive at once. Ratios are to the bare verify rate of one core, measured in the same run,
and to the limit of 3 s. The rates are those of the round that other load disturbed least.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from nacl.signing import SigningKey
from pytest_benchmark.fixture import BenchmarkFixture
from sqlmodel import col, insert, select

from app.clock import wall_ms
from app.tables import EnrolmentRow, MeteringPointRow
from metering.batch import Batch
from metering.identity import PublicKey
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
from metering.signing import Purpose, public_key, sign, verify
from metering.spool import Signer
from tests.app.doorway import District, gsrn
from tests.app.served import Served, until
from tests.conftest import SERVER_OPTIONS, PostgresCluster, running_postgres

METERS = 20
PER_METER = 50
ROUNDS = 8
LEAST_PER_SECOND = 5_000
LEAST_RATIO = 0.3
AT_ONCE = 4  # connections
CROWD, PER_GATEWAY = 10_000, 250
CROWD_LIMIT_S = 3.0
SINCE_S = 3_600
DURABLE = {**SERVER_OPTIONS, "fsync": "on", "full_page_writes": "on"}


def _bare_verify_s(body: bytes) -> float:
    """Seconds to verify the signatures of a batch, with nothing else around them."""
    signed = Batch.from_body(body).readings
    keys = [PublicKey.parse(Reading.from_payload(each.payload).key) for each in signed]
    start = time.perf_counter()
    held = [
        verify(key, Purpose.READING, each.payload, each.signature)
        for key, each in zip(keys, signed, strict=True)
    ]
    taken = time.perf_counter() - start
    assert all(held)
    return taken


def _bare_per_s(bodies: Sequence[bytes]) -> float:
    return METERS * PER_METER / min(map(_bare_verify_s, bodies))


# --- The door alone ------------------------------------------------------------------------------


@pytest.mark.benchmark(group="ingest")
def test_readings_per_second(
    benchmark: BenchmarkFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    district = District(f"sqlite:///{tmp_path / 'bench.db'}", count=METERS)
    chains = [meter.chain(PER_METER * ROUNDS) for meter in district.meters]
    bodies = [
        district.batch(*(one for chain in chains for one in chain[at : at + PER_METER])).to_body()
        for at in range(0, PER_METER * ROUNDS, PER_METER)
    ]
    waiting = iter(bodies)

    def ingest() -> None:
        results = district.door.receive(Batch.from_body(next(waiting)))
        assert all(result.status == 200 for result in results)

    benchmark.pedantic(ingest, rounds=ROUNDS - 1, warmup_rounds=1)
    bare = _bare_per_s(bodies)
    if benchmark.stats is None:  # --benchmark-disable: ran once, nothing was timed
        return
    rate = METERS * PER_METER / benchmark.stats.stats.min
    benchmark.extra_info |= {"readings_per_s": round(rate), "verify_per_s": round(bare)}
    with capsys.disabled():
        line = f"{rate:,.0f} signed readings/s, bare verify {bare:,.0f}/s, ratio {rate / bare:.2f}"
        print(f"\n{line}")
    assert rate >= LEAST_PER_SECOND


# --- Behind HTTP ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def durable_cluster() -> Iterator[PostgresCluster]:
    with running_postgres(DURABLE) as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hof' / 'district.db'}"
    cluster: PostgresCluster = request.getfixturevalue("durable_cluster")
    name = f"bench_{tmp_path.name}".replace("-", "_").lower()
    cluster.execute(f'CREATE DATABASE "{name}"')
    return cluster.url(name)


def _chain(signer: Signer, count: int) -> list[SignedReading]:
    """Readings in a row, one a second from an hour ago on."""
    signed: list[SignedReading] = []
    prev, start_ms = FIRST_PREV, wall_ms() - (SINCE_S - 900) * 1000
    for seq in range(1, count + 1):
        moment = start_ms + seq * 1000
        values = Measurement(
            asked_ms=moment - 20, answered_ms=moment, clock=Clock.SYNCHRONISED, import_wh=seq,
            export_wh=None, resolution_wh=1, power_w=3_600, quality=Quality.MEASURED, raw="ab" * 32,
        )  # fmt: skip
        payload = Reading.of(signer.enrolment, values, seq, prev).to_payload()
        signature = sign(signer.key, Purpose.READING, payload)
        prev = link(payload, signature)
        signed.append(SignedReading(payload, signature))
    return signed


async def _post_all(served: Served, bodies: Sequence[bytes], at_once: int) -> float:
    """Post bodies over so many connections; return the seconds until the last answer."""
    waiting = iter(bodies)

    async def sender(client: httpx.AsyncClient) -> None:
        for body in waiting:
            answer = await client.post(f"{served.url}/api/v1/readings", content=body)
            assert answer.status_code == 200, answer.text[:300]
            assert b'"error"' not in answer.content

    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as client:
        start = time.perf_counter()
        await asyncio.gather(*(sender(client) for _ in range(at_once)))
        return time.perf_counter() - start


def _cpu_s(pid: int | None) -> float:
    """Seconds of CPU that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_readings_per_second_behind_http(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    served = Served.found(tmp_path / "hof", url, METERS, SINCE_S)
    chains = [_chain(signer, PER_METER * (2 * ROUNDS + 1)) for signer in served.signers()]
    bodies = [
        served.pack([one for chain in chains for one in chain[at : at + PER_METER]]).to_body()
        for at in range(0, len(chains[0]), PER_METER)
    ]
    bare = _bare_per_s(bodies)
    found: list[tuple[float, float]] = []
    with served.running(working=False) as process:
        until(served.answers)
        asyncio.run(_post_all(served, bodies[:1], 1))
        for first in (1, 1 + ROUNDS):
            before = _cpu_s(process.pid)
            taken = asyncio.run(_post_all(served, bodies[first : first + ROUNDS], AT_ONCE))
            cores = (_cpu_s(process.pid) - before) / taken
            found.append((ROUNDS * METERS * PER_METER / taken, cores))
    rate, cores = max(found)
    with capsys.disabled():
        print(f"\n{served.database.engine.dialect.name} behind HTTP: {rate:,.0f} readings/s, bare ")
        print(f"verify {bare:,.0f}/s, ratio {rate / bare:.2f}; the server had {cores:.2f} cores: ")
        print(f"per core of it {rate / cores:,.0f}/s, ratio {rate / cores / bare:.2f}")
    served.database.close()
    assert rate >= LEAST_RATIO * bare


# --- Ten thousand meters at once -----------------------------------------------------------------


def _crowd(served: Served) -> list[Signer]:
    """Enrol ten thousand meters by their rows alone, since signing all that takes minutes."""
    model = served.signers()[0].enrolment
    keys = [SigningKey(number.to_bytes(32, "big")) for number in range(1, CROWD + 1)]
    signers = [
        Signer(
            Enrolment(
                model.district, gsrn(100_000 + number), f"C{number:06}", model.profile,
                public_key(key), 1, model.valid_from,
            ),
            key,
        )
        for number, key in enumerate(keys)
    ]  # fmt: skip
    with served.database.write() as session:
        point = session.exec(select(MeteringPointRow)).one().model_dump()
        rows = [point | {"gsrn": each.enrolment.point} for each in signers]
        session.connection().execute(insert(MeteringPointRow), rows)
        enrolments = [
            {
                "key": each.enrolment.key.hex, "point": each.enrolment.point,
                "serial": each.enrolment.serial, "profile": model.profile, "epoch": 1,
                "valid_from": model.valid_from.key, "log_index": 1_000_000 + number,
            }
            for number, each in enumerate(signers)
        ]  # fmt: skip
        session.connection().execute(insert(EnrolmentRow), enrolments)
        assert session.exec(select(col(EnrolmentRow.id))).first()
    return signers


def test_ten_thousand_meters_at_once(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    served = Served.found(tmp_path / "hof", url, 1, SINCE_S)
    chains = [_chain(signer, 3) for signer in _crowd(served)]

    def bodies(number: int) -> list[bytes]:
        readings = [chain[number] for chain in chains]
        return [
            served.pack(readings[at : at + PER_GATEWAY]).to_body()
            for at in range(0, CROWD, PER_GATEWAY)
        ]

    gateways = CROWD // PER_GATEWAY
    with served.running(working=False) as process:
        until(served.answers)
        taken = [asyncio.run(_post_all(served, bodies(number), gateways)) for number in range(3)]
        cpu_s = _cpu_s(process.pid) / len(taken)
    with capsys.disabled():
        name = served.database.engine.dialect.name
        told = ", ".join(f"{each:.2f}" for each in taken)
        print(f"\n{name}: {CROWD:,} meters' readings from {gateways} gateways at once are durable ")
        print(f"after {told} s, ratio {min(taken) / CROWD_LIMIT_S:.2f} of {CROWD_LIMIT_S} s; ")
        print(f"{cpu_s:.2f} s of CPU each in the server")
    served.database.close()
    assert min(taken) <= CROWD_LIMIT_S
