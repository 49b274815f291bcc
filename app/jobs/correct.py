"""Makes estimates good once the registers around a gap are known; nothing clears again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, exists
from sqlmodel import Session, col, func, or_, select

from app.services import border_pairs
from app.services.border_pairs import Fault, Measured
from app.services.corrections.record import (
    READINGS,
    Evidence,
    draft,
    is_too_old,
    refuse,
    write,
)
from app.services.corrections.substitutes import estimate, file_of
from app.services.house import House
from app.store import borders, disputed, people, registry
from app.tables import CorrectionRow, IntervalRow, ReadingRow, SlotRow
from ledger_client.merkle import leaf_hash
from ledger_client.proof import Borders, slot_leaf
from market.correction import Metered
from market.estimates import scale_to_difference
from metering.interval import Interval
from metering.quantities import Energy

_SETTLED: Final = ("settled", "sealed", "final")
_REASON: Final = "estimate scaled to the register difference over the gap"
_TOO_OLD: Final = "what was measured became known too late"


@dataclass(frozen=True, slots=True)
class Gap:
    """Estimated intervals of one point between two border readings."""

    slots: Sequence[SlotRow]
    opening: ReadingRow
    closing: ReadingRow


def correct_estimates(house: House) -> bool:
    """Correct every gap that is now closed; return whether there was one.

    Where there is none, nothing is locked: in a long outage the looking alone takes seconds.
    """
    with house.database.read() as session:
        if not _gaps(session):
            return False
    with house.database.write() as session:
        people.district(session, lock=True)  # one worker at a time corrects
        gaps = _gaps(session)
        pairs = [(gap.opening, gap.closing) for gap in gaps]
        found = border_pairs.judge(session, pairs, across=True)
        for gap, told in zip(gaps, found, strict=True):
            if isinstance(told, Measured):
                _correct_gap(house, session, gap, told)
            elif told is not Fault.UNDECIDED:  # that waits for a person
                _give_up(house, session, gap, told)
    return any(told is not Fault.UNDECIDED for told in found)


def _gaps(session: Session) -> list[Gap]:
    return [
        gap
        for slots in _estimated(session).values()
        for gap in _closed_gaps(slots, _borders(session, slots))
    ]


def _estimated(session: Session) -> Mapping[str, Sequence[SlotRow]]:
    """Return each point's slots that await what was measured, in time order.

    Points whose meter did not answer at any border since are left out: in a long outage that
    spares reading all of it at each quarter-hour.
    """
    waiting = session.exec(
        select(SlotRow.point, func.min(SlotRow.interval)).where(*_awaits()).group_by(SlotRow.point)
    ).all()
    back = [
        point
        for point, first in waiting
        if borders.any_since(session, point, Interval.parse(first).end_ms)
    ]
    rows = session.exec(
        select(SlotRow)
        .where(*_awaits(), col(SlotRow.point).in_(back))
        .order_by(SlotRow.point, SlotRow.interval)
    )
    found: dict[str, list[SlotRow]] = defaultdict(list)
    for row in rows:
        found[row.point].append(row)
    return found


def _awaits() -> Sequence[ColumnElement[bool]]:
    """Return the condition of a settled slot that was estimated and never made good.

    Or whose estimate replaced what was disputed, and was not made good since. Of points that
    measure alone nothing was settled: their estimates stay. Rows from before
    ``made_good`` was kept have a correction alone.
    """
    of_slot = (
        col(CorrectionRow.interval) == col(SlotRow.interval),
        col(CorrectionRow.point) == col(SlotRow.point),
        or_(col(CorrectionRow.source).is_(None), col(CorrectionRow.source) == READINGS),
    )
    settled = exists().where(
        col(IntervalRow.key) == col(SlotRow.interval), col(IntervalRow.state).in_(_SETTLED)
    )
    estimated = and_(
        col(SlotRow.estimated).is_(True),
        col(SlotRow.fault).is_(None),
        col(SlotRow.made_good).is_(None),
        col(SlotRow.disputed).is_(None),
        ~exists().where(*of_slot),
    )
    replaced = and_(col(SlotRow.disputed) == disputed.REPLACED, col(SlotRow.fault).is_(None))
    return (or_(estimated, replaced), registry.settling(SlotRow.point), settled)


def _borders(session: Session, slots: Sequence[SlotRow]) -> Mapping[int, ReadingRow]:
    """Return one point's border readings, as known now, by the border's time in ms."""
    known: dict[int, ReadingRow] = {}
    for first, last in _runs([Interval.parse(slot.interval) for slot in slots]):
        known |= borders.of_point(session, slots[0].point, first.start_ms, last.end_ms)
    return known


def _runs(intervals: Sequence[Interval]) -> Iterator[tuple[Interval, Interval]]:
    """Yield the first and the last of each unbroken run of intervals in time order."""
    first = last = intervals[0]
    for interval in intervals[1:]:
        if interval != last.next():
            yield first, last
            first = interval
        last = interval
    yield first, last


def _closed_gaps(slots: Sequence[SlotRow], known: Mapping[int, ReadingRow]) -> Iterator[Gap]:
    """Cut the slots at known borders; yield the unbroken runs that begin and end at one."""
    run: list[SlotRow] = []
    for slot in slots:
        interval = Interval.parse(slot.interval)
        follows = bool(run) and Interval.parse(run[-1].interval).next() == interval
        if interval.start_ms in known:
            run = [slot]
        elif follows:
            run.append(slot)
        else:
            run = []
        if run and interval.end_ms in known:
            begin = Interval.parse(run[0].interval).start_ms
            yield Gap(tuple(run), known[begin], known[interval.end_ms])
            run = []


def _correct_gap(house: House, session: Session, gap: Gap, told: Measured) -> None:
    """Write what the registers tell of each interval; what is too old is refused and kept."""
    weights = [Energy(estimate(session, slot).import_wh) for slot in gap.slots]
    imports, exports = (
        _split(gap, weights, wh) for wh in (told.import_wh, told.export_wh)
    )  # fmt: skip
    found = list(zip(gap.slots, map(Metered, imports, exports), strict=True))
    late = [each for each in found if is_too_old(house, each[0].interval)]
    for slot, _ in late:
        slot.fault = _TOO_OLD
    refuse(house, session, late, READINGS)
    known = found[len(late) :]  # the older ones come first
    again = {(s.point, s.interval): now for s, now in known if s.disputed}
    file = file_of(house, session, _REASON, again) if again else None
    for slot, now in known:
        evidence = Evidence(_REASON, leaf_hash(_new_leaf(gap, slot)))
        if slot.disputed:  # it was measured and sealed once: a value takes its place
            evidence, slot.disputed = Evidence(_REASON, file=file), disputed.MEASURED
        write(house, session, draft(house, session, slot, now), evidence)
        slot.made_good = True
    if known:
        _tell_of_return(house, session, gap)


def _tell_of_return(house: House, session: Session, gap: Gap) -> None:
    first, last = (Interval.parse(gap.slots[place].interval) for place in (0, -1))
    zone = house.settings.tz
    point = gap.slots[0].point
    people.notify(
        session,
        ref=f"corrected/{first}/{point}",
        at_ms=house.clock.now_ms(),
        level="info",
        text=f"{people.points(session)[point].name}: the meter is back; what it measured from "
        f"{first.start.astimezone(zone):%H:%M} to {last.end.astimezone(zone):%H:%M %Z} replaces "
        "the estimates",
        point=point,
    )


def _split(gap: Gap, weights: Sequence[Energy], difference_wh: int) -> list[int]:
    """Spread one register's difference over the gap."""
    keys = [slot.interval for slot in gap.slots]
    parts = scale_to_difference(Energy(difference_wh), weights, keys)
    return [part.wh for part in parts]


def _new_leaf(gap: Gap, slot: SlotRow) -> bytes:
    """Return the slot's leaf bound to the border readings at both ends of its gap."""
    held = Borders(
        closing=gap.closing.leaf,
        count=slot.count,
        opening=gap.opening.leaf,
        root=slot.readings_root,
    )
    return slot_leaf(slot.point, slot.interval, slot.salt, held)


def _give_up(house: House, session: Session, gap: Gap, fault: Fault) -> None:
    """Let the estimates stand for good: no later reading tells what went through the meter."""
    for slot in gap.slots:
        slot.fault = fault.value
    slot = gap.slots[0]
    people.notify(
        session,
        ref=f"reset/{slot.interval}/{slot.point}",
        at_ms=house.clock.now_ms(),
        level="alarm",
        text=f"{people.points(session)[slot.point].name}: {fault} between the start of "
        f"{slot.interval} and the end of {gap.slots[-1].interval}; the estimates stand for good: "
        "check the meter",
        point=slot.point,
    )
