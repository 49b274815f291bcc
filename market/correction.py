"""A late correction: a delta on one point's residual, its counterparties untouched.

Never clears again. ``docs/protocol.md``, "Border readings and quantities".
"""

from __future__ import annotations

from collections.abc import Iterable
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


def correct(
    ref: str,
    participant: str,
    tariff: Tariff,
    drawn: SettledEnergy,
    fed_in: SettledEnergy,
    new_import_wh: int,
    new_export_wh: int,
) -> Correction:
    """Return the correction of a point, settled as ``drawn`` and ``fed_in``, to new energies.

    New local = min(settled local, new metered). Local energy that the meter no longer covers
    stays traded: a seller who is short buys the gap at the point's own retail price with fees,
    levy and VAT, and a buyer who is short sells it back at feed-in. Own transfers, at price 0,
    follow the same rule after local energy. The lines are those of the new total less those of
    the settled one: no difference is rounded, so that what is undone leaves nothing behind.
    """
    new_drawn, new_fed_in = _corrected(drawn, new_import_wh), _corrected(fed_in, new_export_wh)
    new = _quantities(new_drawn, new_fed_in, drawn, fed_in)
    old = _quantities(drawn, fed_in, drawn, fed_in)
    lines = _difference(
        memo_lines(drawn.point, tariff, new, Money(0)),
        memo_lines(drawn.point, tariff, old, Money(0)),
    )
    entry = journal.entry_of(ref, "correction", memo_movements(participant, lines))
    return Correction(participant, new_drawn, new_fed_in, lines, entry)


def _difference(new: Iterable[Line], old: Iterable[Line]) -> tuple[Line, ...]:
    """Return new less old lines, kind by kind; those that stayed as they were are left out."""
    found = {line.kind: line for line in new}
    for line in old:
        now = found.get(line.kind) or replace(line, wh=0, micro=0)
        found[line.kind] = replace(now, wh=now.wh - line.wh, micro=now.micro - line.micro)
    return tuple(line for line in found.values() if line.wh or line.micro)


def _corrected(settled: SettledEnergy, wh: int) -> SettledEnergy:
    """Return the split of newly metered ``wh``: local first, then own, the rest residual."""
    local_wh = min(settled.local_wh, wh)
    own_wh = min(settled.own_wh, wh - local_wh)
    return replace(
        settled,
        estimated=False,
        wh=wh,
        local_wh=local_wh,
        own_wh=own_wh,
        residual_wh=wh - local_wh - own_wh,
    )


def _quantities(
    drawn: SettledEnergy,
    fed_in: SettledEnergy,
    settled_drawn: SettledEnergy,
    settled_fed_in: SettledEnergy,
) -> MemoQuantities:
    """Return what memo lines bill in total once local gaps are bought and sold back."""
    bought_back_wh = _committed_wh(settled_fed_in) - _committed_wh(fed_in)
    sold_back_wh = _committed_wh(settled_drawn) - _committed_wh(drawn)
    return MemoQuantities(
        drawn.residual_wh + bought_back_wh,
        _committed_wh(drawn),
        fed_in.residual_wh + sold_back_wh,
    )


def _committed_wh(row: SettledEnergy) -> int:
    return row.local_wh + row.own_wh
