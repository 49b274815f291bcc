"""How conflicts end: every reason for which a milestone ignores a transaction."""

from __future__ import annotations

import pytest

from ledger_client.localnode import ConflictReason
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import network_id
from ledger_client.stardust.output import (
    AddressUnlockCondition,
    BasicOutput,
    ExpirationUnlockCondition,
    SenderFeature,
    StorageDepositReturnUnlockCondition,
    TimelockUnlockCondition,
    UnlockCondition,
)
from ledger_client.stardust.transaction import (
    Essence,
    ReferenceUnlock,
    Transaction,
    inputs_commitment,
    output_id,
)
from ledger_client.wallet import OwnerKey
from tests.ledger_client.tangle_kit import (
    ALICE,
    BOB,
    CAROL,
    NETWORK,
    START,
    SUPPLY,
    TREASURY,
    Net,
    sign,
    transaction,
)


def plain(owner: OwnerKey, units: int) -> BasicOutput:
    return BasicOutput.to(owner.address, units)


def locked(owner: OwnerKey, units: int, *conditions: UnlockCondition) -> BasicOutput:
    return BasicOutput(units, (AddressUnlockCondition(owner.address), *conditions))


class TestConflicts:
    def _essence(self, net: Net, units: int = SUPPLY, commitment: bytes | None = None) -> Essence:
        source = net.output(TREASURY)
        right = inputs_commitment([source.output_bytes])
        inputs = (source.output_id,)
        return Essence(network_id(NETWORK), inputs, commitment or right, (plain(ALICE, units),))

    def test_an_output_is_spent_once(self) -> None:
        net = Net()
        source = net.output(TREASURY)
        first = transaction([source], [plain(ALICE, SUPPLY)], [TREASURY])
        second = transaction([source], [plain(BOB, SUPPLY)], [TREASURY])
        third = transaction([source], [plain(CAROL, SUPPLY)], [TREASURY])
        blocks = [net.node.submit(item) for item in (first, second)]
        net.node.issue_milestone()
        conflicts = [net.node.store.block(block).conflict for block in blocks]
        assert conflicts == [ConflictReason.NONE, ConflictReason.SPENT_IN_MILESTONE]
        assert net.conflict(third) == ConflictReason.SPENT
        assert (net.units(ALICE), net.units(BOB), net.units(CAROL)) == (SUPPLY, 0, 0)

    def test_white_flag_order_and_not_arrival_decides(self) -> None:
        net = Net()
        source = net.output(TREASURY)
        rivals = [transaction([source], [plain(k, SUPPLY)], [TREASURY]) for k in (ALICE, BOB)]
        tip = net.node.tips()
        blocks = [Block(tip, rival) for rival in rivals]
        arrival = sorted(blocks, key=lambda block: block.id(), reverse=True)
        for block in arrival:
            net.node.attach(block.encode())
        net.node.issue_milestone()
        winner = min(blocks, key=lambda block: block.id())  # parents are sorted by id
        assert net.node.store.block(winner.id()).conflict == ConflictReason.NONE

    def test_an_output_can_be_spent_in_the_milestone_that_makes_it(self) -> None:
        net = Net()
        first = transaction([net.output(TREASURY)], [plain(ALICE, SUPPLY)], [TREASURY])
        made = net.output(TREASURY)
        net.node.submit(first)
        chained = type(made)(output_id(first.id(), 0), plain(ALICE, SUPPLY).encode(), SUPPLY)
        assert net.conflict(transaction([chained], [plain(BOB, SUPPLY)], [ALICE])) == 0
        assert net.units(BOB) == SUPPLY

    def test_an_unknown_output(self) -> None:
        net = Net()
        ghost = type(net.output(TREASURY))(
            bytes(31) + b"\x01\x00\x00", plain(ALICE, 99).encode(), 99
        )
        candidate = transaction([ghost], [plain(BOB, 99)], [ALICE])
        assert net.conflict(candidate) == ConflictReason.NOT_FOUND

    def test_a_sum_that_does_not_match(self) -> None:
        net = Net()
        essence = self._essence(net, units=SUPPLY - 1)
        candidate = Transaction(essence, sign(essence, TREASURY))
        assert net.conflict(candidate) == ConflictReason.SUM_MISMATCH

    def test_a_key_that_does_not_own_the_input(self) -> None:
        net = Net()
        essence = self._essence(net)
        candidate = Transaction(essence, sign(essence, ALICE))
        assert net.conflict(candidate) == ConflictReason.INVALID_SIGNATURE

    def test_a_commitment_to_other_outputs(self) -> None:
        net = Net()
        essence = self._essence(net, commitment=bytes(32))
        candidate = Transaction(essence, sign(essence, TREASURY))
        assert net.conflict(candidate) == ConflictReason.INPUTS_COMMITMENT

    def test_a_reference_to_the_signature_of_another_owner(self) -> None:
        net = Net()
        net.fund((ALICE, 500), (BOB, 500))
        consumed = [net.output(ALICE), net.output(BOB)]
        sound = transaction(consumed, [plain(CAROL, 1000)], [ALICE, BOB])
        theft = Transaction(sound.essence, (sound.unlocks[0], ReferenceUnlock(0)))
        assert net.conflict(theft) == ConflictReason.INVALID_UNLOCK
        assert net.conflict(sound) == ConflictReason.NONE

    def test_a_later_input_refers_to_its_own_owners_signature(self) -> None:
        net = Net()
        net.fund((ALICE, 500), (BOB, 500))
        net.fund((ALICE, 500))
        first, third = net.ledger.balance(ALICE.address).outputs
        consumed = [first, net.output(BOB), third]
        essence = Essence(
            network_id(NETWORK),
            tuple(item.output_id for item in consumed),
            inputs_commitment(item.output_bytes for item in consumed),
            (plain(CAROL, 1500),),
        )
        signed = sign(essence, ALICE, BOB)
        other = Transaction(essence, (*signed, ReferenceUnlock(1)))
        assert net.conflict(other) == ConflictReason.INVALID_UNLOCK
        own = Transaction(essence, (*signed, ReferenceUnlock(0)))
        assert net.conflict(own) == ConflictReason.NONE

    @pytest.mark.parametrize(
        ("early", "expected"), [(1, ConflictReason.TIMELOCK), (0, ConflictReason.NONE)]
    )
    def test_a_timelock_opens_with_the_milestone_of_its_second(
        self, early: int, expected: ConflictReason
    ) -> None:
        net = Net()
        until = START + 1000
        held = net.make(locked(ALICE, 100, TimelockUnlockCondition(until)))
        net.now = until - early
        assert net.conflict(transaction([held], [plain(BOB, 100)], [ALICE])) == expected

    @pytest.mark.parametrize(
        ("late", "key", "expected"),
        [
            (-1, ALICE, ConflictReason.NONE),
            (-1, TREASURY, ConflictReason.INVALID_SIGNATURE),
            (0, ALICE, ConflictReason.INVALID_SIGNATURE),
            (0, TREASURY, ConflictReason.NONE),
        ],
        ids=["owner in time", "sender too early", "owner too late", "sender takes it back"],
    )
    def test_an_expiration_hands_the_output_back(
        self, late: int, key: OwnerKey, expected: ConflictReason
    ) -> None:
        net = Net()
        at = START + 1000
        held = net.make(locked(ALICE, 100, ExpirationUnlockCondition(TREASURY.address, at)))
        net.now = at + late
        assert net.conflict(transaction([held], [plain(BOB, 100)], [key])) == expected

    @pytest.mark.parametrize(
        ("outputs", "expected"),
        [
            ([plain(TREASURY, 60), plain(BOB, 40)], ConflictReason.NONE),
            ([plain(TREASURY, 59), plain(BOB, 41)], ConflictReason.RETURN_AMOUNT),
            ([plain(BOB, 100)], ConflictReason.RETURN_AMOUNT),
            (
                [locked(TREASURY, 60, TimelockUnlockCondition(9)), plain(BOB, 40)],
                ConflictReason.RETURN_AMOUNT,
            ),
        ],
        ids=["returned", "one short", "kept", "returned under a condition"],
    )
    def test_a_storage_deposit_is_returned(
        self, outputs: list[BasicOutput], expected: ConflictReason
    ) -> None:
        net = Net()
        condition = StorageDepositReturnUnlockCondition(TREASURY.address, 60)
        held = net.make(locked(ALICE, 100, condition))
        assert net.conflict(transaction([held], outputs, [ALICE])) == expected

    @pytest.mark.parametrize(
        ("creditor", "expected"),
        [(TREASURY, ConflictReason.NONE), (BOB, ConflictReason.RETURN_AMOUNT)],
        ids=["owes himself nothing", "still owes another"],
    )
    def test_who_takes_an_expired_output_back(
        self, creditor: OwnerKey, expected: ConflictReason
    ) -> None:
        net = Net()
        back = StorageDepositReturnUnlockCondition(creditor.address, 60)
        expiry = ExpirationUnlockCondition(TREASURY.address, START + 1000)
        held = net.make(locked(ALICE, 100, back, expiry))
        net.now = START + 1000
        taken = transaction([held], [plain(TREASURY, 100)], [TREASURY])
        assert net.conflict(taken) == expected

    def test_the_first_reason_is_the_one_that_counts(self) -> None:
        """Timelock, commitment, unlock, sender, sum, return: a transaction may break them all."""
        net = Net()
        until = START + 1000
        back = StorageDepositReturnUnlockCondition(TREASURY.address, 60)
        held = net.make(locked(ALICE, 100, back, TimelockUnlockCondition(until)))

        def broken(*, committed: bool, key: OwnerKey, sender: OwnerKey, units: int) -> Transaction:
            owner = (AddressUnlockCondition(CAROL.address),)
            data = [held.output_bytes] if committed else []
            essence = Essence(
                network_id(NETWORK),
                (held.output_id,),
                inputs_commitment(data),
                (BasicOutput(units, owner, (SenderFeature(sender.address),)),),
            )
            return Transaction(essence, sign(essence, key))

        worst = broken(committed=False, key=BOB, sender=CAROL, units=99)
        assert net.conflict(worst) == ConflictReason.TIMELOCK
        net.now = until
        ladder = [
            (worst, ConflictReason.INPUTS_COMMITMENT),
            (
                broken(committed=True, key=BOB, sender=CAROL, units=99),
                ConflictReason.INVALID_SIGNATURE,
            ),
            (broken(committed=True, key=ALICE, sender=CAROL, units=99), ConflictReason.SENDER),
            (
                broken(committed=True, key=ALICE, sender=ALICE, units=99),
                ConflictReason.SUM_MISMATCH,
            ),
            (
                broken(committed=True, key=ALICE, sender=ALICE, units=100),
                ConflictReason.RETURN_AMOUNT,
            ),
        ]
        assert [net.conflict(candidate) for candidate, _ in ladder] == [e for _, e in ladder]

    def test_returns_to_one_address_add_up(self) -> None:
        net = Net()
        condition = StorageDepositReturnUnlockCondition(TREASURY.address, 60)
        held = [net.make(locked(ALICE, units, condition)) for units in (100, 101)]
        essence = Essence(
            network_id(NETWORK),
            tuple(item.output_id for item in held),
            inputs_commitment(item.output_bytes for item in held),
            (plain(TREASURY, 60), plain(ALICE, 141)),
        )
        short = Transaction(essence, (*sign(essence, ALICE), ReferenceUnlock(0)))
        assert net.conflict(short) == ConflictReason.RETURN_AMOUNT

    @pytest.mark.parametrize(
        ("sender", "expected"), [(TREASURY, ConflictReason.NONE), (ALICE, ConflictReason.SENDER)]
    )
    def test_a_sender_must_have_signed(self, sender: OwnerKey, expected: ConflictReason) -> None:
        net = Net()
        owner = (AddressUnlockCondition(BOB.address),)
        vouched = BasicOutput(SUPPLY, owner, (SenderFeature(sender.address),))
        candidate = transaction([net.output(TREASURY)], [vouched], [TREASURY])
        assert net.conflict(candidate) == expected

    def test_an_output_under_a_condition_is_no_balance(self) -> None:
        net = Net()
        net.make(locked(ALICE, 100, TimelockUnlockCondition(START + 9)))
        assert net.units(ALICE) == 0
        assert len(net.node.store.unspent_of(ALICE.address)) == 1
