"""Reading the ledger as people look at it: milestones, blocks, outputs, and the DAG around them.

The port :class:`~ledger_client.ledger.Ledger` is what the district lives on; this one is for
looking only, so that an explorer works over the embedded node and over any node that
speaks REST. What a backend cannot know it leaves ``None``: it never guesses. Identifiers are bytes,
amounts are units (1 unit = 1 micro-euro), times are the milestones' own seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from ledger_client.stardust.block import Block, Payload, block_id
from ledger_client.stardust.codec import Reader, StardustSyntaxError
from ledger_client.stardust.milestone import PROTOCOL_VERSION, Milestone, read_parents
from ledger_client.stardust.output import BasicOutput
from ledger_client.stardust.transaction import Transaction

SOLID_ENTRY_POINT: Final = bytes(32)
"""The parent of a network's first blocks: there is no block behind it."""

CONFLICT_WORDS: Final[Mapping[int, str]] = {
    1: "an input was spent before, by a transaction of an earlier milestone",
    2: "an input was spent before, by a transaction of the same milestone",
    3: "an input does not exist",
    4: "inputs and outputs do not add up to the same amount",
    5: "a signature or its key does not fit the address",
    6: "an input is still locked by its timelock",
    7: "native tokens do not balance",
    8: "a storage deposit was not returned in full",
    9: "an unlock does not fit its input",
    10: "the commitment to the inputs is wrong",
    11: "a sender is named who did not sign",
    12: "a chain's state changes in a way that is not allowed",
    255: "it breaks a rule that the node does not name",
}
"""The conflict reasons of the node's REST API in plain words."""


class BlockState(Enum):
    """What became of a block."""

    PENDING = "pending"
    """No milestone refers to it yet."""
    REFERENCED = "referenced"
    """A milestone refers to it; a transaction in it was applied."""
    CONFLICTING = "conflicting"
    """A milestone refers to it; its transaction was ignored, for the reason given."""


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """The network as its node tells it. ``blocks`` and ``transfers`` count all, None: not told."""

    name: str
    hrp: str
    supply_units: int
    latest_index: int
    blocks: int | None
    transfers: int | None


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """A block and what became of it.

    ``payload`` is None for an empty block, and for one whose payload is of a kind that is not read
    here (``readable`` is then False). ``conflict`` is None unless a milestone judged a transaction:
    0 applied, else a key of :data:`CONFLICT_WORDS`.
    """

    block_id: bytes
    parents: tuple[bytes, ...]
    payload: Payload | None
    readable: bool
    size_bytes: int
    referenced_by: int | None = None
    conflict: int | None = None

    @property
    def state(self) -> BlockState:
        """What became of the block."""
        if self.referenced_by is None:
            return BlockState.PENDING
        return BlockState.CONFLICTING if self.conflict else BlockState.REFERENCED

    @property
    def transaction(self) -> Transaction | None:
        """The transaction that it carries, if any."""
        return self.payload if isinstance(self.payload, Transaction) else None

    @property
    def milestone(self) -> Milestone | None:
        """The milestone that it carries, if any."""
        return self.payload if isinstance(self.payload, Milestone) else None


@dataclass(frozen=True, slots=True)
class MilestoneRecord:
    """An issued milestone; ``block_count`` blocks are newly referred to by it (None: not told)."""

    milestone: Milestone
    block_count: int | None = None

    @property
    def index(self) -> int:
        """Its number, from 1."""
        return self.milestone.essence.index

    @property
    def milestone_id(self) -> bytes:
        """Its id, which the signatures sign."""
        return self.milestone.essence.id()

    @property
    def timestamp_s(self) -> int:
        """Its time in seconds since the Unix epoch."""
        return self.milestone.essence.timestamp

    @property
    def block_id(self) -> bytes:
        """The block that carries it: payload and parents alone determine it (TIP-29)."""
        return Block(self.milestone.essence.parents, self.milestone).id()


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """A booked output; the ``spent_`` fields are None while it is unspent."""

    output_id: bytes
    output: BasicOutput
    block_id: bytes
    booked_index: int
    spent_index: int | None = None
    spent_transaction: bytes | None = None


