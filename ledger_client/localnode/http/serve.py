"""``wattloom node``: a data folder, the network in it, and the server before it.

The folder holds the ledger (``ledger.db``), the node's own milestone key (``milestone.key``), the
treasury's seed where the node made one (``treasury.seed``), and ``keys.json``: the milestone keys
that verifiers and followers pin. Once it exists the folder says what the network is; an option that
says otherwise is refused.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from ledger_client.ledger import LedgerError
from ledger_client.localnode.http.app import create_node_app
from ledger_client.localnode.node import LocalNode
from ledger_client.localnode.settings import NodeSettings, stored_genesis
from ledger_client.localnode.signing import KeyedSigner, MilestoneSigner
from ledger_client.localnode.store import Store
from ledger_client.serving.folder import (
    FolderError,
    alone,
    read_token,
    service_key,
    write_synced,
)
from ledger_client.serving.run import PortBusyError, is_loopback, serve
from ledger_client.signer.client import RemoteSigner, SignerEndpoint
from ledger_client.signer.rules import SignerError
from ledger_client.stardust.bech32 import decode_address_text, encode_address_text
from ledger_client.stardust.codec import StardustError
from ledger_client.verify import (
    LedgerKeys,
    MilestoneKey,
    Milestones,
    VerifyError,
    canonical,
    parse_json,
)
from ledger_client.wallet import Wallet

NETWORK: Final = "wattloom-private"
HRP: Final = "wl"
GENESIS_UNITS: Final = 10**12
LEDGER_FILE: Final = "ledger.db"
MILESTONE_KEY_FILE: Final = "milestone.key"
TREASURY_FILE: Final = "treasury.seed"
KEYS_FILE: Final = "keys.json"
MOST_CONNECTIONS: Final = 1_000

_NETWORK = re.compile(r"[!-~]{1,64}")
_HRP = re.compile(r"[a-z0-9]{1,16}")
_UNITS = re.compile(r"[1-9][0-9]{0,18}")
_Option = TypeVar("_Option", str, int)


class NodeStartError(Exception):
    """The node cannot start or go on: the message says what to mend; no stored network changed."""


@dataclass(frozen=True, slots=True)
class NodeCommand:
    """What a person asked for; None leaves it to the folder, and in a new one to the default.

    ``genesis`` are addresses in text, each with ``:UNITS`` if it is not 10^12 units. ``signers``
    are ``URL=KEY`` each; with ``own_key`` the node signs beside them, without any it signs alone.
    With ``json_line`` the line that says the node is ready is JSON.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 14265
    network: str | None = None
    hrp: str | None = None
    genesis: tuple[str, ...] = ()
    milestone_interval_s: float = 5.0
    threshold: int | None = None
    token_file: Path | None = None
    min_pow_score: int = 0
    signers: tuple[str, ...] = ()
    signer_token_file: Path | None = None
    own_key: bool = False
    json_line: bool = False


