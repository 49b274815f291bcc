"""Signed readings per second through the one door, against libsodium's bare verify rate.

One process, batches of 1,000, SQLite with ``synchronous=FULL``: parse, verify, leaf, receipt and
commit. Run: ``pytest benchmarks/bench_ingest.py``; the ratio is printed at the end. The rates are
those of the round that other load disturbed least.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from metering.batch import Batch
from metering.identity import PublicKey
from metering.reading import Reading
from metering.signing import Purpose, verify
from tests.app.doorway import District

METERS = 20
PER_METER = 50
ROUNDS = 8
LEAST_PER_SECOND = 5_000


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
    bare = METERS * PER_METER / min(map(_bare_verify_s, bodies))
    if benchmark.stats is None:  # --benchmark-disable: ran once, nothing was timed
        return
    rate = METERS * PER_METER / benchmark.stats.stats.min
    benchmark.extra_info |= {"readings_per_s": round(rate), "verify_per_s": round(bare)}
    with capsys.disabled():
        line = f"{rate:,.0f} signed readings/s, bare verify {bare:,.0f}/s, ratio {rate / bare:.2f}"
        print(f"\n{line}")
    assert rate >= LEAST_PER_SECOND
