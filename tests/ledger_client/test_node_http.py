"""The REST routes over a node in memory: JSON and binary, before and after a milestone."""

from __future__ import annotations

import pytest

from ledger_client.localnode.http.core import HEALTHY_MILESTONE_AGE_S
from ledger_client.stardust.bech32 import encode_address_text
from ledger_client.stardust.block import Block
from ledger_client.stardust.json_form import block_json, hex_text, milestone_json, output_json
from ledger_client.stardust.milestone import Milestone
from ledger_client.stardust.output import (
    AddressUnlockCondition,
    BasicOutput,
    ExpirationUnlockCondition,
    SenderFeature,
    StorageDepositReturnUnlockCondition,
    TagFeature,
    TimelockUnlockCondition,
)
from ledger_client.stardust.transaction import TaggedData, Transaction, output_id
from ledger_client.verify import LedgerKeys, canonical, verify_bytes
from tests.ledger_client.node_rest import (
    BINARY,
    CORE,
    INDEXER,
    Rest,
    assert_error,
    block_path,
)
from tests.ledger_client.tangle_kit import ALICE, BOB, START, SUPPLY, TREASURY, Net, transaction

TAGGED = TaggedData(b"tag", b"data")
NOBODY = "0x" + "ab" * 32


@pytest.fixture
def rest() -> Rest:
    return Rest()


def text(owner_address: bytes) -> str:
    return encode_address_text("wl", owner_address)


# Node --------------------------------------------------------------------------------------------


def test_info_tells_the_network_and_the_latest_milestone(rest: Rest) -> None:
    info = rest.get(f"{CORE}/info")
    latest = rest.net.node.latest_milestone()
    shown = {
        "index": 1,
        "timestamp": latest.timestamp,
        "milestoneId": hex_text(latest.milestone_id),
    }
    assert info["status"] == {
        "isHealthy": True,
        "latestMilestone": shown,
        "confirmedMilestone": shown,
        "pruningIndex": 0,
    }
    assert info["protocol"] == {
        "version": 2,
        "networkName": "wattloom-private",
        "bech32Hrp": "wl",
        "minPowScore": 0,
        "belowMaxDepth": 15,
        "rentStructure": {"vByteCost": 1, "vByteFactorData": 0, "vByteFactorKey": 1},
        "tokenSupply": str(SUPPLY),
    }
    assert info["features"] == ["pow"]


def test_metrics_are_those_of_the_latest_milestone(rest: Rest) -> None:
    for number in range(19):
        rest.net.ledger.anchor(b"tag", bytes([number]))
    rest.net.now = START + 5
    rest.net.node.issue_milestone()
    # 19 blocks, the milestone before, and those that merge the tips, if any, in 5 s.
    assert rest.get(f"{CORE}/info")["metrics"]["blocksPerSecond"] >= 4


def test_tips_are_never_empty(rest: Rest) -> None:
    assert rest.get(f"{CORE}/tips") == {"tips": [hex_text(tip) for tip in rest.net.node.tips()]}


def test_the_apis_are_listed(rest: Rest) -> None:
    assert rest.get("/api/routes") == {"routes": ["core/v2", "indexer/v1", "poi/v1"]}


def test_health_follows_the_milestones() -> None:
    on_demand = Rest()
    on_demand.net.now += 10**6
    assert on_demand.client.get("/health").status_code == 200  # nobody promised one


def test_a_node_that_waits_for_milestones_is_not_healthy() -> None:
    rest = Rest()
    # As if it ticked: only the judgement is under test, not the clockwork.
    object.__setattr__(rest.net.node.settings, "milestone_interval_s", 1.0)
    rest.net.now += HEALTHY_MILESTONE_AGE_S
    assert rest.client.get("/health").status_code == 200
    rest.net.now += 1
    assert rest.client.get("/health").status_code == 503
    assert not rest.get(f"{CORE}/info")["status"]["isHealthy"]


