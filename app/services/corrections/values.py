"""Authorised values in place of what was known: previewed, then entered, a whole file or nothing.

``docs/money.md``, "Corrections".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from sqlmodel import Session, col, select

from app.files.values import Value, ValuesFileError, read_values
from app.services.corrections.record import (
    VALUES,
    Draft,
    Evidence,
    draft,
    first_day,
    is_too_old,
    refuse,
    write,
)
from app.services.house import House
from app.services.notices import point_of
from app.store import people
from app.tables import IntervalRow, MeteringPointRow, SettledRow, SlotRow, ValueFileRow
from market.correction import Metered

MAX_REASON: Final = 500
_SETTLED: Final = ("settled", "sealed", "final")
_TOLERANCE_PERCENT: Final = 110  # as for border readings
_QUARTERS_PER_HOUR: Final = 4
_CHUNK: Final = 500


class ValuesError(Exception):
    """Nothing was written: mend what the messages name and try again."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


@dataclass(frozen=True, slots=True)
class Authorised:
    """A file of values, why it is entered and by whom."""

    name: str
    content: bytes
    reason: str
    entered_by: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What a file would change, row by row; ``unchanged`` values are what is known already."""

    drafts: Sequence[Draft]
    unchanged: int


class Sound(NamedTuple):
    """A value that can be entered: its row, the slot that it is about, and what it says."""

    row: int
    slot: SlotRow
    now: Metered


def preview(house: House, file: Authorised, managed: Collection[str] | None = None) -> Preview:
    """Return what a file of values would change; writes nothing.

    ``managed`` are the participants whose points may be corrected; None: everybody's.

    Raises:
        ValuesError: the file, some of its rows or the reason are refused.
    """
    values = _read(file)
    with house.database.read() as session:
        sound = _sound(session, values, managed)
        if late := _late(house, sound):
            raise _too_old(house, late)
        return _planned(house, session, sound)


def enter(house: House, file: Authorised, managed: Collection[str] | None = None) -> Preview:
    """Enter a file of values: a version for each that says something new; return what changed.

    Raises:
        ValuesError: nothing was corrected. Values that are too old are kept on record, and told.
    """
    values = _read(file)
    with house.database.write() as session:
        people.district(session, lock=True)  # one writer at a time corrects
        sound = _sound(session, values, managed)
        if late := _late(house, sound):
            for its in _by_point(late).values():
                refuse(house, session, [(each.slot, each.now) for each in its], VALUES)
        else:
            found = _planned(house, session, sound)
            _write(house, session, file, found.drafts)
    if late:
        raise _too_old(house, late)
    return found


def _read(file: Authorised) -> tuple[Value, ...]:
    if not file.reason.strip():
        raise ValuesError(["a reason is missing: say who authorised the values, and why"])
    if len(file.reason) > MAX_REASON or not file.reason.isprintable():
        raise ValuesError([f"the reason has more than {MAX_REASON} characters, or odd ones"])
    try:
        return read_values(file.content)
    except ValuesFileError as error:
        raise ValuesError(error.faults) from error


def _write(house: House, session: Session, file: Authorised, drafts: Sequence[Draft]) -> None:
    row = ValueFileRow(
        name=file.name,
        content=file.content,
        digest=sha256(file.content).digest(),
        reason=file.reason.strip(),
        entered_by=file.entered_by,
        entered_ms=house.clock.now_ms(),
    )
    session.add(row)
    session.flush()
    for each in drafts:
        write(house, session, each, Evidence(row.reason, file=row))
    _tell(house, session, row, drafts)


def _tell(house: House, session: Session, file: ValueFileRow, drafts: Sequence[Draft]) -> None:
    """Tell each point's people that values were entered in place of what was known."""
    names, now_ms = people.points(session), house.clock.now_ms()
    told: dict[tuple[str, str], list[Draft]] = {}
    for each in drafts:
        told.setdefault((each.slot.point, each.settled.participant), []).append(each)
    for (point, whose), its in sorted(told.items()):
        first = min(each.slot.interval for each in its)
        count = "1 quarter-hour" if len(its) == 1 else f"{len(its)} quarter-hours"
        people.notify(
            session,
            ref=f"values/{file.id}/{point}/{whose}",
            at_ms=now_ms,
            level="info",
            text=f"{names[point].name}: authorised values replace what was known of {count} from "
            f"{first} on; what that changes stands on the statement",
            point=point_of(session, point, whose, now_ms),
        )


