"""The ledger port over nodes that forget, advise, lag, lie and change places."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ledger_client.ledger import (
    LedgerError,
    LedgerRefusedError,
    LedgerUnavailableError,
    TransferStatus,
)
from ledger_client.remotenode import RestLedger
from ledger_client.remotenode.adapter import TEND_EVERY_S
from ledger_client.remotenode.errors import NodeAnswerError, NodeUnfitError
from ledger_client.stardust.block import Block
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import TaggedData, Transaction, output_id
from ledger_client.wallet import TransferInput, build_transfer
from tests.ledger_client.fake_stardust import Answer, FakeStardust, FakeWeb, answer, refusal
from tests.ledger_client.tangle_kit import ALICE, BOB, NETWORK, SUPPLY, TREASURY, Net, transaction
from tests.ledger_client.test_ledger_port import holds


class Scene:
    """A node with milestones on command, and the port over it with a clock in hand."""

    def __init__(self) -> None:
        self.net = Net()
        self.node = FakeStardust(self.net)
        self.web = FakeWeb({"one": self.node})
        self.now = 0.0
        self.ledger = self.fresh()

    def fresh(self) -> RestLedger:
        """The port after a restart: it remembers nothing."""
        return RestLedger(self.web.client(), network=NETWORK, hrp="wl", now=lambda: self.now)

    def confirm(self) -> None:
        self.net.node.issue_milestone()

    def blocks(self) -> int:
        return self.net.node.stats().blocks

    def advise(self, block: bytes, **advice: bool) -> None:
        self.node.advice[block] = advice


@pytest.fixture
def scene() -> Scene:
    return Scene()


# Transfers --------------------------------------------------------------------------------------


def test_the_life_of_a_transfer(scene: Scene) -> None:
    signed = scene.net.pay(TREASURY, (ALICE, 1000), (BOB, 34))
    ledger = scene.ledger
    assert ledger.status(signed.transaction_id) is TransferStatus.UNKNOWN
    assert ledger.transfer(signed.payload) == signed.transaction_id
    assert ledger.status(signed.transaction_id) is TransferStatus.PENDING
    assert ledger.inclusion_proof(signed.transaction_id) is None
    assert ledger.balance(ALICE.address).units == 0
    scene.confirm()
    assert ledger.status(signed.transaction_id) is TransferStatus.CONFIRMED
    assert [ledger.balance(who.address).units for who in (ALICE, BOB)] == [1000, 34]
    proof = ledger.inclusion_proof(signed.transaction_id)
    block = holds(proof)
    assert proof.root == "applied"
    assert ledger.inclusion_proof(block).root == "inclusion"


def test_after_a_restart_the_fate_is_asked_or_sent_again(scene: Scene) -> None:
    signed = scene.net.pay(TREASURY, (ALICE, 1000))
    scene.ledger.transfer(signed.payload)
    ledger = scene.fresh()
    assert ledger.status(signed.transaction_id) is TransferStatus.UNKNOWN
    ledger.transfer(signed.payload)
    scene.confirm()
    blocks = scene.blocks()
    for again in (ledger, scene.fresh()):
        assert again.status(signed.transaction_id) is TransferStatus.CONFIRMED
        assert again.transfer(signed.payload) == signed.transaction_id
        assert again.inclusion_proof(signed.transaction_id).root == "applied"
    assert scene.blocks() == blocks
    assert scene.net.units(ALICE) == 1000


def test_a_double_spend_is_conflicting_even_after_a_restart(scene: Scene) -> None:
    first, second = (scene.net.pay(TREASURY, (ALICE, n)) for n in (1000, 2000))
    scene.ledger.transfer(first.payload)
    scene.ledger.transfer(second.payload)
    scene.confirm()
    assert scene.ledger.status(second.transaction_id) is TransferStatus.CONFLICTING
    assert scene.ledger.inclusion_proof(second.transaction_id) is None
    ledger = scene.fresh()
    assert ledger.status(second.transaction_id) is TransferStatus.UNKNOWN
    ledger.transfer(second.payload)
    scene.confirm()
    assert ledger.status(second.transaction_id) is TransferStatus.CONFLICTING
    blocks = scene.blocks()
    ledger.transfer(second.payload)
    assert scene.blocks() == blocks


def test_a_block_that_the_node_forgot_is_unknown_and_sent_again(scene: Scene) -> None:
    signed = scene.net.pay(TREASURY, (ALICE, 1000))
    scene.ledger.transfer(signed.payload)
    [row] = scene.net.node.store.blocks_with_payload(signed.transaction_id)
    scene.node.forgotten.add(row.block_id)
    assert scene.ledger.status(signed.transaction_id) is TransferStatus.UNKNOWN
    scene.ledger.transfer(signed.payload)
    assert scene.ledger.status(signed.transaction_id) is TransferStatus.PENDING
    scene.confirm()
    assert scene.ledger.status(signed.transaction_id) is TransferStatus.CONFIRMED


def test_a_lost_answer_leaves_a_block_that_is_found_again(scene: Scene) -> None:
    def cut(request: httpx.Request, told: Answer) -> Answer:
        if request.method == "POST":
            raise httpx.ReadError("cut", request=request)
        return told

    signed = scene.net.pay(TREASURY, (ALICE, 1000))
    scene.node.mischief = cut
    with pytest.raises(LedgerUnavailableError):
        scene.ledger.transfer(signed.payload)
    with pytest.raises(LedgerUnavailableError):
        scene.ledger.anchor(b"tag", b"data")
    scene.node.mischief = lambda _request, told: told
    blocks = scene.blocks()
    scene.ledger.transfer(signed.payload)
    assert scene.ledger.status(signed.transaction_id) is TransferStatus.PENDING
    anchored = scene.ledger.anchor(b"tag", b"data")
    assert scene.blocks() == blocks
    scene.confirm()
    assert holds(scene.ledger.inclusion_proof(anchored)) == anchored


def test_a_transaction_of_another_network_is_refused_at_once(scene: Scene) -> None:
    output = scene.net.output(TREASURY)
    foreign = build_transfer("elsewhere", [TransferInput(output, TREASURY)],
                             [(ALICE.address, SUPPLY)])  # fmt: skip
    with pytest.raises(LedgerRefusedError, match="another network"):
        scene.ledger.transfer(foreign.payload)
    assert scene.node.asked == []


def test_a_refusal_counts_only_when_other_tips_do_not_help(scene: Scene) -> None:
    stale = Block((b"\7" * 32,)).id()

    def lagging(request: httpx.Request, told: Answer) -> Answer:
        return answer({"tips": ["0x" + stale.hex()]}) if "tips" in request.url.path else told

    scene.node.mischief = lagging
    with pytest.raises(LedgerRefusedError, match="parent"):
        scene.ledger.anchor(b"tag", b"data")
    scene.node.mischief = lambda _request, told: told
    assert scene.ledger.anchor(b"tag", b"data")


# Looking after blocks ---------------------------------------------------------------------------


def test_a_block_is_promoted_when_the_node_advises_it(scene: Scene) -> None:
    anchored = scene.ledger.anchor(b"tag", b"data")
    blocks = scene.blocks()
    assert scene.ledger.status(anchored) is TransferStatus.PENDING
    assert scene.blocks() == blocks
    scene.now += TEND_EVERY_S
    scene.advise(anchored, shouldPromote=True)
    for _ in range(3):
        assert scene.ledger.status(anchored) is TransferStatus.PENDING
    assert scene.blocks() == blocks + 1
    *_, (_, newest) = scene.net.node.store.each_unreferenced()
    promoting = Block.decode(newest)
    assert promoting.payload is None
    assert anchored in promoting.parents
    scene.now += TEND_EVERY_S
    assert scene.ledger.inclusion_proof(anchored) is None
    assert scene.blocks() == blocks + 2


@pytest.mark.parametrize("restarted", [False, True])
def test_a_block_too_old_is_attached_again(scene: Scene, *, restarted: bool) -> None:
    anchored = scene.ledger.anchor(b"tag", b"data")
    scene.advise(anchored, shouldReattach=True)
    if restarted:
        scene.ledger = scene.fresh()
    assert scene.ledger.status(anchored) is TransferStatus.PENDING
    rows = scene.net.node.store.blocks_with_tag(b"tag")
    assert rows[0].block_id == anchored
    assert len(rows) == 2
    scene.now += 3 * TEND_EVERY_S
    assert scene.ledger.status(anchored) is TransferStatus.PENDING
    assert len(scene.net.node.store.blocks_with_tag(b"tag")) == 2  # one that is young is enough
    scene.node.forgotten.add(anchored)
    scene.confirm()
    assert scene.ledger.status(anchored) is TransferStatus.CONFIRMED
    proof = scene.ledger.inclusion_proof(anchored)
    assert holds(proof) == rows[1].block_id
    assert Block.decode(proof.block).payload == TaggedData(b"tag", b"data")


def test_trouble_while_looking_after_a_block_does_not_hide_its_fate(scene: Scene) -> None:
    anchored = scene.ledger.anchor(b"tag", b"data")
    scene.advise(anchored, shouldPromote=True)
    scene.node.mischief = lambda request, told: refusal(503) if "tips" in str(request.url) else told
    assert scene.ledger.status(anchored) is TransferStatus.PENDING


def test_a_block_that_nobody_knows_is_unknown(scene: Scene) -> None:
    assert scene.ledger.status(b"\5" * 32) is TransferStatus.UNKNOWN
    assert scene.ledger.inclusion_proof(b"\5" * 32) is None


# Proofs -----------------------------------------------------------------------------------------


def _chained(scene: Scene) -> list[Transaction]:
    """Five payments out of each other, one double spend and anchors, in one milestone."""
    made: list[Transaction] = []
    source = scene.net.output(TREASURY)
    for number in range(5):
        rest = BasicOutput.to(TREASURY.address, source.units - 100)
        outputs = [BasicOutput.to(ALICE.address, 100), rest]
        spending = transaction([source], outputs, [TREASURY])
        made.append(spending)
        scene.net.node.submit(spending)
        scene.ledger.anchor(b"tag", bytes([number]))
        made_id = output_id(spending.id(), 1)
        source = type(source)(made_id, rest.encode(), rest.units)
    genesis = scene.net.output(TREASURY)
    double = transaction([genesis], [BasicOutput.to(BOB.address, SUPPLY)], [TREASURY])
    scene.net.node.submit(double)
    scene.confirm()
    return made


@pytest.mark.parametrize("lists_spent_at_once", [True, False])
def test_the_applied_root_is_computed_from_what_was_created(
    scene: Scene, *, lists_spent_at_once: bool
) -> None:
    scene.node.lists_spent_at_once = lists_spent_at_once
    made = _chained(scene)
    for spending in made:
        proof = scene.ledger.inclusion_proof(spending.id())
        holds(proof)
        assert (proof.root, proof.milestone_index) == ("applied", 2)
    lists = [asked for asked in scene.node.asked if asked.endswith("utxo-changes")]
    assert len(lists) == 1  # once per milestone


def test_a_list_that_does_not_give_the_root_is_a_lie(scene: Scene) -> None:
    made = _chained(scene)

    def shorten(request: httpx.Request, told: Answer) -> Answer:
        if not request.url.path.endswith("utxo-changes"):
            return told
        changes: dict[str, Any] = json.loads(told.content)
        omitted = "0x" + made[4].id().hex()
        kept = [item for item in changes["createdOutputs"] if not item.startswith(omitted)]
        return answer(changes | {"createdOutputs": kept})

    scene.node.mischief = shorten
    with pytest.raises(NodeAnswerError, match="do not give its applied root"):
        scene.ledger.inclusion_proof(made[0].id())
    scene.node.mischief = lambda _request, told: told
    assert scene.ledger.inclusion_proof(made[0].id()) is not None


def test_a_node_without_white_flag_indexes_is_named(scene: Scene) -> None:
    made = _chained(scene)
    scene.node.has_white_flag_index = False
    with pytest.raises(NodeAnswerError, match="white-flag index"):
        scene.ledger.inclusion_proof(made[0].id())


def test_a_node_without_the_service_of_proofs_is_named(scene: Scene) -> None:
    anchored = scene.ledger.anchor(b"tag", b"data")
    scene.confirm()
    scene.node.mischief = lambda request, told: refusal(404) if "poi" in str(request.url) else told
    with pytest.raises(NodeAnswerError, match="proof-of-inclusion service"):
        scene.ledger.inclusion_proof(anchored)


# Balances and settings --------------------------------------------------------------------------


def test_only_plain_outputs_count_and_bytes_are_fetched_once(scene: Scene) -> None:
    scene.net.fund((ALICE, 100), (ALICE, 200), (ALICE, 300))
    balance = scene.ledger.balance(ALICE.address)
    assert balance == scene.net.ledger.balance(ALICE.address)
    asked = len(scene.node.asked)
    assert scene.ledger.balance(ALICE.address) == balance
    pages = scene.node.asked[asked:]
    assert pages == ["GET /api/indexer/v1/outputs/basic"] * 2


def test_a_gift_that_we_cannot_spend_blocks_nothing(scene: Scene) -> None:
    """Somebody sends native tokens, on a network that has them: the rest still counts."""
    scene.net.fund((ALICE, 100), (ALICE, 200))
    gift, kept = scene.net.ledger.balance(ALICE.address).outputs
    tokens = gift.output_bytes[:9] + b"\1" + bytes(70) + gift.output_bytes[10:]

    def mischief(request: httpx.Request, told: Answer) -> Answer:
        asked = request.url.path.endswith(gift.output_id.hex())
        return Answer(200, content=tokens, headers=told.headers) if asked else told

    scene.node.mischief = mischief
    balance = scene.ledger.balance(ALICE.address)
    assert balance.outputs == (kept,)
    assert balance.units == kept.units


def test_callers_from_many_threads_get_along(scene: Scene) -> None:
    def life(number: int) -> bytes:
        anchored = scene.ledger.anchor(b"tag", bytes([number % 5]))
        assert scene.ledger.status(anchored) is TransferStatus.PENDING
        return anchored

    with ThreadPoolExecutor(4) as pool:
        anchors = list(pool.map(life, range(20)))
    scene.confirm()
    for anchored in anchors:
        assert scene.ledger.status(anchored) is TransferStatus.CONFIRMED
        holds(scene.ledger.inclusion_proof(anchored))


def test_an_output_of_somebody_else_is_a_lie(scene: Scene) -> None:
    scene.net.fund((ALICE, 100), (BOB, 200))
    theirs = scene.net.output(BOB).output_id

    def swap(request: httpx.Request, told: Answer) -> Answer:
        if "indexer" not in request.url.path:
            return told
        return answer({"ledgerIndex": 1, "items": ["0x" + theirs.hex()]})

    scene.node.mischief = swap
    with pytest.raises(NodeAnswerError, match="another address"):
        scene.ledger.balance(ALICE.address)


@pytest.mark.parametrize(("network", "hrp"), [("elsewhere", "wl"), (NETWORK, "smr")])
def test_another_network_or_prefix_is_a_clear_error(scene: Scene, network: str, hrp: str) -> None:
    ledger = RestLedger(scene.web.client(), network=network, hrp=hrp)
    for call in (
        lambda: ledger.anchor(b"tag", b"data"),
        lambda: ledger.balance(ALICE.address),
    ):
        with pytest.raises(NodeUnfitError, match="correct the settings"):
            call()
    assert scene.net.node.stats().blocks == 1


def test_nodes_that_ask_for_proof_of_work_are_a_clear_error(scene: Scene) -> None:
    def laborious(request: httpx.Request, told: Answer) -> Answer:
        if not request.url.path.endswith("info"):
            return told
        info: dict[str, Any] = json.loads(told.content)
        info["protocol"]["minPowScore"] = 1500
        return answer(info)

    scene.node.mischief = laborious
    with pytest.raises(NodeUnfitError, match="minPowScore 0"):
        scene.ledger.anchor(b"tag", b"data")


def test_a_node_that_is_away_changes_nothing(scene: Scene) -> None:
    signed = scene.net.pay(TREASURY, (ALICE, 1000))
    scene.ledger.transfer(signed.payload)
    anchored = scene.ledger.anchor(b"tag", b"data")
    scene.confirm()
    scene.web.nodes.clear()
    for call in (
        lambda: scene.ledger.anchor(b"tag", b"more"),
        lambda: scene.ledger.transfer(signed.payload),
        lambda: scene.ledger.status(signed.transaction_id),
        lambda: scene.ledger.inclusion_proof(anchored),
        lambda: scene.ledger.balance(ALICE.address),
    ):
        with pytest.raises(LedgerError, match="one:14265"):
            call()
    scene.web.nodes["one"] = scene.node
    assert scene.ledger.status(signed.transaction_id) is TransferStatus.CONFIRMED
    assert holds(scene.ledger.inclusion_proof(anchored)) == anchored
