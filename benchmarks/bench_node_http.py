"""Blocks per second through HTTP, each on disk before it is answered, against the bare limit.

The node and the bare server are child processes; the clients send blocks that were built before,
over one connection or eight. The bare server is the same HTTP stack (uvicorn, Starlette) with the
same grouping, which stores each body in SQLite (WAL, synchronous=FULL) and knows nothing of a
ledger. Run: ``pytest benchmarks/bench_node_http.py``; the ratios are printed at the end. Rates are
those of the round that other load disturbed least.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.memory import peak_megabytes
from ledger_client.ledger import UnspentOutput
from ledger_client.localnode.http.inbox import Inbox
from ledger_client.serving.run import serve
from ledger_client.stardust.block import Block, block_id
from ledger_client.stardust.codec import blake2b_256
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import TaggedData, Transaction, output_id
from ledger_client.wallet import OwnerKey, TransferInput, Wallet, build_transfer
from tests.ledger_client.node_process import running_node

ROUNDS = 4
PER_ROUND = 1_000
TRANSACTIONS = 2_048
PER_SPLIT = 128
GENESIS = bytes(32)
BINARY = "application/vnd.iota.serializer-v1"
LEAST_PER_SECOND = 1_500
LEAST_RATIO = 0.6
MOST_MEGABYTES = 300

Batch = list[list[bytes]]


class Sender(threading.Thread):
    """One client with one connection: posts its blocks one after the other."""

    def __init__(self, url: str, blocks: Sequence[bytes]) -> None:
        super().__init__()
        self._blocks = blocks
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc)
        self._connection.connect()
        self.accepted = 0

    def run(self) -> None:
        for block in self._blocks:
            self._connection.request("POST", "/api/core/v2/blocks", block, {"Content-Type": BINARY})
            answer = self._connection.getresponse()
            answer.read()
            self.accepted += answer.status == 201
        self._connection.close()


def send(url: str, batch: Batch) -> float:
    """Post every list over its own connection, all at once; return the seconds it took."""
    senders = [Sender(url, blocks) for blocks in batch]
    start = time.perf_counter()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    taken = time.perf_counter() - start
    assert sum(sender.accepted for sender in senders) == sum(map(len, batch))
    return taken


def chains(clients: int, salt: bytes) -> Batch:
    """Blocks for each client, every one on top of the client's block before."""
    batch: Batch = []
    for client in range(clients):
        parent, blocks = GENESIS, []
        for number in range(PER_ROUND // clients):
            data = b"%s %d %d" % (salt, client, number)
            block = Block((parent,), TaggedData(b"bench", data.ljust(200))).encode()
            parent = block_id(block)
            blocks.append(block)
        batch.append(blocks)
    return batch


@contextmanager
def bare_server(folder: Path) -> Iterator[str]:
    """Run the bare server in a child process; yield its URL."""
    child = subprocess.Popen(
        [sys.executable, __file__, str(folder / "bare.db")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield child.stdout.readline().strip()
    finally:
        child.terminate()
        child.wait()


def _serve_bare(path: str) -> None:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE block (seq INTEGER PRIMARY KEY, id BLOB UNIQUE, bytes BLOB)")

    def store(bodies: Sequence[bytes]) -> list[bytes]:
        ids = [blake2b_256(body) for body in bodies]
        database.execute("BEGIN IMMEDIATE")
        rows = zip(ids, bodies, strict=True)
        database.executemany("INSERT INTO block (id, bytes) VALUES (?, ?)", rows)
        database.execute("COMMIT")
        return ids

    inbox = Inbox(store)

    async def post(request: Request) -> Response:
        stored = await inbox.attach(await request.body())
        return Response(json.dumps({"blockId": stored.hex()}), 201)

    app = Starlette(routes=[Route("/api/core/v2/blocks", post, methods=["POST"])])
    serve(app, "127.0.0.1", 0, lambda url: print(url, flush=True))


@pytest.mark.benchmark(group="node over HTTP")
@pytest.mark.parametrize("clients", [1, 8])
def test_blocks_per_second(
    clients: int, benchmark: BenchmarkFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batches = [chains(clients, b"round %d" % number) for number in range(ROUNDS + 1)]
    waiting, bare_s = iter(batches), []
    with (
        bare_server(tmp_path) as url,
        running_node(tmp_path / "node", "--milestone-interval", "3600") as node,
    ):

        def bare_first() -> tuple[tuple[str, Batch], dict[str, object]]:
            """Send the round's blocks to the bare server, so that other load hits both alike."""
            batch = next(waiting)
            bare_s.append(send(url, batch))
            return (node.url, batch), {}

        benchmark.pedantic(send, setup=bare_first, rounds=ROUNDS, warmup_rounds=1)
        memory = peak_megabytes(node.process.pid)
    if benchmark.stats is None:  # --benchmark-disable: ran once, nothing was timed
        return
    rate, bare = PER_ROUND / benchmark.stats.stats.min, PER_ROUND / min(bare_s)
    benchmark.extra_info |= {"blocks_per_s": round(rate), "bare_per_s": round(bare)}
    with capsys.disabled():
        print(
            f"\n{clients} clients: {rate:,.0f} blocks/s, bare {bare:,.0f}, {rate / bare:.2f}; "
            f"the node held {memory} MB at most"
        )
    assert memory < MOST_MEGABYTES
    assert rate >= LEAST_PER_SECOND or rate / bare >= LEAST_RATIO


# Transactions confirmed --------------------------------------------------------------------------


def _transfer(owner: OwnerKey, spent: UnspentOutput, units: Sequence[int]) -> bytes:
    """A transfer of one owner to themselves, as a payload."""
    outputs = [(owner.address, amount) for amount in units]
    return build_transfer("wattloom-private", [TransferInput(spent, owner)], outputs).payload


def _made(payload: bytes) -> list[UnspentOutput]:
    transaction = Transaction.decode(payload)
    return [
        UnspentOutput(output_id(transaction.id(), at), output.encode(), output.units)
        for at, output in enumerate(transaction.essence.outputs)
    ]


def transfers(owner: OwnerKey, units: int) -> tuple[list[bytes], list[bytes]]:
    """Return payloads that split the genesis output, and one payload per part that spends it."""
    count = TRANSACTIONS // PER_SPLIT
    each = units // count
    genesis = UnspentOutput(bytes(34), BasicOutput.to(owner.address, units).encode(), units)
    splits = [_transfer(owner, genesis, [each] * (count - 1) + [units - each * (count - 1)])]
    parts = []
    for part in _made(splits[0]):
        small = part.units // PER_SPLIT
        rest = part.units - small * (PER_SPLIT - 1)
        splits.append(_transfer(owner, part, [small] * (PER_SPLIT - 1) + [rest]))
        parts += _made(splits[-1])
    return splits, [_transfer(owner, part, [part.units]) for part in parts]


def _blocks(payloads: Sequence[bytes], parent: bytes) -> list[bytes]:
    blocks = []
    for payload in payloads:
        blocks.append(Block((parent,), Transaction.decode(payload)).encode())
        parent = block_id(blocks[-1])
    return blocks


def _await_included(url: str, payload: bytes) -> None:
    path = f"/api/core/v2/transactions/0x{blake2b_256(payload).hex()}/included-block"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        if status == 200:
            return
        time.sleep(0.02)
    raise TimeoutError(path)


@pytest.mark.benchmark(group="node over HTTP")
def test_transactions_confirmed_per_second(
    benchmark: BenchmarkFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_node(tmp_path / "node", "--milestone-interval", "1") as node:
        assert node.treasury_seed is not None
        splits, spends = transfers(Wallet(node.treasury_seed).key(0), 10**12)
        send(node.url, [_blocks(splits, GENESIS)])
        for payload in splits:
            _await_included(node.url, payload)
        lists = [spends[at::8] for at in range(8)]
        parent = _tip(node.url)
        batch = [_blocks(payloads, parent) for payloads in lists]

        def confirm() -> None:
            send(node.url, batch)
            for payloads in lists:
                _await_included(node.url, payloads[-1])

        benchmark.pedantic(confirm, rounds=1)
        memory = peak_megabytes(node.process.pid)
    if benchmark.stats is None:
        return
    rate = TRANSACTIONS / benchmark.stats.stats.min
    benchmark.extra_info["confirmed_per_s"] = round(rate)
    with capsys.disabled():
        print(
            f"\n{rate:,.0f} transactions/s from the first byte to the milestone (1 s apart); "
            f"the node held {memory} MB at most"
        )
    assert memory < MOST_MEGABYTES


def _tip(url: str) -> bytes:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    connection.request("GET", "/api/core/v2/tips")
    tips = json.loads(connection.getresponse().read())["tips"]
    connection.close()
    return bytes.fromhex(tips[0][2:])


if __name__ == "__main__":
    _serve_bare(sys.argv[1])
