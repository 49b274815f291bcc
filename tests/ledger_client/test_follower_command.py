"""`wattloom node follow` as a person or a script meets it, and as a process that is killed."""

from __future__ import annotations

import io
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from ledger_client.follower.command import (
    LONGEST_WAIT_S,
    ONCE_ATTEMPTS,
    FollowCommand,
    FollowStartError,
    run_follow,
)
from ledger_client.follower.follower import LEDGER_FILE
from ledger_client.follower.report import MARK
from ledger_client.follower.screen import JsonLines, LiveBar
from ledger_client.localnode import Store
from ledger_client.remotenode import NodeClient, RestLedger
from ledger_client.serving.folder import alone
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.verify import MilestoneKey, Milestones
from tests.ledger_client.fake_stardust import TOKEN, refusal
from tests.ledger_client.follower_kit import Followable, keys_file, settled
from tests.ledger_client.node_process import NodeProcess, running_node
from tests.ledger_client.tangle_kit import ALICE, SUPPLY, TREASURY

TREASURY_TEXT = encode_address_text("wl", TREASURY.address)


@dataclass
class Stand:
    """A node, a folder, and a person who counts the pauses and leaves after some of them."""

    folder: Path
    source: Followable = field(default_factory=Followable)
    patience: int = 10**9
    pauses: list[float] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source.grow()
        keys = keys_file(self.folder / "keys.json")
        self.command = FollowCommand("http://one:14265", self.folder / "audit", keys, once=True)

    def pause(self, seconds: float) -> None:
        if seconds < 0.5:
            return  # the client's own quick tries
        self.pauses.append(seconds)
        if len(self.pauses) >= self.patience:
            raise KeyboardInterrupt

    def run(self, **changes: Any) -> int:
        self.lines.clear()
        screen = JsonLines(lambda line: self.lines.append(json.loads(line)))
        command = replace(self.command, **changes)
        return run_follow(command, screen, pause=self.pause, transport=self.source.web)

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_once_catches_up_and_ends(stand: Stand) -> None:
    assert stand.run() == 0
    assert stand.events() == ["note", "milestone", "milestone", "milestone", "ended"]
    assert "first use" in stand.lines[0]["text"]
    second = stand.lines[2]
    assert (second["index"], second["blocks"], second["conflicting"]) == (2, 13, 1)
    row = stand.source.net.node.store.milestone_at(2)
    assert second["milestone_id"] == row.milestone_id.hex()
    assert "up to milestone 3" in stand.lines[-1]["text"]
    before = signal.getsignal(signal.SIGTERM)
    assert stand.run() == 0
    assert stand.events() == ["ended"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_pinned_genesis_needs_no_trust(stand: Stand) -> None:
    assert stand.run(genesis=(f"{TREASURY_TEXT}:{SUPPLY}",)) == 0
    assert "note" not in stand.events()
    assert stand.run() == 0


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("nonsense:5",), "address"),
        ((TREASURY_TEXT,), "BECH32:UNITS"),
        ((f"{TREASURY_TEXT}:-5",), "BECH32:UNITS"),
        ((f"{TREASURY_TEXT}:5", f"{TREASURY_TEXT}:5"), "twice"),
        ((encode_address_text("smr", ALICE.address) + ":5",), "another network"),
        ((f"{TREASURY_TEXT}:5",), "add up to 5 units"),
    ],
)
def test_a_genesis_that_cannot_be(stand: Stand, texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(FollowStartError, match=message):
        stand.run(genesis=texts)
    assert stand.run() == 0


def test_a_halt_is_exit_code_1_until_somebody_clears_it(stand: Stand) -> None:
    stranger = Milestones((MilestoneKey(0, ALICE.public_key, None),), 1)
    wrong = keys_file(stand.folder / "wrong.json", stranger)
    for keys in (wrong, wrong, stand.command.keys):
        assert stand.run(keys=keys) == 1
        assert stand.lines[-1]["event"] == "halted"
        assert (stand.lines[-1]["cause"], stand.lines[-1]["milestone"]) == ("signatures", 1)
    (stand.command.data / MARK).unlink()
    assert stand.run() == 0


def test_the_bar_shows_progress_and_shouts(stand: Stand) -> None:
    shown = io.StringIO()
    screen = LiveBar(Console(file=shown, width=100))
    assert run_follow(stand.command, screen, transport=stand.source.web) == 0
    assert "3/3" in shown.getvalue()
    assert "14 blocks, 1 paid, 1 in conflict" in shown.getvalue()
    assert "Everything holds up to milestone 3" in shown.getvalue()
    shown = io.StringIO()
    screen = LiveBar(Console(file=shown, width=100))
    assert run_follow(stand.command, screen, transport=stand.source.web) == 0
    assert "3/3" in shown.getvalue()
    (stand.command.data / MARK).write_text("{}", "ascii")
    shown = io.StringIO()
    screen = LiveBar(Console(file=shown, width=100))
    assert run_follow(stand.command, screen, transport=stand.source.web) == 1
    assert "HALTED" in shown.getvalue()
    assert "removed halted.json" in " ".join(shown.getvalue().split())


def test_a_replay_says_so_and_goes_on(stand: Stand) -> None:
    assert stand.run(replay=True) == 0
    assert not any("worked out again" in line.get("text", "") for line in stand.lines)
    stand.source.grow()
    assert stand.run(replay=True) == 0
    assert stand.events() == ["note", "note", "milestone", "milestone", "ended"]
    assert "3 milestones" in stand.lines[0]["text"]
    assert "worked out again" in stand.lines[1]["text"]


def test_a_replay_of_a_damaged_copy_is_an_end_without_a_mark(stand: Stand) -> None:
    assert stand.run() == 0
    stand.source.grow()
    with closing(sqlite3.connect(stand.command.data / LEDGER_FILE)) as connection, connection:
        connection.execute("UPDATE output SET address = zeroblob(32)")
    with pytest.raises(FollowStartError, match=r"damaged.*output [0-9a-f]{68}"):
        stand.run(replay=True)
    assert stand.events() == ["note"]
    assert not (stand.command.data / MARK).exists()


def test_an_interrupted_replay_does_not_say_that_all_holds(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stand.run() == 0

    def interrupted(*_args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "reference_blocks", interrupted)
        with pytest.raises(FollowStartError, match="interrupted"):
            stand.run(replay=True)
    assert stand.events() == ["note"]
    assert stand.run(replay=True) == 0


# Troubles ---------------------------------------------------------------------------------------


def test_a_node_that_is_away_is_waited_for(stand: Stand) -> None:
    stand.patience = 8
    stand.source.web.hanging.add("one")
    assert stand.run(once=False) == 0  # Ctrl-C
    assert stand.events() == ["waiting"] * 8 + ["ended"]
    for n, pause in enumerate(stand.pauses):
        longest = min(LONGEST_WAIT_S, 2**n)
        assert 0.75 * longest <= pause <= longest
    assert "ReadTimeout" in stand.lines[0]["why"]
    stand.source.web.hanging.clear()
    assert stand.run() == 0


def test_once_gives_up_on_a_node_that_is_away(stand: Stand) -> None:
    stand.source.web.hanging.add("one")
    with pytest.raises(FollowStartError, match="http://one:14265"):
        stand.run()
    assert len(stand.pauses) == ONCE_ATTEMPTS - 1


def test_a_hiccup_in_between_is_waited_out(stand: Stand) -> None:
    troubles = [refusal(503)] * 7

    def mischief(request: httpx.Request, told: httpx.Response) -> httpx.Response:
        return troubles.pop() if troubles and "/blocks/" in request.url.path else told

    stand.source.node.mischief = mischief
    assert stand.run() == 0
    assert stand.events().count("waiting") == 2
    assert stand.events().count("milestone") == 3


def test_new_milestones_are_looked_for_again_and_again(stand: Stand) -> None:
    stand.patience = 6
    grow = stand.pause

    def pause(seconds: float) -> None:
        stand.source.grow()
        grow(seconds)

    screen = JsonLines(lambda line: stand.lines.append(json.loads(line)))
    command = replace(stand.command, once=False)
    assert run_follow(command, screen, pause=pause, transport=stand.source.web) == 0
    assert stand.events().count("milestone") == 3 + 2 * 5


def test_ctrl_c_at_any_moment_is_a_clean_end(stand: Stand) -> None:
    """The interrupt arrives within a request; whatever was taken before is there."""
    total = len(stand.source.node.asked)
    assert stand.run(data=stand.folder / "calm") == 0
    total = len(stand.source.node.asked) - total
    left = [0]

    def mischief(_request: httpx.Request, told: httpx.Response) -> httpx.Response:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return told

    stand.source.node.mischief = mischief
    for step in range(1, total, 6):
        left[0] = step
        assert stand.run(data=stand.folder / str(step)) == 0
        assert stand.events()[-1] == "ended"
        left[0] = 0
        assert stand.run(data=stand.folder / str(step)) == 0
        assert "up to milestone 3" in stand.lines[-1]["text"]


def test_one_process_at_a_time_works_in_a_folder(stand: Stand) -> None:
    with alone(stand.command.data), pytest.raises(FollowStartError, match="in use"):
        stand.run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keys": Path("/nowhere/keys.json")}, "No such file"),
        ({"url": "one:14265"}, "no address of a node"),
        ({"url": "http://user:secret@one"}, "no address of a node"),
        ({"token_file": Path("/nowhere/token")}, "cannot be read"),
    ],
)
def test_what_cannot_start_says_why(stand: Stand, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FollowStartError, match=message) as caught:
        stand.run(**changes)
    assert "secret" not in str(caught.value)


