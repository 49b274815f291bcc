"""The pages' server under people who open connections and say nothing, and when it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from ledger_client.serving.connections import bounded, connections_for, raise_file_limit
from tests.app.runs import ROOT

FILES = 200  # allowed to the demo; fewer than the sockets that are opened


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("files", "connections"), [(64, 16), (256, 64), (1_024, 448), (65_536, 1_024)]
)
def test_connections_leave_room_for_the_rest(files: int, connections: int) -> None:
    assert connections_for(files) == connections


def test_the_limit_of_files_is_raised_and_never_lowered() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[0]), before[1]))
        raised = raise_file_limit()
        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(256, before[0])
        assert raise_file_limit() == raised
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# The protocol alone


@contextlib.contextmanager
def serving(most: int, head_s: float) -> Iterator[int]:
    """Serve a page that answers ``ok`` from a thread; yield the port."""

    async def page(_scope: object, _receive: object, send: Callable[..., object]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(
        page, http=bounded(most, head_s), lifespan="off", log_level="error", timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def connected(head_s: float) -> Iterator[socket.socket]:
    with (
        serving(most=5, head_s=head_s) as port,
        socket.create_connection(("127.0.0.1", port)) as connection,
    ):
        yield connection


def is_closed(connection: socket.socket) -> bool:
    """Wait for the other side to end the connection."""
    connection.settimeout(20)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_who_does_not_finish_a_head_is_cut_off(said: bytes) -> None:
    with connected(head_s=0.3) as connection:
        connection.sendall(said)
        assert is_closed(connection)


def test_a_slow_head_after_an_answer_is_cut_off_too() -> None:
    with connected(head_s=0.3) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):
            answer += connection.recv(4_096)
        connection.sendall(b"GET / HT")
        assert is_closed(connection)


def test_the_oldest_idle_connection_makes_room() -> None:
    with serving(most=3, head_s=60) as port, contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)
        ]
        assert httpx.get(f"http://127.0.0.1:{port}/").text == "ok"
        assert is_closed(idle[0])


# A real demo


@contextlib.contextmanager
def demo(folder: Path, files: int) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """Run the demo with ``files`` descriptors; yield its process, address and standard error."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = folder / "said.txt"
    command = [sys.executable, "-m", "app.cli", "demo", "--speed", "1", "--port", str(port)]
    command += ["--data", str(folder / "run")]
    with said.open("wb") as file:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command],
            cwd=ROOT,
            stdout=file,
            stderr=file,
        )
    try:
        until(lambda: "lives at" in said.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, said.read_text()
        yield process, f"http://127.0.0.1:{port}", said
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def goodbye(process: subprocess.Popen[bytes], said: Path) -> list[str]:
    """Stop the demo as Ctrl-C does; return what it said after its address."""
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, said.read_text()
    return said.read_text().strip().splitlines()[1:]


def test_a_flood_of_idle_connections_is_survived(tmp_path: Path) -> None:
    with demo(tmp_path, FILES) as (process, url, said), contextlib.ExitStack() as stack:
        address = "127.0.0.1", int(url.rpartition(":")[2])
        for _ in range(2 * FILES):
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_connection(address, timeout=5))
        assert answers(url)  # even now: the idle ones make room
        assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < FILES
        stack.close()
        until(lambda: answers(url))
        assert len(goodbye(process, said)) == 1


def test_ctrl_c_with_a_live_page_says_goodbye_alone(tmp_path: Path) -> None:
    with demo(tmp_path, 1_024) as (process, url, said), httpx.Client(base_url=url) as browser:
        browser.post("/enter", data={"role": "building-manager"})
        with browser.stream("GET", "/stream", timeout=30) as stream:
            assert stream.status_code == 200
            assert next(stream.iter_lines())
            (line,) = goodbye(process, said)
    assert "intervals sealed" in line
