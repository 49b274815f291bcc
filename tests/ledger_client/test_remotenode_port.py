"""The port's own tests once more: over REST, against the embedded node's server and its process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from ledger_client.ledger import InclusionProof, Ledger, LedgerRefusedError, TransferStatus
from ledger_client.localnode import LocalNode
from ledger_client.localnode.http import create_node_app
from ledger_client.remotenode import NodeClient, RestLedger
from ledger_client.stardust.block import Block
from ledger_client.stardust.transaction import TaggedData
from ledger_client.verify import check_milestone, load_keys
from ledger_client.wallet import (
    OwnerKey,
    SignedTransaction,
    TransferInput,
    Wallet,
    build_transfer,
    select,
)
from tests.ledger_client import test_ledger_port as port
from tests.ledger_client.fake_stardust import Pieces
from tests.ledger_client.node_process import NodeProcess, running_node
from tests.ledger_client.tangle_kit import NETWORK, Net

ANSWER_S = 60.0
"""Far more than a milestone takes on a busy machine."""


class AppTransport(httpx.BaseTransport):
    """The embedded node's server without a network."""

    def __init__(self, node: LocalNode) -> None:
        self._app = httpx.ASGITransport(create_node_app(node, now=lambda: 0.0))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._handle(request))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        told = await self._app.handle_async_request(request)
        content = await told.aread()
        return httpx.Response(told.status_code, headers=told.headers, stream=Pieces(content))


class OnDemand(RestLedger):
    """Has a milestone issued when somebody asks for the fate of what is pending."""

    def __init__(self, node: LocalNode) -> None:
        client = NodeClient(["http://127.0.0.1:14265"], transport=AppTransport(node))
        super().__init__(client, network=NETWORK, hrp="wl")
        self._node = node

    def status(self, identifier: bytes) -> TransferStatus:
        found = super().status(identifier)
        if found is TransferStatus.PENDING:
            self._node.issue_milestone()
            return super().status(identifier)
        return found

    def inclusion_proof(self, identifier: bytes) -> InclusionProof | None:
        self.status(identifier)
        return super().inclusion_proof(identifier)


class RestNet(Net):
    """A network whose port goes over REST; what the tests look at inside stays at hand."""

    def __init__(self, path: str | Path = ":memory:") -> None:
        super().__init__(path)
        self.ledger: Ledger = OnDemand(self.node)


@pytest.fixture(autouse=True)
def over_rest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "Net", RestNet)


class TestTransfersOverRest(port.TestTransfers):
    """All that is asked of transfers."""


class TestAnchorsOverRest(port.TestAnchors):
    """All that is asked of anchors."""


def test_an_unknown_id_over_rest() -> None:
    port.test_an_unknown_id_has_neither_fate_nor_proof()


def test_a_balance_over_rest() -> None:
    port.test_a_balance_lists_its_outputs_by_id()


# A process --------------------------------------------------------------------------------------

_Found = TypeVar("_Found")


def eventually(look: Callable[[], _Found | None]) -> _Found:
    """Ask until there is an answer: milestones come with the clock."""
    deadline = time.monotonic() + ANSWER_S
    while (found := look()) is None:
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.05)
    return found


class Distant:
    """A node process, the port over it, and its treasury."""

    def __init__(self, node: NodeProcess) -> None:
        assert node.treasury_seed is not None
        self.wallet = Wallet(node.treasury_seed)
        self.treasury = self.wallet.key(0)
        self.node = node
        self.client = NodeClient([node.url])
        self.ledger = RestLedger(self.client, network=node.network, hrp=node.hrp)
        self.pinned = load_keys(node.keys_file.read_bytes()).milestones

    def pay(self, receiver: OwnerKey, units: int) -> SignedTransaction:
        """Build a payment of the treasury's confirmed outputs."""
        chosen = select(self.ledger.balance(self.treasury.address).outputs, units)
        rest = sum(item.units for item in chosen) - units
        outputs = [(receiver.address, units), (self.treasury.address, rest)]
        inputs = [TransferInput(item, self.treasury) for item in chosen]
        return build_transfer(self.node.network, inputs, outputs)

    def fate(self, transaction_id: bytes) -> TransferStatus:
        """Wait for a final status."""
        return eventually(lambda: self._final(transaction_id))

    def _final(self, transaction_id: bytes) -> TransferStatus | None:
        found = self.ledger.status(transaction_id)
        assert found is not TransferStatus.UNKNOWN
        return None if found is TransferStatus.PENDING else found

    def proof(self, identifier: bytes) -> InclusionProof:
        """Wait for a proof and check it by the pinned keys."""
        found = eventually(lambda: self.ledger.inclusion_proof(identifier))
        milestone = check_milestone(found.milestone, self.pinned)
        root, block = port.fold_path(found.path)
        roots = {"inclusion": milestone.inclusion_root, "applied": milestone.applied_root}
        assert roots[found.root] == root
        assert Block.decode(found.block).id() == block
        return found


