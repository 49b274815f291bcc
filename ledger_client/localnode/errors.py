"""What can go wrong in the embedded node, as branches of the port's error tree."""

from __future__ import annotations

from ledger_client.ledger import LedgerError, LedgerRefusedError


class BlockRefusedError(LedgerRefusedError):
    """The block breaks a rule of the Tangle (400): reject it, do not send it again."""


class UnknownParentError(BlockRefusedError):
    """A parent is not known here: attach the parents first, or take this node's tips."""


class BelowMaxDepthError(BlockRefusedError):
    """The parents are too old to be confirmed: attach the payload again to current tips."""


class LedgerSettingsError(LedgerError):
    """The data folder belongs to another network, or the settings are unusable: ask a person."""


class LedgerCorruptError(LedgerError):
    """The stored ledger contradicts itself: stop, keep the file, ask a person."""
