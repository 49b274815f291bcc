"""Opens the district's ledger: the embedded node in this process, or nodes over REST.

One setting decides, ``ledger_url``. Everything behind it sees the port
(:class:`~ledger_client.ledger.Ledger`), the reader and the pinned milestone keys, and not which
it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from app.services.founding import treasury_address
from app.services.keyring import Keyring
from app.settings import Settings
from ledger_client.ledger import Ledger, LedgerUnavailableError
from ledger_client.localnode.adapter import LocalLedger
from ledger_client.localnode.node import LocalNode
from ledger_client.localnode.reader import LocalReader
from ledger_client.reader import LedgerReader
from ledger_client.remotenode.adapter import RestLedger
from ledger_client.remotenode.client import NodeClient
from ledger_client.remotenode.reader import RemoteReader
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.stardust.output import BasicOutput
from ledger_client.verify import LedgerKeys, Milestones, VerifyError, parse_json

_log = logging.getLogger(__name__)
_GENESIS = bytes(34)
"""Output 0 of the all-zero transaction; a node that keeps its genesis elsewhere has none there."""
_GLANCE_S = 2.0
"""How long a page waits for a node: somebody looks at it."""


class LedgerSetupError(Exception):
    """The district cannot use this ledger as it is set: mend the settings, or start the node."""


class LedgerFigures(TypedDict):
    """What the ledger holds; its supply is what it began with. None: this node does not tell."""

    blocks: int | None
    milestones: int
    transfers_confirmed: int | None
    supply_units: int
    supply_expected_units: int


@dataclass(frozen=True, slots=True)
class OpenLedger:
    """The ledger, a look at it, and the keys that its milestones carry. Close it at the end."""

    ledger: Ledger
    reader: LedgerReader
    milestones: Milestones
    figures: Callable[[], LedgerFigures]
    close: Callable[[], None]


def open_ledger(settings: Settings, keyring: Keyring, treasury_units: int) -> OpenLedger:
    """Open the ledger of a district whose treasury began with ``treasury_units``.

    Raises:
        LedgerSetupError: no KEYS of the milestones, or a ledger that is not this district's.
        LedgerUnavailableError: no node answers; start one, or wait.
        LedgerError: the embedded node's file is another network's, or in use.
    """
    if settings.ledger_url:
        return _over_rest(settings, keyring, treasury_units)
    node = LocalNode.open(
        settings.data / "ledger.db",
        network=settings.network,
        hrp=settings.hrp,
        genesis={treasury_address(keyring): treasury_units},
        milestone_keys=keyring.milestone,
        threshold=len(keyring.milestone),
    )

    def figures() -> LedgerFigures:
        return embedded_figures(node)

    return OpenLedger(LocalLedger(node), LocalReader(node), node.pinned, figures, node.close)


def embedded_figures(node: LocalNode) -> LedgerFigures:
    """Return what the embedded node's ledger holds."""
    stats = node.stats()
    return LedgerFigures(
        blocks=stats.blocks,
        milestones=stats.milestones,
        transfers_confirmed=stats.transfers_confirmed,
        supply_units=stats.supply_units,
        supply_expected_units=stats.supply_expected_units,
    )


def _tell(silence: LedgerUnavailableError | None) -> None:
    if silence is None:
        _log.warning("the ledger answers again")
    else:
        _log.warning("the ledger does not answer, payments and anchors wait: %s", silence)


def _over_rest(settings: Settings, keyring: Keyring, treasury_units: int) -> OpenLedger:
    start = _how_to_start(settings, keyring, treasury_units)
    milestones = _milestones(settings.ledger_keys, start)
    token = settings.ledger_token.get_secret_value() or None
    client = NodeClient(
        settings.ledger_url,
        token=token,
        timeout_s=settings.ledger_timeout_s,
        network=settings.network,
        on_change=_tell,
    )
    glance = NodeClient(
        settings.ledger_url, token=token, timeout_s=_GLANCE_S, network=settings.network
    )

    def close() -> None:
        client.close()
        glance.close()

    ledger = RestLedger(client, network=settings.network, hrp=settings.hrp)
    try:
        _check(client, settings, keyring, treasury_units)
    except BaseException:
        close()
        raise

    def figures() -> LedgerFigures:
        info = client.info()
        return LedgerFigures(
            blocks=None,
            milestones=info.confirmed_milestone_index,
            transfers_confirmed=None,
            supply_units=info.token_supply,
            supply_expected_units=treasury_units,
        )

    return OpenLedger(ledger, RemoteReader(glance), milestones, figures, close)


def pinned_milestones(settings: Settings, keyring: Keyring) -> Milestones | None:
    """Return who signs the milestones of a ledger elsewhere; None: the keyring's own keys.

    Raises:
        LedgerSetupError: a ledger elsewhere, and no KEYS of its milestones.
    """
    if not settings.ledger_url:
        return None
    start = _how_to_start(settings, keyring, settings.treasury_units)
    return _milestones(settings.ledger_keys, start)


def _milestones(file: Path | None, start: str) -> Milestones:
    """Read which keys sign the milestones: proofs pin them, so they are not asked of the node."""
    if file is None:
        raise LedgerSetupError(
            "ledger_url is set, ledger_keys is not: name the KEYS file of the ledger's milestones "
            f"(keys.json in the node's data folder). {start}"
        )
    try:
        return LedgerKeys.load(parse_json(file.read_bytes()), str(file)).milestones
    except OSError as error:
        raise LedgerSetupError(f"cannot read {file}: {error.strerror}. {start}") from error
    except VerifyError as error:
        raise LedgerSetupError(f"{file} is no KEYS file of milestones: {error}") from error


def _check(client: NodeClient, settings: Settings, keyring: Keyring, treasury_units: int) -> None:
    """Refuse a ledger on which this district's treasury did not begin with the whole supply."""
    info, start = client.info(), _how_to_start(settings, keyring, treasury_units)
    if info.bech32_hrp != settings.hrp:
        raise LedgerSetupError(
            f"the node's addresses begin with {info.bech32_hrp!r}, hrp is {settings.hrp!r}: "
            f"set hrp to the node's. {start}"
        )
    treasury = treasury_address(keyring)
    genesis = client.output(_GENESIS)
    owner = BasicOutput.decode(genesis).address if genesis else treasury
    if (owner, info.token_supply) != (treasury, treasury_units):
        raise LedgerSetupError(f"the node's supply is not this district's treasury. {start}")


def _how_to_start(settings: Settings, keyring: Keyring, treasury_units: int) -> str:
    address = encode_address_text(settings.hrp, treasury_address(keyring))
    return (
        f"A ledger for this district begins with: wattloom node --network {settings.network} "
        f"--hrp {settings.hrp} --genesis-address {address}:{treasury_units} --data FOLDER"
    )
