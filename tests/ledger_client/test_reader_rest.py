"""Looking at a ledger over REST gives what looking into the embedded node gives, or says less."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from starlette.testclient import TestClient

from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode.http.app import create_node_app
from ledger_client.localnode.reader import LocalReader
from ledger_client.reader import BlockState
from ledger_client.remotenode.client import NodeClient
from ledger_client.remotenode.reader import RemoteReader
from ledger_client.stardust.block import Block
from ledger_client.stardust.transaction import TaggedData
from tests.ledger_client.tangle_kit import ALICE, BOB, CAROL, DAVE, TREASURY, Net

NOWHERE = b"\xee" * 32


class CountingTransport(httpx.BaseTransport):
    """Passes requests on to the node's app, counts them, and can go dead."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self.inner = inner
        self.count = 0
        self.dead = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        if self.dead:
            raise httpx.ConnectError("connection refused", request=request)
        return self.inner.handle_request(request)


@pytest.fixture
def net() -> Iterator[Net]:
    """A net with side branches, a payment, two double spends and blocks that wait."""
    net = Net()
    net.fund((ALICE, 10_000), (BOB, 5_000))
    for round_ in range(4):
        tips = net.node.tips()
        for number in range(round_ + 2):
            data = TaggedData(b"side", bytes([round_, number]))
            net.node.attach(Block(tips, data).encode())
        first, second = net.pay(ALICE, (CAROL, 100)), net.pay(ALICE, (DAVE, 200))
        net.ledger.transfer(first.payload)
        net.ledger.transfer(second.payload)
        net.node.issue_milestone()
    net.node.submit(TaggedData(b"late", b""))
    net.ledger.transfer(net.pay(BOB, (CAROL, 300)).payload)
    yield net
    net.node.close()


@pytest.fixture
def transport(net: Net) -> Iterator[CountingTransport]:
    with TestClient(create_node_app(net.node, now=lambda: net.now)) as client:
        yield CountingTransport(client._transport)


@pytest.fixture
def rest(transport: CountingTransport) -> Iterator[RemoteReader]:
    def no_pause(_seconds: float) -> None:
        """Do not wait between two tries."""

    with NodeClient(["http://node"], transport=transport, pause=no_pause) as client:
        yield RemoteReader(client)


@pytest.fixture
def local(net: Net) -> LocalReader:
    return LocalReader(net.node)


def test_every_block_and_output_is_the_same(
    net: Net, rest: RemoteReader, local: LocalReader
) -> None:
    everything = local.around(None, 1_000)
    assert everything is not None
    assert len(everything.blocks) == net.node.stats().blocks
    for block in everything.blocks:
        assert rest.block(block.block_id) == block
        if block.transaction and block.conflict == 0:
            assert rest.carrier(block.transaction.id()) == block.block_id
        for output_id in block.transaction.essence.inputs if block.transaction else ():
            assert rest.output(output_id) == local.output(output_id) is not None
    assert {block.state for block in everything.blocks} == set(BlockState)


def test_milestones_and_their_blocks_are_the_same(
    net: Net, rest: RemoteReader, local: LocalReader
) -> None:
    latest = net.node.latest_milestone().index
    mine = local.milestones(None, 100)
    assert [item.milestone for item in rest.milestones(None, 100)] == [
        item.milestone for item in mine
    ]
    assert [item.index for item in rest.milestones(4, 2)] == [3, 2]
    assert rest.milestones(1, 2) == []
    for index in range(1, latest + 1):
        assert rest.cone(index, 100) == local.cone(index, 100)
        found = rest.milestone(index)
        assert found is not None
        assert found.block_count is None
        assert rest.milestone(found.milestone_id) == found
    cut = rest.cone(latest, 3)
    assert cut is not None
    assert not cut.complete
    assert len(cut.blocks) == 3


def test_the_picture_behind_the_tips_is_the_same(rest: RemoteReader, local: LocalReader) -> None:
    for limit in (5, 12, 500):
        assert rest.around(None, limit) == local.around(None, limit)