# Blocks ------------------------------------------------------------------------------------------


def test_a_block_goes_in_binary_and_comes_back_in_both_forms(rest: Rest) -> None:
    block = Block(rest.net.node.tips(), TAGGED, 7)
    answer = rest.post(block.encode())
    assert answer.status_code == 201
    assert answer.json() == {"blockId": hex_text(block.id())}
    assert answer.headers["location"] == hex_text(block.id())
    assert rest.raw(block_path(block.id())) == block.encode()
    assert rest.get(block_path(block.id())) == block_json(block)


def test_a_block_goes_in_as_json(rest: Rest) -> None:
    block = Block(rest.net.node.tips(), TAGGED, 2**64 - 1)
    assert rest.post_json(block).json() == {"blockId": hex_text(block.id())}
    assert rest.raw(block_path(block.id())) == block.encode()


def test_the_node_fills_in_parents_and_nonce(rest: Rest) -> None:
    tips = rest.net.node.tips()
    answer = rest.post_json({"payload": block_json(Block(tips, TAGGED))["payload"]})
    assert answer.json() == {"blockId": hex_text(Block(tips, TAGGED).id())}


def test_the_same_block_again_gives_the_same_id(rest: Rest) -> None:
    block = Block(rest.net.node.tips(), TAGGED)
    first, again = rest.post(block.encode()), rest.post_json(block)
    assert (again.status_code, again.json()) == (201, first.json())
    assert rest.net.node.stats().blocks == 2  # the first milestone's, and this one


@pytest.mark.parametrize(
    ("accept", "binary"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        (BINARY, True),
        (f"{BINARY}, application/json", True),
        (f"application/json, {BINARY}", False),
        (f"text/html;q=0.9, {BINARY};q=0.1", True),
        ("image/png", False),
    ],
)
def test_accept_chooses_the_form(rest: Rest, accept: str, *, binary: bool) -> None:
    path = block_path(rest.net.node.latest_milestone().block_id)
    answer = rest.client.get(path, headers={"Accept": accept})
    assert (answer.headers["content-type"] == BINARY) == binary


def test_metadata_before_and_after_the_milestone(rest: Rest) -> None:
    parents = rest.net.node.tips()
    block_id = rest.net.ledger.anchor(b"tag", b"data")
    shown = {
        "blockId": hex_text(block_id),
        "parents": [hex_text(parent) for parent in parents],
        "isSolid": True,
    }
    waiting = {"shouldPromote": False, "shouldReattach": False}
    assert rest.get(block_path(block_id, "/metadata")) == {**shown, **waiting}
    rest.net.node.issue_milestone()
    assert rest.get(block_path(block_id, "/metadata")) == {
        **shown,
        "referencedByMilestoneIndex": 2,
        "ledgerInclusionState": "noTransaction",
        "whiteFlagIndex": 1,
    }


def test_metadata_names_a_milestone(rest: Rest) -> None:
    latest = rest.net.node.latest_milestone()
    assert rest.get(block_path(latest.block_id, "/metadata"))["milestoneIndex"] == 1


@pytest.mark.parametrize(
    ("behind", "promote"), [(0, False), (8, False), (9, True), (13, True), (15, True)]
)
def test_a_block_on_old_milestones_should_be_promoted(
    rest: Rest, behind: int, *, promote: bool
) -> None:
    old = rest.net.node.latest_milestone().block_id
    # The block of milestone 1 is referenced by milestone 2: that is its parent's root.
    for _ in range(behind + 1):
        rest.net.node.issue_milestone()
    block = Block((old,), TAGGED)
    assert rest.post(block.encode()).status_code == 201
    shown = rest.get(block_path(block.id(), "/metadata"))
    assert (shown["shouldPromote"], shown["shouldReattach"]) == (promote, False)


# Transactions and outputs ------------------------------------------------------------------------


