"""The embedded node in one process: blocks stored, transactions confirmed, history replayed.

Each figure stands beside its limit: what SQLite does with the same bytes in the same run, or what
the house has promised (1,500 blocks/s, 1,000 payments in 2 s, 100,000 blocks
replayed in 60 s and 300 MB). The replay runs in a process of its own, whose memory is measured.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.memory import peak_megabytes
from ledger_client.ledger import UnspentOutput
from ledger_client.localnode.tangle import SOLID_ENTRY_POINT
from ledger_client.stardust.block import Block, block_id
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import TaggedData, Transaction, output_id
from ledger_client.wallet import TransferInput, build_transfer
from tests.ledger_client.tangle_kit import ALICE, NETWORK, TREASURY, Net

ROOT = Path(__file__).parents[1]
ATTACHED, BATCH, ROUNDS = 4_000, 100, 5
LEAST_PER_SECOND = 1_500
PAYMENTS, PAYMENTS_LIMIT_S = 1_000, 2.0
REPLAYED, PER_MILESTONE, REPLAY_LIMIT_S, MEMORY_LIMIT_MB = 100_000, 1_000, 60.0, 300


def notes(parents: tuple[bytes, ...], count: int, start: int = 0) -> Iterator[bytes]:
    """Yield anchors of the usual size, each on the eight before."""
    recent: list[bytes] = []
    for number in range(start, start + count):
        data = Block(parents, TaggedData(b"bench", number.to_bytes(8, "big") * 20)).encode()
        yield data
        recent.append(block_id(data))
        if len(recent) == 8:
            parents, recent = tuple(sorted(recent)), []


def _attach(folder: Path, blocks: Sequence[bytes]) -> float:
    with closing(Net(folder / "node.db").node) as node:
        start = time.perf_counter()
        for some in _batches(blocks):
            assert all(isinstance(item, bytes) for item in node.attach_many(some))
        return time.perf_counter() - start


def _bare(folder: Path, blocks: Sequence[bytes]) -> float:
    """Seconds that SQLite takes to store the same bytes as durably, in the same batches."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE block (seq INTEGER PRIMARY KEY, id BLOB UNIQUE, bytes)")
        start = time.perf_counter()
        for some in _batches(blocks):
            connection.execute("BEGIN IMMEDIATE")
            rows = [(block_id(data), data) for data in some]
            connection.executemany("INSERT INTO block (id, bytes) VALUES (?, ?)", rows)
            connection.execute("COMMIT")
        return time.perf_counter() - start


def _batches(blocks: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(blocks), BATCH):
        yield blocks[at : at + BATCH]


def test_blocks_attached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = list(notes((SOLID_ENTRY_POINT,), ATTACHED))
    times, bare = [], []
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        bare.append(_bare(folder, blocks))
        times.append(_attach(folder, blocks))
    rate, limit = ATTACHED / min(times), ATTACHED / min(bare)
    with capsys.disabled():
        print(
            f"\nattach_many of {BATCH}: {rate:,.0f} durable blocks/s = {rate / limit:.2f} x bare "
            f"SQLite's {limit:,.0f}/s = {rate / LEAST_PER_SECOND:.1f} x the promised "
            f"{LEAST_PER_SECOND:,}/s"
        )
    assert rate >= LEAST_PER_SECOND


class Payer:
    """Writes payments that each spend what the one before left over, on blocks in a row."""

    def __init__(self, net: Net) -> None:
        self.rest = net.output(TREASURY)
        self.last = net.node.tips()

    def pay(self, parents: tuple[bytes, ...]) -> bytes:
        outputs = [(ALICE.address, 34), (TREASURY.address, self.rest.units - 34)]
        made = build_transfer(NETWORK, [TransferInput(self.rest, TREASURY)], outputs)
        left = BasicOutput.to(*outputs[1])
        rest_id = output_id(made.transaction_id, 1)
        self.rest = UnspentOutput(rest_id, left.encode(), left.units)
        # On the payment before as well, so that the white flag finds them in this order.
        on = tuple(sorted({*self.last, *parents}))[:8]
        data = Block(on, Transaction.decode(made.payload)).encode()
        self.last = (block_id(data),)
        return data


def test_payments_confirmed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = Net(tmp_path / "node.db")
    payer = Payer(net)
    blocks = [payer.pay(()) for _ in range(PAYMENTS)]
    start = time.perf_counter()
    for some in _batches(blocks):
        net.node.attach_many(some)
    attached = time.perf_counter()
    net.node.issue_milestone()
    done = time.perf_counter()
    assert net.node.stats().transfers_confirmed == PAYMENTS
    net.node.close()
    both, alone = done - start, done - attached
    with capsys.disabled():
        print(
            f"\n{PAYMENTS:,} payments attached in {attached - start:.2f} s, confirmed by one "
            f"milestone in {alone:.2f} s = {PAYMENTS / alone:,.0f}/s; together "
            f"{both / PAYMENTS_LIMIT_S:.2f} x the limit of {PAYMENTS_LIMIT_S:.0f} s"
        )
    assert both < PAYMENTS_LIMIT_S


def test_history_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = _in_a_child("build", tmp_path / "node.db")
    replayed = _in_a_child("replay", tmp_path / "node.db")
    with capsys.disabled():
        print(
            f"\n{REPLAYED:,} blocks: written in {built['seconds']:.1f} s and {built['mb']:.0f} MB, "
            f"opened in {replayed['open_s'] * 1000:.0f} ms, replayed in {replayed['seconds']:.1f} s"
            f" = {replayed['seconds'] / REPLAY_LIMIT_S:.2f} x the limit of {REPLAY_LIMIT_S:.0f} s "
            f"with {replayed['mb']:.0f} MB = {replayed['mb'] / MEMORY_LIMIT_MB:.2f} x the limit"
        )
    assert replayed["seconds"] < REPLAY_LIMIT_S
    assert max(built["mb"], replayed["mb"]) < MEMORY_LIMIT_MB


def _in_a_child(what: str, path: Path) -> dict[str, float]:
    """Run this file as a program; return seconds and peak memory of its process."""
    command = [sys.executable, "-m", "benchmarks.bench_node", what, str(path)]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(told.stdout)


def _build(net: Net) -> None:
    """Attach the history, one block in ten a payment, with a milestone every 1,000 blocks."""
    payer = Payer(net)
    for at in range(0, REPLAYED, PER_MILESTONE):
        anchors = notes(net.node.tips(), PER_MILESTONE * 9 // 10, at)
        mixed = [
            each for nth, data in enumerate(anchors) for each in _with_payment(payer, nth, data)
        ]
        for some in _batches(mixed):
            assert all(isinstance(item, bytes) for item in net.node.attach_many(some))
        net.node.issue_milestone()
    assert net.node.stats().transfers_confirmed == REPLAYED // 10


def _with_payment(payer: Payer, nth: int, data: bytes) -> Iterator[bytes]:
    yield data
    if nth % 9 == 8:
        yield payer.pay((block_id(data),))


def main() -> None:
    """Build or replay the history at a path; print the figures as JSON."""
    began = time.perf_counter()
    net = Net(sys.argv[2])
    opened = time.perf_counter()
    if sys.argv[1] == "build":
        _build(net)
    else:
        net.node.rebuild()
    figures = {
        "open_s": opened - began,
        "seconds": time.perf_counter() - opened,
        "mb": peak_megabytes("self"),
    }
    net.node.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