def run_node(command: NodeCommand, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises NodeStartError.

    ``say`` gets the lines for standard output.
    """
    try:
        token = read_token(command.token_file) if command.token_file else None
        if token is None and not is_loopback(command.host):
            raise NodeStartError(
                f"{command.host} is reached from outside, and reading the ledger needs "
                "authorisation: give --token-file, or listen on 127.0.0.1"
            )
        with alone(command.data):
            _run(command, token, say)
    except (
        FolderError,
        LedgerError,
        PortBusyError,
        SignerError,
        StardustError,
        VerifyError,
        OSError,
        sqlite3.Error,
    ) as error:
        raise NodeStartError(str(error)) from error


def _run(command: NodeCommand, token: str | None, say: Callable[[str], None]) -> None:
    with closing(_open(command)) as node, _closing_signer(node.settings.signer):
        app = create_node_app(node, token=token)
        serve(
            app,
            command.host,
            command.port,
            lambda url: say(_ready(command, node, url)),
            most_connections=MOST_CONNECTIONS,
        )


@contextmanager
def _closing_signer(signer: MilestoneSigner) -> Iterator[None]:
    try:
        yield
    finally:
        if isinstance(signer, RemoteSigner):
            signer.close()


def _open(command: NodeCommand) -> LocalNode:
    _require_whole(command.data)
    store = Store(command.data / LEDGER_FILE)
    try:
        return LocalNode(store, _settings(command, store), time.time)
    except BaseException:
        store.close()
        raise


def _require_whole(data: Path) -> None:
    """Refuse a folder that is somebody else's, or whose ledger is gone; nothing is made there."""
    path = data / KEYS_FILE
    if not path.exists():
        return
    try:
        LedgerKeys.load(parse_json(path.read_bytes()), KEYS_FILE)
    except VerifyError as error:
        raise NodeStartError(
            f"{path} is not a node's ({error}): name a folder of the node's own with --data"
        ) from error
    if not (data / LEDGER_FILE).exists():
        raise NodeStartError(
            f"{data} has keys that signed milestones, but its {LEDGER_FILE} is gone: bring it back "
            "whole, or found a new network in another folder with --data; here it would be a "
            "second history under the same keys"
        )


def _settings(command: NodeCommand, store: Store) -> NodeSettings:
    stored = store.settings()
    network = _kept(command, "--network", command.network, stored.get("network")) or NETWORK
    hrp = _kept(command, "--hrp", command.hrp, stored.get("hrp")) or HRP
    if not _NETWORK.fullmatch(network):
        raise NodeStartError(f"--network {network!a}: 1 to 64 ASCII signs without spaces")
    if not _HRP.fullmatch(hrp):
        raise NodeStartError(f"--hrp {hrp!a}: 1 to 16 small letters and digits")
    genesis = _genesis(command, hrp, stored)
    signer, pinned = _signer(command, network, store)
    return NodeSettings(
        network,
        hrp,
        genesis,
        pinned,
        signer,
        milestone_interval_s=command.milestone_interval_s,
        min_pow_score=command.min_pow_score,
    )


def _kept(
    command: NodeCommand, option: str, given: _Option | None, found: _Option | None
) -> _Option | None:
    """Return what the folder holds, else what was given; refuse the option where they differ."""
    if given is not None and found is not None and given != found:
        raise NodeStartError(
            f"{command.data} holds a network with {option} {found}, not {given}: leave the option "
            "out, or name another folder with --data"
        )
    return given if found is None else found


def _genesis(command: NodeCommand, hrp: str, stored: Mapping[str, str]) -> dict[bytes, int]:
    given = _given_genesis(command.genesis, hrp)
    if "genesis" in stored:
        found = stored_genesis(stored)
        if given and given != found:
            raise NodeStartError(
                f"{command.data} holds a network with other genesis outputs: leave "
                "--genesis-address out, or name another folder with --data"
            )
        return found
    return given or {_treasury(command.data): GENESIS_UNITS}


def _given_genesis(texts: tuple[str, ...], hrp: str) -> dict[bytes, int]:
    genesis: dict[bytes, int] = {}
    for text in texts:
        shown, colon, units = text.partition(":")
        if colon and not _UNITS.fullmatch(units):
            raise NodeStartError(f"--genesis-address {text!a:.120}: after the colon go whole units")
        try:
            address = decode_address_text(hrp, shown)
        except StardustError as error:
            raise NodeStartError(
                f"--genesis-address {text!a:.120}: {error}; --hrp is what addresses begin with"
            ) from error
        if address in genesis:
            raise NodeStartError(f"--genesis-address {text!a:.120} is given twice")
        genesis[address] = int(units) if colon else GENESIS_UNITS
    return genesis


def _treasury(data: Path) -> bytes:
    """Return the address of the treasury's seed: its first key, as of any Stardust wallet."""
    return Wallet(bytes(service_key(data / TREASURY_FILE))).key(0).address


def _signer(command: NodeCommand, network: str, store: Store) -> tuple[MilestoneSigner, Milestones]:
    """Return who signs milestones, and the keys that are pinned in the folder."""
    token = read_token(command.signer_token_file) if command.signer_token_file else None
    endpoints = [SignerEndpoint.parse(text, token) for text in command.signers]
    alone_or_beside = command.own_key or not endpoints
    own = [service_key(command.data / MILESTONE_KEY_FILE)] if alone_or_beside else []
    keys = [item.public_key for item in endpoints] + [bytes(key.verify_key) for key in own]
    if len(set(keys)) != len(keys):
        raise NodeStartError("--signer: two milestone signers have one key, each has its own")
    pinned = _pinned(command, set(keys))
    if not endpoints:
        return KeyedSigner(own), pinned
    signer = RemoteSigner(endpoints, threshold=pinned.threshold, local_keys=own, network=network)
    signer.remember(partial(_payload, store))
    return signer, pinned


def _payload(store: Store, index: int) -> bytes | None:
    """Return a milestone's payload: the proof by which a signer that was away goes on."""
    row = store.milestone_at(index)
    return row.payload if row else None


def _pinned(command: NodeCommand, keys: set[bytes]) -> Milestones:
    """Return the pinned milestone keys: the folder's ``keys.json``, which is made if missing."""
    path = command.data / KEYS_FILE
    if not path.exists():
        listed = tuple(MilestoneKey(0, key, None) for key in sorted(keys))
        pinned = Milestones(listed, command.threshold or len(listed) // 2 + 1)
        if pinned.threshold > len(listed):
            raise NodeStartError(
                f"--threshold {pinned.threshold}: there are {len(listed)} milestone keys"
            )
        write_synced(path, canonical(LedgerKeys(pinned, 1)) + b"\n")
        return pinned
    pinned = LedgerKeys.load(parse_json(path.read_bytes()), KEYS_FILE).milestones
    _kept(command, "--threshold", command.threshold, pinned.threshold)
    if missing := keys - {item.key for item in pinned.keys}:
        raise NodeStartError(
            f"{path} does not name the key {missing.pop().hex()}, which signs here: bring back "
            f"the {MILESTONE_KEY_FILE} or the signer that it was made with, or add the key"
        )
    return pinned


def _ready(command: NodeCommand, node: LocalNode, url: str) -> str:
    hrp, seed = node.settings.hrp, command.data / TREASURY_FILE
    owner = _treasury(command.data) if seed.exists() else None
    treasury = encode_address_text(hrp, owner) if owner and owner in node.settings.genesis else None
    keys = command.data / KEYS_FILE
    if command.json_line:
        network = node.settings.network
        return json.dumps(
            {"url": url, "network": network, "hrp": hrp, "treasury": treasury, "keys": str(keys)}
        )
    lines = [f"network {node.settings.network} ({hrp}1...) on {url}"]
    lines += [f"treasury {treasury}, its seed in {seed}"] if treasury else []
    return "\n".join([*lines, f"milestone keys to pin: {keys}", "Ctrl-C stops the node"])
