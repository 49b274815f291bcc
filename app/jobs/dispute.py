"""Replaces what rests on readings of a key that was revoked from an earlier interval on.

Each settled interval gets a version of its correction: the estimate in place of what was metered,
with postings that sum to 0, so that who was paid for energy that nobody measured pays it back. It
is made good like any estimate once two good readings stand around the gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from sqlmodel import Session

from app.services.corrections.record import (
    VALUES,
    Draft,
    Evidence,
    draft,
    is_too_old,
    refuse,
    write,
)
from app.services.corrections.substitutes import estimate, file_of
from app.services.house import House
from app.services.notices import point_of
from app.store import disputed, people
from app.tables import SettledRow, SlotRow
from market.correction import Metered

_REASON: Final = "estimate in place of readings of a revoked key"
_TOO_OLD: Final = "its readings were disputed too late"


def replace_disputed(house: House) -> bool:
    """Replace every disputed energy of a settled interval; return whether there was one."""
    with house.database.read() as session:
        if not disputed.to_replace(session):
            return False
    with house.database.write() as session:
        people.district(session, lock=True)  # one worker at a time corrects
        slots = disputed.to_replace(session)
        for _, of_point in groupby(slots, key=lambda slot: slot.point):
            _replace(house, session, list(of_point))
    return bool(slots)


def _replace(house: House, session: Session, slots: Sequence[SlotRow]) -> None:
    """Replace one point's energies, in time order; what is too old is refused and kept."""
    for slot in slots:
        slot.disputed = disputed.REPLACED
    settled = [slot for slot in slots if _was_settled(session, slot)]
    late = [slot for slot in settled if is_too_old(house, slot.interval)]
    refuse(house, session, [(slot, estimate(session, slot)) for slot in late], VALUES)
    for slot in late:
        slot.fault = _TOO_OLD
    now = {
        (slot.point, slot.interval): (slot, estimate(session, slot))
        for slot in settled
        if slot not in late
    }
    drafts = [draft(house, session, slot, wh) for slot, wh in now.values()]
    if drafts:
        _write(house, session, drafts, {place: wh for place, (_, wh) in now.items()})


def _was_settled(session: Session, slot: SlotRow) -> bool:
    """Tell whether somebody was billed: points that measure alone are settled with nobody."""
    return session.get(SettledRow, (slot.interval, slot.point)) is not None


def _write(
    house: House,
    session: Session,
    drafts: Sequence[Draft],
    values: dict[tuple[str, str], Metered],
) -> None:
    file = file_of(house, session, _REASON, values)
    for each in drafts:
        if each.changes:
            write(house, session, each, Evidence(_REASON, file=file))
    _tell(house, session, file.id or 0, drafts)


def _tell(house: House, session: Session, file: int, drafts: Sequence[Draft]) -> None:
    """Tell a point's people, and who was behind it then, what is in doubt and what it changes."""
    point, now_ms = drafts[0].slot.point, house.clock.now_ms()
    name = people.points(session)[point].name
    for whose in sorted({each.settled.participant for each in drafts}):
        its = [each for each in drafts if each.settled.participant == whose]
        micro = sum(each.done.amount.micro for each in its)
        count = "1 quarter-hour" if len(its) == 1 else f"{len(its)} quarter-hours"
        people.notify(
            session,
            ref=f"disputed/{file}/{point}/{whose}",
            at_ms=now_ms,
            level="alarm",
            text=f"{name}: the meter's key was revoked from an earlier time on; its readings of "
            f"{count} from {its[0].slot.interval} to {its[-1].slot.interval} are disputed, and "
            f"estimates replace them: {micro / 1_000_000:+.2f} EUR on the statement. They are made "
            "good once the meter's registers are read with a new key",
            point=point_of(session, point, whose, now_ms),
        )
