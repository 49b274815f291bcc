"""Power cuts at every write, and a killed process: nothing acknowledged is ever lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from ledger_client.ledger import LedgerUnavailableError, TransferStatus, UnspentOutput
from ledger_client.localnode import LocalNode
from ledger_client.localnode.store import Connect
from ledger_client.stardust.block import Block
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import TaggedData, Transaction
from ledger_client.wallet import OwnerKey
from tests.ledger_client.tangle_kit import (
    ALICE,
    BOB,
    MILESTONE_KEYS,
    SUPPLY,
    TREASURY,
    Net,
    transaction,
)

ROOT = Path(__file__).parents[2]
GENESIS_OUTPUT = bytes(34)
# More than eight tips, so that a milestone has to merge some first.
NOTES = [TaggedData(b"wide", bytes([number])) for number in range(10)]


class PowerCutError(BaseException):
    """The machine is gone: nobody catches this and goes on."""


class Fuse:
    """Cuts the power at the n-th step; afterwards every statement fails."""

    def __init__(self, steps_left: int | None) -> None:
        self.steps_left = steps_left
        self.steps = 0
        self.connections: list[sqlite3.Connection] = []

    def step(self) -> None:
        self.steps += 1
        if self.steps_left is not None and self.steps > self.steps_left:
            raise PowerCutError

    def power_off(self) -> None:
        """Close what is open, as the end of a process does: what is not committed is gone."""
        for connection in self.connections:
            connection.close()


class Hiccup(Fuse):
    """Fails one single statement, as a full disk does, and works again afterwards."""

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.steps_left:
            raise sqlite3.OperationalError("database or disk is full")


def fused(fuse: Fuse) -> Connect:
    """Return a connection factory whose writes can be cut before and after each statement."""

    class FusedConnection(sqlite3.Connection):
        def execute(self, sql: str, values: Iterable[object] = ()) -> sqlite3.Cursor:
            if sql.lstrip().startswith(("SELECT", "PRAGMA")):
                return super().execute(sql, values)
            fuse.step()
            cursor = super().execute(sql, values)
            fuse.step()
            return cursor

        def executemany(self, sql: str, rows: Iterable[Iterable[object]]) -> sqlite3.Cursor:
            cursor = self.cursor()
            for row in rows:
                fuse.step()
                cursor.execute(sql, row)
            return cursor

    def connect(path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, factory=FusedConnection
        )
        fuse.connections.append(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        # A cut of the process is tested, not of the disk; the file system keeps what was written.
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    return connect


class Story:
    """Pays, anchors, tries a double spend; remembers what was acknowledged across power cuts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acknowledged: set[bytes] = set()
        self.milestones: dict[int, bytes] = {}
        self.signed: dict[str, bytes] = {}

    def tell(self, fuse: Fuse) -> None:
        """Run from the start; every step may have happened before."""
        try:
            net = Net(self.path, fused(fuse))
            self._check_memory(net)
            self._transfer(net, "honest", ALICE)
            self._acknowledge(net.ledger.anchor(b"seal", b"1"))
            self._milestone(net)
            self._transfer(net, "double", BOB)
            self._acknowledge(net.ledger.anchor(b"seal", b"2"))
            self._milestone(net)
        finally:
            fuse.power_off()

    def _transfer(self, net: Net, name: str, receiver: OwnerKey) -> None:
        # As the outbox does: signed once, stored, and sent again after a crash.
        if name not in self.signed:
            row = net.node.store.output(GENESIS_OUTPUT)
            assert row is not None
            genesis = UnspentOutput(row.output_id, row.data, row.units)
            outputs = [BasicOutput.to(receiver.address, SUPPLY)]
            self.signed[name] = transaction([genesis], outputs, [TREASURY]).encode()
        net.ledger.transfer(self.signed[name])
        rows = net.node.store.blocks_with_payload(Transaction.decode(self.signed[name]).id())
        self._acknowledge(rows[0].block_id)

    def _acknowledge(self, block_id: bytes) -> None:
        self.acknowledged.add(block_id)

    def _milestone(self, net: Net) -> None:
        milestone = net.node.issue_milestone()
        self._remember(milestone.essence.index, milestone.encode())

    def _remember(self, index: int, payload: bytes) -> None:
        assert self.milestones.setdefault(index, payload) == payload

    def _check_memory(self, net: Net) -> None:
        for block_id in self.acknowledged:
            assert net.node.store.block(block_id) is not None
        for row in net.node.store.all_milestones():
            self._remember(row.index, row.payload)
        assert len(net.node.store.all_milestones()) >= len(self.milestones)

    def check(self) -> None:
        """The end of the story is the same, whatever happened on the way."""
        net = Net(self.path)
        self._check_memory(net)
        before = net.node.store.ledger_rows()
        net.node.rebuild()
        assert net.node.store.ledger_rows() == before
        net.node.check_supply()
        assert (net.units(ALICE), net.units(BOB)) == (SUPPLY, 0)
        ids = [Transaction.decode(self.signed[name]).id() for name in ("honest", "double")]
        ends = [net.ledger.status(identifier) for identifier in ids]
        assert ends == [TransferStatus.CONFIRMED, TransferStatus.CONFLICTING]
        assert len(net.node.store.blocks_with_tag(b"seal")) == 2
        assert len(net.node.store.blocks_with_payload(ids[0])) == 1
        net.node.close()


