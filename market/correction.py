"""A late correction: a delta on one point's residual, its counterparties untouched.

Never clears again. A point may be corrected many times; each version holds what it changes against
the version before. ``docs/money.md``, "Corrections".
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import NamedTuple

from market import journal
from market.errors import MarketError
from market.money import Money
from market.settlement import (
    Line,
    MemoQuantities,
    SettledEnergy,
    memo_lines,
    memo_movements,
)
from market.tariff import Tariff


class CorrectionError(MarketError):
    """A correction is refused for good: mend the value that the message names."""


class Metered(NamedTuple):
    """What a point drew and fed in during an interval, in Wh."""

    import_wh: int
    export_wh: int


@dataclass(frozen=True, slots=True)
class Settled:
    """How a point was settled at first: what every later version is measured against.

    ``local_buy`` is what its local energy cost (>= 0 unless prices were negative): VAT is due on
    it, too, whatever is corrected. ``feeder_wh`` and ``building_wh`` are the energies of its lines
    ``local-fee-feeder`` and ``local-fee-building``.
    """

    participant: str
    tariff: Tariff
    drawn: SettledEnergy
    fed_in: SettledEnergy
    local_buy: Money = Money(0)
    supplier: str = ""
    feeder_wh: int = 0
    building_wh: int = 0


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


def correct(ref: str, settled: Settled, now: Metered, before: Metered | None = None) -> Correction:
    """Return the correction of a settled point to the energies ``now``.

    ``before`` is what the version before said; None where there is none. New local = min(settled
    local, new metered). Local energy that the meter no longer covers stays traded: a seller who is
    short buys the gap at the point's own retail price with fees, levy and VAT, and a buyer who is
    short sells it back at feed-in. Own transfers, at price 0, follow the same rule after local
    energy. What is left of both came from as near as it can: from the building first, then from
    the feeder. The lines are those of the new total less those of the total before: no difference
    is rounded, so that what is undone leaves nothing behind, after however many versions.

    Raises:
        CorrectionError: an energy below 0.
    """
    new = _corrected(settled, now)
    old = _corrected(settled, before) if before is not None else (settled.drawn, settled.fed_in)
    lines = _difference(_total(settled, *new), _total(settled, *old))
    suppliers = {settled.drawn.point: settled.supplier}
    movements = memo_movements(settled.participant, lines, suppliers)
    entry = journal.entry_of(ref, "correction", movements)
    return Correction(settled.participant, *new, lines, entry)


def closing_day(today: date, months: int) -> date:
    """Return the first local day whose energy may still be corrected ``today``.

    That is the same day of the month so many months ago, or that month's last day.
    """
    place = today.year * 12 + today.month - 1 - months
    year, month = place // 12, place % 12 + 1
    return date(year, month, min(today.day, monthrange(year, month)[1]))


def _total(settled: Settled, drawn: SettledEnergy, fed_in: SettledEnergy) -> list[Line]:
    """Return all memo lines of the point, had it been settled with these energies."""
    quantities = _quantities(drawn, fed_in, settled)
    bought = Money(-settled.local_buy.micro)  # as on its line: < 0 where it is owed
    return memo_lines(drawn.point, settled.tariff, quantities, bought)


def _difference(new: Iterable[Line], old: Iterable[Line]) -> tuple[Line, ...]:
    """Return new less old lines, kind by kind; those that stayed as they were are left out."""
    found = {line.kind: line for line in new}
    for line in old:
        now = found.get(line.kind) or replace(line, wh=0, micro=0)
        found[line.kind] = replace(now, wh=now.wh - line.wh, micro=now.micro - line.micro)
    return tuple(line for line in found.values() if line.wh or line.micro)


def _corrected(settled: Settled, wh: Metered) -> tuple[SettledEnergy, SettledEnergy]:
    """Return the split of newly metered energies: local first, then own, the rest residual."""
    if min(wh) < 0:
        raise CorrectionError(f"point {settled.drawn.point}: {wh} holds an energy below 0 Wh")
    return _split(settled.drawn, wh.import_wh), _split(settled.fed_in, wh.export_wh)


def _split(settled: SettledEnergy, wh: int) -> SettledEnergy:
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
    settled: Settled,
) -> MemoQuantities:
    """Return what memo lines bill in total once local gaps are bought and sold back."""
    bought_back_wh = _committed_wh(settled.fed_in) - _committed_wh(fed_in)
    sold_back_wh = _committed_wh(settled.drawn) - _committed_wh(drawn)
    near_wh = _committed_wh(drawn)
    building_wh = min(settled.building_wh, near_wh)
    return MemoQuantities(
        drawn.residual_wh + bought_back_wh,
        near_wh,
        fed_in.residual_wh + sold_back_wh,
        min(settled.feeder_wh, near_wh - building_wh),
        building_wh,
    )


def _committed_wh(row: SettledEnergy) -> int:
    return row.local_wh + row.own_wh