def test_a_transfer_and_its_double_spend(rest: Rest) -> None:
    winner, loser = (rest.net.pay(TREASURY, (who, 1000)) for who in (ALICE, BOB))
    blocks = []
    for signed in (winner, loser):
        parents = (blocks[-1].id(),) if blocks else rest.net.node.tips()
        blocks.append(Block(parents, Transaction.decode(signed.payload)))
        assert rest.post_json(blocks[-1]).status_code == 201
    included = f"{CORE}/transactions/{hex_text(winner.transaction_id)}/included-block"
    rest.get(included, 404)
    rest.net.node.issue_milestone()
    first, second = (rest.get(block_path(block.id(), "/metadata")) for block in blocks)
    assert first["ledgerInclusionState"] == "included"
    assert "conflictReason" not in first
    assert (second["ledgerInclusionState"], second["conflictReason"]) == ("conflicting", 2)
    assert rest.raw(included) == blocks[0].encode()
    assert rest.get(included) == block_json(blocks[0])
    assert rest.get(f"{included}/metadata") == first
    rest.get(f"{CORE}/transactions/{hex_text(loser.transaction_id)}/included-block", 404)


def test_an_output_while_it_lives_and_once_it_is_spent(rest: Rest) -> None:
    genesis = f"{CORE}/outputs/0x{'00' * 34}"
    unspent = {
        "blockId": "0x" + "00" * 32,
        "transactionId": "0x" + "00" * 32,
        "outputIndex": 0,
        "isSpent": False,
        "milestoneIndexBooked": 0,
        "milestoneTimestampBooked": 0,
        "ledgerIndex": 1,
    }
    output = BasicOutput.to(TREASURY.address, SUPPLY)
    assert rest.get(genesis) == {"metadata": unspent, "output": output_json(output)}
    assert rest.get(f"{genesis}/metadata") == unspent
    assert rest.raw(genesis) == output.encode()
    signed = rest.net.pay(TREASURY, (ALICE, 1000))
    rest.net.ledger.transfer(signed.payload)
    milestone = rest.net.node.issue_milestone().essence
    assert rest.get(f"{genesis}/metadata") == {
        **unspent,
        "isSpent": True,
        "milestoneIndexSpent": 2,
        "milestoneTimestampSpent": milestone.timestamp,
        "transactionIdSpent": hex_text(signed.transaction_id),
        "ledgerIndex": 2,
    }


@pytest.mark.parametrize(("unlocks_at", "reason"), [(START + 10**6, 6), (START - 10**6, None)])
def test_a_timelock_goes_by_the_milestones_time(unlocks_at: int, reason: int | None) -> None:
    rest = Rest()
    locked = (AddressUnlockCondition(ALICE.address), TimelockUnlockCondition(unlocks_at))
    source = rest.net.make(BasicOutput(1_000, locked))
    spend = transaction([source], [BasicOutput.to(BOB.address, 1_000)], [ALICE])
    block = Block(rest.net.node.tips(), spend)
    assert rest.post(block.encode()).status_code == 201
    rest.net.node.issue_milestone()
    assert rest.get(block_path(block.id(), "/metadata")).get("conflictReason") == reason
    spent = rest.get(f"{CORE}/outputs/{hex_text(source.output_id)}/metadata")["isSpent"]
    assert spent == (reason is None)


# Milestones --------------------------------------------------------------------------------------


def test_a_milestone_by_index_and_by_id(rest: Rest) -> None:
    row = rest.net.node.latest_milestone()
    shown = milestone_json(Milestone.decode(row.payload))
    for name in ("by-index/1", hex_text(row.milestone_id)):
        assert rest.get(f"{CORE}/milestones/{name}") == shown
        assert rest.raw(f"{CORE}/milestones/{name}") == row.payload


