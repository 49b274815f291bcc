"""Standing instructions: entered in versions, from an interval on that has not begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlmodel import Session

from app.services.house import House
from app.store import agents, registry
from app.store.registry import Standing
from app.tables import InstructionRow
from market.agents import Instruction, InstructionError, check
from market.money import Price
from metering.interval import Interval

MAX_AHEAD_MS: Final = 366 * 86_400_000


def enter(
    house: House,
    participant: str,
    point: str,
    instruction: Instruction,
    entered_by: str,
    valid_from: Interval | None = None,
) -> InstructionRow | None:
    """Enter a further version of a point's instruction; None where it is what holds already.

    It holds from ``valid_from`` on, at the earliest (and without one) from the next interval that
    has not begun. What was planned for later than that is replaced as well.

    Raises:
        InstructionError: the district cannot do it, or it would begin in the past; nothing is
            written.
    """
    with house.database.write() as session:
        held, start = _locked(house, session, participant, point), _from(house, valid_from)
        check(instruction, held.place, tick(house))
        return _add(house, session, held, instruction, entered_by, start)


def repeat(
    house: House, participant: str, point: str, version: int, entered_by: str
) -> InstructionRow | None:
    """Enter what an earlier version says as a further one, which undoes those after it.

    Version 0 is the default. Returns None where it is what holds already.

    Raises:
        InstructionError: there is no such version, or the district can no longer do it.
    """
    with house.database.write() as session:
        held, start = _locked(house, session, participant, point), _from(house, None)
        there = {each.version: each for each in agents.versions(session, point, start.key)}
        if version and version not in there:
            raise InstructionError(f"there is no version {version} of these limits", "")
        instruction = agents.to_instruction(there.get(version))
        check(instruction, held.place, tick(house))
        added = _add(house, session, held, instruction, entered_by, start)
        if added is not None:
            added.repeats = version
        return added


def tick(house: House) -> Price:
    """Return the district's price tick."""
    return Price(house.settings.price_tick_micro_per_kwh)


def next_interval(house: House) -> Interval:
    """Return the first interval that has not begun."""
    return Interval.containing_ms(house.clock.now_ms()).next()


def _locked(house: House, session: Session, participant: str, point: str) -> Standing:
    """Return what will hold for a participant's own point in the next interval, its row locked."""
    agents.lock_point(session, point)
    held = registry.of(session, participant, next_interval(house).key).get(point)
    if held is None:
        raise InstructionError("there is no such metering point among yours", "point")
    return held


def _from(house: House, valid_from: Interval | None) -> Interval:
    earliest = next_interval(house)
    start = valid_from or earliest
    if start.start_ms < earliest.start_ms:
        raise InstructionError(
            f"{start.key} has begun: limits hold from {earliest.key} on at the earliest",
            "valid_from",
        )
    if start.start_ms > earliest.start_ms + MAX_AHEAD_MS:
        raise InstructionError(f"{start.key} is more than a year ahead", "valid_from")
    return start


def _add(
    house: House,
    session: Session,
    held: Standing,
    instruction: Instruction,
    entered_by: str,
    start: Interval,
) -> InstructionRow | None:
    point, now = held.point, next_interval(house).key
    if _holds_already(agents.versions(session, point, now), instruction, start):
        return None
    row = agents.to_row(point, agents.next_version(session, point), instruction)
    row.participant = held.participant
    row.valid_from, row.known_ms, row.entered_by = start.key, house.clock.now_ms(), entered_by
    session.add(row)
    session.flush()
    return row


def _holds_already(
    newest_first: Sequence[InstructionRow], instruction: Instruction, start: Interval
) -> bool:
    """Tell whether the newest version says so by then, so that sending a form twice adds one."""
    if not newest_first:
        return instruction == Instruction()
    newest = newest_first[0]
    return newest.valid_from <= start.key and agents.to_instruction(newest) == instruction
