"""Payments that should not take effect, sent over REST: each with the reason that it gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import pytest

from ledger_client.ledger import UnspentOutput
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
from tests.ledger_client.node_rest import CORE, INDEXER, Rest, assert_error, block_path
from tests.ledger_client.tangle_kit import (
    ALICE,
    BOB,
    CAROL,
    NETWORK,
    SUPPLY,
    TREASURY,
    Net,
    sign,
    transaction,
)

Attack: TypeAlias = Callable[[Net], Transaction]
UNITS = 1_000


def _to(owner: bytes, units: int, *conditions: UnlockCondition) -> BasicOutput:
    return BasicOutput(units, (AddressUnlockCondition(owner), *conditions))


def _made(net: Net, *conditions: UnlockCondition) -> UnspentOutput:
    return net.make(_to(ALICE.address, UNITS, *conditions))


def _all_to_bob(*consumed: UnspentOutput) -> list[BasicOutput]:
    return [BasicOutput.to(BOB.address, sum(item.units for item in consumed))]


def _essence(consumed: Sequence[UnspentOutput], outputs: Sequence[BasicOutput]) -> Essence:
    ids = tuple(item.output_id for item in consumed)
    commitment = inputs_commitment(item.output_bytes for item in consumed)
    return Essence(network_id(NETWORK), ids, commitment, tuple(outputs))


def _spent(net: Net) -> Transaction:
    made = _made(net)
    net.conflict(transaction([made], [BasicOutput.to(CAROL.address, UNITS)], [ALICE]))
    return transaction([made], _all_to_bob(made), [ALICE])


def _spent_here(net: Net) -> Transaction:
    made = _made(net)
    net.node.submit(transaction([made], [BasicOutput.to(CAROL.address, UNITS)], [ALICE]))
    return transaction([made], _all_to_bob(made), [ALICE])


def _not_found(net: Net) -> Transaction:
    ghost = UnspentOutput(bytes(31) + b"\x01\x07\x00", _made(net).output_bytes, UNITS)
    return transaction([ghost], _all_to_bob(ghost), [ALICE])


def _of_a_conflict(net: Net) -> Transaction:
    """Of a payment that conflicts itself nothing can be spent."""
    loser = _spent(net)
    net.node.submit(loser)
    ghost = UnspentOutput(output_id(loser.id(), 0), loser.essence.outputs[0].encode(), UNITS)
    return transaction([ghost], [BasicOutput.to(ALICE.address, UNITS)], [BOB])


def _sum(units: int) -> Attack:
    def attack(net: Net) -> Transaction:
        return transaction([_made(net)], [BasicOutput.to(BOB.address, units)], [ALICE])

    return attack


def _thief(net: Net) -> Transaction:
    made = _made(net)
    return transaction([made], _all_to_bob(made), [BOB])


def _locked(net: Net) -> Transaction:
    """A second too early: the milestone that decides has the time before the lock's end."""
    made = _made(net, TimelockUnlockCondition(net.now + 100))
    net.now += 99
    return transaction([made], _all_to_bob(made), [ALICE])


def _deposit_kept(net: Net) -> Transaction:
    made = _made(net, StorageDepositReturnUnlockCondition(CAROL.address, 400))
    back = [BasicOutput.to(CAROL.address, 399), BasicOutput.to(BOB.address, 601)]
    return transaction([made], back, [ALICE])


def _deposit_once_for_two(net: Net) -> Transaction:
    made = [_made(net, StorageDepositReturnUnlockCondition(CAROL.address, 400)) for _ in "ab"]
    back = [BasicOutput.to(CAROL.address, 400), BasicOutput.to(BOB.address, 1_600)]
    essence = _essence(made, back)
    return Transaction(essence, (*sign(essence, ALICE), ReferenceUnlock(0)))


def _deposit_locked_away(net: Net) -> Transaction:
    made = _made(net, StorageDepositReturnUnlockCondition(CAROL.address, 400))
    locked = _to(CAROL.address, 400, TimelockUnlockCondition(2**32 - 1))
    return transaction([made], [locked, BasicOutput.to(BOB.address, 600)], [ALICE])


def _deposit_with_a_letter(net: Net) -> Transaction:
    made = _made(net, StorageDepositReturnUnlockCondition(CAROL.address, 400))
    marked = replace(BasicOutput.to(CAROL.address, 400), features=(SenderFeature(ALICE.address),))
    return transaction([made], [marked, BasicOutput.to(BOB.address, 600)], [ALICE])


def _expired(net: Net) -> Transaction:
    """In the very second of its expiration an output is the return address's."""
    made = _made(net, ExpirationUnlockCondition(CAROL.address, net.now + 100))
    net.now += 100
    return transaction([made], _all_to_bob(made), [ALICE])


def _not_expired(net: Net) -> Transaction:
    made = _made(net, ExpirationUnlockCondition(CAROL.address, net.now + 100))
    net.now += 99
    return transaction([made], _all_to_bob(made), [CAROL])


def _refers_to_another(net: Net) -> Transaction:
    first, second = _made(net), _made(net)
    consumed = [first, net.make(BasicOutput.to(BOB.address, UNITS)), second]
    body = _essence(consumed, _all_to_bob(*consumed))
    return Transaction(body, (*sign(body, ALICE, BOB), ReferenceUnlock(1)))


def _other_commitment(net: Net) -> Transaction:
    made = _made(net)
    other = inputs_commitment([net.output(TREASURY).output_bytes])
    essence = replace(_essence([made], _all_to_bob(made)), commitment=other)
    return Transaction(essence, sign(essence, ALICE))


