"""The official client, unmodified, against a node process over HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import network_id
from ledger_client.stardust.json_form import hex_text, milestone_json
from ledger_client.stardust.json_read import read_block
from ledger_client.stardust.milestone import Milestone
from ledger_client.stardust.transaction import TaggedData
from ledger_client.verify import verify_bytes
from ledger_client.wallet import Wallet
from tests.ledger_client.node_process import NodeProcess, running_node

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="iota-sdk 1.1.4 has no wheel for this interpreter"
)

CLIENT = Path(__file__).with_name("official_client.py")
UNITS = 1_000_000
MNEMONIC = (
    "endorse answer radar about source reunion marriage tag sausage weekend frost daring base "
    "attack because joke dream slender leisure group reason prepare broken river"
)
# Of the wallet alone, so that no other scene moves its units.
WALLET_MNEMONIC = "legal winner thank year wave sausage worth useful legal winner thank yellow"


def _address(mnemonic: str, index: int) -> bytes:
    """An address as BIP-39 and our own wallet derive it."""
    seed = hashlib.pbkdf2_hmac("sha512", mnemonic.encode(), b"mnemonic", 2048)
    return Wallet(seed).key(0, index).address


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    owned = [_address(MNEMONIC, index) for index in range(3)] + [_address(WALLET_MNEMONIC, 0)]
    given = [f"--genesis-address={encode_address_text('wl', item)}:{UNITS}" for item in owned]
    with running_node(tmp_path_factory.mktemp("node"), *given) as running:
        yield running


def play(node: NodeProcess, folder: Path, scene: str, **environment: str) -> Any:
    """Run one scene of the client in its own process and return what it saw."""
    run = subprocess.run(
        [sys.executable, str(CLIENT), scene, node.url, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "MNEMONIC": MNEMONIC, **environment},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def _full(thing: Any) -> Any:
    """The client's JSON without the fields that it shows as null."""
    if isinstance(thing, dict):
        return {name: _full(value) for name, value in thing.items() if value is not None}
    return [_full(item) for item in thing] if isinstance(thing, list) else thing


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def test_it_learns_the_network(node: NodeProcess, tmp_path: Path) -> None:
    seen = play(node, tmp_path, "info")
    assert seen["info"]["name"] == "Wattloom"
    assert seen["info"]["status"]["isHealthy"]
    assert seen["info"]["protocol"]["tokenSupply"] == str(4 * UNITS)
    assert seen["network"] == network_id("wattloom-private")
    assert seen["hrp"] == "wl"
    assert seen["health"]
    assert 1 <= len(seen["tips"]) <= 8


def test_it_posts_and_reads_tagged_data(node: NodeProcess, tmp_path: Path) -> None:
    seen = play(node, tmp_path, "tagged_data")
    raw = _bytes(seen["raw"])
    block = Block.decode(raw)
    assert hex_text(block.id()) == seen["id"] == seen["raw again"]
    assert block.payload == TaggedData(b"watt", b"loom")
    assert read_block(_full(seen["read"])).encode() == raw
    assert seen["read"] == seen["sent"]
    assert seen["metadata"]["ledgerInclusionState"] == "noTransaction"
    assert seen["metadata"]["referencedByMilestoneIndex"] >= 2
    verdict = verify_bytes(json.dumps(seen["proof"]).encode(), node.keys_file.read_bytes())
    assert verdict.code == 0, verdict


def test_it_transfers_units(node: NodeProcess, tmp_path: Path) -> None:
    seen = play(node, tmp_path, "transfer")
    metadata, index = seen["metadata"], seen["metadata"]["referencedByMilestoneIndex"]
    assert metadata["ledgerInclusionState"] == "included"
    assert metadata["conflictReason"] is None
    assert seen["included"] == seen["posted"]
    assert seen["included metadata"] == metadata
    block = read_block(_full(seen["posted"]))
    assert hex_text(block.id()) == seen["id"]
    assert block.payload is not None
    transaction_id = hex_text(block.payload.id())
    output = seen["output"]
    assert output["output"]["amount"] == "1000"
    booked = output["metadata"] | {"ledgerIndex": None}
    assert booked == seen["output metadata"] | {"ledgerIndex": None}
    assert booked["transactionId"] == transaction_id
    assert booked["blockId"] == seen["id"]
    assert booked["milestoneIndexBooked"] == index
    assert not booked["isSpent"]
    spent = seen["spent"]
    assert (spent["isSpent"], spent["transactionIdSpent"]) == (True, transaction_id)
    assert spent["milestoneIndexSpent"] == index
    changes = seen["changes"]
    assert changes["createdOutputs"] == [transaction_id + end for end in ("0000", "0100")]
    assert len(changes["consumedOutputs"]) == 1


def test_it_reads_milestones_in_both_forms(node: NodeProcess, tmp_path: Path) -> None:
    seen = play(node, tmp_path, "milestones")
    for shown, raw in (("by index", "raw by index"), ("by id", "raw by id")):
        milestone = Milestone.decode(_bytes(seen[raw]))
        assert milestone_json(milestone) == _full(seen[shown])
        assert milestone.count_valid({item.public_key for item in milestone.signatures}) == 1
    assert seen["by index"] == seen["by id"]
    assert seen["changes"] == seen["changes by id"]
    assert seen["changes"]["index"] == seen["by index"]["index"]


def test_a_double_spend_conflicts(node: NodeProcess, tmp_path: Path) -> None:
    seen = play(node, tmp_path, "double_spend")
    states = [item["ledgerInclusionState"] for item in seen["metadata"]]
    assert sorted(states) == ["conflicting", "included"]
    loser = seen["metadata"][states.index("conflicting")]
    assert loser["conflictReason"] in {1, 2}  # spent before, or in the same milestone
    assert seen["outputs"][states.index("included")] == 1
    assert seen["outputs"][states.index("conflicting")] == 0


def test_the_indexer_answers_each_query(node: NodeProcess, tmp_path: Path) -> None:
    plain, returning, locked, expiring = 5_000, 6_000, 7_000, 8_000
    assert play(node, tmp_path, "indexer") == {
        "all": [plain, returning, locked, expiring],
        "plain": [plain],
        "returning": [returning],
        "returning to": [returning],
        "locked": [locked],
        "locked after": [locked],
        "locked before": [],
        "expiring": [expiring],
        "expires before": [expiring],
        "expires after": [],
        "expires to": [expiring],
        "tagged": [expiring],
        "paged": [plain, returning, locked, expiring],
        "with tokens": [],
        "old": [],
        "unlockable": [plain, returning, locked, expiring],
        "by the other": [returning, expiring],
    }


def test_a_wallet_syncs_sends_and_syncs_again(node: NodeProcess, tmp_path: Path) -> None:
    seen = play(node, tmp_path, "wallet", MNEMONIC=WALLET_MNEMONIC)
    assert seen["before"] == str(UNITS)
    assert seen["after"] == str(UNITS - 4321)
    assert seen["paid"] == "4321"
    assert seen["transactions"] == ["Confirmed"]


def test_the_treasurys_seed_opens_in_it(tmp_path: Path) -> None:
    with running_node(tmp_path / "node") as node:
        assert node.treasury_seed is not None
        seed = node.treasury_seed.hex()
        seen = play(node, tmp_path, "treasury", TREASURY_SEED=seed)
    assert seen["ledgerInclusionState"] == "included"
