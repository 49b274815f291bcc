"""The JSON form, judged by the offline verifier, which shares no code with the node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger_client.ledger import InclusionProof
from ledger_client.stardust.block import Block
from ledger_client.stardust.json_form import (
    block_json,
    inclusion_proof_json,
    milestone_json,
    output_json,
)
from ledger_client.stardust.milestone import Milestone, MilestoneEssence, MilestoneSignature
from ledger_client.stardust.output import (
    AddressUnlockCondition,
    BasicOutput,
    ExpirationUnlockCondition,
    MetadataFeature,
    SenderFeature,
    StorageDepositReturnUnlockCondition,
    TagFeature,
    TimelockUnlockCondition,
)
from ledger_client.stardust.transaction import TaggedData
from ledger_client.verify import Milestones, check_milestone, ledger_root, poi_path, verify_bytes
from tests.ledger_client.tangle_kit import ALICE, BOB, MILESTONE_KEYS, TREASURY, Net

VECTORS = Path(__file__).parents[2].parent / "shared/vectors"
PINNED = {
    "keys": [
        {"from_index": 1, "key": bytes(key.verify_key).hex(), "to_index": None}
        for key in MILESTONE_KEYS
    ],
    "threshold": 2,
}
KEYS = json.dumps({"milestones": PINNED, "version": 1}).encode()


def proof_of_an_anchor() -> InclusionProof:
    net = Net()
    blocks = [net.ledger.anchor(b"tag", bytes([number])) for number in range(5)]
    proof = net.ledger.inclusion_proof(blocks[2])
    assert proof is not None
    return proof


def test_the_verifier_accepts_a_proof_of_inclusion() -> None:
    text = json.dumps(inclusion_proof_json(proof_of_an_anchor())).encode()
    verdict = verify_bytes(text, KEYS)
    assert verdict.code == 0
    assert "ledger inclusion only" in verdict.steps[-1].text


def test_the_verifier_refuses_it_with_any_digit_changed() -> None:
    text = json.dumps(inclusion_proof_json(proof_of_an_anchor()))
    digits = [at for at, symbol in enumerate(text) if symbol in "0123456789abcdef"]
    for at in digits[::17]:
        changed = text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :]
        assert verify_bytes(changed.encode(), KEYS).code != 0, f"character {at}"


def test_the_verifier_follows_a_transfer_to_the_applied_root() -> None:
    net = Net()
    net.ledger.anchor(b"tag", b"beside it")
    signed = [net.pay(TREASURY, (ALICE, 1000))]
    net.ledger.transfer(signed[0].payload)
    net.node.issue_milestone()
    signed += [net.pay(TREASURY, (BOB, 500)), net.pay(ALICE, (BOB, 500))]
    for item in signed[1:]:
        net.ledger.transfer(item.payload)
    pinned = Milestones.load(PINNED, "milestones")
    for item in signed:
        proof = net.ledger.inclusion_proof(item.transaction_id)
        assert proof is not None
        milestone = check_milestone(proof.milestone, pinned)
        block_id, path = poi_path(proof.path)
        assert block_id == Block.decode(proof.block).id()
        assert ledger_root(block_id, path) == milestone.applied_root


def test_the_published_example_has_this_form_and_two_valid_signatures() -> None:
    file = VECTORS / "inx-poi-example.json"
    if not file.exists():
        pytest.skip("the published vectors are not here")
    example = json.loads(file.read_text("utf-8"))
    block, milestone = example["block"], example["milestone"]
    tag, data = (_bytes(block["payload"][name]) for name in ("tag", "data"))
    parents = tuple(map(_bytes, block["parents"]))
    assert block_json(Block(parents, TaggedData(tag, data), int(block["nonce"]))) == block
    essence = MilestoneEssence(
        milestone["index"],
        milestone["timestamp"],
        _bytes(milestone["previousMilestoneId"]),
        tuple(map(_bytes, milestone["parents"])),
        _bytes(milestone["inclusionMerkleRoot"]),
        _bytes(milestone["appliedMerkleRoot"]),
    )
    signatures = tuple(
        MilestoneSignature(_bytes(item["publicKey"]), _bytes(item["signature"]))
        for item in milestone["signatures"]
    )
    built = Milestone(essence, signatures)
    assert milestone_json(built) == milestone
    assert built.count_valid({item.public_key for item in signatures}) == 2
    assert Milestone.decode(built.encode()) == built


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def test_every_part_of_an_output_shows() -> None:
    a, b = bytes(32), b"\xab" * 32
    output = BasicOutput(
        5000,
        (
            AddressUnlockCondition(a),
            StorageDepositReturnUnlockCondition(b, 100),
            TimelockUnlockCondition(77),
            ExpirationUnlockCondition(b, 99),
        ),
        (SenderFeature(b), MetadataFeature(b"hello"), TagFeature(b"t")),
    )
    owner = {"type": 0, "pubKeyHash": "0x" + "00" * 32}
    other = {"type": 0, "pubKeyHash": "0x" + "ab" * 32}
    assert output_json(output) == {
        "type": 3,
        "amount": "5000",
        "unlockConditions": [
            {"type": 0, "address": owner},
            {"type": 1, "returnAddress": other, "amount": "100"},
            {"type": 2, "unixTime": 77},
            {"type": 3, "returnAddress": other, "unixTime": 99},
        ],
        "features": [
            {"type": 0, "address": other},
            {"type": 2, "data": "0x68656c6c6f"},
            {"type": 3, "tag": "0x74"},
        ],
    }


def test_a_transfer_shows_its_inputs_and_unlocks() -> None:
    net = Net()
    signed = net.pay(TREASURY, (ALICE, 1000))
    net.ledger.transfer(signed.payload)
    proof = net.ledger.inclusion_proof(signed.transaction_id)
    assert proof is not None
    payload = block_json(Block.decode(proof.block))["payload"]
    assert isinstance(payload, dict)
    essence, unlocks = payload["essence"], payload["unlocks"]
    assert isinstance(essence, dict)
    assert isinstance(unlocks, list)
    genesis = {"type": 0, "transactionId": "0x" + "00" * 32, "transactionOutputIndex": 0}
    assert essence["inputs"] == [genesis]
    assert [item["type"] for item in unlocks if isinstance(item, dict)] == [0]
