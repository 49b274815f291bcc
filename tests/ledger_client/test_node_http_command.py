"""`wattloom node` as a process: its folder, what it refuses to start with, how it ends."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from click.testing import Result
from typer.testing import CliRunner

from app.cli import cli
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.stardust.block import Block
from ledger_client.stardust.json_form import hex_text
from ledger_client.stardust.transaction import TaggedData
from ledger_client.verify import LedgerKeys, parse_json, verify_bytes
from tests.ledger_client.node_process import NodeProcess, running_node, start_node

BINARY = "application/vnd.iota.serializer-v1"
ALICE = encode_address_text("wl", b"\xa1" * 32)
BOB = encode_address_text("wl", b"\xb0" * 32)


def ask(node: NodeProcess, path: str, method: str = "GET", **options: Any) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(node.url).netloc, timeout=60)
    connection.request(method, path, options.get("body"), options.get("headers", {}))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def attach(node: NodeProcess, data: bytes) -> bytes:
    """Attach tagged data on top of the tips; return the block's id."""
    _, tips = ask(node, "/api/core/v2/tips")
    parents = tuple(bytes.fromhex(tip[2:]) for tip in json.loads(tips)["tips"])
    block = Block(parents, TaggedData(b"tag", data))
    headers = {"Content-Type": BINARY}
    status, _ = ask(node, "/api/core/v2/blocks", "POST", body=block.encode(), headers=headers)
    assert status == 201
    return block.id()


def refusal(*options: str) -> str:
    """Start a node that cannot start, in this process; return the one line that it says."""
    return _line(CliRunner().invoke(cli, ["node", "--port", "0", *options]))


def _line(run: Result) -> str:
    assert run.exit_code == 1, run.stderr
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert line.startswith("wattloom node: ")
    return line


@pytest.fixture(autouse=True)
def _never_serves_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that starts where it should refuse must not run on in the tests' own process."""

    def listen(*_: object, **__: object) -> None:
        raise AssertionError("the node started")

    monkeypatch.setattr(uvicorn.Server, "run", listen)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("node") / "deep" / "folder"
    with running_node(folder) as running:
        yield running


def test_a_new_folder_gets_private_keys_and_a_treasury(node: NodeProcess) -> None:
    for name in ("milestone.key", "treasury.seed"):
        assert mode(node.folder / name) == 0o600, name
    assert mode(node.folder) == 0o700
    _, info = ask(node, "/api/core/v2/info")
    protocol = json.loads(info)["protocol"]
    assert (protocol["networkName"], protocol["bech32Hrp"]) == ("wattloom-private", "wl")
    assert protocol["tokenSupply"] == str(10**12)
    _, held = ask(node, f"/api/indexer/v1/outputs/basic?address={node.treasury}")
    assert len(json.loads(held)["items"]) == 1


def test_its_keys_file_judges_its_proofs(node: NodeProcess) -> None:
    keys = node.keys_file.read_bytes()
    assert len(LedgerKeys.load(parse_json(keys), "keys").milestones.keys) == 1
    path = f"/api/poi/v1/create/{hex_text(attach(node, b'to be proved'))}"
    while True:  # a milestone comes within the second; the test's time-out is the child's
        status, proof = ask(node, path)
        if status == 200:
            break
        assert status == 400
    assert verify_bytes(proof, keys).code == 0


def test_a_second_node_on_the_folder_is_refused(node: NodeProcess) -> None:
    assert "in use by another process" in refusal("--data", str(node.folder))


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port}" in refusal("--data", str(tmp_path / "node"), "--port", port)


def test_only_loopback_goes_without_a_token(tmp_path: Path) -> None:
    data = str(tmp_path / "node")
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        assert "--token-file" in refusal("--data", data, "--host", host)
    assert not (tmp_path / "node").exists()


def test_a_token_file_has_to_be_private_and_long_enough(tmp_path: Path) -> None:
    token = tmp_path / "token"
    given = ("--data", str(tmp_path / "node"), "--token-file", str(token))
    assert "cannot be read" in refusal(*given)
    token.write_text("0123456789abcdef\n")
    token.chmod(0o644)
    assert "chmod 600" in refusal(*given)
    token.chmod(0o600)
    token.write_text("short\n")
    assert "16" in refusal(*given)


def test_with_a_token_only_health_is_open(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    token.chmod(0o600)
    with running_node(tmp_path / "node", "--token-file", str(token)) as node:
        headers = {"Authorization": "Bearer 0123456789abcdef"}
        assert ask(node, "/health")[0] == 200
        assert ask(node, "/api/core/v2/info")[0] == 401
        assert ask(node, "/api/core/v2/info", headers=headers)[0] == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--genesis-address", "nonsense"], "prefix"),
        (["--genesis-address", ALICE[:-1] + "q"], "checksum"),
        (["--genesis-address", ALICE, "--hrp", "rms"], "--hrp"),
        (["--genesis-address", f"{ALICE}:0"], "whole units"),
        (["--genesis-address", f"{ALICE}:-5"], "whole units"),
        (["--genesis-address", f"{ALICE}:"], "whole units"),
        (["--genesis-address", f"{ALICE}:33"], "deposit"),
        (["--genesis-address", ALICE, "--genesis-address", f"{ALICE}:50"], "twice"),
        (["--genesis-address", f"{ALICE}:9223372036854775807", "--genesis-address", BOB], "2^63"),
        (["--network", "two words"], "--network"),
        (["--hrp", "UPPER"], "--hrp"),
        (["--hrp", "x" * 17], "--hrp"),
        (["--threshold", "2"], "--threshold"),
    ],
)
def test_options_that_make_no_network(tmp_path: Path, options: list[str], said: str) -> None:
    assert said in refusal("--data", str(tmp_path / "node"), *options)


