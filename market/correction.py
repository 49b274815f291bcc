"""A late correction: a delta on one point's residual, its counterparties untouched.

Never clears again. ``docs/protocol.md``, "Border readings and quantities".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from market import journal
from market.money import Money
from market.settlement import (
    Line,
    MemoQuantities,
    SettledEnergy,
    memo_lines,
    memo_movements,
)
from market.tariff import Tariff


@dataclass(frozen=True, slots=True)
class Correction:
    """What changes for one point: its energies now, delta lines, and the entry (sum 0)."""

    participant: str
    drawn: SettledEnergy
    fed_in: SettledEnergy
    lines: tuple[Line, ...]
    entry: journal.Entry

    @property
    def amount(self) -> Money:
        """What the participant gets back (> 0) or owes in addition (< 0)."""
        return Money(sum(line.micro for line in self.lines))


@dataclass(frozen=True, slots=True)
class Version:
    """The energies of one point and interval as they were known at some time."""

    drawn: SettledEnergy
    fed_in: SettledEnergy


def correct(
    ref: str,
    participant: str,
    tariff: Tariff,
    original: Version,
    latest: Version,
    new_import_wh: int,
    new_export_wh: int,
) -> Correction:
    """Return the correction of a point from ``latest`` to newly known energies.

    Measured against the ``original`` settlement, so that a correction that is later undone leaves
    nothing behind: new local = min(original local, new metered). Local energy that the meter no
    longer covers stays traded: a seller who is short buys the gap at the point's own retail price
    with fees, levy and VAT, and a buyer who is short sells it back at feed-in. Own transfers, at
    price 0, follow the same rule after local energy.
    """
    drawn = _corrected(original.drawn, new_import_wh)
    fed_in = _corrected(original.fed_in, new_export_wh)
    new = _quantities(original, drawn, fed_in)
    old = _quantities(original, latest.drawn, latest.fed_in)
    delta = MemoQuantities(
        new.residual_import_wh - old.residual_import_wh,
        new.local_import_wh - old.local_import_wh,
        new.residual_export_wh - old.residual_export_wh,
    )
    lines = memo_lines(drawn.point, tariff, delta, Money(0))
    entry = journal.entry_of(ref, "correction", memo_movements(participant, lines))
    return Correction(participant, drawn, fed_in, tuple(lines), entry)


def _corrected(original: SettledEnergy, wh: int) -> SettledEnergy:
    """Return the split of newly metered ``wh``: local first, then own, the rest residual."""
    local_wh = min(original.local_wh, wh)
    own_wh = min(original.own_wh, wh - local_wh)
    return replace(
        original,
        estimated=False,
        wh=wh,
        local_wh=local_wh,
        own_wh=own_wh,
        residual_wh=wh - local_wh - own_wh,
    )


def _quantities(original: Version, drawn: SettledEnergy, fed_in: SettledEnergy) -> MemoQuantities:
    """Return what memo lines bill in total once local gaps are bought and sold back."""
    bought_back_wh = _committed_wh(original.fed_in) - _committed_wh(fed_in)
    sold_back_wh = _committed_wh(original.drawn) - _committed_wh(drawn)
    return MemoQuantities(
        drawn.residual_wh + bought_back_wh,
        _committed_wh(drawn),
        fed_in.residual_wh + sold_back_wh,
    )


def _committed_wh(row: SettledEnergy) -> int:
    return row.local_wh + row.own_wh
