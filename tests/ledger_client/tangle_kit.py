"""A small network to test against: a node with a clock in hand, owners, and hand-built spends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nacl.signing import SigningKey

from ledger_client.ledger import LedgerError, UnspentOutput
from ledger_client.localnode import LocalLedger, LocalNode, NodeSettings, Store
from ledger_client.localnode.settings import keyed
from ledger_client.localnode.store import Connect, connect_sqlite
from ledger_client.stardust.codec import network_id
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import (
    Essence,
    SignatureUnlock,
    Transaction,
    Unlock,
    inputs_commitment,
    output_id,
)
from ledger_client.wallet import (
    OwnerKey,
    SignedTransaction,
    TransferInput,
    Wallet,
    build_transfer,
    select,
)

NETWORK = "wattloom-private"
SUPPLY = 1_000_000
START = 1_750_000_000
MILESTONE_KEYS = [SigningKey(bytes([n]) * 32) for n in (1, 2, 3)]
_WALLET = Wallet(bytes(range(32)))
OWNERS = [_WALLET.key(n) for n in range(6)]
TREASURY, ALICE, BOB, CAROL, DAVE, EVE = OWNERS


class Net:
    """One node, its port, and a wall clock that stands still until it is moved."""

    def __init__(self, path: str | Path = ":memory:", connect: Connect = connect_sqlite) -> None:
        self.now = START
        store = Store(path, connect)
        try:
            self.node = LocalNode(store, self.settings(), lambda: self.now)
        except LedgerError:
            store.close()
            raise
        self.ledger = LocalLedger(self.node)

    def settings(self) -> NodeSettings:
        """Return what the node is opened with."""
        signer, pinned = keyed(MILESTONE_KEYS, 2)
        return NodeSettings(NETWORK, "wl", {TREASURY.address: SUPPLY}, pinned, signer)

    def units(self, owner: OwnerKey) -> int:
        """Return what an owner can spend."""
        return self.ledger.balance(owner.address).units

    def output(self, owner: OwnerKey) -> UnspentOutput:
        """Return an owner's first spendable output."""
        return self.ledger.balance(owner.address).outputs[0]

    def pay(self, payer: OwnerKey, *amounts: tuple[OwnerKey, int]) -> SignedTransaction:
        """Build a transfer from confirmed outputs; the rest returns to the payer."""
        total = sum(units for _, units in amounts)
        chosen = select(self.ledger.balance(payer.address).outputs, total)
        rest = sum(output.units for output in chosen) - total
        outputs = [(owner.address, units) for owner, units in amounts]
        if rest:
            outputs.append((payer.address, rest))
        return build_transfer(NETWORK, [TransferInput(item, payer) for item in chosen], outputs)

    def fund(self, *amounts: tuple[OwnerKey, int]) -> None:
        """Pay from the treasury and confirm."""
        self.ledger.transfer(self.pay(TREASURY, *amounts).payload)
        self.node.issue_milestone()

    def make(self, output: BasicOutput) -> UnspentOutput:
        """Confirm a transaction of the treasury that makes ``output``; return it."""
        source = self.output(TREASURY)
        rest = BasicOutput.to(TREASURY.address, source.units - output.units)
        made = transaction([source], [output, rest], [TREASURY])
        self.ledger.transfer(made.encode())
        self.node.issue_milestone()
        return UnspentOutput(output_id(made.id(), 0), output.encode(), output.units)

    def conflict(self, candidate: Transaction) -> int | None:
        """Attach a transaction, confirm, and return the reason stored for its block."""
        identifier = self.node.submit(candidate)
        self.node.issue_milestone()
        row = self.node.store.block(identifier)
        assert row is not None
        assert row.milestone_index is not None
        return row.conflict


def sign(essence: Essence, *keys: OwnerKey) -> tuple[Unlock, ...]:
    """Return one signature unlock per key."""
    digest = essence.signing_hash()
    return tuple(SignatureUnlock(k.public_key, k.signing_key.sign(digest).signature) for k in keys)


def transaction(
    consumed: Sequence[UnspentOutput], outputs: Sequence[BasicOutput], keys: Sequence[OwnerKey]
) -> Transaction:
    """Build any transaction, sound or not, with one signature unlock per key."""
    essence = Essence(
        network_id(NETWORK),
        tuple(item.output_id for item in consumed),
        inputs_commitment(item.output_bytes for item in consumed),
        tuple(outputs),
    )
    return Transaction(essence, sign(essence, *keys))