def test_utxo_changes_list_what_was_applied(rest: Rest) -> None:
    winner, loser = (rest.net.pay(TREASURY, (who, 1000)) for who in (ALICE, BOB))
    rest.net.ledger.transfer(winner.payload)
    rest.net.ledger.transfer(loser.payload)
    milestone = rest.net.node.issue_milestone()
    created = [hex_text(output_id(winner.transaction_id, at)) for at in (0, 1)]
    expected = {"index": 2, "createdOutputs": created, "consumedOutputs": ["0x" + "00" * 34]}
    assert rest.get(f"{CORE}/milestones/by-index/2/utxo-changes") == expected
    by_id = hex_text(milestone.essence.id())
    assert rest.get(f"{CORE}/milestones/{by_id}/utxo-changes") == expected
    empty = {"index": 1, "createdOutputs": [], "consumedOutputs": []}
    assert rest.get(f"{CORE}/milestones/by-index/1/utxo-changes") == empty


# Indexer -----------------------------------------------------------------------------------------


def _filled() -> tuple[Rest, dict[str, str]]:
    """A network with one output of every kind for Alice, Bob being the other party."""
    net = Net()
    owner = AddressUnlockCondition(ALICE.address)
    kinds = {
        "plain": BasicOutput(1_001, (owner,)),
        "returning": BasicOutput(
            1_002, (owner, StorageDepositReturnUnlockCondition(BOB.address, 50))
        ),
        "locked": BasicOutput(1_003, (owner, TimelockUnlockCondition(START + 500))),
        "expiring": BasicOutput(
            1_004, (owner, ExpirationUnlockCondition(BOB.address, START + 600))
        ),
        "sent": BasicOutput(1_005, (owner,), (SenderFeature(TREASURY.address),)),
        "tagged": BasicOutput(1_006, (owner,), (TagFeature(b"\xab"),)),
    }
    return Rest(net), {hex_text(net.make(kind).output_id): name for name, kind in kinds.items()}


def _found(rest: Rest, names: dict[str, str], route: str = "basic", **query: str) -> set[str]:
    path = f"{INDEXER}/outputs/{route}" if route else f"{INDEXER}/outputs"
    return {names.get(item, "rest") for item in rest.get(path, **query)["items"]}


def test_each_filter_of_the_indexer() -> None:
    rest, names = _filled()
    alice, bob, everything = text(ALICE.address), text(BOB.address), set(names.values())
    booked = {
        name: rest.get(f"{CORE}/outputs/{key}/metadata")["milestoneTimestampBooked"]
        for key, name in names.items()
    }
    table: list[tuple[dict[str, str], set[str]]] = [
        ({"address": alice}, everything),
        ({"address": bob}, set()),
        ({"hasStorageDepositReturn": "true"}, {"returning"}),
        ({"address": alice, "hasStorageDepositReturn": "false"}, everything - {"returning"}),
        ({"storageDepositReturnAddress": bob}, {"returning"}),
        ({"hasExpiration": "true"}, {"expiring"}),
        ({"expiresBefore": str(START + 601)}, {"expiring"}),
        ({"expiresBefore": str(START + 600)}, set()),
        ({"expiresAfter": str(START + 599)}, {"expiring"}),
        ({"expirationReturnAddress": bob}, {"expiring"}),
        ({"expirationReturnAddress": alice}, set()),
        ({"hasTimelock": "true"}, {"locked"}),
        ({"timelockedBefore": str(START + 501)}, {"locked"}),
        ({"timelockedAfter": str(START + 500)}, set()),
        ({"sender": text(TREASURY.address)}, {"sent"}),
        ({"tag": "0xab"}, {"tagged"}),
        ({"tag": "0xac"}, set()),
        ({"address": alice, "tag": "0x"}, everything),
        ({"hasNativeTokens": "true"}, set()),
        ({"address": alice, "hasNativeTokens": "false"}, everything),
        ({"minNativeTokenCount": "1"}, set()),
        ({"address": alice, "maxNativeTokenCount": "0"}, everything),
        ({"address": alice, "createdBefore": str(booked["locked"])}, {"plain", "returning"}),
        ({"createdAfter": str(booked["sent"])}, {"tagged", "rest"}),
        ({"unlockableByAddress": bob}, {"returning", "expiring"}),
        ({"unlockableByAddress": alice}, everything),
        ({"address": alice, "unlockableByAddress": bob}, {"returning", "expiring"}),
    ]
    for query, expected in table:
        assert _found(rest, names, **query) == expected, query
    for who, expected in ((alice, everything), (bob, {"returning", "expiring"})):
        assert _found(rest, names, "", unlockableByAddress=who) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 1000])
