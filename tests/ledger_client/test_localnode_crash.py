"""Power cuts at every write, and killed processes: nothing promised is ever lost or changed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode import LocalNode
from ledger_client.stardust.block import Block
from tests.conftest import LONG
from tests.ledger_client.crash_story import (
    NOTES,
    Diary,
    Fuse,
    StoryNet,
    check_end,
    fused,
    live,
)
from tests.ledger_client.power_cut import Breaker, PowerCutError
from tests.ledger_client.tangle_kit import (
    ALICE,
    MILESTONE_KEYS,
    SUPPLY,
    TREASURY,
    Net,
)

ROOT = Path(__file__).parents[2]


class Hiccup(Breaker):
    """Fails one single statement, as a full disk does, and works again afterwards."""

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.steps_left:
            raise sqlite3.OperationalError("database or disk is full")


def _tell(path: Path, diary: Diary, fuse: Breaker) -> None:
    """Live the story from the start; every step may have happened before."""
    try:
        # A cut of the process is tested, not of the disk; the file system keeps what was written.
        net = StoryNet(path, diary.note, fuse, fused(fuse, synchronous="OFF"))
        diary.check(net)
        live(net, diary.note)
    finally:
        fuse.power_off()


def _steps(path: Path) -> int:
    """Live the story in peace; return how many steps it has."""
    whole, diary = Breaker(None), Diary()
    _tell(path, diary, whole)
    check_end(path, diary)
    return whole.steps


def test_a_power_cut_at_every_write_step(tmp_path: Path) -> None:
    steps = _steps(tmp_path / "calm.db")
    assert steps > 120
    for step in range(0, steps, 1 if LONG else 2):
        path, diary = tmp_path / f"{step}.db", Diary()
        with pytest.raises(PowerCutError):
            _tell(path, diary, Breaker(step))
        _tell(path, diary, Breaker(None))
        check_end(path, diary)


def test_repeated_power_cuts_end_well_too(tmp_path: Path) -> None:
    path, diary, cuts = tmp_path / "ledger.db", Diary(), 0
    for step in range(1, 140, 1 if LONG else 9):
        try:
            _tell(path, diary, Breaker(step))
        except PowerCutError:
            cuts += 1
    # However many lives were cut: one that is not comes to the end.
    _tell(path, diary, Breaker(None))
    check_end(path, diary)
    assert cuts > 10


def _life(net: Net, fuse: Fuse) -> int:
    """Pay, attach and confirm, each again when the ledger says so; return the failures."""
    failures = 0
    fuse.steps = 0
    signed, tip = net.pay(TREASURY, (ALICE, 1000)), net.node.tips()
    calls = (
        lambda: net.ledger.transfer(signed.payload),
        lambda: [net.node.attach(Block(tip, item).encode()) for item in NOTES],
        lambda: net.node.attach_many([Block(tip, item, nonce=1).encode() for item in NOTES]),
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
    _life(Net(tmp_path / "calm.db", fused(whole, synchronous="OFF")), whole)
    for step in range(1, whole.steps + 1):
        fuse = Hiccup(None)
        net = Net(tmp_path / f"{step}.db", fused(fuse, synchronous="OFF"))
        fuse.steps_left = step
        assert _life(net, fuse) == 1
        assert net.units(ALICE) == 1000
        assert not net.node.has_pending()
        before = net.node.store.ledger_rows()
        net.node.rebuild()
        assert net.node.store.ledger_rows() == before
        net.node.close()


def _killed_at(folder: Path, kind: str, steps: list[int]) -> dict[int, tuple[int, str]]:
    """Let children live the story until they are killed; return signal and words of each."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.ledger_client.crash_story", str(folder), kind]
        + [str(step) for step in steps],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found: dict[int, tuple[int, str]] = {}
    words: list[str] = []
    for line in told.splitlines():
        if line.startswith("end "):
            _, step, ended = line.split(" ")
            found[int(step)] = int(ended), "\n".join(words)
            words = []
        else:
            words.append(line)
    return found


@pytest.mark.parametrize(
    ("kind", "killed_by"), [("statement", signal.SIGKILL), ("write", signal.SIGXFSZ)]
)
def test_a_process_killed_at_a_write_breaks_no_promise(
    tmp_path: Path, kind: str, killed_by: int
) -> None:
    """Killed before or after a statement, or by the kernel in the middle of a write to a file."""
    calm = tmp_path / "calm.db"
    diary, fuse = Diary(), Breaker(None)
    net = StoryNet(calm, diary.note, fuse, fused(fuse))
    live(net, diary.note)
    if kind == "statement":
        steps = range(1, fuse.steps + 1, 1 if LONG else 29)
    else:
        written = Path(f"{calm}-wal").stat().st_size
        assert written > 200_000
        # Frames of the log have 4,120 bytes: where the write is cut moves through them.
        steps = range(0, written, 1_030 if LONG else 26_789)
    net.node.close()
    ends = _killed_at(tmp_path, kind, list(steps))
    assert list(ends) == list(steps)
    for step, (ended, words) in ends.items():
        assert ended == killed_by
        path, diary = tmp_path / f"{kind}-{step}.db", Diary()
        diary.read(words)
        _tell(path, diary, Breaker(None))
        check_end(path, diary)


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


def test_a_process_killed_at_any_moment_loses_nothing(tmp_path: Path) -> None:
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
