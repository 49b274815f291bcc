"""Signed batches with other bytes through the whole application: none is taken, none breaks it."""

from __future__ import annotations

import asyncio
import gc
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlmodel import select
from starlette.types import ASGIApp, Message

from app.main import create_app
from app.services.house import House
from app.services.keyring import Keyring
from app.services.live import LiveBoard
from app.services.sessions import SessionStore
from app.services.views import DatabaseViews
from app.tables import ReadingRow
from ledger_client.ledger import Ledger
from metering.reading import SignedReading
from tests.app.doorway import District
from tests.app.mutations import BODIES, FORGED, RAW, mutated_reading
from tests.conftest import LONG

PATH = "/api/v1/readings"
AT_ONCE, ITEMS = 25, 100
EXAMPLES = 800 if LONG else 16  # of 125 mutations each: 100,000, and 2,000
MOST_GROWTH_BYTES = 150 * 2**20
REFUSALS = {400, 401, 403, 413}


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


def spare_the_disk(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


@dataclass
class Target:
    """The application of a district, asked without a network, and what it may take."""

    app: ASGIApp
    district: District
    runner: asyncio.Runner
    valid: list[SignedReading] = field(init=False)

    def __post_init__(self) -> None:
        self.valid = [each for meter in self.district.meters for each in meter.chain(6)]
        self.body = self.district.batch(*self.valid).to_body()

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        return self.runner.run(self._post(body))

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        headers = {"host": "localhost", "content-length": str(len(body))}
        scope = {
            "type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode(),
            "query_string": b"", "scheme": "http", "http_version": "1.1", "root_path": "",
            "server": ("localhost", 80), "client": ("127.0.0.1", 9), "extensions": {},
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        await self.app(scope, receive, send)
        return sent[0]["status"], b"".join(each["body"] for each in sent[1:])

    def stored(self) -> set[tuple[bytes, bytes]]:
        with self.district.database.read() as session:
            rows = session.exec(select(ReadingRow.payload, ReadingRow.signature))
            return {(payload, signature) for payload, signature in rows}

    def check_nothing_taken(self) -> None:
        """Whatever is stored is, to the byte, what a meter signed."""
        assert self.stored() <= {(each.payload, each.signature) for each in self.valid}


@pytest.fixture(scope="module")
def target(founded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("mutated")
    copy = folder / "district.db"
    copy.write_bytes(founded.read_bytes())
    district = District(f"sqlite:///{copy}", founded=True)
    event.listen(district.database.engine, "connect", spare_the_disk)
    keyring, ledger = Keyring.open(folder / "keys"), cast("Ledger", None)  # no route asks it
    house = House(district.settings, district.database, keyring, district.clock, ledger)
    board = LiveBoard()
    views = DatabaseViews(house, board, frozenset(), "", ())
    app = create_app(house, board, views, SessionStore(house.database, None))
    with asyncio.Runner() as runner:
        yield Target(app, district, runner)
    district.database.close()


@given(
    chance=st.randoms(use_true_random=True),
    names=st.lists(st.sampled_from(sorted(BODIES)), min_size=AT_ONCE, max_size=AT_ONCE),
)
@settings(max_examples=EXAMPLES)
def test_no_mutated_body_is_taken(target: Target, chance: Random, names: Sequence[str]) -> None:
    for name in names:
        body = BODIES[name](target.body, chance)
        status, answer = target.post(body)
        assert status in REFUSALS | {200}, (name, status, answer[:300])
    target.check_nothing_taken()


@given(
    chance=st.randoms(use_true_random=True),
    kinds=st.lists(
        st.tuples(st.sampled_from(sorted(RAW)), st.sampled_from(sorted(FORGED))),
        min_size=ITEMS,
        max_size=ITEMS,
    ),
)
@settings(max_examples=EXAMPLES)
def test_no_mutated_reading_is_taken(
    target: Target, chance: Random, kinds: Sequence[tuple[str, str]]
) -> None:
    forged = [
        mutated_reading(target.district, chance.choice(target.valid), *kind, chance)
        for kind in kinds
    ]
    real = {(each.payload, each.signature) for each in target.valid}
    status, answer = target.post(target.district.batch(*forged).to_body())
    assert status == 200, answer
    results = json.loads(answer)["results"]
    for kind, each, result in zip(kinds, forged, results, strict=True):
        taken = (each.payload, each.signature) in real
        assert (result["status"] == 200) == taken, (kind, result)
        assert result["status"] in REFUSALS | {200}, (kind, result)
    target.check_nothing_taken()


def test_the_real_one_is_taken_after_all_that(target: Target) -> None:
    status, answer = target.post(target.body)
    assert status == 200
    assert answer.count(b'"receipt"') == len(target.valid)
    target.check_nothing_taken()


@pytest.mark.long
@given(chance=st.randoms(use_true_random=True))
@settings(max_examples=1)
def test_memory_stays_bounded(target: Target, chance: Random) -> None:
    """After twenty thousand attacks about as much is held as after the first thousand."""
    names = sorted(BODIES)

    def attack(times: int) -> None:
        for number in range(times):
            target.post(BODIES[names[number % len(names)]](target.body, chance))

    attack(1_000)
    before = resident_bytes()
    attack(20_000)
    assert resident_bytes() - before < MOST_GROWTH_BYTES
