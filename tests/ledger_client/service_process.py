"""A signer or witness of the tests' own: a child process on a free port, in its own folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner

from app.cli import cli
from tests.ledger_client.node_process import READY_S, _ready_line


@dataclass(frozen=True, slots=True)
class Service:
    """A running service; ``said`` is its ready line."""

    process: subprocess.Popen[bytes] = field(repr=False)
    said: dict[str, str]

    @property
    def url(self) -> str:
        return self.said["url"]

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    def stop(self, request: signal.Signals = signal.SIGTERM) -> int:
        """End this one process and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(request)
        self.process.communicate(timeout=READY_S)
        return self.process.returncode


def start(command: list[str]) -> Service:
    """Start a service and wait until it listens. Whoever starts it stops it."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    line = _ready_line(process)
    assert line, f"{command} ended with {process.wait(READY_S)} before it was ready"
    return Service(process, json.loads(line))


def wattloom(*arguments: str) -> list[str]:
    """Return the command line of this checkout."""
    return [sys.executable, "-m", "app.cli", *arguments]


def signer(folder: Path, *options: str, port: str = "0", network: str = "lindenhof") -> Service:
    """Start a milestone signer."""
    fixed = ["--data", str(folder), "--network", network, "--port", port, "--json"]
    return start(wattloom("node", "signer", *fixed, *options))


@contextmanager
def witness(folder: Path, name: str, log: str, port: str = "0") -> Iterator[Service]:
    """Run a witness for the length of a ``with``."""
    fixed = ["--data", str(folder), "--name", name, "--log", log, "--port", port, "--json"]
    service = start(wattloom("node", "witness", *fixed))
    try:
        yield service
    finally:
        service.stop()


def refused(*arguments: str) -> str:
    """Run a command that cannot start, in this process; return the one line that it says."""
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 1, done.output
    (line,) = done.stderr.strip().splitlines()
    assert done.stdout == ""
    return line


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something to come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
