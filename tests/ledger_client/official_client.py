"""What the official client does with a node, one scene per run, in a process of its own.

    python official_client.py SCENE NODE_URL FOLDER

MNEMONIC (or TREASURY_SEED) is in the environment. Prints what it saw as one line of JSON. Each
scene has its own process, since the client leaves threads and an open database behind; it ends by
os._exit for the same reason.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from iota_sdk import (
    AddressAndAmount,
    AddressUnlockCondition,
    BlockMetadata,
    Client,
    CoinType,
    Ed25519Address,
    ExpirationUnlockCondition,
    MnemonicSecretManager,
    NodeIndexerAPI,
    SecretManager,
    SeedSecretManager,
    StorageDepositReturnUnlockCondition,
    SyncOptions,
    TagFeature,
    TimelockUnlockCondition,
    Utils,
    Wallet,
)

HRP = "wl"
Query = NodeIndexerAPI.QueryParameters


def keys() -> MnemonicSecretManager:
    return MnemonicSecretManager(os.environ["MNEMONIC"])


def addresses(count: int, start: int = 0) -> list[str]:
    """Addresses of the mnemonic; the first ones hold the units of the genesis."""
    return SecretManager(keys()).generate_ed25519_addresses(
        coin_type=CoinType.IOTA, account_index=0, start=start, end=start + count, bech32_hrp=HRP
    )


def client(url: str) -> Client:
    # With local_pow every block leaks a thread; this network asks for no proof of work anyway.
    return Client(nodes=[url], local_pow=False)


def seen(thing: Any) -> Any:
    """The client's objects as plain JSON; what they leave out is None."""
    return dataclasses.asdict(thing)


def without_none(thing: Any) -> Any:
    """The same JSON without fields that are null."""
    if isinstance(thing, dict):
        return {name: without_none(value) for name, value in thing.items() if value is not None}
    return [without_none(item) for item in thing] if isinstance(thing, list) else thing


