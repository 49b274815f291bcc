"""What two border readings say about the energy between them, and why they may say nothing.

The rule stands in docs/protocol.md, "Border readings and quantities". Metering asks it of one
interval's borders, correcting of the borders around a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from sqlmodel import Session

from app.services import judging, plausibility
from app.services.meter_change import Values
from app.services.plausibility import Flag, Totals
from app.store import borders, chain, people
from app.store import changes as change_store
from app.store.borders import Stretch
from app.store.chain import Entry
from app.store.changes import APPROVED, PROPOSED
from app.tables import MeterChangeRow, ReadingRow
from metering.quantities import RegisterTotal
from metering.reading import Reading

Pair: TypeAlias = tuple[ReadingRow, ReadingRow]  # opening and closing

_SUSPECT: Final = (Flag.COUNTER_FELL, Flag.IMPOSSIBLE_POWER)
_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Measured:
    """A point's energy between two border readings; an absent register counts as 0."""

    import_wh: int
    export_wh: int


class Fault(StrEnum):
    """Why two border readings do not tell the energy between them, in words for people."""

    EXCHANGED = "the meter was exchanged"
    CHANGED = "the meter's counters began anew"
    UNDECIDED = "a change of the meter awaits a decision"
    OUT_OF_ORDER = "the later reading was signed before the earlier one"
    REGISTER_MISSING = "a register shows at one end only"
    FELL = "a register fell"
    JUMPED = "a register rose by more than the fuse allows"


def judge(
    session: Session, pairs: Sequence[Pair], *, across: bool = False
) -> Sequence[Measured | Fault]:
    """Return for each pair the energy between its readings, or why it cannot be told.

    A register may neither fall nor rise by more than the point's fuse allows: not from border to
    border, and not from any good reading to the next one in between. ``across``: approved changes
    of a meter's counters are bridged, with their closing and opening values.
    """
    if not pairs:
        return []
    serials = borders.serials(session)
    limits_w = {point: row.max_power_w for point, row in people.points(session).items()}
    bridges = _bridges(session, pairs)
    found: list[Measured | Fault] = []
    for pair in pairs:
        steps = _way(pair, bridges, serials)
        if isinstance(steps, Fault):
            found.append(steps)
        elif len(steps) > 1 and not across:
            found.append(Fault.CHANGED)
        else:
            found.append(_add_up(steps, limits_w[pair[0].point]))
    stretches = [
        stretch
        for number, pair in enumerate(pairs)
        if isinstance(found[number], Measured)
        for stretch in _stretches(number, pair, bridges)
    ]
    for number, row in borders.flagged(session, stretches, _SUSPECT):
        if isinstance(found[number], Measured) and not _in_a_change(row, pairs[number], bridges):
            fault = _fault_at(session, row, pairs[number], limits_w[row.point])
            found[number] = fault or found[number]
    return found


_Bridges: TypeAlias = Mapping[tuple[str, int], MeterChangeRow]  # by the chain that ends there
_Way: TypeAlias = Sequence[tuple[Totals, Totals]]


def _bridges(session: Session, pairs: Sequence[Pair]) -> _Bridges:
    """Return the changes by which one chain goes on as another, where a pair needs them."""
    points = {first.point for first, last in pairs if _chain(first) != _chain(last)}
    if not points:
        return {}
    found: dict[tuple[str, int], MeterChangeRow] = {}
    for row in change_store.of_points(session, points):
        # A way leads forward alone: what is approved was begun after what it goes on from.
        if row.state in (APPROVED, PROPOSED) and (row.new_key, row.new_epoch) not in found:
            found[row.old_key, row.old_epoch] = row
    return found


