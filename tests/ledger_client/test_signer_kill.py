"""Signers as processes: two of three with a real node, kills, folders, ports, slow senders."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger_client.serving.connections import bounded
from ledger_client.serving.folder import SecretFileError, alone, read_token, service_key
from ledger_client.serving.limits import BoundedBodies
from ledger_client.serving.run import is_loopback
from ledger_client.signer import MilestoneKeeper
from ledger_client.signer.rules import Identity
from ledger_client.signer.state import SignerState
from ledger_client.stardust.block import Block
from ledger_client.stardust.milestone import MilestoneEssence
from ledger_client.stardust.signature import is_valid_signature
from ledger_client.stardust.transaction import TaggedData
from tests.ledger_client.node_process import running_node
from tests.ledger_client.service_process import Service, refused, signer, start, until, wattloom
from tests.ledger_client.signer_kit import NETWORK, chain, essence, serving

TOKEN = "t0ken-of-sixteen-signs"


class Node:
    """A node over HTTP, as far as these tests look at it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)

    def confirmed(self) -> int:
        info = self._http.get("/api/core/v2/info").json()
        return int(info["status"]["confirmedMilestone"]["index"])

    def signers(self, index: int) -> set[str]:
        found = self._http.get(f"/api/core/v2/milestones/by-index/{index}").json()
        return {item["publicKey"] for item in found["signatures"]}

    def is_healthy(self) -> bool:
        return self._http.get("/health").status_code == 200

    def attach(self, data: bytes) -> str:
        """Attach tagged data to the node's tips; return the block id."""
        tips = self._http.get("/api/core/v2/tips").json()["tips"]
        parents = tuple(sorted(bytes.fromhex(tip[2:]) for tip in tips))
        block = Block(parents, TaggedData(b"test", data)).encode()
        headers = {"Content-Type": "application/vnd.iota.serializer-v1"}
        answer = self._http.post("/api/core/v2/blocks", content=block, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["blockId"])

    def milestone_of(self, block_id: str) -> int | None:
        found = self._http.get(f"/api/core/v2/blocks/{block_id}/metadata").json()
        index = found.get("referencedByMilestoneIndex")
        return None if index is None else int(index)

    def goes_on(self) -> None:
        """Wait for two more milestones."""
        goal = self.confirmed() + 2
        until(lambda: self.confirmed() >= goal)


