"""What two border readings say about the energy between them, and why they may say nothing.

The rule stands in docs/protocol.md, "Border readings and quantities". Metering asks it of one
interval's borders, correcting of the borders around a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from sqlmodel import Session

from app.services import plausibility
from app.services.plausibility import Flag
from app.store import borders, chain, people
from app.store.borders import Stretch
from app.tables import ReadingRow
from metering.quantities import RegisterTotal
from metering.reading import Reading

Pair: TypeAlias = tuple[ReadingRow, ReadingRow]  # opening and closing

_SUSPECT: Final = (Flag.COUNTER_FELL, Flag.IMPOSSIBLE_POWER)


@dataclass(frozen=True, slots=True)
class Measured:
    """A point's energy between two border readings; an absent register counts as 0."""

    import_wh: int
    export_wh: int


class Fault(StrEnum):
    """Why two border readings do not tell the energy between them, in words for people."""

    EXCHANGED = "the meter was exchanged"
    OUT_OF_ORDER = "the later reading was signed before the earlier one"
    REGISTER_MISSING = "a register shows at one end only"
    FELL = "a register fell"
    JUMPED = "a register rose by more than the fuse allows"


def judge(session: Session, pairs: Sequence[Pair]) -> Sequence[Measured | Fault]:
    """Return for each pair the energy between its readings, or why it cannot be told.

    A register may neither fall nor rise by more than the point's fuse allows: not from border to
    border, and not from any reading to the next one in between.
    """
    if not pairs:
        return []
    serials = borders.serials(session)
    limits_w = {point: row.max_power_w for point, row in people.points(session).items()}
    found = [_compare(pair, serials, limits_w[pair[0].point]) for pair in pairs]
    stretches = [
        stretch
        for number, pair in enumerate(pairs)
        if isinstance(found[number], Measured)
        for stretch in _stretches(number, pair)
    ]
    for number, row in borders.flagged(session, stretches, _SUSPECT):
        if isinstance(found[number], Measured):
            found[number] = _fault_at(session, row, limits_w[row.point]) or found[number]
    return found


def _compare(pair: Pair, serials: Mapping[str, str], max_power_w: int) -> Measured | Fault:
    opening, closing = pair
    if serials[opening.key] != serials[closing.key]:
        return Fault.EXCHANGED
    if _chain(opening) == _chain(closing) and closing.seq <= opening.seq:
        return Fault.OUT_OF_ORDER
    first, last = (Reading.from_payload(row.payload) for row in pair)
    if plausibility.lost_register(last, first):
        return Fault.REGISTER_MISSING
    if plausibility.fell(last, first):
        return Fault.FELL
    if plausibility.jumped(last, first, max_power_w):
        return Fault.JUMPED
    return Measured(
        _difference(first.import_wh, last.import_wh), _difference(first.export_wh, last.export_wh)
    )


def _difference(earlier_wh: int | None, later_wh: int | None) -> int:
    return RegisterTotal(later_wh or 0).since(RegisterTotal(earlier_wh or 0)).wh


def _stretches(number: int, pair: Pair) -> Sequence[Stretch]:
    """Return what lies between two readings by seq; after a rotation, on both keys' chains."""
    opening, closing = pair
    if _chain(opening) == _chain(closing):
        return [Stretch(number, *_chain(opening), after=opening.seq, before=closing.seq)]
    return [
        Stretch(number, *_chain(opening), after=opening.seq),
        Stretch(number, *_chain(closing), before=closing.seq),
    ]


def _chain(row: ReadingRow) -> tuple[str, int]:
    return row.key, row.epoch


def _fault_at(session: Session, row: ReadingRow, max_power_w: int) -> Fault | None:
    """Return what a flagged reading says of the registers: the power alone settles nothing."""
    if Flag.COUNTER_FELL in plausibility.parse(row.flags):
        return Fault.FELL
    around = chain.around(session, row.key, row.epoch, [row.seq])
    before = max((seq for seq in around if seq < row.seq), default=None)
    if before is None:
        return None
    jumped = plausibility.jumped(around[row.seq].reading, around[before].reading, max_power_w)
    return Fault.JUMPED if jumped else None
