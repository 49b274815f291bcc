"""What people may see of each other: sums and prices that at least five stand behind."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

FEWEST: Final = 5


def too_few(participants: AbstractSet[str], own: AbstractSet[str] = frozenset()) -> bool:
    """Whether a sum over participants would tell what single ones did.

    ``own`` are the viewer's: however many of them take part, they count as one of the five.
    """
    return len(participants - own) + bool(participants & own) < FEWEST
