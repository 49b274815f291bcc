"""`wattloom node audit` over a follower's copy and a log that tells the truth, or not."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from app.cli import cli
from ledger_client import merkle
from ledger_client.audit_command import AuditCommand, AuditStartError, run_audit
from ledger_client.checkpoint import Checkpoint, anchor_data, anchor_tag, sign_note
from ledger_client.follower.follower import LEDGER_FILE
from ledger_client.localnode.store import NewBlock, Store
from ledger_client.proof import ConsistencyProof, to_bytes
from ledger_client.serving.folder import alone
from ledger_client.verify import verify_bytes
from tests.ledger_client.ledger_bytes import blake, block, key, tagged, text
from tests.ledger_client.proof_records import ORIGIN
from tests.ledger_client.test_audit import KEYS, LEAVES, OTHER, anchor

RUNNER = CliRunner()


class Desk:
    """A follower's folder with anchors, and a district whose log is ``leaves``."""

    def __init__(self, folder: Path, blocks: list[bytes]) -> None:
        self.folder, self.keys = folder / "audit", folder / "keys.json"
        self.keys.write_bytes(KEYS)
        self.leaves, self.status, self.body = LEAVES, 200, b""
        self.asked: list[tuple[int, int]] = []
        rows = [NewBlock(blake(item), item, 5, None, item[75:116]) for item in blocks]
        with (
            alone(self.folder),
            closing(Store(self.folder / LEDGER_FILE)) as store,
            store.writing(),
        ):
            store.add_blocks(rows)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/log/consistency"
        old, new = int(request.url.params["from"]), int(request.url.params["to"])
        self.asked.append((old, new))
        notes = [
            sign_note(Checkpoint(ORIGIN, size, merkle.root(self.leaves[:size])), key("log"))
            for size in (old, new)
        ]
        path = tuple(merkle.consistency_path(self.leaves[:new], old))
        content = to_bytes(ConsistencyProof(old=notes[0], new=notes[1], path=path))
        return httpx.Response(self.status, stream=httpx.ByteStream(self.body or content))

    def run(self, log: str | None = "http://district/", as_json: bool = True) -> tuple[int, str]:
        said: list[str] = []
        command = AuditCommand(self.folder, self.keys, log, as_json)
        code = run_audit(command, said.append, httpx.MockTransport(self))
        return code, "\n".join(said)


def test_an_honest_log_is_asked_between_each_two(tmp_path: Path) -> None:
    desk = Desk(tmp_path, [anchor(LEAVES, size) for size in (3, 9, 13)])
    code, said = desk.run()
    assert (code, json.loads(said)["checkpoints"]) == (0, 3)
    assert desk.asked == [(3, 9), (9, 13)]
    assert "Nothing speaks against the log" in desk.run(as_json=False)[1]
    assert desk.run(log=None)[0] == 0


def test_two_histories_become_files_that_convict(tmp_path: Path) -> None:
    blocks = [anchor(LEAVES, 9), anchor(OTHER, 9), anchor(LEAVES, 13), anchor(OTHER, 6)]
    desk = Desk(tmp_path, blocks)
    for _ in range(2):  # the same again finds the same files
        code, said = desk.run()
        found = json.loads(said)
        assert code == 1
        assert len(found["evidence"]) == len(set(found["evidence"])) >= 2
        for path in found["evidence"]:
            assert verify_bytes(Path(path).read_bytes(), KEYS).code == 0
    assert "TWO HISTORIES" in desk.run(as_json=False)[1]
    assert desk.run(log=None)[0] == 1


@pytest.mark.parametrize("body", [b"{}\n", b"<html>", b'{"status":404}', b"x" * 100_000])
def test_a_log_that_shows_something_else_is_not_proven(tmp_path: Path, body: bytes) -> None:
    desk = Desk(tmp_path, [anchor(LEAVES, 3), anchor(LEAVES, 9)])
    desk.body, desk.status = body, 404
    code, said = desk.run()
    assert (code, json.loads(said)["unproven"]) == (1, [[3, 9]])
    assert "NOT SHOWN" in desk.run(as_json=False)[1]


@pytest.mark.parametrize("status", [301, 307, 401, 403, 408, 429, 500, 503])
def test_an_address_that_says_nothing_of_the_log_does_not_convict_it(
    tmp_path: Path, status: int
) -> None:
    desk = Desk(tmp_path, [anchor(LEAVES, 3), anchor(LEAVES, 9)])
    desk.status = status
    with pytest.raises(AuditStartError, match=f"{status}: give its own address"):
        desk.run()


def test_a_log_that_is_away_is_not_judged(tmp_path: Path) -> None:
    desk = Desk(tmp_path, [anchor(LEAVES, 3), anchor(LEAVES, 9)])
    with pytest.raises(AuditStartError, match="does not answer"):
        run_audit(AuditCommand(desk.folder, desk.keys, "http://127.0.0.1:1"), print)


def test_a_note_that_was_never_anchored_is_not_missed_and_junk_convicts_nobody(
    tmp_path: Path,
) -> None:
    """Anybody may copy a note and add a false predecessor, or fill the tag with rubbish."""
    head = Checkpoint(ORIGIN, 9, merkle.root(LEAVES[:9]))
    false = Checkpoint(ORIGIN, 3, merkle.root(OTHER[:3]))
    data = anchor_data(sign_note(head, key("log")), false)
    junk = [data[:-1], data + b" ", b"", b"[" * 30_000, data.replace(b'"note"', b'"nota"')]
    blocks = [block(tagged(anchor_tag(ORIGIN), item)) for item in (data, *junk)]
    desk = Desk(tmp_path, [*blocks, anchor(LEAVES, 13)])
    code, said = desk.run()
    found = json.loads(said)
    assert (code, found["checkpoints"], found["strange_blocks"]) == (0, 2, len(junk))
    assert desk.asked == [(9, 13)]


def test_blocks_of_others_under_the_tag_are_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, [anchor(LEAVES, 9), anchor(OTHER, 9, signer="someone")])
    code, said = desk.run(as_json=False)
    assert code == 0
    assert "1 blocks under its tag" in said


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    desk = Desk(tmp_path, [])
    short = tmp_path / "short.json"
    short.write_text(text({"milestones": json.loads(KEYS)["milestones"], "version": 1}))
    for data, keys, says in (
        (tmp_path / "empty", desk.keys, "follow a node"),
        (desk.folder, short, "pins no log"),
        (desk.folder, tmp_path / "none", "No such file"),
        (desk.folder, desk.keys, "no checkpoint of"),
    ):
        with pytest.raises(AuditStartError, match=says):
            run_audit(AuditCommand(data, keys), print)
    with alone(desk.folder), pytest.raises(AuditStartError, match="in use"):
        desk.run()


def test_the_command_line_exits_as_it_says(tmp_path: Path) -> None:
    desk = Desk(tmp_path, [anchor(LEAVES, 9), anchor(OTHER, 9)])
    arguments = ["node", "audit", "--data", str(desk.folder), "--keys", str(desk.keys)]
    assert RUNNER.invoke(cli, arguments).exit_code == 1
    assert json.loads(RUNNER.invoke(cli, [*arguments, "--json"]).stdout)["ok"] is False
    arguments[3] = str(tmp_path / "empty")
    done = RUNNER.invoke(cli, arguments)
    assert done.exit_code == 2
    assert "follow a node" in done.output
