"""Any mix of honest and conflicting spends, in any order, against a slow ledger of its own."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger_client.ledger import TransferStatus, UnspentOutput
from ledger_client.localnode import ConflictReason, NodeSettings
from ledger_client.localnode.errors import (
    BelowMaxDepthError,
    MilestoneUnsignedError,
    UnknownParentError,
)
from ledger_client.localnode.signing import KeyedSigner, MilestoneSigner
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import network_id
from ledger_client.stardust.milestone import Milestone, MilestoneEssence, MilestoneSignature
from ledger_client.stardust.output import (
    AddressUnlockCondition,
    BasicOutput,
    ExpirationUnlockCondition,
    StorageDepositReturnUnlockCondition,
    TimelockUnlockCondition,
)
from ledger_client.stardust.transaction import (
    Essence,
    ReferenceUnlock,
    Transaction,
    Unlock,
    inputs_commitment,
    output_id,
)
from ledger_client.wallet import OwnerKey
from tests.conftest import LONG
from tests.ledger_client.tangle_kit import (
    MILESTONE_KEYS,
    NETWORK,
    OWNERS,
    SUPPLY,
    TREASURY,
    Net,
    sign,
)
from tests.ledger_client.white_flag_oracle import GENESIS, Coin, Payment, SlowLedger

BY_ADDRESS = {owner.address: owner for owner in OWNERS}
owners = st.sampled_from(OWNERS)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A block that waits to be attached, as the ledger and as the oracle see it."""

    data: bytes
    parents: tuple[bytes, ...]
    payment: Payment


class FickleSigner(MilestoneSigner):
    """Signs, or is away."""

    away = False

    def sign(self, essence: MilestoneEssence) -> tuple[MilestoneSignature, ...]:
        return () if self.away else KeyedSigner(MILESTONE_KEYS).sign(essence)


class FickleNet(Net):
    """A network whose signers may be away."""

    def __init__(self) -> None:
        self.signer = FickleSigner()
        super().__init__()

    def settings(self) -> NodeSettings:
        made = super().settings()
        return NodeSettings(NETWORK, "wl", made.genesis, made.pinned, self.signer)


def as_output(coin: Coin) -> BasicOutput:
    """Write a coin as the ledger does."""
    parts = [
        AddressUnlockCondition(coin.owner),
        StorageDepositReturnUnlockCondition(coin.creditor, coin.owes) if coin.owes else None,
        TimelockUnlockCondition(coin.opens_at) if coin.opens_at else None,
        ExpirationUnlockCondition(coin.reverts_to, coin.expires_at) if coin.reverts_to else None,
    ]
    return BasicOutput(coin.units, tuple(part for part in parts if part))


