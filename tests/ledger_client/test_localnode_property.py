"""Any mix of honest and conflicting spends, in any order, against a slow ledger in a dict."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger_client.ledger import TransferStatus, UnspentOutput
from ledger_client.localnode import ConflictReason
from ledger_client.stardust.block import Block
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import Transaction, output_id
from ledger_client.wallet import OwnerKey
from tests.ledger_client.tangle_kit import OWNERS, SUPPLY, TREASURY, Net, transaction

owners = st.sampled_from(OWNERS)


class SlowLedger:
    """Unspent outputs as a dict; applies a block in order, or not at all."""

    def __init__(self) -> None:
        genesis = BasicOutput.to(TREASURY.address, SUPPLY)
        self.unspent = {bytes(34): genesis}

    def apply(self, block: Block) -> bool:
        payload = block.payload
        if not isinstance(payload, Transaction):
            return False
        inputs, outputs = payload.essence.inputs, payload.essence.outputs
        if any(item not in self.unspent for item in inputs):
            return False
        if sum(self.unspent[i].units for i in inputs) != sum(o.units for o in outputs):
            return False
        for item in inputs:
            del self.unspent[item]
        for index, output in enumerate(outputs):
            self.unspent[output_id(payload.id(), index)] = output
        return True


class Spending(RuleBasedStateMachine):
    """Spends any output ever made (spent, pending or free), attached anywhere in the Tangle."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()
        self.slow = SlowLedger()
        genesis = self.net.output(TREASURY)
        self.made = [(genesis, TREASURY)]
        self.sent: list[Transaction] = []
        self.blocks = [self.net.node.latest_milestone().block_id]
        self.confirmed = 1

    @rule(
        data=st.data(),
        receiver=owners,
        parts=st.integers(1, 3),
        off=st.sampled_from([0] * 6 + [-1]),
    )
    def spend(self, data: st.DataObject, receiver: OwnerKey, parts: int, off: int) -> None:
        held, owner = data.draw(st.sampled_from(self.made))
        if held.units < 34 * parts + 1:
            return
        share = held.units // parts
        amounts = [share] * (parts - 1) + [held.units - share * (parts - 1) + off]
        outputs = [BasicOutput.to(receiver.address, units) for units in amounts]
        spending = transaction([held], outputs, [owner])
        self._attach(data, Block(self._parents(data), spending))
        self.sent.append(spending)
        for index, output in enumerate(outputs):
            made = UnspentOutput(output_id(spending.id(), index), output.encode(), output.units)
            self.made.append((made, receiver))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        again = data.draw(st.sampled_from(self.sent))
        if data.draw(st.booleans()):
            self.net.ledger.transfer(again.encode())
        else:
            self._attach(data, Block(self._parents(data), again))

    @rule()
    def confirm(self) -> None:
        self.net.node.issue_milestone()
        self.confirmed += 1
        for identifier in self.net.node.store.referenced_ids(self.confirmed, applied_only=False):
            row = self.net.node.store.block(identifier)
            applied = self.slow.apply(Block.decode(row.data))
            assert applied == (row.conflict == ConflictReason.NONE)

    def _parents(self, data: st.DataObject) -> tuple[bytes, ...]:
        recent = st.sampled_from(self.blocks[-12:])
        return tuple(sorted(data.draw(st.sets(recent, min_size=1, max_size=4))))

    def _attach(self, data: st.DataObject, block: Block) -> None:
        for parent in block.parents:
            row = self.net.node.store.block(parent)
            old = row.milestone_index is not None and self.confirmed - row.milestone_index > 10
            if old:
                return
        self.blocks.append(self.net.node.attach(block.encode()))

    @invariant()
    def the_supply_stays_whole(self) -> None:
        assert self.net.node.stats().supply_units == SUPPLY
        assert sum(self.net.units(owner) for owner in OWNERS) == SUPPLY

    def teardown(self) -> None:
        self.confirm()
        for owner in OWNERS:
            balance = self.net.ledger.balance(owner.address)
            own = {i: o.units for i, o in self.slow.unspent.items() if o.address == owner.address}
            assert {item.output_id: item.units for item in balance.outputs} == own
        for sent in self.sent:
            applied = self.net.node.store.output(output_id(sent.id(), 0)) is not None
            status = self.net.ledger.status(sent.id())
            assert (status is TransferStatus.CONFIRMED) == applied
            assert status is not TransferStatus.PENDING
        before = self.net.node.store.ledger_rows()
        self.net.node.rebuild()
        assert self.net.node.store.ledger_rows() == before
        self.net.node.close()


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=40, stateful_step_count=25)