def test_a_power_cut_at_every_write_step(tmp_path: Path) -> None:
    whole = Fuse(None)
    calm = Story(tmp_path / "calm.db")
    calm.tell(whole)
    calm.check()
    assert whole.steps > 60
    for step in range(whole.steps):
        story = Story(tmp_path / f"{step}.db")
        with pytest.raises(PowerCutError):
            story.tell(Fuse(step))
        story.tell(Fuse(None))
        story.check()


def test_repeated_power_cuts_end_well_too(tmp_path: Path) -> None:
    story = Story(tmp_path / "ledger.db")
    cuts = 0
    for step in range(1, 200):
        try:
            story.tell(Fuse(step))
        except PowerCutError:
            cuts += 1
        else:
            break
    story.check()
    assert cuts > 5


def _life(net: Net, fuse: Fuse) -> int:
    """Pay, anchor and confirm, each again when the ledger says so; return the failures."""
    failures = 0
    fuse.steps = 0
    signed, tip = net.pay(TREASURY, (ALICE, 1000)), net.node.tips()
    calls = (
        lambda: net.ledger.transfer(signed.payload),
        lambda: [net.node.attach(Block(tip, item).encode()) for item in NOTES],
        net.node.issue_milestone,
        lambda: net.ledger.anchor(b"seal", b"2"),
        net.node.issue_milestone,
    )
    for call in calls:
        try:
            call()
        except LedgerUnavailableError:
            failures += 1
            call()
    return failures


def test_a_failed_write_heals_without_a_restart(tmp_path: Path) -> None:
    whole = Hiccup(None)
    _life(Net(tmp_path / "calm.db", fused(whole)), whole)
    for step in range(1, whole.steps + 1):
        fuse = Hiccup(None)
        net = Net(tmp_path / f"{step}.db", fused(fuse))
        fuse.steps_left = step
        assert _life(net, fuse) == 1
        assert net.units(ALICE) == 1000
        assert not net.node.has_pending()
        before = net.node.store.ledger_rows()
        net.node.rebuild()
        assert net.node.store.ledger_rows() == before
        net.node.close()


_VICTIM = """
import sys
from ledger_client.localnode import LocalLedger, LocalNode
from tests.ledger_client.tangle_kit import MILESTONE_KEYS, SUPPLY, TREASURY
node = LocalNode.open(sys.argv[1], genesis={TREASURY.address: SUPPLY},
                      milestone_keys=MILESTONE_KEYS, threshold=2)
ledger = LocalLedger(node)
for number in range(1_000_000):
    print(ledger.anchor(b"seal", number.to_bytes(4, "big")).hex(), flush=True)
    if number % 7 == 0:
        print("milestone", node.issue_milestone().essence.id().hex(), flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    victim = subprocess.Popen(
        [sys.executable, "-c", _VICTIM, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout is not None
    lines = [victim.stdout.readline().split() for _ in range(60)]
    victim.send_signal(signal.SIGKILL)
    lines += [line.split() for line in victim.stdout.read().splitlines()[:-1]]
    victim.wait(timeout=10)
    node = LocalNode.open(
        path, genesis={TREASURY.address: SUPPLY}, milestone_keys=MILESTONE_KEYS, threshold=2
    )
    for line in filter(None, lines):
        identifier = bytes.fromhex(line[-1])
        kept = node.store.milestone if line[0] == "milestone" else node.store.block
        assert kept(identifier) is not None
    before = node.store.ledger_rows()
    node.rebuild()
    assert node.store.ledger_rows() == before
    node.close()
