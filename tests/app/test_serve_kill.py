"""``kill -9`` of ``wattloom serve`` at random moments, while a real gateway sends.

Every reading that was signed arrives exactly once, in order; what was acknowledged stays, and its
receipt with it; nobody has to lend a hand when it starts again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from sqlmodel import col, func, select

from app.clock import RealClock
from app.services.ingest import Door
from app.tables import EvidenceRow, ReadingRow
from metering.sender import SenderUnavailableError
from metering.spool import Spool
from tests.app.served import Served, measured, until
from tests.conftest import LONG

METERS = 3
MOST_WAITING = 300  # what the meters sign while the server is away
LONGEST_S = 0.25  # that it works before it is killed
Rows = list[tuple[str, int, int, bytes, bytes]]


class Sending:
    """A gateway in a thread of its own: its meters sign all the time, and it sends as it can."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._file = served.folder / "spool.db"
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=lambda: asyncio.run(self._send()))
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    async def _send(self) -> None:
        """Sign and send until told to stop, and then send the rest."""
        spool, signers, shown = Spool.open(self._file), self._served.signers(), 0
        async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
            gateway = self._served.gateway(spool, client)
            while not self._stop.is_set() or spool.pending():
                if not self._stop.is_set() and spool.pending() < MOST_WAITING:
                    shown += 1
                    spool.append([(signer, measured(shown)) for signer in signers])
                try:
                    await gateway.send()
                except SenderUnavailableError:
                    await asyncio.sleep(0.005)
        spool.close()

    def rows(self, where: str = "true") -> Rows:
        """What its spool holds, by chain and number."""
        return self._query(f"SELECT key, epoch, seq, payload, signature FROM reading WHERE {where}")

    def receipts(self) -> dict[tuple[str, int, int], object]:
        """The receipts that it kept."""
        found = self._query("SELECT key, epoch, seq, receipt FROM reading")
        return {tuple(whose): json.loads(receipt) for *whose, receipt in found}

    def _query(self, statement: str) -> Rows:
        with closing(sqlite3.connect(self._file)) as connection:
            return connection.execute(f"{statement} ORDER BY key, epoch, seq").fetchall()


def stored(served: Served) -> Rows:
    row = ReadingRow
    query = select(row.key, row.epoch, row.seq, row.payload, row.signature)
    with served.database.read() as session:
        found = session.exec(query.order_by(row.key, col(row.epoch), col(row.seq)))
        return [tuple(each) for each in found]


def check_arrived(served: Served, sending: Sending) -> None:
    """Everything that was signed stands there once, in order, with the receipt that was given."""
    signed = sending.rows()
    assert stored(served) == signed
    for key in {key for key, *_ in signed}:
        numbers = [seq for each, _, seq, *_ in signed if each == key]
        assert numbers == list(range(1, len(numbers) + 1))
    assert sending.rows("state != 'acknowledged'") == []
    door = Door(served.database, served.settings, served.keyring.receipt, RealClock())
    for (key, epoch, seq), receipt in sending.receipts().items():
        assert door.receipt(key, epoch, seq) == receipt
    with served.database.read() as session:
        assert session.exec(select(func.count()).select_from(EvidenceRow)).one() == 0


def moment_s(kills: int, number: int) -> float:
    """A moment that nothing in the process decides, the same in every run."""
    drawn = hashlib.sha256(f"{kills}/{number}".encode()).digest()
    return LONGEST_S * drawn[0] / 255


def kill_again_and_again(served: Served, kills: int) -> None:
    sending = Sending(served)
    with sending.running():
        for number in range(kills):
            with served.running() as process:
                if number % 4:  # else it is killed while it starts
                    until(lambda alive=process: served.answers() or not alive.is_alive())
                process.join(moment_s(kills, number))
                assert process.exitcode is None, "it ended by itself"
            told = set(sending.rows("state = 'acknowledged'")) if number else set()
            assert told <= set(stored(served))
        with served.running():
            until(lambda: len(sending.rows("state = 'acknowledged'")) > METERS)
            sending._stop.set()
            until(lambda: sending.rows("state = 'pending'") == [])
    check_arrived(served, sending)


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hof' / 'district.db'}"
    return str(request.getfixturevalue("laid_postgres_url"))


@pytest.mark.parametrize(
    ("url", "kills"),
    [
        ("sqlite", 200 if LONG else 10),
        pytest.param("postgresql", 10, marks=pytest.mark.long),
    ],
    indirect=["url"],
)
def test_nothing_signed_is_lost_or_doubled(tmp_path: Path, url: str, kills: int) -> None:
    served = Served.found(tmp_path / "hof", url, METERS)
    kill_again_and_again(served, kills)
    served.database.close()