def test_the_folder_keeps_its_network(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    made = ["--network", "lindenhof", "--hrp", "lin"]
    address = encode_address_text("lin", b"\xa1" * 32)
    other = encode_address_text("lin", b"\xb0" * 32)
    genesis = ["--genesis-address", f"{address}:5000"]
    with running_node(folder, *made, *genesis) as first:
        assert (first.network, first.hrp, first.treasury) == ("lindenhof", "lin", None)
        block_id = attach(first, b"kept")
    kept = {path: (folder / path).read_bytes() for path in ("keys.json", "milestone.key")}
    for options in (
        ["--network", "another"],
        ["--hrp", "wl"],
        ["--genesis-address", f"{address}:5001", "--hrp", "lin"],
        ["--genesis-address", f"{other}:5000"],
        ["--threshold", "3"],
    ):
        assert "leave" in refusal("--data", str(folder), *options)
    with running_node(folder, *made, *genesis) as same:
        assert ask(same, f"/api/core/v2/blocks/{hex_text(block_id)}")[0] == 200
    with running_node(folder) as again:
        assert (again.network, again.hrp) == ("lindenhof", "lin")
    assert kept == {path: (folder / path).read_bytes() for path in kept}


def test_another_milestone_key_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    with running_node(folder):
        pass
    (folder / "milestone.key").unlink()
    assert "milestone.key" in refusal("--data", str(folder))


def test_a_lost_ledger_is_not_begun_anew_under_its_keys(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    with running_node(folder):
        pass
    for path in folder.glob("ledger.db*"):
        path.unlink()
    before = sorted(folder.iterdir())
    assert "ledger.db is gone: bring it back" in refusal("--data", str(folder))
    assert sorted(folder.iterdir()) == before


def test_an_unreadable_setting_is_one_line(tmp_path: Path) -> None:
    with running_node(tmp_path / "node") as node:
        pass
    with closing(sqlite3.connect(node.folder / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE setting SET value = 'x' WHERE name = 'genesis'")
    assert "its genesis is unreadable" in refusal("--data", str(node.folder))


@pytest.mark.parametrize("content", [b"{}\n", b'{"log":[],"version":1}\n', b"no json"])
def test_a_folder_with_other_keys_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    """A district's folder, say: its ledger has the same name, and its keys are kept elsewhere."""
    (tmp_path / "keys.json").write_bytes(content)
    (tmp_path / "ledger.db").touch()
    assert "name a folder of the node's own" in refusal("--data", str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "keys.json", "ledger.db"}


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    with running_node(folder):
        pass
    (folder / "milestone.key").chmod(0o640)
    assert "chmod 600" in refusal("--data", str(folder))


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    # A file may grow to 20 kB: the keys fit, the ledger does not.
    command = f"ulimit -f 20; exec {sys.executable} -m app.cli node --port 0 --data {tmp_path}/node"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    (line,) = run.stderr.splitlines()
    assert line.startswith("wattloom node: ledger database:")


@pytest.mark.parametrize("request_", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly(tmp_path: Path, request_: signal.Signals) -> None:
    node = start_node(tmp_path / "node")
    connection = http.client.HTTPConnection(urlsplit(node.url).netloc)
    connection.request("GET", "/health")  # stays open: nobody waits for an idle client
    assert connection.getresponse().status == 200
    assert node.stop(request_) == 0
    _, said = node.process.communicate()
    assert said == b""
    connection.close()


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    node = start_node(tmp_path / "node")
    blocks = [attach(node, bytes([number])) for number in range(5)]
    node.stop(signal.SIGKILL)
    node.process.communicate()
    with running_node(tmp_path / "node") as again:
        for block_id in blocks:
            assert ask(again, f"/api/core/v2/blocks/{hex_text(block_id)}")[0] == 200


def test_garbage_instead_of_http_is_answered_and_dropped(node: NodeProcess) -> None:
    host, port = urlsplit(node.url).hostname, urlsplit(node.url).port
    for garbage in (b"\x16\x03\x01\x02\x00\x01\n\n", b"GET /\r\n\r\n", b"\0" * 100_000):
        with socket.create_connection((host, port), timeout=60) as connection:
            connection.sendall(garbage)
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 400"), garbage[:20]
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "400"
    assert ask(node, "/health")[0] == 200


def test_ten_megabytes_over_the_wire_get_their_413(node: NodeProcess) -> None:
    body = b"[" * 10_000_000
    headers = {"Content-Type": "application/json"}
    status, said = ask(node, "/api/core/v2/blocks", "POST", body=body, headers=headers)
    assert (status, json.loads(said)["error"]["code"]) == (413, "413")
