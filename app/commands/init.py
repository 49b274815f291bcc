"""``wattloom init``: founds a real district, empty: settings, keys, database, one tariff."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import typer

from app.clock import RealClock
from app.db import Database, DatabaseError
from app.files.output import written
from app.services.founding import Founding, FoundingError, found
from app.services.keyring import Keyring, KeyringError
from app.services.tariffs import versions
from app.services.tariffs.versions import TariffRefusedError
from app.settings import SETTINGS_FILE, SettingsError, load_settings
from market.tariffs import TariffVersion
from metering.interval import Interval
from metering.signing import SigningError

_PRIVATE: Final = 0o700
_READ_BY_OWNER: Final = 0o400
_TEMPLATE: Final = """\
# Settings of one district. Every key, its default and its meaning: docs/settings.md.
# Secrets do not belong here; they come as environment variables (WATTLOOM_...).

# The district's name in every signature. It never changes once it was founded.
origin = {origin}
name = {name}
zone = {zone}

# Where databases, keys and proofs lie.
data = {data}
# database_url comes from the environment where it is PostgreSQL: WATTLOOM_DATABASE_URL.

# How it trades: metered, forward or sharing; and at whose price.
# mode = "metered"
# rule = "mid-market"

# The ledger: its name and its supply never change. Without ledger_url the worker holds the node.
network = {network}
# treasury_units = 1000000000000
# ledger_url = "http://127.0.0.1:14265"
# ledger_keys = "keys.json"

# Where it is reached. Behind a proxy, name the names that people type.
# host = "127.0.0.1"
# port = 8000
# allowed_hosts = ["district.example"]

# What may wait at the door for readings before gateways are told to come back later.
# ingest_queue_mib = 32
# ingest_queue_readings = 40000
"""


class NotEmptyError(Exception):
    """There is something in the folder already: name another one."""


_EXPECTED: Final = (
    DatabaseError,
    FoundingError,
    KeyringError,
    NotEmptyError,
    SettingsError,
    SigningError,
    TariffRefusedError,
    OSError,
)


def init_shown(folder: Path, names: dict[str, str], tariff: Path) -> int:
    """Found a district, say what comes next, and return the exit code."""
    try:
        file = init_district(folder, names, tariff)
    except _EXPECTED as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"cannot use {error.filename}: {error.strerror}; check its name"
        typer.echo(f"wattloom init: {text}", err=True)
        return 1
    typer.echo(f"{names['origin']} is founded; start it: wattloom serve --settings {file}")
    return 0


def init_district(folder: Path, names: dict[str, str], tariff: Path) -> Path:
    """Found an empty district in ``folder`` and return where its settings stand.

    Args:
        folder: made if it is not there; else it has to be empty.
        names: the settings ``origin``, ``name`` and ``zone``, as far as given.
        tariff: TOML file of the first tariff, called by the file's name; it holds from today on.

    Raises:
        NotEmptyError: the folder holds something.
        SettingsError, TariffRefusedError, DatabaseError, OSError: a name, the tariff, the database
            or the folder cannot be used; nothing is left of it.
    """
    load_settings(None, **names)  # a wrong name is told before anything is made
    version = versions.read(tariff)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotEmptyError(f"{folder} is not empty: name a new folder for the district")
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    file = folder / SETTINGS_FILE
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder)
        _write_settings(file, folder, names)
        _found(file, tariff.stem, version)
        undo.pop_all()
    return file


def _write_settings(file: Path, folder: Path, names: dict[str, str]) -> None:
    chosen = load_settings(None, **names)
    texts = {
        "origin": chosen.origin,
        "name": chosen.name,
        "zone": chosen.zone,
        "data": str(folder.resolve()),
        "network": f"wattloom-{chosen.origin.split('.', maxsplit=1)[0]}"[:32],
    }
    # A JSON text without escapes beyond ASCII is a TOML basic string.
    spelled = {name: json.dumps(text, ensure_ascii=False) for name, text in texts.items()}
    with written(file) as out:
        out.write(_TEMPLATE.format(**spelled).encode())


def _found(file: Path, tariff: str, version: TariffVersion) -> None:
    settings = load_settings(file)
    keyring = Keyring.open(settings.data / "keys", mldsa=settings.mldsa)
    for key in keyring.folder.glob("*.key"):
        key.chmod(_READ_BY_OWNER)
    database = Database(settings.sqlalchemy_url)
    try:
        database.migrate()
        with database.write() as session:
            found(session, settings, keyring, _beginning({tariff: version}))
    finally:
        database.close()


def _beginning(tariffs: Mapping[str, TariffVersion]) -> Founding:
    first = Interval.containing_ms(RealClock().now_ms())
    return Founding(tariffs, participants=(), first=first, simulated=False, seed=0)