def test_the_picture_of_a_block_reaches_up_to_its_milestone(net: Net, rest: RemoteReader) -> None:
    (genesis_spend, *_) = net.node.store.referenced_ids(2, applied_only=True)
    found = rest.around(genesis_spend, 20)
    assert found is not None
    shown = {block.block_id for block in found.blocks}
    row = net.node.store.milestone_at(2)
    assert row is not None
    assert {genesis_spend, row.block_id} <= shown


def test_an_addresses_unspent_outputs_are_the_same(rest: RemoteReader, local: LocalReader) -> None:
    for owner in (ALICE, BOB, CAROL, DAVE, TREASURY):
        mine = local.address(owner.address, 100)
        assert rest.address(owner.address, 100) == replace(mine, spent=None)
    few = rest.address(CAROL.address, 1)
    assert (len(few.unspent), few.complete) == (1, False)


def test_what_the_api_does_not_tell_is_none(net: Net, rest: RemoteReader) -> None:
    assert rest.children(net.node.latest_milestone().block_id) is None
    found = rest.network()
    assert (found.blocks, found.transfers) == (None, None)
    assert found.latest_index == net.node.latest_milestone().index
    conflicting = net.node.store.referenced_ids(3, applied_only=False)
    blocks = [rest.block(item) for item in conflicting]
    ignored = next(item for item in blocks if item and item.state is BlockState.CONFLICTING)
    assert ignored.transaction is not None
    assert rest.carrier(ignored.transaction.id()) is None


def test_what_is_not_there_is_none(rest: RemoteReader) -> None:
    assert rest.block(NOWHERE) is None
    assert rest.milestone(NOWHERE) is None
    for index in (-1, 0, 999, 2**32, 2**80):
        assert rest.milestone(index) is None
    assert rest.cone(999, 5) is None
    assert rest.carrier(NOWHERE) is None
    assert rest.output(NOWHERE + b"\0\0") is None
    assert rest.around(NOWHERE, 5) is None
    empty = rest.address(NOWHERE, 5)
    assert (empty.unspent, empty.complete) == ((), True)


def test_what_is_final_is_asked_for_once(
    net: Net, rest: RemoteReader, transport: CountingTransport
) -> None:
    net.node.issue_milestone()
    first = rest.around(None, 500)
    assert first is not None
    before = transport.count
    assert rest.around(None, 500) == first
    # Info, tips, and the newest milestone's block, which no milestone references yet.
    assert transport.count - before <= 4
    (spend,) = [block for block in first.blocks if block.transaction and block.referenced_by == 2]
    assert spend.transaction is not None
    for output_id in spend.transaction.essence.inputs:
        spent = rest.output(output_id)
        before = transport.count
        assert rest.output(output_id) == spent is not None
        assert transport.count == before


def test_what_waits_is_asked_for_again(net: Net, rest: RemoteReader) -> None:
    waiting = net.node.submit(TaggedData(b"later", b""))
    found = rest.block(waiting)
    assert found is not None
    assert found.state is BlockState.PENDING
    net.node.issue_milestone()
    found = rest.block(waiting)
    assert found is not None
    assert found.state is BlockState.REFERENCED


def test_a_walk_that_takes_too_long_says_that_it_is_cut(transport: CountingTransport) -> None:
    with NodeClient(["http://node"], transport=transport) as client:
        found = RemoteReader(client, walk_s=-1).around(None, 100)
        address = RemoteReader(client, walk_s=-1).address(ALICE.address, 100)
    assert found is not None
    assert (found.blocks, found.complete) == ((), False)
    assert (address.unspent, address.complete) == ((), False)


def test_a_node_that_does_not_answer_is_unavailable(
    rest: RemoteReader, transport: CountingTransport
) -> None:
    assert rest.network().latest_index
    transport.dead = True
    for ask in (rest.network, lambda: rest.block(NOWHERE), lambda: rest.around(None, 5)):
        with pytest.raises(LedgerUnavailableError):
            ask()