def judged(node: Client, block_id: str) -> BlockMetadata:
    """The metadata of a block once a milestone has judged it; retrying would send a loser anew."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        metadata = node.get_block_metadata(block_id)
        if metadata.ledgerInclusionState is not None:
            return metadata
        time.sleep(0.1)
    raise TimeoutError(f"{block_id} waits for a milestone")


def info(url: str, _folder: str) -> Any:
    node = client(url)
    return {
        "info": seen(node.get_info().nodeInfo),
        "network": node.get_network_id(),
        "hrp": node.get_bech32_hrp(),
        "health": node.get_health(url),
        "tips": node.get_tips(),
    }


def tagged_data(url: str, _folder: str) -> Any:
    node = client(url)
    block_id, block = node.build_and_post_block(tag="0x77617474", data="0x6c6f6f6d")
    node.retry_until_included(block_id, interval=1, max_attempts=40)
    return {
        "id": block_id,
        "sent": seen(block),
        "read": seen(node.get_block_data(block_id)),
        "raw": bytes(node.get_block_raw(block_id)).hex(),
        # Through the inner call: the wrapper forgets to turn the payload into JSON.
        "again": node._call_method("postBlock", {"block": without_none(seen(block))})[0],
        "raw again": node.post_block_raw(list(node.get_block_raw(block_id))),
        "metadata": seen(node.get_block_metadata(block_id)),
        "proof": node.call_plugin_route("api/poi/v1/", "GET", f"create/{block_id}"),
    }


def transfer(url: str, _folder: str) -> Any:
    """Pay 1,000 units from address 0 to address 50; everything about it afterwards."""
    node = client(url)
    (payee,) = addresses(1, 50)
    block_id, _ = node.build_and_post_block(
        secret_manager=keys(),
        coin_type=CoinType.IOTA,
        input_range_start=0,
        input_range_end=1,
        output=AddressAndAmount(1000, payee),
    )
    node.retry_until_included(block_id, interval=1, max_attempts=40)
    metadata = node.get_block_metadata(block_id)
    (output_id,) = node.basic_output_ids(Query(address=payee)).items
    output = node.get_output(output_id)
    consumed = node.get_block_data(block_id).payload.essence.inputs[0]
    spent_id = consumed.transactionId + consumed.transactionOutputIndex.to_bytes(2, "little").hex()
    return {
        "id": block_id,
        "metadata": seen(metadata),
        "output id": str(output_id),
        "output": seen(output),
        "output metadata": seen(node.get_output_metadata(output_id)),
        "spent": seen(node.get_output_metadata(spent_id)),
        "included": seen(node.get_included_block(output.metadata.transactionId)),
        "included metadata": seen(node.get_included_block_metadata(output.metadata.transactionId)),
        "changes": seen(node.get_utxo_changes_by_index(metadata.referencedByMilestoneIndex)),
        "posted": seen(node.get_block_data(block_id)),
    }


def milestones(url: str, _folder: str) -> Any:
    """The latest milestone, by its id and by its index."""
    node = client(url)
    latest = node.get_info().nodeInfo.status.confirmedMilestone
    return {
        "by index": seen(node.get_milestone_by_index(latest.index)),
        "raw by index": bytes(node.get_milestone_by_index_raw(latest.index)).hex(),
        "by id": seen(node.get_milestone_by_id(latest.milestoneId)),
        "raw by id": bytes(node.get_milestone_by_id_raw(latest.milestoneId)).hex(),
        "changes": seen(node.get_utxo_changes_by_index(latest.index)),
        "changes by id": seen(node.get_utxo_changes_by_id(latest.milestoneId)),
    }


def double_spend(url: str, _folder: str) -> Any:
    """Sign two payments of one output, send both."""
    node = client(url)
    signed = []
    for payee in addresses(2, 60):
        options = {
            "coinType": int(CoinType.IOTA),
            "inputRange": {"start": 1, "end": 2},
            "output": {"address": payee, "amount": "2000"},
        }
        prepare = {"secretManager": keys(), "options": options}
        prepared = node._call_method("prepareTransaction", prepare)
        sign = {"secretManager": keys(), "preparedTransactionData": prepared}
        signed.append(node._call_method("signTransaction", sign))
    sent = [node._call_method("postBlockPayload", {"payload": each})[0] for each in signed]
    return {
        "metadata": [seen(judged(node, block_id)) for block_id in sent],
        "outputs": [
            len(node.basic_output_ids(Query(address=payee)).items) for payee in addresses(2, 60)
        ],
    }


def indexer(url: str, _folder: str) -> Any:
    """Outputs with every condition, then the queries that should find them."""
    node = client(url)
    owner, other = addresses(2, 70)
    mine = AddressUnlockCondition(Ed25519Address(Utils.bech32_to_hex(owner)))
    others = Ed25519Address(Utils.bech32_to_hex(other))
    plain = node.build_basic_output([mine], amount=5_000)
    back = node.build_basic_output(
        [mine, StorageDepositReturnUnlockCondition("100", others)], amount=6_000
    )
    locked = node.build_basic_output([mine, TimelockUnlockCondition(4_000_000_000)], amount=7_000)
    expiring = node.build_basic_output(
        [mine, ExpirationUnlockCondition(4_000_000_001, others)],
        amount=8_000,
        features=[TagFeature("0xabcd")],
    )
    block_id, _ = node.build_and_post_block(
        secret_manager=keys(),
        coin_type=CoinType.IOTA,
        input_range_start=2,
        input_range_end=3,
        outputs=[plain, back, locked, expiring],
    )
    node.retry_until_included(block_id, interval=1, max_attempts=40)
    queries = {
        "all": Query(address=owner),
        "plain": Query(
            address=owner,
            has_expiration=False,
            has_storage_deposit_return=False,
            has_timelock=False,
        ),
        "returning": Query(address=owner, has_storage_deposit_return=True),
        "returning to": Query(storage_deposit_return_address=other),
        "locked": Query(address=owner, has_timelock=True),
        "locked after": Query(timelocked_after=3_999_999_999),
        "locked before": Query(timelocked_before=4_000_000_000),
        "expiring": Query(address=owner, has_expiration=True),
        "expires before": Query(expires_before=4_000_000_002),
        "expires after": Query(expires_after=4_000_000_001),
        "expires to": Query(expiration_return_address=other),
        "tagged": Query(tag="0xabcd"),
        "paged": Query(address=owner, page_size=1),
        "with tokens": Query(address=owner, has_native_tokens=True),
        "old": Query(address=owner, created_before=1),
    }
    amounts = {
        name: sorted(
            int(item.output.amount) for item in node.get_outputs(node.basic_output_ids(query).items)
        )
        for name, query in queries.items()
    }
    for name, address in (("unlockable", owner), ("by the other", other)):
        found = node.output_ids(Query(unlockable_by_address=address)).items
        amounts[name] = sorted(int(item.output.amount) for item in node.get_outputs(found))
    return amounts


def wallet(url: str, folder: str) -> Any:
    """Create a wallet, sync, look, send, sync again."""
    made = Wallet(
        storage_path=folder,
        client_options={"nodes": [url], "localPow": False},
        coin_type=CoinType.IOTA,
        secret_manager=keys(),
    )
    account = made.create_account("treasury", HRP)
    before = account.sync(SyncOptions(force_syncing=True))
    (payee,) = addresses(1, 90)
    sent = account.send("4321", payee)
    block_id = account.retry_transaction_until_included(sent.transactionId, 1, 40)
    after = account.sync(SyncOptions(force_syncing=True))
    node = client(url)
    (output_id,) = node.basic_output_ids(Query(address=payee)).items
    return {
        "before": before.baseCoin.available,
        "block": block_id,
        "after": after.baseCoin.available,
        "paid": node.get_output(output_id).output.amount,
        "transactions": [item.inclusionState for item in account.transactions()],
    }


def treasury(url: str, _folder: str) -> Any:
    """Spend units of the seed that the node made."""
    seed = SeedSecretManager("0x" + os.environ["TREASURY_SEED"])
    node = client(url)
    (payee,) = SecretManager(seed).generate_ed25519_addresses(
        coin_type=CoinType.IOTA, account_index=7, start=0, end=1, bech32_hrp=HRP
    )
    block_id, _ = node.build_and_post_block(
        secret_manager=seed, coin_type=CoinType.IOTA, output=AddressAndAmount(10**9, payee)
    )
    node.retry_until_included(block_id, interval=1, max_attempts=40)
    return seen(node.get_block_metadata(block_id))


SCENES: dict[str, Callable[[str, str], Any]] = {
    scene.__name__: scene
    for scene in (info, tagged_data, transfer, milestones, double_spend, indexer, wallet, treasury)
}


if __name__ == "__main__":
    scene, url, folder = sys.argv[1:]
    sys.stdout.write(json.dumps(SCENES[scene](url, folder)) + "\n")
    sys.stdout.flush()
    os._exit(0)
