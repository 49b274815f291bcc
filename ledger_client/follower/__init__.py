"""Followers: auditors' nodes that work out another node's ledger again and halt where it fails."""

from ledger_client.follower.errors import FollowerSettingsError, HistoryGoneError, MismatchError
from ledger_client.follower.follower import Followed, Follower
from ledger_client.follower.report import Halt

__all__ = [
    "Followed",
    "Follower",
    "FollowerSettingsError",
    "Halt",
    "HistoryGoneError",
    "MismatchError",
]