def test_pages_hold_every_output_once_and_in_order(size: int) -> None:
    rest, _ = _filled()
    whole = rest.get(f"{INDEXER}/outputs/basic")
    assert "cursor" not in whole
    seen: list[str] = []
    page = rest.get(f"{INDEXER}/outputs/basic", pageSize=size)
    while True:
        assert page["pageSize"] == size
        assert len(page["items"]) <= size
        seen += page["items"]
        if "cursor" not in page:
            break
        page = rest.get(f"{INDEXER}/outputs/basic", cursor=page["cursor"])
    assert seen == whole["items"]


def test_spent_outputs_are_not_listed(rest: Rest) -> None:
    rest.net.fund((ALICE, 1000))
    shown = rest.get(f"{INDEXER}/outputs/basic", address=text(TREASURY.address))
    assert shown["ledgerIndex"] == 2
    assert len(shown["items"]) == 1
    assert shown["items"] != ["0x" + "00" * 34]


@pytest.mark.parametrize("kind", ["alias", "nft", "foundry"])
def test_there_are_no_other_kinds_of_outputs(rest: Rest, kind: str) -> None:
    assert rest.get(f"{INDEXER}/outputs/{kind}")["items"] == []
    assert_error(rest.client.get(f"{INDEXER}/outputs/{kind}/{NOBODY}"), 404)


# Proofs of inclusion -----------------------------------------------------------------------------


def test_a_proof_of_inclusion_holds_offline_and_at_the_node(rest: Rest) -> None:
    blocks = [rest.net.ledger.anchor(b"tag", bytes([number])) for number in range(5)]
    path = f"/api/poi/v1/create/{hex_text(blocks[3])}"
    assert_error(rest.client.get(path), 400)  # nothing refers to it yet
    rest.net.node.issue_milestone()
    proof = rest.client.get(path)
    keys = canonical(LedgerKeys(rest.net.node.pinned, 1)) + b"\n"
    assert verify_bytes(proof.content, keys).code == 0
    validate = "/api/poi/v1/validate"
    assert rest.client.post(validate, content=proof.content).json() == {"valid": True}
    other = proof.json() | {"block": rest.get(block_path(blocks[2]))}
    assert rest.client.post(validate, json=other).json() == {"valid": False}
    unsigned = proof.json()
    unsigned["milestone"]["timestamp"] += 1
    assert rest.client.post(validate, json=unsigned).json() == {"valid": False}
    assert_error(rest.client.get(f"/api/poi/v1/create/{NOBODY}"), 404)


# The token ---------------------------------------------------------------------------------------


def test_a_token_guards_everything_but_health() -> None:
    rest = Rest(token="a token of some length")
    said = {"Authorization": "Bearer a token of some length"}
    assert rest.client.get("/health").status_code == 200
    assert rest.client.get(f"{CORE}/info", headers=said).status_code == 200
    for wrong in (
        {},
        {"Authorization": "Bearer another"},
        {"Authorization": said["Authorization"] + "x"},
    ):
        for path in (f"{CORE}/info", f"{CORE}/tips", "/api/routes", "/nothing"):
            answer = rest.client.get(path, headers=wrong)
            assert_error(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        block = Block(rest.net.node.tips(), TAGGED).encode()
        assert_error(rest.post(block), 401)
    assert rest.net.node.stats().blocks == 1
