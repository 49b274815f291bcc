"""Milestone chains by hand, and signers in this process, for the tests of signers."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvicorn
from nacl.signing import SigningKey
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ledger_client.signer import EssenceCheck, MilestoneKeeper, create_signer_app
from ledger_client.signer.rules import Identity
from ledger_client.signer.state import SignerState
from ledger_client.stardust.milestone import Milestone, MilestoneEssence
from ledger_client.verify import MilestoneKey, Milestones

START = 1_790_000_000
NETWORK = "lindenhof"
KEYS = [SigningKey(bytes([40 + n]) * 32) for n in range(3)]
PUBLIC = [bytes(key.verify_key) for key in KEYS]


def pinned(threshold: int = 2) -> Milestones:
    """Return all keys, from the first milestone on."""
    return Milestones(tuple(MilestoneKey(0, key, None) for key in PUBLIC), threshold)


def essence(
    index: int, previous: MilestoneEssence | None = None, *, salt: int = 0, time_s: int = 0
) -> MilestoneEssence:
    """Return an essence on ``previous``; another ``salt`` makes another one of the same place."""
    before = previous.id() if previous else bytes(32)
    stamp = time_s or START + index
    return MilestoneEssence(
        index, stamp, before, (bytes(32),), bytes([salt]) * 32, bytes([salt]) * 32
    )


def chain(length: int, salt: int = 0) -> list[MilestoneEssence]:
    """Return essences 1 to ``length``, each on the one before."""
    made: list[MilestoneEssence] = []
    for index in range(1, length + 1):
        made.append(essence(index, made[-1] if made else None, salt=salt))
    return made


def signed(item: MilestoneEssence, keys: Iterable[SigningKey] = KEYS[1:]) -> bytes:
    """Return the payload of a milestone, signed by the second and third key unless told."""
    return Milestone.sign(item, keys).encode()


@dataclass
class Desk:
    """A signer over a folder that outlives it, with a clock in hand."""

    folder: Path
    number: int = 0
    pinned: Milestones | None = field(default_factory=pinned)
    now: float = START + 100.0
    check: EssenceCheck | None = None
    from_index: int = 1
    token: str | None = None

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Start it, or start it again."""
        self.state = SignerState(self.folder / f"signer-{self.number}.db")
        me = Identity(PUBLIC[self.number], NETWORK, self.pinned, self.from_index)
        self.keeper = MilestoneKeeper(
            KEYS[self.number], self.state, me, self.check, now=lambda: self.now
        )
        app = create_signer_app(self.keeper, self.token)
        self.http = TestClient(app, raise_server_exceptions=False)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.state.close()
        self.open()

    def sign_all(self, items: Sequence[MilestoneEssence]) -> None:
        """Sign a chain."""
        for item in items:
            self.keeper.sign(item)

    def post(self, content: bytes, kind: str = "application/octet-stream") -> httpx.Response:
        """POST /sign."""
        headers = {"Content-Type": kind}
        answer: httpx.Response = self.http.post("/sign", content=content, headers=headers)
        return answer


@contextmanager
def serving(app: ASGIApp, port: int = 0, http: type[H11Protocol] = H11Protocol) -> Iterator[str]:
    """Serve an app from a thread of this process; yield its address."""
    config = uvicorn.Config(
        app, http=http, lifespan="off", log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
