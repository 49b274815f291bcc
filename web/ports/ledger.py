"""What the ledger's pages ask of the house: view models and the protocol that ``app`` satisfies.

Ids are lowercase hex without 0x, addresses Bech32 text, amounts micro-euros (1 unit of the ledger
is 1 micro-euro). Moments are UTC milliseconds of the wall clock, since milestones follow that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from web.ports import PortError, Viewer


class LedgerSilentError(PortError):
    """The ledger does not answer: say so, and that everything else goes on (503).

    ``since_ms`` is when it was first found silent (wall clock), None where nothing can ask it.
    """

    def __init__(self, message: str, since_ms: int | None) -> None:
        super().__init__(message)
        self.since_ms = since_ms


class BlockKind(StrEnum):
    """What a block is for, as far as its content says."""

    MILESTONE = "milestone"
    ANCHOR = "anchor"  # carries a checkpoint of this district's log
    PAYMENT = "payment"  # carries the settlement of an interval
    TRANSFER = "transfer"  # carries any other transaction
    DATA = "data"
    EMPTY = "empty"
    OTHER = "other"  # a payload that is not read here


class BlockState(StrEnum):
    """What became of a block. A milestone is confirmed by its own signatures."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    CONFLICTING = "conflicting"


@dataclass(frozen=True, slots=True)
class BlockLine:
    """One block in a list or picture.

    ``referenced_by`` is the milestone that confirmed it, None while it is pending; ``conflict``
    says in words why its transaction was ignored; ``milestone`` is its own number if it is one.
    """

    block_id: str
    kind: BlockKind
    state: BlockState
    parents: Sequence[str]
    referenced_by: int | None
    conflict: str | None = None
    milestone: int | None = None


@dataclass(frozen=True, slots=True)
class Dag:
    """Some blocks of the DAG; not ``complete`` where a limit cut older ones off."""

    blocks: Sequence[BlockLine]
    complete: bool


@dataclass(frozen=True, slots=True)
class MilestoneLine:
    """One milestone in a list; ``blocks`` it newly refers to, None where the node does not tell."""

    index: int
    milestone_id: str
    at_ms: int
    blocks: int | None


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """The ledger as a whole. ``None`` is what the node does not tell, or the viewer may not see."""

    network: str
    hrp: str
    supply_micro: int | None
    blocks: int | None
    transfers: int | None
    now_ms: int
    latest: MilestoneLine
    milestones: Sequence[MilestoneLine]  # newest first
    more: bool
    dag: Dag


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signed a milestone, whether its signature holds and the district pins it."""

    key: str
    holds: bool
    pinned: bool


@dataclass(frozen=True, slots=True)
class MilestonePage:
    """One milestone."""

    line: MilestoneLine
    block_id: str
    previous_id: str
    parents: Sequence[str]
    inclusion_root: str
    applied_root: str
    signers: Sequence[Signer]
    threshold: int  # how many pinned keys have to sign
    has_next: bool
    cone: Dag  # what it newly refers to, in white-flag order
    now_ms: int


@dataclass(frozen=True, slots=True)
class CoinLine:
    """Inputs or outputs of one owner that the viewer may see, one by one.

    ``owner`` is a name where the viewer knows it. ``micro`` None: the node cannot tell any more.
    """

    output_id: str
    address: str
    owner: str | None
    own: bool
    micro: int | None
    spent_index: int | None = None
    block_id: str | None = None


@dataclass(frozen=True, slots=True)
class TransactionView:
    """A transaction as far as the viewer may see it; the rest are counts."""

    transaction_id: str
    inputs: Sequence[CoinLine]
    outputs: Sequence[CoinLine]
    hidden_inputs: int
    hidden_outputs: int
    amounts_hidden: bool  # the grid operator sees counts alone


@dataclass(frozen=True, slots=True)
class AnchorView:
    """A checkpoint that a block carries.

    ``genuine`` tells whether the district's log key signed it; only then its figures are told.
    """

    note: str
    genuine: bool
    size: int | None = None
    root: str | None = None
    previous_size: int | None = None
    intervals: Sequence[str] = ()  # whose seals the log gained with it
    more_intervals: int = 0


@dataclass(frozen=True, slots=True)
class DataView:
    """Tagged data: bytes as hex, cut after ``SHOWN`` bytes; ``text`` where it is printable."""

    tag: str
    tag_text: str | None
    data: str
    data_text: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BlockPage:
    """One block."""

    line: BlockLine
    size_bytes: int
    at_ms: int | None  # the time of the milestone that it is, or that confirmed it
    children: Sequence[str] | None  # None: the node does not tell
    data: DataView | None
    transaction: TransactionView | None
    anchor: AnchorView | None
    interval: str | None  # that a payment settles
    dag: Dag
    now_ms: int


@dataclass(frozen=True, slots=True)
class AddressPage:
    """An address with its outputs; ``spent`` newest first, None where the node does not tell."""

    address: str
    owner: str | None
    own: bool
    others: Sequence[str]  # one's own other addresses, oldest first
    balance_micro: int
    unspent: Sequence[CoinLine]
    complete: bool
    spent: Sequence[CoinLine] | None
    now_ms: int


class LedgerViews(Protocol):
    """Looking at the ledger.

    Each call raises NotFoundError for what is not there or not the viewer's, and
    :class:`LedgerSilentError` when the ledger does not answer.
    """

    def overview(self, viewer: Viewer, before: int | None, limit: int) -> LedgerPage:
        """Return the network, milestones below ``before`` and the DAG behind the tips."""
        ...

    def milestone(self, viewer: Viewer, index: int) -> MilestonePage:
        """Return one milestone."""
        ...

    def block(self, viewer: Viewer, block_id: str) -> BlockPage:
        """Return one block by its id in hex."""
        ...

    def address(self, viewer: Viewer, address: str) -> AddressPage:
        """Return an address that the viewer may see."""
        ...

    def find(self, viewer: Viewer, text: str) -> str | None:
        """Return the path below ``/ledger`` of an id, index or address; None: no such."""
        ...
