"""What a follower's copy begins with: the network's rules and its genesis outputs."""

from __future__ import annotations

from collections.abc import Mapping

from ledger_client.follower.errors import FollowerSettingsError
from ledger_client.localnode.confirmation import book_genesis
from ledger_client.localnode.settings import NodeSettings, stored_genesis, stored_rent
from ledger_client.localnode.signing import KeyedSigner
from ledger_client.localnode.store import Store
from ledger_client.remotenode.answers import NodeInfo
from ledger_client.remotenode.client import NodeClient
from ledger_client.stardust.codec import ID_LENGTH
from ledger_client.stardust.output import BasicOutput, Rent
from ledger_client.stardust.transaction import MAX_OUTPUTS, output_id
from ledger_client.verify import Milestones


def kept_settings(store: Store, pinned: Milestones) -> NodeSettings | None:
    """Return what the copy was founded with; None for a new one. Raises LedgerCorruptError."""
    stored = store.settings()
    if not stored:
        return None
    genesis, rent = stored_genesis(stored), stored_rent(stored)
    return _settings(stored["network"], stored["hrp"], genesis, pinned, rent)


def found(
    store: Store, client: NodeClient, pinned: Milestones, genesis: Mapping[bytes, int] | None
) -> NodeSettings:
    """Found a copy of the node's network and return its settings.

    ``genesis`` gives the units of each address; None takes what the node says, on trust. Either
    has to add up to the supply. Raises FollowerSettingsError.
    """
    info = client.info()
    genesis = _genesis_of(client) if genesis is None else genesis
    total = sum(genesis.values())
    if total != info.token_supply:
        raise FollowerSettingsError(
            f"the genesis outputs add up to {total} units, the node's supply is "
            f"{info.token_supply}: give each address as BECH32:UNITS"
        )
    settings = _settings(info.network_name, info.bech32_hrp, genesis, pinned, _rent(info))
    with store.writing():
        store.put_settings(settings.stored())
        book_genesis(store, genesis)
    return settings


def _settings(
    network: str, hrp: str, genesis: Mapping[bytes, int], pinned: Milestones, rent: Rent
) -> NodeSettings:
    """Return the settings of a node that signs nothing."""
    return NodeSettings(network, hrp, genesis, pinned, KeyedSigner(()), rent=rent)


def _rent(info: NodeInfo) -> Rent:
    return Rent(info.v_byte_cost, info.v_byte_factor_data, info.v_byte_factor_key)


def _genesis_of(client: NodeClient) -> dict[bytes, int]:
    """Return the outputs of the all-zero transaction as the node gives them."""
    outputs: list[BasicOutput] = []
    for index in range(MAX_OUTPUTS):
        data = client.output(output_id(bytes(ID_LENGTH), index))
        if data is None:
            break
        outputs.append(BasicOutput.decode(data))
    addresses = [output.address for output in outputs]
    plain = all(output.is_plain for output in outputs)
    if not outputs or not plain or addresses != sorted(set(addresses)):
        raise FollowerSettingsError(
            f"the node names {len(outputs)} genesis outputs that cannot be taken over (one plain "
            "output for each address, in the order of the addresses): follow another node"
        )
    return {output.address: output.units for output in outputs}
