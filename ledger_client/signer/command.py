"""``wattloom node signer``: a folder with one milestone key, and the service before it.

The folder holds the key (``signer.key``) and what it signed (``signer.db``). They belong together:
an old copy of the one without the other would sign an index twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger_client.serving.folder import FolderError, alone, read_token, service_key
from ledger_client.serving.run import PortBusyError, is_loopback, serve
from ledger_client.signer.rules import EssenceCheck, Identity, SignerError
from ledger_client.signer.service import MilestoneKeeper, create_signer_app
from ledger_client.signer.state import SignerState
from ledger_client.verify import Milestones, VerifyError, load_keys

KEY_FILE: Final = "signer.key"
STATE_FILE: Final = "signer.db"


class SignerStartError(Exception):
    """The signer cannot start: the message says what to mend; nothing was signed."""


@dataclass(frozen=True, slots=True)
class SignerCommand:
    """What a person asked for; ``keys`` is a KEYS file with the pinned milestone keys.

    With ``json_line`` the line that says the signer is ready is JSON.
    """

    data: Path
    network: str
    host: str = "127.0.0.1"
    port: int = 14266
    token_file: Path | None = None
    keys: Path | None = None
    from_index: int = 1
    ahead_s: int = 300
    json_line: bool = False


def run_signer(
    command: SignerCommand, say: Callable[[str], None], check: EssenceCheck | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; ``say`` gets the lines for standard output.

    ``check`` is asked about each essence before it is signed. Raises SignerStartError.
    """
    try:
        token = read_token(command.token_file) if command.token_file else None
        if token is None and not is_loopback(command.host):
            raise SignerStartError(
                f"{command.host} is reached from outside: give --token-file, or listen on 127.0.0.1"
            )
        pinned = read_pinned(command.keys) if command.keys else None
        with alone(command.data):
            _run(command, token, pinned, check, say)
    except (FolderError, PortBusyError, SignerError, VerifyError, OSError) as error:
        raise SignerStartError(str(error)) from error


def read_pinned(path: Path) -> Milestones:
    """Return the milestone keys of a KEYS file. Raises VerifyError or OSError."""
    return load_keys(path.read_bytes()).milestones


def _run(
    command: SignerCommand,
    token: str | None,
    pinned: Milestones | None,
    check: EssenceCheck | None,
    say: Callable[[str], None],
) -> None:
    key = service_key(command.data / KEY_FILE)
    me = Identity(bytes(key.verify_key), command.network, pinned, command.from_index)
    with closing(SignerState(command.data / STATE_FILE)) as state:
        keeper = MilestoneKeeper(key, state, me, check, ahead_s=command.ahead_s)
        app = create_signer_app(keeper, token)
        serve(app, command.host, command.port, lambda url: say(_ready(command, keeper, url)))


def _ready(command: SignerCommand, keeper: MilestoneKeeper, url: str) -> str:
    key, last = keeper.me.public_key.hex(), keeper.last()
    if command.json_line:
        return json.dumps(
            {"url": url, "network": command.network, "publicKey": key, "lastSigned": last.index}
        )
    signed = f"signed up to milestone {last.index}" if last.index else "nothing signed yet"
    lines = [
        f"milestone signer of the network {command.network} on {url}, {signed}",
        f"for the node: --signer {url}={key}",
    ]
    if keeper.me.pinned is None:
        lines.append("without --keys it cannot go on by itself after it was away")
    return "\n".join([*lines, "Ctrl-C stops the signer"])
