"""What ``wattloom serve`` and ``wattloom worker`` say, and how they end."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path

import typer

from app.db import DatabaseError
from app.serve.district import SimulatedDistrictError
from app.serve.folder import FolderInUseError
from app.serve.run import serve, work
from app.serve.server import PortBusyError
from app.services.keyring import KeyringError
from app.services.ledger import LedgerSetupError
from app.services.opening import NoDistrictError
from app.settings import Settings, SettingsError, load_settings
from ledger_client.ledger import LedgerError
from metering.signing import SigningError

_EXPECTED = (
    DatabaseError,
    FolderInUseError,
    KeyringError,
    LedgerError,
    LedgerSetupError,
    NoDistrictError,
    PortBusyError,
    SettingsError,
    SigningError,
    SimulatedDistrictError,
    OSError,
)


def run_serve(
    file: Path | None, overrides: dict[str, object], *, working: bool, json_line: bool = False
) -> int:
    """Serve until told to stop; return the exit code: 0 stopped, 1 could not run."""

    def ready(url: str) -> None:
        beside = "with its worker" if working else "without a worker"
        typer.echo(json.dumps({"url": url}) if json_line else f"serving {url}, {beside}")

    return _run(
        "serve", file, overrides, lambda found: serve(found, working=working, on_ready=ready)
    )


def run_worker(file: Path | None, overrides: dict[str, object]) -> int:
    """Work until told to stop; return the exit code: 0 stopped, 1 could not run."""

    def ready(origin: str) -> None:
        typer.echo(f"working for {origin}")

    return _run("worker", file, overrides, lambda found: work(found, ready))


def _run(
    name: str,
    file: Path | None,
    overrides: dict[str, object],
    process: Callable[[Settings], Coroutine[object, object, None]],
) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(process(load_settings(file, **overrides)))
    except _EXPECTED as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"cannot use {error.filename}: {error.strerror}; check its name and its rights"
        typer.echo(f"wattloom {name}: {text}", err=True)
        return 1
    return 0
