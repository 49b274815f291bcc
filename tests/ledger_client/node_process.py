"""A `wattloom node` of the tests' own: a child process on a free port, in a folder of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

READY_S = 60.0
"""Far more than a start takes on a busy machine."""


class NodeNotReadyError(Exception):
    """The node ended, or said nothing in time: its own words are in the message."""


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """A running node. ``treasury`` is the address of the seed, both None if it made none."""

    process: subprocess.Popen[bytes] = field(repr=False)
    url: str
    network: str
    hrp: str
    folder: Path
    keys_file: Path
    treasury: str | None
    treasury_seed: bytes | None = field(repr=False)

    def stop(self, request: signal.Signals = signal.SIGTERM) -> int:
        """Ask this one process to end and return its exit code."""
        self.process.send_signal(request)
        return self.process.wait(timeout=READY_S)


def start_node(folder: Path, *options: str) -> NodeProcess:
    """Start a node in ``folder`` and wait until it listens; milestones come every second.

    ``options`` are further options of `wattloom node`, which win over these. Whoever starts it
    stops it.
    """
    defaults = ["--data", str(folder), "--port", "0", "--milestone-interval", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "node", *defaults, "--json", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    line = _ready_line(process)
    if not line:
        process.kill()
        _, said = process.communicate()
        raise NodeNotReadyError(said.decode(errors="replace"))
    said = json.loads(line)
    seed = folder / "treasury.seed"
    return NodeProcess(
        process,
        said["url"],
        said["network"],
        said["hrp"],
        folder,
        Path(said["keys"]),
        said["treasury"],
        bytes.fromhex(seed.read_text("ascii").strip()) if seed.exists() else None,
    )


def _ready_line(process: subprocess.Popen[bytes]) -> bytes:
    """Return the first line of standard output; empty if it ended or took too long."""
    assert process.stdout is not None
    watchdog = threading.Timer(READY_S, process.kill)
    watchdog.start()
    try:
        return process.stdout.readline()
    finally:
        watchdog.cancel()


@contextmanager
def running_node(folder: Path, *options: str) -> Iterator[NodeProcess]:
    """Run a node for the length of a ``with``; see :func:`start_node`."""
    node = start_node(folder, *options)
    try:
        yield node
    finally:
        if node.process.poll() is None:
            node.stop()
        node.process.communicate()
