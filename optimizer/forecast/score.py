"""How good a forecast was, beside yesterday's same quarter: exact sums of whole Wh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from optimizer.forecast.history import MISSING, Integers

DISTRICT: Final = ""  # stands for the sum in the place of a point

Cells: TypeAlias = Sequence[Sequence[int | None]]


@dataclass(frozen=True, slots=True)
class Score:
    """Errors in Wh over ``quarters`` quarter-hours: forecast less measured.

    ``abs_wh / quarters`` is the mean absolute error (MAE) per quarter-hour, ``bias_wh / quarters``
    the bias; ``persistence_*`` are those of yesterday's same quarters in the forecast's place.
    """

    quarters: int
    measured_wh: int
    abs_wh: int
    bias_wh: int
    persistence_abs_wh: int
    persistence_bias_wh: int


def score(forecast: Cells, measured: Cells, persistence: Cells) -> tuple[list[Score], Score]:
    """Return the scores of each point (a row) and that of the district's sum.

    All three are Wh by point and quarter-hour, None where unknown. Only cells known in all
    three count, so that both are judged on the same; the sum is taken over these cells before the
    errors are, and has as many quarter-hours as hold one.
    """
    wh = [_array(cells) for cells in (forecast, measured, persistence)]
    known = np.all([each != MISSING for each in wh], axis=0)
    kept = [np.where(known, each, 0) for each in wh]
    points = [
        _score(*(each[row] for each in kept), quarters=int(known[row].sum()))
        for row in range(len(known))
    ]
    total = _score(*(each.sum(axis=0) for each in kept), quarters=int(known.any(axis=0).sum()))
    return points, total


def _array(cells: Cells) -> Integers:
    wh = [[MISSING if cell is None else cell for cell in row] for row in cells]
    return np.array(wh, dtype=np.int64).reshape(len(wh), len(wh[0]) if wh else 0)


def _score(
    forecast: Integers,
    measured: Integers,
    persistence: Integers,
    *,
    quarters: int,
) -> Score:
    error, naive = forecast - measured, persistence - measured
    return Score(
        quarters=quarters,
        measured_wh=int(measured.sum()),
        abs_wh=int(np.abs(error).sum()),
        bias_wh=int(error.sum()),
        persistence_abs_wh=int(np.abs(naive).sum()),
        persistence_bias_wh=int(naive.sum()),
    )
