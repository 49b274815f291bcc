"""Looking at the ledger of the embedded node: what is there, what became of it, what is not there.

The bounds (windows, limits) and what a reader says of them are tested beside what it finds.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger_client.localnode import ConflictReason
from ledger_client.localnode.reader import LocalReader
from ledger_client.reader import (
    CONFLICT_WORDS,
    SOLID_ENTRY_POINT,
    BlockState,
    parents_of,
    read_block,
)
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import StardustSyntaxError
from ledger_client.stardust.transaction import TaggedData, output_id
from tests.ledger_client.tangle_kit import ALICE, BOB, CAROL, MILESTONE_KEYS, SUPPLY, TREASURY, Net

NOWHERE = b"\xee" * 32


@pytest.fixture
def net() -> Iterator[Net]:
    net = Net()
    yield net
    net.node.close()


@pytest.fixture
def reader(net: Net) -> LocalReader:
    return LocalReader(net.node)


def test_what_is_not_there_is_none(net: Net, reader: LocalReader) -> None:
    assert reader.block(NOWHERE) is None
    assert reader.milestone(99) is None
    assert reader.milestone(-1) is None
    assert reader.milestone(2**80) is None
    assert reader.milestone(NOWHERE) is None
    assert reader.cone(99, 10) is None
    assert reader.children(NOWHERE) == ()
    assert reader.carrier(NOWHERE) is None
    assert reader.output(bytes(34)) is not None  # the genesis output is of the zero transaction
    assert reader.output(NOWHERE + b"\0\0") is None
    assert reader.around(NOWHERE, 10) is None
    unknown = reader.address(NOWHERE, 10)
    assert (unknown.unspent, unknown.spent, unknown.complete) == ((), (), True)


def test_the_network_and_its_counters(net: Net, reader: LocalReader) -> None:
    net.fund((ALICE, 5_000))
    found = reader.network()
    assert (found.name, found.hrp) == ("wattloom-private", "wl")
    assert found.supply_units == SUPPLY
    assert found.latest_index == net.node.latest_milestone().index
    assert found.blocks == net.node.stats().blocks
    assert found.transfers == 1


def test_milestones_are_paged_newest_first(net: Net, reader: LocalReader) -> None:
    for _ in range(6):
        net.node.issue_milestone()
    assert [item.index for item in reader.milestones(None, 3)] == [7, 6, 5]
    assert [item.index for item in reader.milestones(5, 3)] == [4, 3, 2]
    assert [item.index for item in reader.milestones(2, 3)] == [1]
    assert reader.milestones(1, 3) == []


def test_a_milestone_tells_who_signed_it_and_which_block_carries_it(
    net: Net, reader: LocalReader
) -> None:
    net.fund((ALICE, 5_000))
    row = net.node.latest_milestone()
    found = reader.milestone(row.index)
    assert found is not None
    assert found == reader.milestone(row.milestone_id)
    assert (found.milestone_id, found.timestamp_s) == (row.milestone_id, row.timestamp)
    assert found.block_id == row.block_id
    signers = {item.public_key for item in found.milestone.signatures}
    assert signers == {bytes(key.verify_key) for key in MILESTONE_KEYS}
    carried = reader.block(found.block_id)
    assert carried is not None
    assert carried.milestone == found.milestone


def test_a_cone_is_in_white_flag_order_and_says_what_is_cut_off(
    net: Net, reader: LocalReader
) -> None:
    for number in range(5):
        net.node.submit(TaggedData(b"t", bytes([number])))
    index = net.node.issue_milestone().essence.index
    whole = reader.cone(index, 100)
    assert whole is not None
    assert whole.complete
    ids = [block.block_id for block in whole.blocks]
    assert ids == net.node.store.referenced_ids(index, applied_only=False)
    record = reader.milestone(index)
    assert record is not None
    assert record.block_count == len(ids)
    exact, cut = reader.cone(index, len(ids)), reader.cone(index, 3)
    assert exact is not None
    assert exact.complete
    assert cut is not None
    assert not cut.complete
    assert [block.block_id for block in cut.blocks] == ids[:3]


def test_pending_then_referenced_then_conflicting(net: Net, reader: LocalReader) -> None:
    net.fund((ALICE, 1_000))
    coin = net.output(ALICE)
    first, second = net.pay(ALICE, (BOB, 400)), net.pay(ALICE, (CAROL, 500))
    net.ledger.transfer(first.payload)
    net.ledger.transfer(second.payload)
    ids = [reader.carrier(item.transaction_id) for item in (first, second)]
    blocks = [reader.block(item or b"") for item in ids]
    assert [block and block.state for block in blocks] == [BlockState.PENDING] * 2
    index = net.node.issue_milestone().essence.index
    blocks = [reader.block(item or b"") for item in ids]
    states = {block.state for block in blocks if block}
    assert states == {BlockState.REFERENCED, BlockState.CONFLICTING}
    assert {block.referenced_by for block in blocks if block} == {index}
    conflicts = {block.conflict for block in blocks if block}
    assert conflicts == {0, ConflictReason.SPENT_IN_MILESTONE}
    spent = reader.output(coin.output_id)
    assert spent is not None
    assert spent.spent_index == index
    winner = next(
        item
        for item, block in zip((first, second), blocks, strict=True)
        if block and block.state is BlockState.REFERENCED
    )
    assert spent.spent_transaction == winner.transaction_id


def test_every_reason_has_words() -> None:
    assert {int(reason) for reason in ConflictReason if reason} == set(CONFLICT_WORDS)


def test_an_address_has_unspent_and_spent_outputs(net: Net, reader: LocalReader) -> None:
    net.fund((ALICE, 1_000), (BOB, 500))
    net.fund((ALICE, 2_000))
    both = reader.address(ALICE.address, 10)
    assert sorted(item.output.units for item in both.unspent) == [1_000, 2_000]
    assert both.complete
    assert both.spent == ()
    assert not reader.address(ALICE.address, 1).complete
    payment = net.pay(ALICE, (BOB, 3_000))
    net.ledger.transfer(payment.payload)
    net.node.issue_milestone()
    after = reader.address(ALICE.address, 10)
    assert after.unspent == ()
    assert after.spent is not None
    assert {item.spent_transaction for item in after.spent} == {payment.transaction_id}
    assert len(reader.address(ALICE.address, 1).spent or ()) == 1
    created = reader.output(output_id(payment.transaction_id, 0))
    assert created is not None
    assert created.block_id == reader.carrier(payment.transaction_id)


def test_children_are_those_that_name_it(
    net: Net, reader: LocalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = net.node.submit(TaggedData(b"t", b"parent"))
    assert reader.children(parent) == ()
    twins = [
        net.node.attach(Block((parent,), TaggedData(b"t", bytes([number]))).encode())
        for number in range(2)
    ]
    assert reader.children(parent) == tuple(twins)
    # A payload that holds the id is no child.
    net.node.attach(Block((twins[0],), TaggedData(b"t", parent)).encode())
    assert reader.children(parent) == tuple(twins)
    monkeypatch.setattr("ledger_client.localnode.reader.CHILD_WINDOW", 1)
    assert reader.children(parent) == tuple(twins[:1])


def test_the_picture_behind_the_tips_is_connected_and_bounded(
    net: Net, reader: LocalReader
) -> None:
    for number in range(30):
        net.node.submit(TaggedData(b"t", bytes([number])))
        if number % 4 == 3:
            net.node.issue_milestone()
    found = reader.around(None, 12)
    assert found is not None
    assert len(found.blocks) == 12
    assert not found.complete
    assert {block.block_id for block in found.blocks} >= set(net.node.tips())
    named = {parent for block in found.blocks for parent in block.parents}
    tips = set(net.node.tips()) | {net.node.latest_milestone().block_id}
    assert all(block.block_id in named | tips for block in found.blocks)
    everything = reader.around(None, 1_000)
    assert everything is not None
    assert everything.complete
    assert len(everything.blocks) == net.node.stats().blocks


def test_the_picture_of_a_block_holds_both_sides(net: Net, reader: LocalReader) -> None:
    ids = []
    for number in range(10):
        ids.append(net.node.submit(TaggedData(b"t", bytes([number]))))
        net.node.issue_milestone()
    found = reader.around(ids[4], 8)
    assert found is not None
    shown = {block.block_id for block in found.blocks}
    assert len(shown) == len(found.blocks) == 8
    assert ids[4] in shown
    assert set(reader.children(ids[4]) or ()) <= shown
    record = reader.block(ids[4])
    assert record is not None
    assert set(record.parents) <= shown


def test_the_entry_point_is_never_looked_up(net: Net, reader: LocalReader) -> None:
    first = reader.milestone(1)
    assert first is not None
    assert first.milestone.essence.parents == (SOLID_ENTRY_POINT,)
    found = reader.around(first.block_id, 5)
    assert found is not None
    assert [block.block_id for block in found.blocks] == [first.block_id]


def test_a_foreign_payload_leaves_the_parents_readable() -> None:
    data = b"\x02\x01" + NOWHERE + b"\x04\0\0\0" + b"\x63\0\0\0" + bytes(8)
    record = read_block(data, referenced_by=3)
    assert record.parents == parents_of(data) == (NOWHERE,)
    assert (record.payload, record.readable) == (None, False)
    assert record.state is BlockState.REFERENCED
    with pytest.raises(StardustSyntaxError):
        read_block(b"\x02\x09")


def test_a_treasury_output_stays_readable(net: Net, reader: LocalReader) -> None:
    (genesis,) = reader.address(TREASURY.address, 10).unspent
    assert (genesis.booked_index, genesis.block_id) == (0, bytes(32))
    assert genesis.output.units == SUPPLY
