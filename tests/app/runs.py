"""Real runs of the demo in processes of their own, to be killed, and what they have to come to."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger_client.verify import verify_bytes

ROOT = Path(__file__).parents[2]
INTERVALS = 4
# What a run that was killed and went on shares with one that never was; the others count how often
# something was tried, say where files are, or when.
EQUAL = (
    "intervals", "participants", "metering_points", "trades", "traded_wh", "local_share",
    "import_wh", "export_wh", "saving_micro", "balances_micro", "interval_states",
    "postings_sum_micro", "journal_minus_ledger_micro", "readings_rejected",
)  # fmt: skip
TRADES = "SELECT interval, number, seller_order, buyer_order, wh, amount_micro FROM trade"
POSTINGS = (
    "SELECT ref, kind, account, micro FROM posting JOIN journal_entry e ON e.id = posting.entry"
)
SEALS = "SELECT count(*) FROM log_entry WHERE CAST(entry AS TEXT) LIKE 'wattloom-entry-seal-%'"


@dataclass(frozen=True)
class Run:
    """One data folder and the processes that work in it, one after the other."""

    folder: Path
    seed: int = 1
    intervals: int = INTERVALS

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> subprocess.Popen[str]:
        """Start the demo on the folder, whatever an earlier process left there."""
        self.folder.mkdir(exist_ok=True)
        command = (
            f"{sys.executable} -m app.cli demo --headless --intervals {self.intervals} --speed max "
            f"--seed {self.seed} --data {self.data} --summary {self.folder / 'summary.json'}"
        )
        return subprocess.Popen(
            command.split(), cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )

    def finish(self) -> dict[str, Any]:
        """Let a process work to the end; return its summary."""
        with self.start() as process:
            _, said = process.communicate(timeout=240)
        return self.summary(process.returncode, said)

    def summary(self, code: int, said: str) -> dict[str, Any]:
        assert code == 0, said
        return json.loads((self.folder / "summary.json").read_text())

    # What is on disk ----------------------------------------------------------------------------

    @contextmanager
    def disk(self) -> Iterator[Callable[[str, str], list[tuple[object, ...]]]]:
        """Yield a query on copies of the databases: looking does not recover the originals."""
        with tempfile.TemporaryDirectory(dir=self.folder) as copy:
            for file in self.data.glob("*.db*"):
                shutil.copy(file, copy)

            def query(name: str, statement: str) -> list[tuple[object, ...]]:
                path = Path(copy) / name
                if not path.exists():
                    return []
                with closing(sqlite3.connect(path)) as connection:
                    return connection.execute(statement).fetchall()

            yield query

    def check_acknowledged(self) -> int:
        """Every reading that the gateway takes for acknowledged is stored, byte for byte."""
        columns = "key, epoch, seq, payload, signature FROM reading"
        with self.disk() as query:
            if not query("spool.db", "SELECT 1 FROM sqlite_master WHERE name = 'reading'"):
                return 0
            told = query("spool.db", f"SELECT {columns} WHERE state = 'acknowledged'")
            assert set(told) <= set(query("district.db", f"SELECT {columns}"))
            assert query("spool.db", "SELECT count(*) FROM reading WHERE state = 'dead'") == [(0,)]
        return len(told)

    def books(self) -> dict[str, list[tuple[object, ...]]]:
        """Return trades and postings, which no kill may change."""
        with self.disk() as query:
            return {
                "trades": sorted(query("district.db", TRADES)),
                "postings": sorted(query("district.db", POSTINGS)),
                "seals": query("district.db", SEALS),
                "payments": sorted(query("district.db", "SELECT ref, state FROM payment")),
            }


def check_same(run: Run, figures: dict[str, Any], calm_run: Run, calm: dict[str, Any]) -> None:
    """A run that was killed has to come to what one that never was comes to."""
    assert {name: figures[name] for name in EQUAL} == {name: calm[name] for name in EQUAL}
    assert run.books() == calm_run.books()
    assert figures["postings_sum_micro"] == figures["journal_minus_ledger_micro"] == 0
    ledger = figures["ledger"]
    assert ledger["supply_units"] == ledger["supply_expected_units"]
    assert ledger["transfers_confirmed"] == calm["ledger"]["transfers_confirmed"]
    assert run.check_acknowledged() > 0
    assert not list(run.data.glob("proofs/.*.draft"))
    keys = Path(figures["keys"]).read_bytes()
    assert len(figures["proofs"]) == len(calm["proofs"])
    for proof in figures["proofs"]:
        verdict = verify_bytes(Path(proof).read_bytes(), keys)
        assert verdict.code == 0, verdict


# --- When to kill --------------------------------------------------------------------------------

Moment = Callable[[Path], bool]
"""Tells, from what is in the data folder, whether a process has come to where it may be killed."""


def exists(name: str, count: int = 1) -> Moment:
    """When so many files of a name are there."""
    return lambda data: len(list(data.glob(name))) >= count


def writes(data: Path, name: str) -> Moment:
    """When a process has written a file that an earlier one may have left."""
    before = _written(data / name)
    return lambda data: _written(data / name) != before


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def kill(process: subprocess.Popen[str], data: Path, moment: Moment, delay_s: float) -> bool:
    """Kill a process ``delay_s`` after the moment came; return False if it was done before."""
    while process.poll() is None and not moment(data):
        time.sleep(0.002)
    try:
        process.wait(timeout=delay_s)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    return process.returncode < 0


def moments(data: Path, chance: random.Random, work_s: float) -> Iterator[tuple[Moment, float]]:
    """Yield moments to kill at: while things are founded, then in the work and while it pays."""
    yield exists("keys/*.key", chance.randint(1, 5)), 0
    yield exists("district.db"), chance.uniform(0, 0.3)
    yield exists("ledger.db"), chance.uniform(0, 0.1)
    while True:
        yield writes(data, "keys.json"), chance.uniform(0, work_s)  # as soon as all is open
        yield writes(data, "ledger.db-wal"), chance.uniform(0, 0.04)
