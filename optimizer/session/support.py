"""Whole prices for an outcome, or who would lose at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from optimizer.compiled import Floats, SolverError
from optimizer.session.prices import (
    BEYOND,
    Box,
    Face,
    family_surplus,
    is_marginal,
    nearest_prices,
    storage_gain,
    widest_prices,
)

_SLIP: Final = 2.0


class Support(NamedTuple):
    """Whole prices per interval, their interval (None: no end), and the losers.

    ``losers``: ids of blocks and storages that lose at these prices, the worst first.
    """

    prices: list[int]
    interval: list[tuple[int | None, int | None]]
    losers: list[str]


def support(face: Face) -> Support:
    """Return prices at which nobody loses, next to the middle of the interval; else the losers.

    Tried in turn: the floor of the middle; the nearest prices at which no block loses, rounded
    down; the nearest that suffice even once they are rounded down.

    Raises:
        SolverError: no prices support the step orders.
    """
    try:
        widest, box = widest_prices(face)
    except SolverError:
        if face.slip is None:
            raise
        return support(face._replace(slip=None if face.slip else _SLIP))
    interval = [_whole_ends(low, high) for low, high in zip(*widest, strict=True)]
    kept: Support | None = None
    for attempt in _attempts(face, box):
        prices = np.floor(attempt + 1e-6).astype(np.int64).tolist()
        found = Support(prices, interval, _losers(face, prices))
        if not found.losers and _pays_the_margin(face, prices):
            return found
        if kept is None or (kept.losers and not found.losers):
            kept = found
    if kept is None:
        raise SolverError("no prices were tried")
    return kept


def _attempts(face: Face, box: Box) -> Iterator[Floats]:
    yield box.middle
    for margin in (0.0, 1.0):
        try:
            found = nearest_prices(face, box, margin=margin)
        except SolverError:  # there are none: somebody loses whatever the prices
            continue
        yield found


def _losers(face: Face, prices: list[int]) -> list[str]:
    losses = []
    for b, block in enumerate(face.data.blocks):
        surplus, _ = family_surplus(face, b, prices.__getitem__)
        losses.append((int(surplus), b, block.order_id))
    for s, storage in enumerate(face.data.storages):
        gain = storage_gain(face, s, prices.__getitem__)
        losses.append((int(gain), len(face.data.blocks) + s, storage.order_id))
    return [order_id for surplus, _, order_id in sorted(losses) if surplus < 0]


def _pays_the_margin(face: Face, prices: list[int]) -> bool:
    """Whether every block that is accepted in part gets its own limit, within 1 per kWh."""
    return all(
        int(family_surplus(face, b, prices.__getitem__)[0]) <= face.whole.blocks[b]
        for b in range(len(face.data.blocks))
        if is_marginal(face, b)
    )


def _whole_ends(low: float, high: float) -> tuple[int | None, int | None]:
    """Return both ends in whole micro-euros, inwards; None for an end that nothing bounds."""
    return (
        None if low <= -BEYOND / 2 else int(np.ceil(low - 1e-6)),
        None if high >= BEYOND / 2 else int(np.floor(high + 1e-6)),
    )
