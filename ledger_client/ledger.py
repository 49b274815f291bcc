"""The port to the ledger: five calls, bytes only.

A backend (the embedded node, a node over REST, another ledger) satisfies :class:`Ledger`. Callers
never see blocks, tips or milestones except inside an :class:`InclusionProof`, which is evidence for
the offline verifier and is not interpreted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol, TypeAlias

PathNode: TypeAlias = "dict[str, PathNode | str]"
"""A node of an inclusion path as inx-poi writes it in JSON.

``{"l": node, "r": node}``, ``{"h": "0x" + hash}`` or ``{"value": "0x" + block id}``.
"""


class LedgerError(Exception):
    """The ledger did not do what was asked; each subclass says whether asking again helps."""


class LedgerUnavailableError(LedgerError):
    """The ledger cannot answer now: retry the same call with backoff. Every call is idempotent."""


class LedgerRefusedError(LedgerError):
    """The ledger refuses these bytes for good: do not send them again; build others."""


class TransferStatus(Enum):
    """What became of a transaction or a block, read by its id."""

    UNKNOWN = "unknown"
    """No such block, or none with this transaction, is known: send the payload again."""
    PENDING = "pending"
    """Attached and not yet confirmed: ask again later."""
    CONFIRMED = "confirmed"
    """Applied to the ledger, or, for a block without a transaction, referenced; final."""
    CONFLICTING = "conflicting"
    """Every block that carries it was ignored: look at the inputs, build another transaction."""


@dataclass(frozen=True, slots=True)
class UnspentOutput:
    """A confirmed output that its owner can spend at once with a signature alone.

    ``output_id`` has 34 bytes (transaction id, index as uint16 little-endian); ``output_bytes`` is
    the serialised output that a transaction commits to (TIP-20).
    """

    output_id: bytes
    output_bytes: bytes
    units: int


@dataclass(frozen=True, slots=True)
class Balance:
    """The confirmed, freely spendable units of one address (1 unit = 1 micro-euro)."""

    units: int
    outputs: tuple[UnspentOutput, ...]


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Evidence that a milestone includes a block, or that it applied a transaction.

    ``milestone`` is the full milestone payload with its signatures (TIP-29), ``block`` the block's
    bytes (TIP-24) and ``path`` leads from the block id to the milestone's inclusion or applied
    Merkle root, as ``root`` says (TIP-4).
    """

    milestone: bytes
    milestone_index: int
    block: bytes
    path: PathNode
    root: Literal["inclusion", "applied"]


class Ledger(Protocol):
    """A feeless ledger of units, with proofs. Implementations may be called from any thread.

    Every call raises :class:`LedgerUnavailableError` when it may succeed later and
    :class:`LedgerRefusedError` when it never will.
    """

    def anchor(self, tag: bytes, data: bytes) -> bytes:
        """Attach tagged data and return its block id (32 bytes).

        ``tag`` has at most 64 bytes. The same tag and data again give a block that is already
        there where the ledger can be searched for it; elsewhere a retry after a crash may leave a
        second, equal anchor, which says nothing new.
        """

    def transfer(self, transaction_payload: bytes) -> bytes:
        """Attach a signed transaction payload (TIP-20) and return its transaction id (32 bytes).

        Idempotent: the same payload again is never a second spend.
        """

    def status(self, identifier: bytes) -> TransferStatus:
        """Return what became of a transaction, whichever block carried it, or of a block."""

    def inclusion_proof(self, identifier: bytes) -> InclusionProof | None:
        """Return the proof for a block id (inclusion root) or a transaction id (applied root).

        None while there is no such proof: unknown, pending, or a transaction that conflicts. A
        block that grew too old to be confirmed is attached again by some ledgers: its proof then
        has another block, with the same payload. Keep that one's id.
        """

    def balance(self, address: bytes) -> Balance:
        """Return what an address (32-byte hash of its public key) can spend, in output-id order.

        Only confirmed outputs without further conditions count; a pending spend still shows.
        """
