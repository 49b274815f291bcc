"""A feeder's losses: what is missing, and on which days that is an alarm."""

from __future__ import annotations

import pytest

from market.losses import FeederEnergy, judge_day

# intervals: count x head in, head out, points in, points out (e: estimated); measured, entered,
# loss, ppm; verdict. The alarm is at 80,000 ppm.
DAYS = """
96 x 1000 0 970 0                    | 96  96000  2880  30000 | none     | 3 % on the wire
96 x 1000 0 920 0                    | 96  96000  7680  80000 | none     | at the alarm, not above
96 x 1000 0 919 0                    | 96  96000  7776  81000 | high     | above it
96 x 0 500 400 1000                  | 96  96000  9600 100000 | high     | fed in, less came out
96 x 10 0 9 0                        | 96    960    96 100000 | none     | too little to tell
48 x 1000 0 900 0, 48 x 1000 0 0 0 e | 48  48000  4800 100000 | high     | half a day tells
47 x 1000 0 900 0, 49 x 1000 0 0 0 e | 47  47000  4700 100000 | none     | less does not
96 x 1000 0 0 0 e                    |  0      0     0      - | none     | estimates never alarm
88 x 1000 0 980 0, 8 x 1000 0 1010 0 | 96  96000  1680  17500 | negative | two hours against nature
89 x 1000 0 980 0, 7 x 1000 0 1010 0 | 96  96000  1710  17812 | none     | one short of it
88 x 1000 0 980 0, 8 x 1000 0 1009 0 | 96  96000  1688  17583 | none     | within resolution
80 x 1000 0 970 0, 8 x 1000 0 1001 0, 8 x 1000 0 1010 0 | 96 96000 2312 24083 | negative | any eight
4 x 1000 0 1010 0, 1 x 0 0 0 0 e, 4 x 1000 0 1010 0 | 8 8000 -80 -10000 | none | not in a row
"""


def energies(text: str) -> list[FeederEnergy]:
    found = []
    for part in text.split(","):
        count, _, *figures = part.split()
        values = [int(figure) for figure in figures[:4]]
        found += int(count) * [FeederEnergy(*values, estimated=figures[4:] == ["e"])]
    return found


@pytest.mark.parametrize("row", DAYS.strip().splitlines())
def test_days(row: str) -> None:
    given, figures, drift, _ = (part.strip() for part in row.split("|"))
    day = judge_day(energies(given), 80_000)
    ppm = "-" if day.loss_ppm is None else str(day.loss_ppm)
    assert [str(day.measured), str(day.entered_wh), str(day.loss_wh), ppm] == figures.split()
    assert day.drift == drift
