"""The five calls of the port, as its callers use them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ledger_client.ledger import (
    InclusionProof,
    Ledger,
    LedgerRefusedError,
    LedgerUnavailableError,
    TransferStatus,
    UnspentOutput,
)
from ledger_client.localnode import ConflictReason, LocalLedger, LocalNode
from ledger_client.stardust.block import Block
from ledger_client.stardust.merkle import fold_path
from ledger_client.stardust.milestone import Milestone
from ledger_client.stardust.output import AddressUnlockCondition as Owner
from ledger_client.stardust.output import BasicOutput, TimelockUnlockCondition
from ledger_client.stardust.transaction import TaggedData, Transaction
from tests.ledger_client.tangle_kit import (
    ALICE,
    BOB,
    MILESTONE_KEYS,
    START,
    SUPPLY,
    TREASURY,
    Net,
    transaction,
)

PINNED = {bytes(key.verify_key) for key in MILESTONE_KEYS}


def holds(proof: InclusionProof | None) -> bytes:
    """Check a proof as a verifier does; return the id that it speaks of."""
    assert proof is not None
    milestone = Milestone.decode(proof.milestone)
    assert milestone.count_valid(PINNED) >= 2
    assert milestone.essence.index == proof.milestone_index
    root, block_id = fold_path(proof.path)
    assert Block.decode(proof.block).id() == block_id
    roots = {
        "inclusion": milestone.essence.inclusion_root,
        "applied": milestone.essence.applied_root,
    }
    assert root == roots[proof.root]
    return block_id


class TestTransfers:
    def test_the_life_of_a_transfer(self) -> None:
        net = Net()
        ledger: Ledger = net.ledger
        signed = net.pay(TREASURY, (ALICE, 1000), (BOB, 34))
        assert ledger.status(signed.transaction_id) is TransferStatus.UNKNOWN
        assert ledger.inclusion_proof(signed.transaction_id) is None
        assert ledger.transfer(signed.payload) == signed.transaction_id
        assert net.units(ALICE) == 0
        assert ledger.status(signed.transaction_id) is TransferStatus.CONFIRMED
        assert [net.units(owner) for owner in (TREASURY, ALICE, BOB)] == [SUPPLY - 1034, 1000, 34]
        proof = ledger.inclusion_proof(signed.transaction_id)
        block_id = holds(proof)
        assert proof.root == "applied"
        payload = Block.decode(proof.block).payload
        assert isinstance(payload, Transaction)
        assert payload.encode() == signed.payload
        assert holds(ledger.inclusion_proof(block_id)) == block_id
        assert ledger.inclusion_proof(block_id).root == "inclusion"

    def test_the_same_payload_again_is_no_second_spend(self) -> None:
        net = Net()
        signed = net.pay(TREASURY, (ALICE, 1000))
        for _ in range(3):
            net.ledger.transfer(signed.payload)
        net.node.issue_milestone()
        for _ in range(3):
            assert net.ledger.transfer(signed.payload) == signed.transaction_id
        assert len(net.node.store.blocks_with_payload(signed.transaction_id)) == 1
        assert net.units(ALICE) == 1000

    def test_a_double_spend_is_conflicting_for_good(self) -> None:
        net = Net()
        first, second = net.pay(TREASURY, (ALICE, 1000)), net.pay(TREASURY, (BOB, 1000))
        for signed in (first, second):
            net.ledger.transfer(signed.payload)
        assert net.ledger.status(first.transaction_id) is TransferStatus.CONFIRMED
        assert net.ledger.status(second.transaction_id) is TransferStatus.CONFLICTING
        assert net.ledger.inclusion_proof(second.transaction_id) is None
        net.ledger.transfer(second.payload)
        assert net.ledger.status(second.transaction_id) is TransferStatus.CONFLICTING
        assert len(net.node.store.blocks_with_payload(second.transaction_id)) == 1

    def test_the_fate_goes_by_transaction_and_not_by_block(self) -> None:
        """The same transaction in two blocks: one is applied, the other conflicts."""
        net = Net()
        signed = net.pay(TREASURY, (ALICE, 1000))
        payload = Transaction.decode(signed.payload)
        blocks = [net.node.submit(payload) for _ in range(2)]
        net.node.issue_milestone()
        conflicts = {net.node.store.block(block).conflict for block in blocks}
        assert conflicts == {ConflictReason.NONE, ConflictReason.SPENT_IN_MILESTONE}
        assert net.ledger.status(signed.transaction_id) is TransferStatus.CONFIRMED
        assert holds(net.ledger.inclusion_proof(signed.transaction_id)) in blocks

    def test_what_came_too_early_can_be_sent_again(self) -> None:
        net = Net()
        conditions = (Owner(ALICE.address), TimelockUnlockCondition(START + 100))
        held = net.make(BasicOutput(100, conditions))
        spending = transaction([held], [BasicOutput.to(BOB.address, 100)], [ALICE])
        net.ledger.transfer(spending.encode())
        assert net.ledger.status(spending.id()) is TransferStatus.CONFLICTING
        net.now = START + 100
        net.ledger.transfer(spending.encode())
        assert net.ledger.status(spending.id()) is TransferStatus.CONFIRMED

    @pytest.mark.parametrize("payload", [b"", b"\x06\x00\x00\x00", TaggedData(b"", b"").encode()])
    def test_what_is_no_transaction_is_refused(self, payload: bytes) -> None:
        with pytest.raises(LedgerRefusedError):
            Net().ledger.transfer(payload)


class TestAnchors:
    def test_an_anchor_is_one_block_with_a_proof(self) -> None:
        net = Net()
        first = net.ledger.anchor(b"tag", b"data")
        assert net.ledger.anchor(b"tag", b"data") == first
        proof = net.ledger.inclusion_proof(first)
        assert holds(proof) == first
        assert net.ledger.anchor(b"tag", b"data") == first
        assert Block.decode(proof.block).payload == TaggedData(b"tag", b"data")
        other = net.ledger.anchor(b"tag", b"other data")
        assert [row.block_id for row in net.node.store.blocks_with_tag(b"tag")] == [first, other]

    def test_many_anchors_in_one_milestone_have_a_proof_each(self) -> None:
        net = Net()
        blocks = [net.ledger.anchor(b"tag", bytes([n])) for n in range(21)]
        proofs = [net.ledger.inclusion_proof(block) for block in blocks]
        assert [holds(proof) for proof in proofs] == blocks
        assert {proof.milestone_index for proof in proofs} == {2}

    @pytest.mark.parametrize(("tag", "size"), [(65, 1), (1, 32_768)])
    def test_what_does_not_fit_is_refused(self, tag: int, size: int) -> None:
        net = Net()
        with pytest.raises(LedgerRefusedError):
            net.ledger.anchor(bytes(tag), bytes(size))
        assert net.node.stats().blocks == 1


def test_an_unknown_id_has_neither_fate_nor_proof() -> None:
    net = Net()
    assert net.ledger.status(bytes(32)) is TransferStatus.UNKNOWN
    assert net.ledger.inclusion_proof(bytes(32)) is None
    assert net.node.stats().milestones == 1


def test_with_an_interval_nobody_but_the_clock_confirms() -> None:
    node = LocalNode.open(
        ":memory:",
        genesis={TREASURY.address: SUPPLY},
        milestone_keys=MILESTONE_KEYS,
        milestone_interval_s=3600,
    )
    ledger = LocalLedger(node)
    block = ledger.anchor(b"tag", b"data")
    assert ledger.inclusion_proof(block) is None
    node.issue_milestone()
    assert ledger.inclusion_proof(block) is not None
    node.close()


def test_a_balance_lists_its_outputs_by_id() -> None:
    net = Net()
    net.fund((ALICE, 100), (ALICE, 200), (ALICE, 300))
    balance = net.ledger.balance(ALICE.address)
    assert balance.units == 600
    ids = [output.output_id for output in balance.outputs]
    assert ids == sorted(ids)
    for output in balance.outputs:
        made = BasicOutput.decode(output.output_bytes)
        assert (made.address, made.units) == (ALICE.address, output.units)
        assert isinstance(output, UnspentOutput)


def test_a_full_disk_is_unavailable_and_heals(tmp_path: Path) -> None:
    net = Net(tmp_path / "ledger.db")
    connection = net.node.store._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    written = []
    with pytest.raises(LedgerUnavailableError, match="full"):
        written.extend(net.ledger.anchor(b"tag", bytes([n]) * 4000) for n in range(100))
    connection.execute("PRAGMA max_page_count = 100000")
    last = net.ledger.anchor(b"tag", bytes([len(written)]) * 4000)
    assert [row.block_id for row in net.node.store.blocks_with_tag(b"tag")] == [*written, last]
    assert holds(net.ledger.inclusion_proof(last)) == last


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(b"not a database" * 100)
    with pytest.raises(Exception, match="ledger database") as caught:
        Net(file)
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
