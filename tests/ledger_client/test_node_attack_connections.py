"""Attacks on a node's connections: opened by the hundred, and never read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import uvicorn
from starlette.types import Receive, Scope, Send

from ledger_client.serving.connections import bounded, drop_the_unread
from tests.ledger_client.node_process import _ready_line

FILES = 200  # allowed to the node; fewer than the connections that are opened


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@contextlib.contextmanager
def node_with_few_files(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a node that may open ``FILES`` files; yield its process and address."""
    command = [sys.executable, "-m", "app.cli", "node", "--json", "--port", "0"]
    process = subprocess.Popen(
        ["/bin/sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", *command, "--data", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process, json.loads(_ready_line(process))["url"]
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_idle_connections_keep_nobody_out(tmp_path: Path) -> None:
    with node_with_few_files(tmp_path / "n") as (process, url), contextlib.ExitStack() as stack:
        address = "127.0.0.1", int(url.rpartition(":")[2])
        for _ in range(2 * FILES):
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_connection(address, timeout=5))
        assert httpx.get(f"{url}/api/core/v2/info", timeout=60).status_code == 200
        assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < FILES


@contextlib.contextmanager
def server_of_long_answers(unread_ms: int) -> Iterator[tuple[int, uvicorn.Server]]:
    """Serve answers that fit in no socket's buffer from a thread; yield port and server."""

    async def page(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(1 << 24)})

    config = uvicorn.Config(page, http=bounded(8, 60, 1), lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        drop_the_unread(listener, unread_ms)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            yield listener.getsockname()[1], server
        finally:
            server.should_exit = True
            thread.join()


def test_who_does_not_read_his_answer_loses_his_place() -> None:
    with server_of_long_answers(unread_ms=300) as (port, server):
        with socket.create_connection(("127.0.0.1", port)) as deaf:
            deaf.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            until(lambda: server.server_state.total_requests > 0)
            until(lambda: not server.server_state.connections)
        reader = httpx.get(f"http://127.0.0.1:{port}/", timeout=60)
        assert len(reader.content) == 1 << 24