@dataclass(frozen=True, slots=True)
class AddressRecord:
    """An address's outputs; ``spent`` newest first, None where the backend does not know them.

    ``complete`` tells whether all unspent outputs are there; of the spent ones only the latest are.
    """

    address: bytes
    unspent: tuple[OutputRecord, ...]
    complete: bool
    spent: tuple[OutputRecord, ...] | None


@dataclass(frozen=True, slots=True)
class Blocks:
    """Some blocks; ``complete`` is False where a limit (or the time) cut the rest off."""

    blocks: tuple[BlockRecord, ...]
    complete: bool


class LedgerReader(Protocol):
    """Looking at a ledger. Implementations may be called from any thread.

    What is not there is None and never an error. Every call may raise
    :class:`~ledger_client.ledger.LedgerUnavailableError`: try again later.
    """

    def network(self) -> NetworkRecord:
        """Return name, prefix, supply and counters of the network."""

    def milestones(self, before: int | None, limit: int) -> Sequence[MilestoneRecord]:
        """Return at most ``limit`` milestones, newest first, with indexes below ``before``."""

    def milestone(self, identifier: int | bytes) -> MilestoneRecord | None:
        """Return a milestone by its index or its 32-byte id."""

    def cone(self, index: int, limit: int) -> Blocks | None:
        """Return at most ``limit`` blocks that a milestone newly refers to, in white-flag order."""

    def block(self, identifier: bytes) -> BlockRecord | None:
        """Return a block by its id."""

    def children(self, identifier: bytes) -> tuple[bytes, ...] | None:
        """Return the ids of blocks that name this one as a parent; None: the backend cannot tell.

        Only blocks that arrived soon after it are looked at, as nearly all children do.
        """

    def carrier(self, transaction_id: bytes) -> bytes | None:
        """Return the id of the block that carries a transaction: the one that was applied, if any.

        A backend that knows applied transactions alone says None for all others.
        """

    def output(self, output_id: bytes) -> OutputRecord | None:
        """Return a booked output by its 34-byte id, spent or not."""

    def address(self, address: bytes, limit: int) -> AddressRecord:
        """Return at most ``limit`` unspent and ``limit`` spent outputs of a 32-byte address."""

    def around(self, identifier: bytes | None, limit: int) -> Blocks | None:
        """Return at most ``limit`` blocks around one, or behind the tips where it is None."""


def read_block(
    data: bytes, referenced_by: int | None = None, conflict: int | None = None
) -> BlockRecord:
    """Return the record of a serialised block.

    A node may serve kinds of payloads that are not read here; the parents are read all the same.

    Raises:
        StardustSyntaxError: not even the parents can be read; it is no block.
    """
    try:
        block = Block.decode(data)
        parents, payload, readable = block.parents, block.payload, True
    except StardustSyntaxError:
        parents, payload, readable = parents_of(data), None, False
    return BlockRecord(
        block_id(data), parents, payload, readable, len(data), referenced_by, conflict
    )


def parents_of(data: bytes) -> tuple[bytes, ...]:
    """Return a serialised block's parents without reading its payload (TIP-24)."""
    reader = Reader(data, "block")
    reader.constant(PROTOCOL_VERSION, 1, "protocol version")
    return read_parents(reader)


def walk_back(
    starts: Iterable[bytes],
    limit: int,
    read: Callable[[bytes], BlockRecord | None],
    within: Callable[[BlockRecord], bool] = lambda _: True,
) -> Blocks:
    """Return at most ``limit`` blocks from ``starts`` backwards over their parents, nearest first.

    The walk stops at blocks that ``read`` does not know and at those that are not ``within``.
    """
    found: list[BlockRecord] = []
    waiting = list(dict.fromkeys(starts))
    seen = set(waiting)
    for identifier in waiting:  # grows while it is walked
        block = None if identifier == SOLID_ENTRY_POINT else read(identifier)
        if block is None or not within(block):
            continue
        if len(found) == limit:
            return Blocks(tuple(found), complete=False)
        found.append(block)
        fresh = [parent for parent in block.parents if parent not in seen]
        seen.update(fresh)
        waiting += fresh
    return Blocks(tuple(found), complete=True)