class Spending(RuleBasedStateMachine):
    """Spends any coin ever made (spent, pending or free), on blocks attached anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.net = FickleNet()
        genesis = Coin(SUPPLY, TREASURY.address)
        self.slow = SlowLedger({bytes(34): genesis})
        self.coins = {bytes(34): genesis}
        self.sent: list[Transaction] = []
        self.pool: dict[bytes, Prepared] = {}
        self.recent: list[bytes] = [GENESIS]
        self.confirmed = 0
        self._follow()

    @rule(data=st.data(), count=st.integers(1, 2), parts=st.integers(1, 3))
    def prepare(self, data: st.DataObject, count: int, parts: int) -> None:
        """Write a payment of coins that may be anything by now, and put it in a block."""
        pick = st.lists(st.sampled_from(list(self.coins)), min_size=1, max_size=count, unique=True)
        inputs = tuple(data.draw(pick))
        held = sum(self.coins[item].units for item in inputs)
        if not 80 * parts <= held <= SUPPLY:
            return
        off = data.draw(st.sampled_from([0] * 8 + [-1]))
        units = [held // parts] * (parts - 1) + [held - held // parts * (parts - 1) + off]
        made = [self._coin(data, amount) for amount in units]
        signers = [data.draw(self._signer(self.coins[item])) for item in inputs]
        self._put(data, *self._transaction(inputs, signers, made))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def prepare_again(self, data: st.DataObject) -> None:
        """Put the payment of another block into one more."""
        prepared = data.draw(st.sampled_from(sorted(self.pool.values(), key=lambda p: p.data)))
        payload = Block.decode(prepared.data).payload
        assert isinstance(payload, Transaction)
        self._put(data, payload, prepared.payment)

    @precondition(lambda self: self.pool)
    @rule(data=st.data())
    def attach(self, data: st.DataObject) -> None:
        """Attach some blocks in one batch, in any order: parents may be missing or too old."""
        order = data.draw(st.lists(st.sampled_from(sorted(self.pool)), min_size=1, max_size=6))
        verdicts = self.net.node.attach_many([self.pool[item].data for item in order])
        for identifier, verdict in zip(order, verdicts, strict=True):
            prepared = self.pool[identifier]
            if self.slow.knows(identifier):
                assert verdict == identifier
            elif not all(map(self.slow.knows, prepared.parents)):
                assert isinstance(verdict, UnknownParentError)
            elif self.confirmed - min(map(self.slow.oldest_root, prepared.parents)) > 15:
                assert isinstance(verdict, BelowMaxDepthError)
            else:
                assert verdict == identifier
                self.slow.attach(identifier, prepared.parents, prepared.payment)

    @rule(seconds=st.integers(-30, 60))
    def wait(self, seconds: int) -> None:
        self.net.now += seconds

    @rule(away=st.sampled_from([False, False, False, True]))
    def confirm(self, *, away: bool) -> None:
        """Issue a milestone, or leave it drafted."""
        self.net.signer.away = away
        try:
            self.net.node.issue_milestone()
        except MilestoneUnsignedError:
            assert away
        self._follow()

    def _coin(self, data: st.DataObject, units: int) -> Coin:
        owner, other = data.draw(owners), data.draw(owners)
        kind = data.draw(st.sampled_from(["plain"] * 4 + ["lock", "expire", "return", "both"]))
        if kind == "plain":
            return Coin(units, owner.address)
        at = self.net.now + data.draw(st.integers(-40, 80))
        if kind == "lock":
            return Coin(units, owner.address, opens_at=at)
        owes = data.draw(st.integers(34, 60)) if kind in ("return", "both") else 0
        creditor = data.draw(owners).address if owes else b""
        if kind == "return":
            return Coin(units, owner.address, owes=owes, creditor=creditor)
        return Coin(
            units,
            owner.address,
            expires_at=at,
            reverts_to=other.address,
            owes=owes,
            creditor=creditor,
        )

    def _signer(self, coin: Coin) -> st.SearchStrategy[bytes]:
        """Mostly who may spend the coin as of now, at times who may not."""
        right = coin.unlocker(self.net.now)
        return st.sampled_from([right] * 6 + [coin.owner, TREASURY.address])

    def _transaction(
        self, inputs: tuple[bytes, ...], signers: list[bytes], made: list[Coin]
    ) -> tuple[Transaction, Payment]:
        essence = Essence(
            network_id(NETWORK),
            inputs,
            inputs_commitment(as_output(self.coins[item]).encode() for item in inputs),
            tuple(map(as_output, made)),
        )
        unlocks: list[Unlock] = []
        for position, signer in enumerate(signers):
            first = signers.index(signer)
            again = first < position
            fresh = sign(essence, BY_ADDRESS[signer])
            unlocks += [ReferenceUnlock(first)] if again else fresh
        written = Transaction(essence, tuple(unlocks))
        makes = [(output_id(written.id(), n), coin) for n, coin in enumerate(made)]
        self.coins |= dict(makes)
        self.sent.append(written)
        return written, Payment(inputs, tuple(signers), tuple(makes))

    def _put(self, data: st.DataObject, written: Transaction, payment: Payment) -> None:
        recent = st.sampled_from(self.recent[-12:])
        parents = tuple(sorted(data.draw(st.sets(recent, min_size=1, max_size=4))))
        block = Block(parents, written)
        self.pool[block.id()] = Prepared(block.encode(), parents, payment)
        self.recent.append(block.id())

    def _follow(self) -> None:
        """Let the slow ledger do what the ledger's new blocks and milestones say."""
        store = self.net.node.store
        for identifier, data in ((row.block_id, row.data) for row in store.each_block()):
            if not self.slow.knows(identifier):
                block = Block.decode(data)
                # The node's own: milestones, and blocks that join tips.
                assert block.payload is None or isinstance(block.payload, Milestone)
                self.slow.attach(identifier, block.parents)
                self.recent.append(identifier)
        for index in range(self.confirmed + 1, store.count("milestones") + 1):
            self._compare(index)
            self.confirmed = index

    def _compare(self, index: int) -> None:
        store = self.net.node.store
        row = store.milestone_at(index)
        assert row is not None
        essence = Milestone.decode(row.payload).essence
        outcome = self.slow.milestone(index, essence.timestamp, essence.parents)
        assert list(outcome.order) == store.referenced_ids(index, applied_only=False)
        assert list(outcome.applied) == store.referenced_ids(index, applied_only=True)
        assert outcome.inclusion_root == essence.inclusion_root
        assert outcome.applied_root == essence.applied_root
        for identifier in outcome.order:
            block = store.block(identifier)
            assert block is not None
            applied = identifier in outcome.applied
            assert (block.conflict == ConflictReason.NONE) == applied
            assert (block.conflict is None) == (identifier not in self.slow.payments)

    @invariant()
    def the_supply_stays_whole(self) -> None:
        assert self.net.node.stats().supply_units == SUPPLY
        assert sum(coin.units for coin in self.slow.unspent.values()) == SUPPLY

    def teardown(self) -> None:
        for _ in range(2):  # the first may have been drafted long ago
            self.confirm(away=False)
        for owner in OWNERS:
            self._check_owner(owner)
        for sent in self.sent:
            applied = self.net.node.store.output(output_id(sent.id(), 0)) is not None
            status = self.net.ledger.status(sent.id())
            assert (status is TransferStatus.CONFIRMED) == applied
            assert status is not TransferStatus.PENDING
        before = self.net.node.store.ledger_rows()
        self.net.node.rebuild()
        assert self.net.node.store.ledger_rows() == before
        self.net.node.close()

    def _check_owner(self, owner: OwnerKey) -> None:
        free = {
            UnspentOutput(item, as_output(coin).encode(), coin.units)
            for item, coin in self.slow.unspent.items()
            if coin.owner == owner.address and coin.is_plain
        }
        assert set(self.net.ledger.balance(owner.address).outputs) == free


TestSpending = Spending.TestCase
TestSpending.settings = settings(
    max_examples=2_000 if LONG else 60, stateful_step_count=50 if LONG else 30
)