def _way(pair: Pair, bridges: _Bridges, serials: Mapping[str, str]) -> _Way | Fault:
    """Return the stretches of one counter each that lead from one reading to the other."""
    opening, closing = pair
    first, last = (Reading.from_payload(row.payload) for row in pair)
    steps: list[tuple[Totals, Totals]] = []
    here = _chain(opening)
    at: Totals = first
    while here != _chain(closing) and (row := bridges.get(here)) is not None:
        if row.state == PROPOSED:
            return Fault.UNDECIDED
        steps.append(
            (at, Values(row.closing_ms or 0, row.closing_import_wh, row.closing_export_wh))
        )
        at = Values(row.opening_ms or 0, row.opening_import_wh, row.opening_export_wh)
        here = (row.new_key, row.new_epoch)
    if here != _chain(closing) and serials[here[0]] != serials[closing.key]:
        return Fault.EXCHANGED
    if here[0] == closing.key and here[1] != closing.epoch:
        return Fault.CHANGED
    if _chain(opening) == _chain(closing) and closing.seq <= opening.seq:
        return Fault.OUT_OF_ORDER
    return [*steps, (at, last)]


def _add_up(steps: _Way, max_power_w: int) -> Measured | Fault:
    import_wh = export_wh = 0
    for first, last in steps:
        if plausibility.lost_register(last, first):
            return Fault.REGISTER_MISSING
        if plausibility.fell(last, first):
            return Fault.FELL
        if plausibility.jumped(last, first, max_power_w):
            return Fault.JUMPED
        import_wh += _difference(first.import_wh, last.import_wh)
        export_wh += _difference(first.export_wh, last.export_wh)
    return Measured(import_wh, export_wh)


def _in_a_change(row: ReadingRow, pair: Pair, bridges: _Bridges) -> bool:
    """Tell whether a reading lies between a chain's closing value and the next one's opening."""
    if _chain(pair[0]) == _chain(pair[1]):
        return False
    ends = bridges.get(_chain(row))
    if ends is not None and row.answered_ms > (ends.closing_ms or 0):
        return True
    begins = next((e for e in bridges.values() if (e.new_key, e.new_epoch) == _chain(row)), None)
    return begins is not None and row.answered_ms < (begins.opening_ms or 0)


def _difference(earlier_wh: int | None, later_wh: int | None) -> int:
    return RegisterTotal(later_wh or 0).since(RegisterTotal(earlier_wh or 0)).wh


def _stretches(number: int, pair: Pair, bridges: _Bridges) -> Iterator[Stretch]:
    """Yield what lies between two readings by seq, on all the chains that lead from one to the
    other: those of a rotation's two keys, those between two epochs.
    """
    opening, closing = pair
    if _chain(opening) == _chain(closing):
        yield Stretch(number, *_chain(opening), after=opening.seq, before=closing.seq)
        return
    yield Stretch(number, *_chain(opening), after=opening.seq)
    here = _chain(opening)
    while (row := bridges.get(here)) is not None:
        here = (row.new_key, row.new_epoch)
        if here == _chain(closing):
            break
        yield Stretch(number, *here)
    yield Stretch(number, *_chain(closing), before=closing.seq)


def _chain(row: ReadingRow) -> tuple[str, int]:
    return row.key, row.epoch


def _fault_at(session: Session, row: ReadingRow, pair: Pair, max_power_w: int) -> Fault | None:
    """Return what an odd reading says of the registers: nothing, if it came and went.

    That is judged between the good readings around it (at the end of a rotated key's chain, the
    borders): a blip to 0 and a spike leave nothing behind, and the power alone settles nothing.
    """
    whose = (row.key, row.epoch)
    odd = chain.above(session, whose, row.seq, 1)[0].reading
    before = _nearest_good(session, whose, row.seq, up=False)
    after = _nearest_good(session, whose, row.seq, up=True)
    first, last = (Reading.from_payload(end.payload) for end in pair)
    good = first if before is None else before.reading
    later = last if after is None else after.reading
    if plausibility.passes(odd, good, later, max_power_w):
        return None
    fallen = any(plausibility.fell(each, good) for each in (odd, later))
    return Fault.FELL if fallen else Fault.JUMPED


def _nearest_good(session: Session, whose: tuple[str, int], seq: int, *, up: bool) -> Entry | None:
    """Return the nearest good reading of a chain above or below a number."""
    while True:
        entries = (
            chain.above(session, whose, seq + 1, _AT_ONCE)
            if up
            else chain.below(session, whose, seq, _AT_ONCE)
        )
        if not entries:
            return None
        for entry in entries:
            if judging.is_good(entry):
                return entry
        seq = entries[-1].reading.seq
