"""Programs in processes of their own, forked off one that has imported them once.

Multiprocessing's ``forkserver``: it is the same program, only quicker to start, and a test that
kills it thirty times need not import it thirty times.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from app.cli import main

WAIT_S = 240
PROGRAMS = ["app.cli", "app.demo.command", "app.serve.command", "metering.box.main"]
Program = Callable[[], object]
"""What a process does, picklable; what it returns is its exit code."""

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(PROGRAMS)


@dataclass(frozen=True)
class Working:
    """A process at work, and the file of what it says."""

    process: ForkServerProcess
    log: Path

    def end(self) -> int:
        """Wait until it ended and return its exit code: negative where a signal ended it."""
        self.process.join(WAIT_S)
        assert self.process.exitcode is not None, self.said()
        return self.process.exitcode

    def said(self) -> str:
        return self.log.read_text()


@contextmanager
def running(log: Path, program: Program) -> Iterator[Working]:
    """Run a program, what it says into ``log``, until the context ends: by then it is killed."""
    process = _CONTEXT.Process(target=_run, args=(dict(os.environ), log, program))
    process.start()
    try:
        yield Working(process, log)
    finally:
        process.kill()
        process.join()


@contextmanager
def wattloom(log: Path, *arguments: object) -> Iterator[Working]:
    """Run a command of ``wattloom``."""
    with running(log, partial(_wattloom, [str(each) for each in arguments])) as working:
        yield working


def _run(environment: Mapping[str, str], log: Path, program: Program) -> None:
    os.environ.clear()
    os.environ.update(environment)
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(said, stream)
    sys.exit(program())


def _wattloom(arguments: Sequence[str]) -> None:
    sys.argv = ["wattloom", *arguments]
    main()
