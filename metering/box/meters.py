"""Adding, replacing and removing meters in ``meters.d``: one file each, never half written.

The person's ``gateway.toml`` is never touched, so that its comments stay; a running gateway takes
the change within a minute. What a command replaces or removes is kept beside it under a dated name.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from metering.box.config import ConfigError, check_meters, load_config, parse_meter
from metering.box.entries import METERS_FOLDER, MeterEntry
from metering.box.files import make_folder, sync_folder, write_whole

_KEYS: Final = ("point", "serial", "profile", "line", "unit", "key_file", "epoch", "valid_from")


class MeterFileError(ConfigError):
    """The change does not fit what the gateway has: nothing was written; see the message."""


def key_path(config: Path, serial: str) -> Path:
    """Return where a meter's key belongs: ``keys/meter-SERIAL.key`` beside the settings.

    A later key of one serial (after a rotation) is told by a number: ``meter-SERIAL-2.key``.
    """
    name = "".join(char if char.isascii() and char.isalnum() else "-" for char in serial)
    folder = config.absolute().parent / "keys"
    path, number = folder / f"meter-{name}.key", 1
    while path.exists():
        number += 1
        path = folder / f"meter-{name}-{number}.key"
    return path


def add_meter(config: Path, entry: MeterEntry) -> Path:
    """Write a new meter beside ``config`` and return its file.

    Raises:
        ConfigError: its point, key file or unit is taken, its line is not there, or the settings
            are wrong; nothing was written.
        OSError: the folder cannot be written; nothing was written.
    """
    with _locked(config) as folder:
        path = folder / f"{entry.point}.toml"
        if path.exists():
            raise MeterFileError(f"{path} is there already: replace that meter, or remove it first")
        _check(config, entry, None)
        _write(config, path, entry, ())
        return path


def replace_meter(config: Path, entry: MeterEntry) -> Path:
    """Put ``entry`` in place of the meter of the same point; return its file.

    Lines of comment in the old file go into the new one; the old file stays beside it.

    Raises:
        MeterFileError: the point has no meter, or one in ``gateway.toml`` itself, which only a
            person changes.
        ConfigError, OSError: as for :func:`add_meter`.
    """
    with _locked(config):
        path, text = _written(config, entry.point)
        _check(config, entry, path)
        comments = tuple(line for line in text.splitlines() if line.startswith("#"))
        _keep(path, "replaced", copy=True)
        _write(config, path, entry, comments)
        return path


def remove_meter(config: Path, point: str) -> Path:
    """Take the meter of ``point`` out; return the dated name under which its file is kept.

    Raises:
        MeterFileError: as for :func:`replace_meter`.
    """
    with _locked(config):
        path, _ = _written(config, point)
        return _keep(path, "removed", copy=False)


@contextmanager
def _locked(config: Path) -> Iterator[Path]:
    """Yield the folder of meters, which no second command changes meanwhile."""
    folder = config.absolute().parent / METERS_FOLDER
    make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)


def _written(config: Path, point: str) -> tuple[Path, str]:
    """Return the file that holds the meter of ``point``, and what it says."""
    for entry in load_config(config).meters:
        if entry.point == point and entry.written_in is not None:
            if entry.written_in == config:
                raise MeterFileError(
                    f"{config}: the meter of {point} stands in this file, which commands leave "
                    f"alone: move its table to {METERS_FOLDER}/{point}.toml, or change it by hand"
                )
            return entry.written_in, entry.written_in.read_text("utf-8")
    raise MeterFileError(f"{config}: no meter stands for {point}: add it first")


def _check(config: Path, entry: MeterEntry, replaces: Path | None) -> None:
    """Judge the entry beside the meters that stay."""
    loaded = load_config(config)
    placed = _placed(config.absolute().parent, entry)
    others = [one for one in loaded.meters if one.written_in != replaces]
    check_meters([*others, placed], loaded.lines, loaded.inputs)


def _write(config: Path, path: Path, entry: MeterEntry, comments: tuple[str, ...]) -> None:
    """Write the file whole or not at all, once it reads back as what was meant."""
    folder = config.absolute().parent
    text = _text(folder, entry, comments)
    meant = replace(_placed(folder, entry), written_in=path)
    if parse_meter(folder, path, text) != meant:
        raise MeterFileError(f"{path}: a name in it cannot be written: use letters and digits")
    write_whole(path, text)


def _placed(folder: Path, entry: MeterEntry) -> MeterEntry:
    """Return an entry with the whole paths of its key files."""
    before = entry.previous
    if before is not None:
        before = replace(before, key_file=folder / before.key_file)
    return replace(entry, key_file=folder / entry.key_file, previous=before)


def _text(folder: Path, entry: MeterEntry, comments: tuple[str, ...]) -> str:
    values = {
        "point": entry.point, "serial": entry.serial, "profile": entry.profile,
        "line": entry.line, "unit": entry.unit, "key_file": _shortly(folder, entry.key_file),
        "epoch": entry.epoch, "valid_from": entry.valid_from.key,
    }  # fmt: skip
    # A JSON string or integer is spelt the same in TOML.
    lines = [f"{name} = {json.dumps(values[name], ensure_ascii=False)}" for name in _KEYS]
    if entry.previous is not None:
        file = json.dumps(_shortly(folder, entry.previous.key_file), ensure_ascii=False)
        begins = json.dumps(entry.previous.valid_from.key)
        lines.append(f"previous = {{ key_file = {file}, valid_from = {begins} }}")
    return "\n".join([*(comments or ("# One meter; written by wattloom.",)), *lines, ""])


def _shortly(folder: Path, file: Path) -> str:
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file)


def _keep(path: Path, word: str, *, copy: bool) -> Path:
    """Keep a file under a dated name that no gateway reads."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    kept = path.with_name(f"{path.name}.{word}-{moment}")
    if copy:
        os.link(path, kept)
    else:
        path.rename(kept)
    sync_folder(path.parent)
    return kept
