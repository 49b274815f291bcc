"""``wattloom gateway`` and ``python -m metering.box``: run a gateway, make and look into it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from metering.box.config import BoxConfig, ConfigError, load_config
from metering.box.entries import files_beside
from metering.box.lock import BoxError, alone
from metering.box.report import readings
from metering.box.service import load_signers, run_box
from metering.box.setup import make_gateway
from metering.box.timekeeper import wall_ms
from metering.box.upkeep import DeadReading, dead_readings, new_spool, requeue
from metering.interval import LENGTH_MS
from metering.spool import SpoolCorruptError, SpoolError

_new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with suppress(ImportError):  # it is faster; asyncio's own where it is missing
    import uvloop

    _new_loop = uvloop.new_event_loop

_LOOK_S: Final = 10.0
_BORDER_MS: Final = 20_000
"""So long before and after a border what commands changed is left for later."""

_log = logging.getLogger("metering.box")

_DESCRIPTION: Final = """\
Read meters, sign what they show, and send it until there are receipts.

SIGTERM ends it in a few seconds; SIGHUP makes it read its settings again. Meters that commands add
or change it takes up within a minute. Exit codes: 0 done,
1 it could not be done and the last lines say why, 2 the command was not understood."""
_EPILOG: Final = """\
Examples:
  wattloom gateway --init /etc/wattloom/gateway.toml
  wattloom gateway --check /etc/wattloom/gateway.toml
  wattloom gateway /etc/wattloom/gateway.toml"""


def main(arguments: Sequence[str] | None = None, prog: str = "wattloom gateway") -> int:
    """Do what the command line says; return its exit code."""
    asked = _parser(prog).parse_args(arguments)
    try:
        return _do(asked)
    except ConfigError as error:
        faults: Sequence[str] = error.faults
    except (BoxError, SpoolError, OSError) as error:
        faults = [_advice(error, asked.config)]
    for fault in faults:
        sys.stderr.write(f"{prog}: {fault}\n")
    return 1


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", metavar="CONFIG.toml", type=Path, help="the gateway's settings")
    what = parser.add_mutually_exclusive_group()
    for name, words in (
        ("--check", "judge settings and keys, and start nothing"),
        ("--init", "make commented settings and the gateway's key"),
        ("--dead", "list the readings that the server refused for good"),
        ("--requeue", "offer those readings again, once the cause is mended"),
        ("--new-spool", "keep a damaged spool as evidence, and begin a new one in new epochs"),
    ):
        what.add_argument(name, action="store_true", help=words)
    parser.add_argument("--json", action="store_true", help="with --check or --dead: print JSON")
    return parser


def _do(asked: argparse.Namespace) -> int:
    path: Path = asked.config
    if asked.init:
        for line in make_gateway(path):
            _say(line)
        return 0
    config = load_config(path)
    if asked.check:
        return _check(config, as_json=asked.json)
    if asked.dead:
        return _show_dead(dead_readings(config), as_json=asked.json)
    if asked.requeue:
        with alone(config.data):
            _say(f"{readings(requeue(config))} will be offered again")
        return 0
    if asked.new_spool:
        with alone(config.data):
            for line in new_spool(config):
                _say(line)
        return 0
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would tell every request
    return run(path, config)


def run(path: Path, config: BoxConfig) -> int:
    """Work until SIGTERM or SIGINT; on SIGHUP read the settings again and go on with them."""
    runner = asyncio.Runner(loop_factory=_new_loop)
    with runner:
        following: BoxConfig | None = config
        while following is not None:
            following = runner.run(_until_told(path, following))
    return 0


async def _until_told(path: Path, config: BoxConfig) -> BoxConfig | None:
    """Run once; return the settings to go on with, ``None`` to end."""
    stop, again = asyncio.Event(), list[BoxConfig]()
    loop = asyncio.get_running_loop()

    def end() -> None:
        again.clear()
        stop.set()

    def reload() -> None:
        try:
            found = load_config(path)
            load_signers(found)
        except ConfigError as error:
            _log.error("the new settings are wrong, the old ones hold: %s", error)  # told, not ours
            return
        again[:] = [found]
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, reload)
    watching = asyncio.create_task(watch_files(config, reload, wall_ms))
    try:
        await run_box(config, stop)
    finally:
        watching.cancel()
    return again[0] if again else None


async def watch_files(
    config: BoxConfig, reload: Callable[[], None], now_ms: Callable[[], int]
) -> None:
    """Call ``reload`` when commands changed files beside the settings, but not around a border."""
    known = config.beside
    while True:
        await asyncio.sleep(_LOOK_S)
        found = files_beside(config.path)
        if found != known and (now_ms() + _BORDER_MS) % LENGTH_MS >= 2 * _BORDER_MS:
            known = found
            _log.info("the meters beside the settings have changed")
            reload()


def _check(config: BoxConfig, *, as_json: bool) -> int:
    signers = load_signers(config)
    if as_json:
        meters = [
            {
                "point": entry.point, "serial": entry.serial, "profile": entry.profile,
                "line": entry.line, "unit": entry.unit, "epoch": entry.epoch,
                "key": signers[entry.point][-1].enrolment.key.hex,
                "valid_from": entry.valid_from.key,
            }
            for entry in config.meters
        ]  # fmt: skip
        found = {"gateway": config.name, "district": config.district, "meters": meters}
        _say(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _say(
            f"{config.path} is sound: gateway {config.name} of {config.district}, "
            f"{len(config.meters)} meters on {len(config.lines) + len(config.inputs)} lines"
        )
    return 0


def _show_dead(dead: Sequence[DeadReading], *, as_json: bool) -> int:
    if as_json:
        _say(json.dumps([one.to_json() for one in dead], ensure_ascii=False, indent=2))
        return 0
    for one in dead:
        at = datetime.fromtimestamp(one.answered_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        _say(f"{one.point}  {at}  epoch {one.epoch} no. {one.seq}  {one.status}  {one.error}")
    _say(f"refused for good: {readings(len(dead))}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _advice(error: Exception, config: Path) -> str:
    if isinstance(error, SpoolCorruptError):
        return f"{error}: wattloom gateway --new-spool {config}"
    if isinstance(error, OSError) and error.filename:
        return f"cannot use {error.filename}: {error.strerror}; check its name and rights"
    return str(error)
