"""Real runs of the demo in processes of their own, to be killed, and what they have to come to."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger_client.verify import verify_bytes
from tests.app import forked
from tests.app.forked import Working

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

    @contextmanager
    def start(self) -> Iterator[Working]:
        """Start the demo on the folder, whatever an earlier process left there."""
        self.folder.mkdir(exist_ok=True)
        log = self.folder / f"said-{len(list(self.folder.glob('said-*')))}"
        with forked.wattloom(
            log, "demo", "--headless", "--intervals", self.intervals, "--speed", "max",
            "--seed", self.seed, "--data", self.data, "--summary", self.folder / "summary.json",
        ) as working:  # fmt: skip
            yield working

    def finish(self) -> dict[str, Any]:
        """Let a process work to the end; return its summary."""
        with self.start() as working:
            return self.summary(working.end(), working.said())

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


def kill(working: Working, data: Path, moment: Moment, delay_s: float) -> bool:
    """Kill a process ``delay_s`` after the moment came; return False if it was done before."""
    process = working.process
    while process.is_alive() and not moment(data):
        time.sleep(0.002)
    process.join(delay_s)
    process.kill()
    return working.end() < 0


def moments(data: Path, chance: random.Random, work_s: float) -> Iterator[tuple[Moment, float]]:
    """Yield moments to kill at: while things are founded, then in the work and while it pays."""
    yield exists("keys/*.key", chance.randint(1, 5)), 0
    yield exists("district.db"), chance.uniform(0, 0.3)
    yield exists("ledger.db"), chance.uniform(0, 0.1)
    while True:
        yield writes(data, "keys.json"), chance.uniform(0, work_s)  # as soon as all is open
        yield writes(data, "ledger.db-wal"), chance.uniform(0, 0.04)
