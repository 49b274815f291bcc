"""What checking a proof costs, beside the bare verification of its signatures and the 20 ms limit.

The proof is a real one: the demo runs one interval to make it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Protocol

import pytest
from nacl.bindings import crypto_sign_open
from nacl.signing import SigningKey

from ledger_client.verify import verify_bytes

LIMIT_MS = 20
ROUNDS = 200
# Two readings, two enrolment signatures, the checkpoint and the milestone.
SIGNATURES = 6


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture that is used here."""

    def __call__(self, function: Callable[..., object], *arguments: object) -> object: ...


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    folder = tmp_path_factory.mktemp("proof")
    summary = folder / "summary.json"
    command = ["demo", "--headless", "--intervals", "1", "--speed", "max"]
    command += ["--data", str(folder / "run"), "--summary", str(summary)]
    subprocess.run([sys.executable, "-m", "app.cli", *command], check=True, capture_output=True)
    figures = json.loads(summary.read_text())
    proofs = [Path(path).read_bytes() for path in figures["proofs"]]
    return max(proofs, key=len), Path(figures["keys"]).read_bytes()


def _bare() -> Callable[[], None]:
    key = SigningKey(bytes(range(32)))
    message = b"x" * 500
    signed, public = key.sign(message), bytes(key.verify_key)

    def check() -> None:
        for _ in range(SIGNATURES):
            crypto_sign_open(signed, public)

    return check


def _milliseconds(function: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        function()
        times.append((time.process_time_ns() - began) / 1e6)
    return median(times)


@pytest.mark.benchmark(group="check one proof")
def test_verify(benchmark: Benchmark, files: tuple[bytes, bytes]) -> None:
    benchmark(verify_bytes, *files)


@pytest.mark.benchmark(group="check one proof")
def test_bare_signatures(benchmark: Benchmark) -> None:
    benchmark(_bare())


def test_ratio(files: tuple[bytes, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    ours, bare = _milliseconds(lambda: verify_bytes(*files)), _milliseconds(_bare())
    with capsys.disabled():
        print(
            f"\nproof of {len(files[0]):,} bytes: {ours:.2f} ms = {ours / bare:.1f} x its "
            f"{SIGNATURES} bare signatures = {ours / LIMIT_MS:.2f} x the limit of {LIMIT_MS} ms"
        )
    assert verify_bytes(*files).code == 0
    assert ours < LIMIT_MS