def test_a_token_from_a_file_is_sent(stand: Stand) -> None:
    file = stand.folder / "token"
    file.write_text(TOKEN + "\n", "ascii")
    file.chmod(0o600)
    assert stand.run(token_file=file) == 0
    assert {h.get("Authorization") for h in stand.source.node.headers} == {f"Bearer {TOKEN}"}


# Processes --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node process with some history."""
    with running_node(tmp_path_factory.mktemp("node")) as made:
        with NodeClient([made.url]) as client:
            ledger = RestLedger(client, network=made.network, hrp=made.hrp)
            anchors = [ledger.anchor(b"tag", bytes([n])) for n in range(12)]
            while ledger.inclusion_proof(anchors[-1]) is None:
                time.sleep(0.1)
        yield made


def follow(node: NodeProcess, folder: Path, *options: str) -> subprocess.Popen[str]:
    arguments = ["--data", str(folder), "--keys", str(node.keys_file), "--json", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", "node", "follow", node.url, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_killed_follower_goes_on(node: NodeProcess, tmp_path: Path) -> None:
    for lines, end in ((3, signal.SIGKILL), (1, signal.SIGTERM)):
        process = follow(node, tmp_path)
        assert process.stdout is not None
        for _ in range(lines):
            assert json.loads(process.stdout.readline())["event"] in {"note", "milestone"}
        process.send_signal(end)
        process.communicate(timeout=30)
        assert process.returncode == (0 if end == signal.SIGTERM else -signal.SIGKILL)
    lines_said: list[str] = []
    command = FollowCommand(node.url, tmp_path, node.keys_file, once=True)
    assert run_follow(command, JsonLines(lines_said.append)) == 0
    assert json.loads(lines_said[-1])["event"] == "ended"
    store = Store(tmp_path / LEDGER_FILE)
    with NodeClient([node.url]) as client:
        rows = settled(store)
        assert store.count("milestones") >= 2
        for row in store.all_milestones():
            assert client.milestone(row.index) == row.payload
        blocks = [row for row in rows if hasattr(row, "white_flag_index")]
        assert len(blocks) >= 12
        for block in blocks:
            metadata = client.block_metadata(block.block_id)
            assert metadata.white_flag_index == block.white_flag_index
            assert metadata.referenced_by_milestone_index == block.milestone_index
    store.close()
