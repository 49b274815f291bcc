"""Validity of a transaction against the network's rules and the outputs it consumes; pure.

``check_syntax`` runs when a block is attached, ``find_conflict`` when a milestone confirms it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from ledger_client.stardust.codec import StardustSyntaxError, blake2b_256, require
from ledger_client.stardust.output import BasicOutput, Rent
from ledger_client.stardust.signature import is_valid_signature
from ledger_client.stardust.transaction import (
    SignatureUnlock,
    Transaction,
    inputs_commitment,
)


class ConflictReason(IntEnum):
    """Why a milestone ignored a transaction; the numbers are those of the node's REST API."""

    NONE = 0
    SPENT = 1
    SPENT_IN_MILESTONE = 2
    NOT_FOUND = 3
    SUM_MISMATCH = 4
    INVALID_SIGNATURE = 5
    TIMELOCK = 6
    NATIVE_TOKENS = 7
    RETURN_AMOUNT = 8
    INVALID_UNLOCK = 9
    INPUTS_COMMITMENT = 10
    SENDER = 11
    CHAIN_STATE = 12
    OTHER = 255


@dataclass(frozen=True, slots=True)
class TransactionRules:
    """What a network demands of every transaction; ``supply_units`` bounds the sum of outputs."""

    network_id: int
    rent: Rent
    supply_units: int


def check_syntax(transaction: Transaction, rules: TransactionRules) -> None:
    """Raise StardustSyntaxError unless the transaction may enter the Tangle.

    Covers the context-dependent part of TIP-20's syntactic rules (network id, deposits, supply) and
    the signatures: they depend on nothing else, and checking them here keeps milestones cheap.
    """
    essence = transaction.essence
    require(
        essence.network_id == rules.network_id,
        f"transaction: network id {essence.network_id} is not {rules.network_id} of this network",
    )
    for output in essence.outputs:
        rules.rent.check(output)
    total = sum(output.units for output in essence.outputs)
    require(total <= rules.supply_units, f"transaction: {total} units exceed the supply")
    digest = essence.signing_hash()
    for position, unlock in enumerate(transaction.unlocks):
        if isinstance(unlock, SignatureUnlock):
            valid = is_valid_signature(unlock.public_key, digest, unlock.signature)
            require(valid, f"transaction: the signature of unlock {position} does not hold")


def is_sound(transaction: Transaction, rules: TransactionRules) -> bool:
    """Return whether a transaction may enter the Tangle; see :func:`check_syntax`."""
    try:
        check_syntax(transaction, rules)
    except StardustSyntaxError:
        return False
    return True


def find_conflict(
    transaction: Transaction, consumed: Sequence[bytes], timestamp: int
) -> ConflictReason:
    """Return why a transaction that consumes existing unspent outputs is ignored, or NONE.

    ``consumed`` are the serialised outputs in input order, ``timestamp`` the confirming milestone's
    (seconds). Semantic rules of TIP-20 and TIP-18; signatures were checked at the door.
    """
    outputs = [BasicOutput.decode(data) for data in consumed]
    owners = [_owner(output, timestamp) for output in outputs]
    # The first reason found counts; the order is that of iota.go v3, hence of Hornet.
    return (
        _timelock_conflict(outputs, timestamp)
        or _commitment_conflict(transaction, consumed)
        or _unlock_conflict(transaction, owners)
        or _sender_conflict(transaction, owners)
        or _sum_conflict(transaction, outputs)
        or _return_conflict(transaction, outputs, owners)
    )


def _owner(output: BasicOutput, timestamp: int) -> bytes:
    """Return the address that may spend ``output`` now."""
    expiration = output.expiration
    if expiration is not None and expiration.unix_time <= timestamp:
        return expiration.return_address
    return output.address


def _commitment_conflict(transaction: Transaction, consumed: Sequence[bytes]) -> ConflictReason:
    held = inputs_commitment(consumed) == transaction.essence.commitment
    return ConflictReason.NONE if held else ConflictReason.INPUTS_COMMITMENT


def _unlock_conflict(transaction: Transaction, owners: Sequence[bytes]) -> ConflictReason:
    """Each owner signs once, at its first input; its later inputs refer back to that one."""
    signed_at: dict[bytes, int] = {}
    for position, (owner, unlock) in enumerate(zip(owners, transaction.unlocks, strict=True)):
        if owner in signed_at:
            if isinstance(unlock, SignatureUnlock) or unlock.index != signed_at[owner]:
                return ConflictReason.INVALID_UNLOCK
        elif not isinstance(unlock, SignatureUnlock):
            return ConflictReason.INVALID_UNLOCK
        elif blake2b_256(unlock.public_key) != owner:
            return ConflictReason.INVALID_SIGNATURE
        else:
            signed_at[owner] = position
    return ConflictReason.NONE


def _timelock_conflict(consumed: Sequence[BasicOutput], timestamp: int) -> ConflictReason:
    locks = (output.timelock for output in consumed)
    locked = any(lock is not None and timestamp < lock.unix_time for lock in locks)
    return ConflictReason.TIMELOCK if locked else ConflictReason.NONE


def _sender_conflict(transaction: Transaction, owners: Sequence[bytes]) -> ConflictReason:
    senders = {output.sender.address for output in transaction.essence.outputs if output.sender}
    return ConflictReason.NONE if senders <= set(owners) else ConflictReason.SENDER


def _sum_conflict(transaction: Transaction, consumed: Sequence[BasicOutput]) -> ConflictReason:
    spent = sum(output.units for output in consumed)
    made = sum(output.units for output in transaction.essence.outputs)
    return ConflictReason.NONE if spent == made else ConflictReason.SUM_MISMATCH


def _return_conflict(
    transaction: Transaction, consumed: Sequence[BasicOutput], owners: Sequence[bytes]
) -> ConflictReason:
    """Returns are owed per address and paid by plain outputs.

    Whoever is to be paid owes nothing for what he unlocks himself, through an expiration mostly.
    """
    owed: Counter[bytes] = Counter()
    for output, owner in zip(consumed, owners, strict=True):
        back = output.deposit_return
        if back is not None and back.return_address != owner:
            owed[back.return_address] += back.return_units
    paid: Counter[bytes] = Counter()
    for output in transaction.essence.outputs:
        if output.is_plain:
            paid[output.address] += output.units
    short = any(paid[address] < units for address, units in owed.items())
    return ConflictReason.RETURN_AMOUNT if short else ConflictReason.NONE