@pytest.fixture(scope="module")
def distant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distant]:
    with running_node(tmp_path_factory.mktemp("node")) as node:
        yield Distant(node)


def test_payments_to_a_process(distant: Distant) -> None:
    ledger, receiver = distant.ledger, distant.wallet.key(1)
    first, second = (distant.pay(receiver, units) for units in (1_000, 2_000))
    for signed in (first, second, first, second):
        assert ledger.transfer(signed.payload) == signed.transaction_id
    fates = {distant.fate(signed.transaction_id): signed for signed in (first, second)}
    assert set(fates) == {TransferStatus.CONFIRMED, TransferStatus.CONFLICTING}
    applied = fates[TransferStatus.CONFIRMED]
    assert distant.proof(applied.transaction_id).root == "applied"
    assert ledger.inclusion_proof(fates[TransferStatus.CONFLICTING].transaction_id) is None
    assert ledger.balance(receiver.address).units in {1_000, 2_000}
    ledger.transfer(applied.payload)
    assert distant.fate(applied.transaction_id) is TransferStatus.CONFIRMED


def test_many_payments_in_a_row_have_a_proof_each(distant: Distant) -> None:
    signed = []
    for account in range(2, 5):
        signed.append(distant.pay(distant.wallet.key(account), 500))
        distant.ledger.transfer(signed[-1].payload)
        assert distant.fate(signed[-1].transaction_id) is TransferStatus.CONFIRMED
    for item in signed:
        payload = Block.decode(distant.proof(item.transaction_id).block).payload
        assert payload is not None
        assert payload.encode() == item.payload


def test_anchors_on_a_process(distant: Distant) -> None:
    anchors = [distant.ledger.anchor(b"tag", bytes([n])) for n in range(9)]
    assert [distant.ledger.anchor(b"tag", bytes([n])) for n in range(9)] == anchors
    for number, identifier in enumerate(anchors):
        proof = distant.proof(identifier)
        assert proof.root == "inclusion"
        assert Block.decode(proof.block).payload == TaggedData(b"tag", bytes([number]))
        assert distant.ledger.status(identifier) is TransferStatus.CONFIRMED


def test_what_a_process_refuses(distant: Distant) -> None:
    with pytest.raises(LedgerRefusedError, match="refuses the block"):
        distant.client.submit(b"nonsense")
    output = distant.ledger.balance(distant.treasury.address).outputs[0]
    inputs = [TransferInput(output, distant.treasury)]
    foreign = build_transfer("elsewhere", inputs, [(bytes(32), output.units)])
    with pytest.raises(LedgerRefusedError, match="another network"):
        distant.ledger.transfer(foreign.payload)


def test_a_process_that_ends_and_comes_back(distant: Distant) -> None:
    """The last one: it stops the node that the others share."""
    receiver = distant.wallet.key(9)
    anchored = distant.ledger.anchor(b"tag", b"the last")
    signed = distant.pay(receiver, 1_000)
    distant.ledger.transfer(signed.payload)
    distant.node.stop()
    with pytest.raises(port.LedgerUnavailableError, match=distant.node.url):
        distant.ledger.status(anchored)
    with running_node(distant.node.folder) as node:
        again = Distant(node)
        again.ledger.transfer(signed.payload)
        assert again.fate(signed.transaction_id) is TransferStatus.CONFIRMED
        assert Block.decode(again.proof(anchored).block).id() == anchored
        assert again.ledger.balance(receiver.address).units == 1_000
