"""``wattloom demo``: options in, progress and a summary out, clear words when it cannot run."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.clock import ClockError
from app.db import DatabaseError
from app.demo.folder import NoRunError
from app.demo.outputs import write_summary
from app.demo.run import run
from app.demo.steps import DemoOptions
from app.serve.folder import FolderInUseError
from app.serve.server import PortBusyError
from app.services.founding import FoundingError
from app.services.keyring import KeyringError
from app.services.ledger import LedgerSetupError
from app.services.summary import Summary
from app.settings import SettingsError, load_settings
from ledger_client.ledger import LedgerError
from metering.interval import from_ms
from metering.signing import SigningError
from metering.spool import SpoolError

_EXPECTED = (
    SettingsError,
    FolderInUseError,
    NoRunError,
    PortBusyError,
    FoundingError,
    KeyringError,
    SigningError,
    SpoolError,
    LedgerError,
    LedgerSetupError,
    DatabaseError,
    ClockError,
    OSError,
)


@dataclass(frozen=True, slots=True)
class How:
    """What the command line says about the run; the fields are those of :class:`DemoOptions`."""

    headless: bool
    intervals: int | None
    speed: float | None
    seed: int
    fresh: bool


def run_demo(
    settings_file: Path | None,
    overrides: dict[str, object],
    how: How,
    *,
    summary: Path | None,
    json_lines: bool,
) -> int:
    """Run the demo and return its exit code: 0 done, 1 could not run (and it says why).

    ``overrides`` are settings given on the command line; they win over the file.
    """
    console = Console(stderr=True)
    bar = _Bar(console, how.intervals)
    try:
        settings = load_settings(settings_file, **overrides)
        _check_folder(summary)
        options = DemoOptions(
            settings=settings,
            headless=how.headless,
            intervals=how.intervals,
            speed=how.speed,
            seed=how.seed,
            fresh=how.fresh,
            on_step=bar.step,
            on_sealed=_print_line if json_lines else lambda _: None,
            on_ready=lambda url: _welcome(console, url, headless=how.headless),
            on_notice=lambda text: console.print(
                text, style="yellow", markup=False, highlight=False, soft_wrap=True
            ),
        )
        with bar:
            figures = asyncio.run(run(options))
        if summary is not None:
            write_summary(summary, figures)
    except _EXPECTED as error:
        console.print(
            f"wattloom demo: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        return 1
    _farewell(console, figures)
    return 0


def _check_folder(file: Path | None) -> None:
    """Refuse a summary that could not be written before the run, not after it."""
    if file is not None and not file.parent.is_dir():
        raise NotADirectoryError(f"{file.parent} is no folder: make it first")


class _Bar(AbstractContextManager["_Bar"]):
    """Progress in sealed intervals and district time, on the terminal only."""

    def __init__(self, console: Console, total: int | None) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("sealed"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("Lindenhof", total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._progress.stop()

    def step(self, sealed: int, now_ms: int) -> None:
        """Show how many intervals are sealed at which district time."""
        text = f"Lindenhof {from_ms(now_ms):%d %b %H:%M} UTC"
        self._progress.update(self._task, completed=sealed, description=text)


def _print_line(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _welcome(console: Console, url: str, *, headless: bool) -> None:
    if not headless:
        console.print(f"Lindenhof lives at [bold]{url}[/bold]  (Ctrl-C stops it)")


def _farewell(console: Console, figures: Summary) -> None:
    console.print(
        f"{figures['intervals']} intervals sealed, {figures['trades']} trades, "
        f"{figures['traded_wh'] / 1000:.1f} kWh shared locally "
        f"({float(figures['local_share']):.0%} of what was drawn); "
        f"sum of postings {figures['postings_sum_micro']}, "
        f"journal - ledger {figures['journal_minus_ledger_micro']} micro-euros; "
        f"{len(figures['proofs'])} proofs beside {figures['keys']}",
        highlight=False,
        soft_wrap=True,
    )
