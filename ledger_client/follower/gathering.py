"""Which blocks a milestone newly references: walked back from its parents over another node."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger_client.follower.errors import MismatchError
from ledger_client.follower.report import Halt
from ledger_client.ledger import LedgerUnavailableError
from ledger_client.localnode.door import Candidate
from ledger_client.localnode.semantics import TransactionRules, is_sound
from ledger_client.localnode.store import NewBlock, Store
from ledger_client.localnode.tangle import SOLID_ENTRY_POINT, white_flag_order
from ledger_client.remotenode.client import NodeClient
from ledger_client.stardust.block import Block
from ledger_client.stardust.codec import StardustSyntaxError
from ledger_client.stardust.milestone import MilestoneEssence
from ledger_client.stardust.transaction import Transaction


@dataclass(slots=True)
class Gathered:
    """The past cone of a milestone: block ids in white-flag order, and what of it is new here."""

    order: list[bytes] = field(default_factory=list)
    new: dict[bytes, NewBlock] = field(default_factory=dict)
    transactions: dict[bytes, Transaction] = field(default_factory=dict)
    unsound: set[bytes] = field(default_factory=set)
    """Blocks whose transaction breaks a rule that nothing on the ledger can mend."""


def gather(
    client: NodeClient, store: Store, rules: TransactionRules, essence: MilestoneEssence
) -> Gathered:
    """Fetch the blocks that a milestone references and no milestone before it does.

    The ids vouch for the bytes. Raises MismatchError for a block that is none, and
    LedgerUnavailableError when the node does not hand out one that it must have.
    """
    found, parents = Gathered(), dict[bytes, tuple[bytes, ...]]()
    to_visit = list(essence.parents)
    while to_visit:
        identifier = to_visit.pop()
        if identifier in parents or identifier == SOLID_ENTRY_POINT:
            continue
        if store.referenced_by(identifier) is not None:
            continue
        block, data, is_new = _block(client, store, identifier, essence.index)
        if is_new:
            found.new[identifier] = Candidate.of(block, data).row
        _note_transaction(found, identifier, block, rules)
        parents[identifier] = block.parents
        to_visit += block.parents
    found.order = white_flag_order(essence.parents, parents)
    return found


def _block(
    client: NodeClient, store: Store, identifier: bytes, index: int
) -> tuple[Block, bytes, bool]:
    """Return a block, its bytes, and whether it was not here before."""
    row = store.block(identifier)
    data = row.data if row else client.block(identifier)
    if data is None:
        raise LedgerUnavailableError(
            f"milestone {index}: the node does not hand out block {identifier.hex()}, which it "
            "must have"
        )
    try:
        return Block.decode(data), data, row is None
    except StardustSyntaxError as error:
        raise MismatchError(
            Halt(
                "block",
                index,
                f"references a block that this network does not know: {error}",
                block=identifier.hex(),
            )
        ) from error


def _note_transaction(
    found: Gathered, identifier: bytes, block: Block, rules: TransactionRules
) -> None:
    if not isinstance(block.payload, Transaction):
        return
    found.transactions[identifier] = block.payload
    if not is_sound(block.payload, rules):
        found.unsound.add(identifier)
