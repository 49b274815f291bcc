"""What people do with a wallet of the official client, one scene per run; see official_client.

python -m tests.ledger_client.official_wallet SCENE NODE_URL FOLDER
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from iota_sdk import (
    Account,
    AddressAndAmount,
    AddressUnlockCondition,
    CoinType,
    ConsolidationParams,
    Ed25519Address,
    Features,
    GenerateAddressesOptions,
    OutputId,
    OutputParams,
    Range,
    ReturnStrategy,
    SecretManager,
    SendParams,
    StorageDeposit,
    SyncOptions,
    TaggedDataPayload,
    Transaction,
    TransactionOptions,
    Unlocks,
    Utils,
    Wallet,
)
from iota_sdk.client.client import ClientError
from iota_sdk.wallet.common import WalletError

from tests.ledger_client.official_client import HRP, Query, addresses, client, keys, seen

SYNC = SyncOptions(force_syncing=True)


def attempt(call: Callable[[], Any]) -> str:
    """What the client says when it will not do something."""
    try:
        return f"done: {call()}"
    except (ClientError, WalletError) as error:
        return str(error)


def opened(url: str, folder: str) -> tuple[Wallet, Account, Account]:
    """A wallet with two accounts; the first one holds the genesis units."""
    wallet = Wallet(
        storage_path=folder,
        client_options={"nodes": [url], "localPow": False},
        coin_type=CoinType.IOTA,
        secret_manager=keys(),
    )
    accounts = [wallet.create_account(alias, HRP) for alias in ("one", "two")]
    for account in accounts:
        account.sync(SYNC)
    return wallet, accounts[0], accounts[1]


def settle(account: Account, sent: Transaction) -> None:
    account.retry_transaction_until_included(sent.transactionId, 1, 40)
    account.sync(SYNC)


def has(*accounts: Account) -> list[int]:
    return [int(account.sync(SYNC).baseCoin.available) for account in accounts]


def plain(account: Account, units: int) -> Any:
    owner = account.addresses()[0].address
    mine = AddressUnlockCondition(Ed25519Address(Utils.bech32_to_hex(owner)))
    return client("http://127.0.0.1:1").build_basic_output([mine], amount=units)


def conditions(url: str, folder: str) -> Any:
    """Pay under each condition; claim what can be claimed, before and after its time."""
    _, one, two = opened(url, folder)
    here, there = (account.addresses()[0].address for account in (one, two))

    def pay(units: int, **options: Any) -> None:
        output = one.prepare_output(OutputParams(there, str(units), **options))
        settle(one, one.send_outputs([output]))

    settle(one, one.send("100000", there))
    pay(10)  # below the deposit: 34 units come along and have to be returned
    pay(10, storageDeposit=StorageDeposit(ReturnStrategy.Gift))
    pay(3_300, features=Features(tag="0x6161", metadata="0x6262", sender=here))
    micro = [SendParams(there, "5")]
    shy = attempt(lambda: one.send_with_params(micro))
    settle(one, one.send_with_params(micro, TransactionOptions(allow_micro_amount=True)))
    paid = has(one, two)
    small = two.claimable_outputs("MicroTransactions")
    settle(two, two.claim_outputs(small))
    claimed = has(one, two)
    due = int(time.time()) + 15
    timed = [
        one.prepare_output(OutputParams(there, "3100", unlocks=Unlocks(timelockUnixTime=due))),
        one.prepare_output(OutputParams(there, "3200", unlocks=Unlocks(expirationUnixTime=due))),
    ]
    settle(one, one.send_outputs(timed))
    waiting = has(one, two)
    while client(url).get_info().nodeInfo.status.latestMilestone.timestamp <= due:
        time.sleep(0.2)
    late = has(one, two)
    back = one.claimable_outputs("All")
    settle(one, one.claim_outputs(back))
    return {
        "shy": shy,
        "paid": paid,
        "small": len(small),
        "claimed": claimed,
        "waiting": waiting,
        "late": late,
        "back": len(back),
        "end": has(one, two),
        "states": [item.inclusionState for item in one.transactions() + two.transactions()],
    }


def upkeep(url: str, folder: str) -> Any:
    """Own addresses, 127 outputs at once, consolidation, data in a payment, what is refused."""
    wallet, one, two = opened(url, folder)
    there = two.addresses()[0].address
    twice = attempt(lambda: wallet.create_account("one", HRP))
    for own in one.generate_ed25519_addresses(2):
        settle(one, one.send("777", own.address))
    kept = has(one)
    settle(one, one.send_outputs([plain(two, 100)] * 127))
    crowded = has(two), len(two.unspent_outputs())
    settle(two, two.consolidate_outputs(ConsolidationParams(force=True)))
    tidy = has(two), len(two.unspent_outputs())
    data = TaggedDataPayload("0x6162", "0x63")
    settle(one, one.send("1234", there, TransactionOptions(tagged_data_payload=data)))
    recovered = len(wallet.recover_accounts(0, 2, 2, SYNC))
    return {
        "twice": twice,
        "kept": kept,
        "crowded": crowded,
        "tidy": tidy,
        "end": has(one, two),
        "recovered": recovered,
        "too much": attempt(lambda: one.send("99999999", there)),
        "nothing pending": len(one.pending_transactions() + two.pending_transactions()),
        # Last, since the wallet keeps on trying from here on.
        "alias": attempt(one.create_alias_output)[:6],
        "sync": attempt(lambda: one.sync(SYNC)),
    }


def helpers(url: str, _folder: str) -> Any:
    """The calls of the client without a wallet that no other scene makes."""
    node = client(url)
    owned = addresses(3)
    block_id, _ = node.build_and_post_block(tag="0x00", data="0x00")
    unasked = [attempt(partial(ask, block_id)) for ask in (node.promote, node.reattach, node.retry)]
    pushed = [node.promote_unchecked(block_id)[0], node.reattach_unchecked(block_id)[0]]
    for each in (block_id, *pushed):
        node.retry_until_included(each, interval=1, max_attempts=40)
    nowhere = OutputId("0x" + "11" * 32, 0)
    found = node.basic_output_ids(Query(address=owned[0])).items
    # The client consolidates with its own network's coin type, whatever the range asks for.
    options = GenerateAddressesOptions(CoinType.SHIMMER, Range(0, 3), HRP, 0)
    shimmer = SecretManager(keys()).generate_ed25519_addresses(
        coin_type=CoinType.SHIMMER, account_index=0, start=0, end=3, bech32_hrp=HRP
    )
    for payee in shimmer:
        paid, _ = node.build_and_post_block(
            secret_manager=keys(), coin_type=CoinType.IOTA, output=AddressAndAmount(500, payee)
        )
        node.retry_until_included(paid, interval=1, max_attempts=40)
    return {
        "inputs": len(node.find_inputs(owned, 1_500_000)),
        "poor": attempt(lambda: node.find_inputs(owned, 10**12)),
        "unasked": unasked,
        "pushed": [seen(node.get_block_metadata(item)) for item in pushed],
        "blocks": len(node.find_blocks([block_id, *pushed])),
        "outputs": len(node.get_outputs_ignore_errors([*found, nowhere])) - len(found),
        "missing": attempt(lambda: node.get_outputs([nowhere])),
        "aliases": node.alias_output_ids(Query(state_controller=owned[0])).items,
        "nfts": node.nft_output_ids(Query(address=owned[0])).items,
        "peers": attempt(node.get_peers),
        "consolidated": node.consolidate_funds(keys(), options) == shimmer[0],
        "sound": node.unhealthy_nodes() == [],
    }


SCENES: dict[str, Callable[[str, str], Any]] = {
    scene.__name__: scene for scene in (conditions, upkeep, helpers)
}


if __name__ == "__main__":
    scene, url, folder = sys.argv[1:]
    sys.stdout.write(json.dumps(SCENES[scene](url, folder)) + "\n")
    sys.stdout.flush()
    os._exit(0)
