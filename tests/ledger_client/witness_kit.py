"""A log, its forks, and a witness with a clock in hand, for the tests of witnesses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from starlette.testclient import TestClient

from ledger_client.checkpoint import sign_note
from ledger_client.merkle import consistency_path, leaf_hash, root
from ledger_client.serving.database import Connect, connect_sqlite
from ledger_client.verify import Checkpoint
from ledger_client.witness import LogKey, WitnessKeeper, create_witness_app
from ledger_client.witness.messages import read_request, write_request
from ledger_client.witness.state import WitnessState
from tests.ledger_client.ledger_bytes import key, public

ORIGIN = "lindenhof.example"
NAME = "witness.example/w1"
LEAVES = [leaf_hash(bytes([number])) for number in range(24)]
OTHERS = [leaf_hash(bytes([number, number])) for number in range(24)]


def note(size: int, leaves: list[bytes] = LEAVES, signer: str = "log") -> str:
    return sign_note(Checkpoint(ORIGIN, size, root(leaves[:size])), key(signer))


def request(old: int, size: int, leaves: list[bytes] = LEAVES, signer: str = "log") -> bytes:
    proof = consistency_path(leaves[:size], old) if 0 < old <= size else []
    return write_request(old, proof, note(size, leaves, signer))


@dataclass
class Bench:
    """A witness with a clock in hand, over a folder that outlives it."""

    folder: Path
    logs: list[LogKey] = field(default_factory=lambda: [LogKey(ORIGIN, ORIGIN, public("log"))])
    now: float = 1_790_000_000.0
    connect: Connect = connect_sqlite

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.restart()

    def restart(self) -> None:
        state = WitnessState(self.folder / "witness.db", self.connect)
        evidence = self.folder / "evidence"
        self.state = state
        self.keeper = WitnessKeeper(
            NAME, key("witness"), self.logs, state, evidence, lambda: self.now
        )

    def add(self, data: bytes) -> str:
        return self.keeper.add_checkpoint(read_request(data))

    def http(self) -> TestClient:
        return TestClient(create_witness_app(self.keeper), raise_server_exceptions=False)

    def evidence(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted((self.folder / "evidence").glob("*"))]