def _in_anothers_name(net: Net) -> Transaction:
    made = _made(net)
    letter = replace(BasicOutput.to(BOB.address, UNITS), features=(SenderFeature(CAROL.address),))
    return transaction([made], [letter], [ALICE])


R = ConflictReason
ATTACKS: dict[str, tuple[Attack, ConflictReason]] = {
    "spent before": (_spent, R.SPENT),
    "spent in this milestone": (_spent_here, R.SPENT_IN_MILESTONE),
    "an output that is not there": (_not_found, R.NOT_FOUND),
    "an output of a payment that conflicts": (_of_a_conflict, R.NOT_FOUND),
    "more comes out": (_sum(UNITS + 1), R.SUM_MISMATCH),
    "less comes out": (_sum(UNITS - 1), R.SUM_MISMATCH),
    "somebody else's key": (_thief, R.INVALID_SIGNATURE),
    "a second before the lock opens": (_locked, R.TIMELOCK),
    "the receiver in the second of the expiration": (_expired, R.INVALID_SIGNATURE),
    "the sender a second before it": (_not_expired, R.INVALID_SIGNATURE),
    "a deposit that is kept in part": (_deposit_kept, R.RETURN_AMOUNT),
    "one return for two deposits": (_deposit_once_for_two, R.RETURN_AMOUNT),
    "a deposit returned under a lock": (_deposit_locked_away, R.RETURN_AMOUNT),
    "a deposit returned with a feature": (_deposit_with_a_letter, R.RETURN_AMOUNT),
    "a reference to another's signature": (_refers_to_another, R.INVALID_UNLOCK),
    "a commitment to other outputs": (_other_commitment, R.INPUTS_COMMITMENT),
    "a letter in another's name": (_in_anothers_name, R.SENDER),
}


def _send(rest: Rest, payment: Transaction) -> bytes:
    block = Block(rest.net.node.tips(), payment)
    answer = rest.post(block.encode())
    assert answer.status_code == 201, answer.text
    return block.id()


@pytest.mark.parametrize("case", ATTACKS)
def test_each_attack_is_ignored_with_its_reason(case: str) -> None:
    rest = Rest()
    attack, reason = ATTACKS[case]
    payment = attack(rest.net)
    block_id = _send(rest, payment)
    rest.net.node.issue_milestone()
    found = rest.get(block_path(block_id, "/metadata"))
    assert (found["ledgerInclusionState"], found["conflictReason"]) == ("conflicting", reason)
    rest.get(f"{CORE}/transactions/0x{payment.id().hex()}/included-block", 404)
    made = f"{CORE}/outputs/0x{output_id(payment.id(), 0).hex()}"
    rest.get(made, 404)
    rest.net.node.check_supply()


SECONDS = {
    "the lock opens": (TimelockUnlockCondition, ALICE),
    "the return address's": (lambda at: ExpirationUnlockCondition(CAROL.address, at), CAROL),
}


@pytest.mark.parametrize("case", SECONDS)
def test_in_that_very_second_it_is_right(case: str) -> None:
    rest = Rest()
    condition, owner = SECONDS[case]
    made = _made(rest.net, condition(rest.net.now + 100))
    rest.net.now += 100
    block_id = _send(rest, transaction([made], _all_to_bob(made), [owner]))
    milestone = rest.net.node.issue_milestone()
    assert milestone.essence.timestamp == rest.net.now
    state = rest.get(block_path(block_id, "/metadata"))["ledgerInclusionState"]
    assert state == "included"


def test_128_inputs_and_outputs_of_one_owner() -> None:
    rest = Rest()
    source = rest.net.output(TREASURY)
    many = [BasicOutput.to(ALICE.address, UNITS)] * 127
    rest_of_it = BasicOutput.to(ALICE.address, SUPPLY - 127 * UNITS)
    block_id = _send(rest, transaction([source], [*many, rest_of_it], [TREASURY]))
    rest.net.node.issue_milestone()
    assert rest.get(block_path(block_id, "/metadata"))["ledgerInclusionState"] == "included"
    consumed = rest.net.ledger.balance(ALICE.address).outputs
    assert len(consumed) == 128
    essence = _essence(consumed, _all_to_bob(*consumed))
    unlocks = (*sign(essence, ALICE), *[ReferenceUnlock(0)] * 127)
    block_id = _send(rest, Transaction(essence, unlocks))
    rest.net.node.issue_milestone()
    assert rest.get(block_path(block_id, "/metadata"))["ledgerInclusionState"] == "included"
    assert len(rest.get(f"{INDEXER}/outputs/basic")["items"]) == 1
    assert rest.net.units(BOB) == SUPPLY


def test_129_are_refused_at_the_door() -> None:
    """Written by hand: our own types do not hold so many."""
    rest = Rest()
    source = rest.net.output(TREASURY)
    payment = transaction([source], [BasicOutput.to(ALICE.address, SUPPLY)], [TREASURY])
    data = Block(rest.net.node.tips(), payment).encode()
    output = payment.essence.outputs[0].encode()
    crowded = data.replace(b"\x01\x00" + output, b"\x81\x00" + output * 129)
    longer = len(crowded) - len(data)
    at = 2 + 32 * data[1]
    length = int.from_bytes(data[at : at + 4], "little") + longer
    before = rest.state()
    answer = rest.post(crowded[:at] + length.to_bytes(4, "little") + crowded[at + 4 :])
    assert "must be 1 to 128" in assert_error(answer, 400)
    assert rest.state() == before
