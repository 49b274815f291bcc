"""A ledger's life that is cut off anywhere, and what it must have come to in the end.

As a program it lives that life once for each given step in a child of its own, which is killed
there, and prints what each child had promised: ``DIRECTORY (statement|write) STEP...``.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from ledger_client.ledger import LedgerUnavailableError, TransferStatus, UnspentOutput
from ledger_client.localnode import NodeSettings
from ledger_client.localnode.signing import KeyedSigner, MilestoneSigner
from ledger_client.localnode.store import Connect, connect_sqlite
from ledger_client.stardust.block import Block
from ledger_client.stardust.milestone import MilestoneEssence, MilestoneSignature
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import TaggedData, Transaction
from ledger_client.wallet import OwnerKey
from tests.ledger_client.tangle_kit import (
    ALICE,
    BOB,
    MILESTONE_KEYS,
    NETWORK,
    SUPPLY,
    TREASURY,
    Net,
    transaction,
)

GENESIS_OUTPUT = bytes(34)
# More than eight tips, so that a milestone has to merge some first.
NOTES = [TaggedData(b"wide", bytes([number])) for number in range(10)]

Note = Callable[[str, int, bytes], None]


class Fuse:
    """Counts the steps; subclasses do something at one of them."""

    def __init__(self) -> None:
        self.steps = 0
        self.connections: list[sqlite3.Connection] = []

    def step(self) -> None:
        self.steps += 1


class Killer(Fuse):
    """Kills the process at the n-th step, with no chance to tidy up."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def step(self) -> None:
        super().step()
        if self.steps == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def fused(fuse: Fuse, synchronous: str = "FULL") -> Connect:
    """Return a connection factory that steps the fuse before and after each writing statement."""

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
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        return connection

    return connect


class Diary:
    """What was promised to others, whatever happened afterwards: blocks, milestones, signatures."""

    def __init__(self) -> None:
        self.blocks: set[bytes] = set()
        self.milestones: dict[int, bytes] = {}
        self.signed: dict[int, bytes] = {}

    def note(self, kind: str, index: int, data: bytes) -> None:
        """Take down a promise; two of one index may not differ."""
        if kind == "block":
            self.blocks.add(data)
            return
        promises = self.signed if kind == "signed" else self.milestones
        assert promises.setdefault(index, data) == data, f"two {kind} of index {index}"

    def read(self, lines: str) -> None:
        """Take down what a process printed before it was gone."""
        for line in lines.splitlines():
            kind, index, data = line.split(" ")
            self.note(kind, int(index), bytes.fromhex(data))

    def check(self, net: Net) -> None:
        """Everything that was promised is there."""
        store = net.node.store
        for block_id in self.blocks:
            assert store.has_block(block_id)
        for row in store.all_milestones():
            self.note("milestone", row.index, row.payload)
        assert len(store.all_milestones()) == len(self.milestones)


class Unsteady(MilestoneSigner):
    """Notes what it signs before it lets go of it; is away when first asked for an even index."""

    def __init__(self, note: Note, fuse: Fuse) -> None:
        self.note = note
        self.fuse = fuse
        self.asked: set[int] = set()

    def sign(self, essence: MilestoneEssence) -> tuple[MilestoneSignature, ...]:
        self.fuse.step()
        away = essence.index % 2 == 0 and essence.index not in self.asked
        self.asked.add(essence.index)
        self.note("signed", essence.index, essence.encode())
        signatures = KeyedSigner(MILESTONE_KEYS[: 1 if away else 3]).sign(essence)
        self.fuse.step()
        return signatures


class StoryNet(Net):
    """The network of the story."""

    def __init__(self, path: Path, note: Note, fuse: Fuse, connect: Connect) -> None:
        self.signer = Unsteady(note, fuse)
        super().__init__(path, connect)

    def settings(self) -> NodeSettings:
        made = super().settings()
        return NodeSettings(NETWORK, "wl", made.genesis, made.pinned, self.signer)


def live(net: Net, note: Note) -> None:
    """Pay, anchor in batches, try a double spend; every step may have happened before."""
    for number, receiver in enumerate((ALICE, BOB)):
        net.ledger.transfer(_rival(net, receiver))
        row = net.node.store.blocks_with_payload(Transaction.decode(_rival(net, receiver)).id())[0]
        note("block", 0, row.block_id)
        tips = net.node.tips()
        many = net.node.attach_many([Block(tips, item).encode() for item in NOTES])
        for identifier in many:
            assert isinstance(identifier, bytes)
            note("block", 0, identifier)
        _issue(net, note, bytes([number]))


def _issue(net: Net, note: Note, seal: bytes) -> None:
    """Issue a milestone; anchor while its signers are away."""
    while True:
        try:
            milestone = net.node.issue_milestone()
        except LedgerUnavailableError:
            note("block", 0, net.ledger.anchor(b"seal", seal))
        else:
            break
    note("milestone", milestone.essence.index, milestone.encode())
    note("block", 0, net.ledger.anchor(b"seal", seal))


def _rival(net: Net, receiver: OwnerKey) -> bytes:
    """Spend the genesis; signatures are deterministic, so that it is the same at each call."""
    row = net.node.store.output(GENESIS_OUTPUT)
    assert row is not None
    genesis = UnspentOutput(row.output_id, row.data, row.units)
    outputs = [BasicOutput.to(receiver.address, SUPPLY)]
    return transaction([genesis], outputs, [TREASURY]).encode()


def check_end(path: Path, diary: Diary) -> None:
    """The end of the story is the same, whatever happened on the way."""
    net = StoryNet(path, diary.note, Fuse(), connect_sqlite)
    diary.check(net)
    before = net.node.store.ledger_rows()
    net.node.rebuild()
    assert net.node.store.ledger_rows() == before
    net.node.check_supply()
    for _ in range(2):  # the first may have been drafted long ago
        _issue(net, diary.note, b"end")
    assert (net.units(ALICE), net.units(BOB)) == (SUPPLY, 0)
    ids = [Transaction.decode(_rival(net, receiver)).id() for receiver in (ALICE, BOB)]
    ends = [net.ledger.status(identifier) for identifier in ids]
    assert ends == [TransferStatus.CONFIRMED, TransferStatus.CONFLICTING]
    assert len(net.node.store.blocks_with_tag(b"seal")) == 3
    assert len(net.node.store.blocks_with_payload(ids[0])) == 1
    assert set(diary.signed) >= set(diary.milestones)
    net.node.close()


# The program -----------------------------------------------------------------------------------


def _say(kind: str, index: int, data: bytes) -> None:
    os.write(1, f"{kind} {index} {data.hex()}\n".encode())


def _child(path: Path, kind: str, step: int) -> None:
    """Live until the n-th statement, or until a file outgrows ``step`` bytes in some write."""
    fuse = Killer(step) if kind == "statement" else Fuse()
    if kind == "write":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (step, resource.RLIM_INFINITY))
    live(StoryNet(path, _say, fuse, fused(fuse)), _say)


def main() -> None:
    """Print, for each step, a line ``end STEP SIGNAL`` after what the child said."""
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    for step in map(int, sys.argv[3:]):
        child = os.fork()
        if child == 0:
            try:
                _child(folder / f"{kind}-{step}.db", kind, step)
            finally:
                if sys.exception() is not None:
                    traceback.print_exc()
                os._exit(0 if sys.exception() is None else 1)
        _, status = os.waitpid(child, 0)
        ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
        os.write(1, f"end {step} {ended}\n".encode())


if __name__ == "__main__":
    main()
