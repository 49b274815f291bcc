"""Estimates for a point without border readings, and how they are made good later.

An estimate never enters the book; it settles wholly as residual (docs/protocol.md, "Border
readings and quantities").
"""

from __future__ import annotations

from collections.abc import Sequence

from market.money import largest_remainder
from metering.quantities import Energy


def estimate_import(same_quarters: Sequence[Energy]) -> Energy:
    """Return the mean import of the same weekday and quarter-hour, floored; 0 without history."""
    if not same_quarters:
        return Energy(0)
    return Energy(sum(energy.wh for energy in same_quarters) // len(same_quarters))


def scale_to_difference(
    difference: Energy, estimates: Sequence[Energy], keys: Sequence[str]
) -> list[Energy]:
    """Split a register difference over a gap's intervals in proportion to their estimates.

    Equal shares where every estimate is 0; the parts add up to ``difference`` exactly, the units
    left over go by largest remainder, ties in the order of the interval keys.
    """
    weights = [energy.wh for energy in estimates]
    if not any(weights):
        weights = [1] * len(weights)
    ties = [key.encode() for key in keys]
    return [Energy(part) for part in largest_remainder(difference.wh, weights, ties)]
