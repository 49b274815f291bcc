"""``wattloom node witness``: a folder with a witness's key and memory, and the service before it.

The folder holds the key (``witness.key``), what it cosigned (``witness.db``) and, where a log was
caught, ``evidence/``. A witness whose folder is lost begins again with a new key.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger_client.serving.folder import FolderError, alone, service_key
from ledger_client.serving.run import PortBusyError, serve
from ledger_client.witness.errors import WitnessError
from ledger_client.witness.keeper import WitnessKeeper
from ledger_client.witness.logs import LogKey
from ledger_client.witness.service import create_witness_app
from ledger_client.witness.state import WitnessState

KEY_FILE: Final = "witness.key"
STATE_FILE: Final = "witness.db"
EVIDENCE_FOLDER: Final = "evidence"


class WitnessStartError(Exception):
    """The witness cannot start: the message says what to mend; nothing was cosigned."""


@dataclass(frozen=True, slots=True)
class WitnessCommand:
    """What a person asked for; ``logs`` are ``ORIGIN=KEY`` each.

    With ``json_line`` the line that says the witness is ready is JSON.
    """

    data: Path
    name: str
    logs: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 14267
    json_line: bool = False


def run_witness(command: WitnessCommand, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``say`` gets the lines for standard output.

    Raises WitnessStartError.
    """
    try:
        logs = [LogKey.parse(text) for text in command.logs]
        with alone(command.data), closing(WitnessState(command.data / STATE_FILE)) as state:
            key = service_key(command.data / KEY_FILE)
            evidence = command.data / EVIDENCE_FOLDER
            keeper = WitnessKeeper(command.name, key, logs, state, evidence)
            app = create_witness_app(keeper)
            serve(app, command.host, command.port, lambda url: say(_ready(command, keeper, url)))
    except (FolderError, PortBusyError, WitnessError, OSError) as error:
        raise WitnessStartError(str(error)) from error


def _ready(command: WitnessCommand, keeper: WitnessKeeper, url: str) -> str:
    if command.json_line:
        key = keeper.public_key.hex()
        return json.dumps({"url": url, "name": keeper.name, "key": key, "vkey": keeper.vkey})
    logs = ", ".join(sorted({log.origin for log in keeper.logs}))
    return "\n".join(
        [
            f"witness {keeper.name} on {url} watches {logs}",
            f"key {keeper.public_key.hex()}",
            f"vkey {keeper.vkey}",
            "Ctrl-C stops the witness",
        ]
    )
