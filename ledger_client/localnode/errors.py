"""What can go wrong in the embedded node, as branches of the port's error tree."""

from __future__ import annotations

from dataclasses import dataclass

from ledger_client.ledger import LedgerError, LedgerRefusedError, LedgerUnavailableError


class BlockRefusedError(LedgerRefusedError):
    """The block breaks a rule of the Tangle (400): reject it, do not send it again."""


class UnknownParentError(BlockRefusedError):
    """A parent is not known here: attach the parents first, or take this node's tips."""


class BelowMaxDepthError(BlockRefusedError):
    """The parents are too old to be confirmed: attach the payload again to current tips."""


class ProofOfWorkMissingError(BlockRefusedError):
    """The block's proof of work is too small (503): mine a nonce, then send it again."""


@dataclass(frozen=True, slots=True)
class SignatureWait:
    """A drafted milestone that has ``have`` of ``need`` signatures; it is asked for again."""

    index: int
    have: int
    need: int


class MilestoneUnsignedError(LedgerUnavailableError):
    """Too few signers answered: the drafted milestone waits; issue again later to ask again."""

    def __init__(self, wait: SignatureWait) -> None:
        super().__init__(
            f"milestone {wait.index} has {wait.have} of {wait.need} signatures: "
            "start the signers; it is kept and asked for again"
        )
        self.wait = wait


class MilestoneClockError(LedgerUnavailableError):
    """The wall clock cannot be right: set it, or restart the node if it is, and issue again."""


class LedgerSettingsError(LedgerError):
    """The data folder belongs to another network, or the settings are unusable: ask a person."""


class LedgerCorruptError(LedgerError):
    """The stored ledger contradicts itself: stop, keep the file, ask a person."""
