"""What can go wrong with nodes over REST, as branches of the port's error tree."""

from __future__ import annotations

from ledger_client.ledger import LedgerError, LedgerUnavailableError


class NodeAnswerError(LedgerUnavailableError):
    """The node's answer cannot be used (malformed, too large, untrue): ask another, or later."""


class NodeUnfitError(LedgerUnavailableError):
    """The node is of another network or asks what we do not do: mend the settings, ask again."""


class NodeUrlError(LedgerError):
    """This is not the address of a node: ask a person for another."""