def _planned(house: House, session: Session, sound: Sequence[Sound]) -> Preview:
    planned = [draft(house, session, each.slot, each.now) for each in sound]
    found = [each for each in planned if each.changes]
    if not found:
        raise ValuesError(["nothing would change: every value is what is known already"])
    return Preview(found, len(planned) - len(found))


def _late(house: House, sound: Sequence[Sound]) -> Sequence[Sound]:
    return [each for each in sound if is_too_old(house, each.slot.interval)]


def _too_old(house: House, late: Sequence[Sound]) -> ValuesError:
    months = house.settings.correction_months
    why = f"energy from before {first_day(house)} is not corrected (correction_months: {months})"
    return ValuesError([f"row {each.row}: {why}; take it out of the file" for each in late])


def _by_point(late: Sequence[Sound]) -> Mapping[str, Sequence[Sound]]:
    found: dict[str, list[Sound]] = {}
    for each in sorted(late, key=lambda one: (one.slot.point, one.slot.interval)):
        found.setdefault(each.slot.point, []).append(each)
    return found


def _sound(
    session: Session, values: Sequence[Value], managed: Collection[str] | None
) -> Sequence[Sound]:
    """Return the slot of each value.

    Raises:
        ValuesError: some of them cannot be entered.
    """
    points = people.points(session)
    states = _states(session, sorted({value.interval.key for value in values}))
    found, faults = [], []
    for value in values:
        key, point = value.interval.key, value.point
        told = list(_faults(session, value, points.get(point), states.get(key, ""), managed))
        if told:
            faults.append(f"row {value.row}: {'; '.join(told)}")
        else:
            found.append(Sound(value.row, session.get_one(SlotRow, (key, point)), value.now))
    if faults:
        raise ValuesError(faults)
    return found


def _states(session: Session, keys: Sequence[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for at in range(0, len(keys), _CHUNK):
        chunk = keys[at : at + _CHUNK]
        rows = session.exec(
            select(IntervalRow.key, IntervalRow.state).where(col(IntervalRow.key).in_(chunk))
        )
        found |= dict(rows.all())
    return found


def _faults(
    session: Session,
    value: Value,
    point: MeteringPointRow | None,
    state: str,
    managed: Collection[str] | None,
) -> Iterator[str]:
    """Say why a value cannot be entered; nothing where it can."""
    key = value.interval.key
    settled = session.get(SettledRow, (key, value.point))
    strangers = managed is not None and settled is not None and settled.participant not in managed
    if point is None or strangers:
        yield f"there is no metering point {value.point!r:.40} of yours: write its 18-digit GSRN"
        return
    if point.purpose:
        yield f"{point.name} measures alone ({point.purpose}) and is never settled"
    elif state not in _SETTLED:
        stands = f"is {state}" if state else "is not there"
        yield f"{key} {stands}: only what is settled is corrected"
    elif settled is None:
        yield f"{point.name} was not metered in {key}: there is nothing to correct"
    most_wh = -(-point.max_power_w * _TOLERANCE_PERCENT // (100 * _QUARTERS_PER_HOUR))
    if max(value.now) > most_wh:
        yield (
            f"{max(value.now)} Wh in a quarter-hour is more than the fuse of {point.name} allows "
            f"({most_wh} Wh): is it Wh of 15 minutes?"
        )
