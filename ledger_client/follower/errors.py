"""What ends a follower, as branches of the port's error tree."""

from __future__ import annotations

from ledger_client.follower.report import Halt
from ledger_client.ledger import LedgerError


class FollowerSettingsError(LedgerError):
    """The folder, the keys, the genesis or the node do not go together: ask a person."""


class HistoryGoneError(FollowerSettingsError):
    """The node no longer has the milestones that come next: follow one that keeps them all."""


class MismatchError(LedgerError):
    """The other node's ledger does not hold: stop, keep everything, ask a person."""

    def __init__(self, halt: Halt) -> None:
        super().__init__(halt.text())
        self.halt = halt
