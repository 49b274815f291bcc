"""Standing instructions: entered in versions, from an interval on that has not begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlmodel import Session

from app.services.house import House
from app.store import agents
from app.tables import InstructionRow, MeteringPointRow
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
        row = _locked(session, participant, point)
        _check(house, row, instruction)
        return _add(house, session, point, instruction, entered_by, _from(house, valid_from))


def repeat(
    house: House, participant: str, point: str, version: int, entered_by: str
) -> InstructionRow | None:
    """Enter what an earlier version says as a further one, which undoes those after it.

    Version 0 is the default. Returns None where it is what holds already.

    Raises:
        InstructionError: there is no such version, or the district can no longer do it.
    """
    with house.database.write() as session:
        row = _locked(session, participant, point)
        there = {each.version: each for each in agents.versions(session, point)}
        if version and version not in there:
            raise InstructionError(f"there is no version {version} of these limits", "")
        instruction = agents.to_instruction(there.get(version))
        _check(house, row, instruction)
        added = _add(house, session, point, instruction, entered_by, _from(house, None))
        if added is not None:
            added.repeats = version
        return added


def tick(house: House) -> Price:
    """Return the district's price tick."""
    return Price(house.settings.price_tick_micro_per_kwh)


def next_interval(house: House) -> Interval:
    """Return the first interval that has not begun."""
    return Interval.containing_ms(house.clock.now_ms()).next()


def _locked(session: Session, participant: str, point: str) -> MeteringPointRow:
    row = agents.lock_point(session, point)
    if row is None or row.participant != participant:
        raise InstructionError("there is no such metering point among yours", "point")
    return row


def _check(house: House, row: MeteringPointRow, instruction: Instruction) -> None:
    check(instruction, agents.place_of(row), tick(house))


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
    point: str,
    instruction: Instruction,
    entered_by: str,
    start: Interval,
) -> InstructionRow | None:
    before = agents.versions(session, point)
    if _holds_already(before, instruction, start):
        return None
    row = agents.to_row(point, before[0].version + 1 if before else 1, instruction)
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