def test_two_of_three_with_a_node(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    with ExitStack() as stack:
        services = [signer(tmp_path / f"s{n}", "--token-file", str(token_file)) for n in range(3)]
        running = dict(enumerate(services))
        stack.callback(lambda: [each.stop() for each in running.values()])
        keys = ["0x" + each.said["publicKey"] for each in services]
        named = [f"--signer={each.url}={each.said['publicKey']}" for each in services]
        options = ["--network", NETWORK, "--threshold", "2", "--signer-token-file", str(token_file)]
        process = stack.enter_context(running_node(tmp_path / "node", *options, *named))
        node = Node(process.url)

        node.goes_on()
        assert node.signers(node.confirmed()) == set(keys)
        assert not (tmp_path / "node" / "milestone.key").exists()

        running.pop(0).stop(signal.SIGKILL)  # one down: it goes on
        node.goes_on()
        until(lambda: node.signers(node.confirmed()) == set(keys[1:]))

        running.pop(1).stop(signal.SIGKILL)  # two down: it stands still, says so, takes blocks
        until(lambda: not node.is_healthy())
        stood = node.confirmed()
        block = node.attach(b"while two are down")
        assert node.milestone_of(block) is None
        assert node.confirmed() == stood

        def back(number: int) -> Service:
            more = ["--token-file", str(token_file), "--keys", str(process.keys_file)]
            return signer(tmp_path / f"s{number}", *more, port=services[number].port)

        running[1] = back(1)  # its second is back: the draft of then is the next milestone
        until(lambda: node.milestone_of(block) is not None)
        assert node.signers(stood + 1) == set(keys[1:])
        until(node.is_healthy)
        running[0] = back(0)  # away for long: comes back by proof
        until(lambda: keys[0] in node.signers(node.confirmed()))
        last = node.confirmed()
        for service in running.values():
            health = httpx.get(service.url + "/health", timeout=30).json()
            assert health["lastSigned"]["index"] >= last
        assert process.stop() == 0
        for service in [running.pop(n) for n in list(running)]:
            assert service.stop() == 0


_KILLED = """
import os, signal, sys
from pathlib import Path
from ledger_client.signer import command, state
record = state.SignerState.record
def record_and_die(self, essence):
    record(self, essence)
    if essence.index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
state.SignerState.record = record_and_die
command.run_signer(
    command.SignerCommand(Path(sys.argv[1]), "lindenhof", port=0, json_line=True),
    lambda line: print(line, flush=True),
)
"""


def test_a_signer_killed_between_commit_and_answer_signs_the_same_again(tmp_path: Path) -> None:
    first, second = chain(2)
    victim = start([sys.executable, "-c", _KILLED, str(tmp_path / "s")])
    assert httpx.post(victim.url + "/sign", content=first.encode()).status_code == 200
    with pytest.raises(httpx.TransportError):
        httpx.post(victim.url + "/sign", content=second.encode())
    assert victim.stop() == -signal.SIGKILL
    again = signer(tmp_path / "s")
    try:
        other = essence(2, first, salt=9)
        answer = httpx.post(again.url + "/sign", content=other.encode())
        assert answer.status_code == 409
        made = httpx.post(again.url + "/sign", content=second.encode()).json()
        key = service_key(tmp_path / "s" / "signer.key")
        assert made["signature"] == "0x" + key.sign(second.id()).signature.hex()
        assert is_valid_signature(bytes(key.verify_key), second.id(), key.sign(second.id())[:64])
    finally:
        assert again.stop() == 0


def test_a_killed_signer_remembers_all_that_it_signed(tmp_path: Path) -> None:
    items, port = chain(12), "0"
    said: list[tuple[MilestoneEssence, str]] = []
    for part in (items[:7], items[7:]):
        service = signer(tmp_path / "s", port=port)
        port = service.port
        for item, signature in said:
            answer = httpx.post(service.url + "/sign", content=item.encode()).json()
            assert answer["signature"] == signature
        for item in part:
            answer = httpx.post(service.url + "/sign", content=item.encode())
            said.append((item, answer.json()["signature"]))
        service.stop(signal.SIGKILL)


# How it starts and does not start ----------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    folder = tmp_path_factory.mktemp("signer")
    service = signer(folder)
    yield service, folder
    service.stop()


def test_a_second_process_on_the_folder_says_so(running: tuple[Service, Path]) -> None:
    _, folder = running
    said = refused("node", "signer", "--data", str(folder), "--network", NETWORK, "--port", "0")
    assert said.startswith("wattloom node signer: ")
    assert "in use by another process" in said


def test_a_port_in_use_says_so(running: tuple[Service, Path], tmp_path: Path) -> None:
    service, _ = running
    fixed = ["--data", str(tmp_path / "other"), "--network", NETWORK]
    assert "is not free" in refused("node", "signer", *fixed, "--port", service.port)


def test_another_network_is_refused(tmp_path: Path) -> None:
    key = service_key(tmp_path / "signer.key")
    with closing(SignerState(tmp_path / "signer.db")) as state:
        MilestoneKeeper(key, state, Identity(bytes(key.verify_key), NETWORK))
    said = refused("node", "signer", "--data", str(tmp_path), "--network", "elsewhere")
    assert "is for the network lindenhof" in said


def test_beyond_this_machine_a_token_is_needed(tmp_path: Path) -> None:
    said = refused(
        "node", "signer", "--data", str(tmp_path), "--network", NETWORK, "--host", "0.0.0.0"
    )
    assert "--token-file" in said


def test_keys_that_are_none_are_refused(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text("{}")
    fixed = ["--data", str(tmp_path / "s"), "--network", NETWORK, "--keys"]
    assert "KEYS" in refused("node", "signer", *fixed, str(keys))
    assert "No such file" in refused("node", "signer", *fixed, str(tmp_path / "missing"))


def test_the_first_start_tells_a_person_what_to_do(tmp_path: Path) -> None:
    fixed = ["--data", str(tmp_path), "--network", NETWORK, "--port", "0"]
    service = start_text(wattloom("node", "signer", *fixed))
    assert service[0].startswith(f"milestone signer of the network {NETWORK} on http://127.0.0.1:")
    assert service[1].startswith("for the node: --signer http://127.0.0.1:")
    assert (tmp_path / "signer.key").stat().st_mode & 0o777 == 0o600


def start_text(command: list[str]) -> list[str]:
    """Start a service, stop it as Ctrl-C does, and return what it said."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 0
    return (first + rest).decode().splitlines()


# What the services share -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "is_it"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x", False)],
)
def test_loopback(host: str, *, is_it: bool) -> None:
    assert is_loopback(host) is is_it


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path / "a"):
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    with alone(tmp_path / "a"):
        pass


@pytest.mark.parametrize("content", ["short", "", "with spaces in the middle", "tökän" * 5])
def test_a_token_that_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SecretFileError):
        read_token(path)


def test_secrets_that_others_may_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o640)
    with pytest.raises(SecretFileError, match="chmod 600"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == TOKEN
    with pytest.raises(SecretFileError, match="holds no key"):
        service_key(path)
    with pytest.raises(SecretFileError, match="cannot be read"):
        read_token(tmp_path / "missing")


def test_a_key_is_made_once(tmp_path: Path) -> None:
    made = service_key(tmp_path / "a.key")
    assert service_key(tmp_path / "a.key") == made
    assert [path.name for path in tmp_path.iterdir()] == ["a.key"]


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def _ask(app: ASGIApp, *messages: Message) -> tuple[int, bytes]:
    """Send the parts of a body, then nothing more; return the answer."""
    said: list[Message] = []
    left = list(messages)

    async def receive() -> Message:
        if left:
            return left.pop(0)
        await asyncio.sleep(3_600)
        raise AssertionError

    async def send(message: Message) -> None:
        said.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(app(scope, receive, send))
    return int(said[0]["status"]), said[1]["body"]


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_arrives_whole_or_not_at_all() -> None:
    app = BoundedBodies(_echo, most_bytes=8, body_s=0.1)
    assert _ask(app, part(b"ab"), part(b"cd", more=False)) == (200, b"abcd")
    assert _ask(app, part(b"abcd"), part(b"efgh", more=False)) == (200, b"abcdefgh")
    for status, parts in ((413, [part(b"abcde")] * 2), (408, [part(b"ab")])):
        answer = _ask(app, *parts)
        assert answer[0] == status
        assert json.loads(answer[1])["error"]["code"] == str(status)


def test_a_slow_head_is_cut_off() -> None:
    with (
        serving(_echo, http=bounded(8, head_s=0.2)) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection,
    ):
        connection.settimeout(30)
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
        answer = b""
        while b"ab" not in answer:
            answer += connection.recv(4_096)
        assert answer.startswith(b"HTTP/1.1 200")
        connection.sendall(b"POST / HT")
        while connection.recv(4_096):
            pass
