"""The page of corrections: satisfies :class:`web.ports.corrections.Corrections`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlmodel import Session

from app.files.rows import INTEGER
from app.files.values import one_value
from app.services.corrections import values
from app.services.corrections.record import READINGS, Draft, first_day
from app.services.corrections.values import Authorised, ValuesError
from app.services.house import House
from app.store import corrections, people, registry
from app.tables import CorrectionRow
from market.correction import Metered
from metering.interval import Interval, IntervalError
from web.ports import RefusedError
from web.ports.corrections import (
    AskedValue,
    CorrectionLine,
    CorrectionsPage,
    LateLine,
    ValueChange,
)

_SHOWN: Final = 100


class CorrectionsDesk:
    """Corrections of the points that the building manager manages, for their page."""

    def __init__(self, house: House, managed: Collection[str]) -> None:
        self._house, self._managed = house, managed

    def page(self) -> CorrectionsPage:
        """Return the manager's page."""
        with self._house.database.read() as session:
            own = {stay.point for stay in registry.stays(session, self._managed)}
            names = {point: row.name for point, row in people.points(session).items()}
            rows = corrections.newest_first(session, _SHOWN, self._managed)
            late = corrections.refused(session, _SHOWN, self._managed)
            return CorrectionsPage(
                zone=people.district(session).zone,
                first_day=first_day(self._house).isoformat(),
                points=sorted(((p, names[p]) for p in own), key=lambda each: each[1]),
                lines=[_line(row, names, self._people(session)) for row in rows],
                late=[
                    LateLine(
                        name=names[row.point],
                        key=row.interval,
                        import_wh=row.import_wh,
                        export_wh=row.export_wh,
                        source=row.source,
                        known_ms=row.known_ms,
                    )
                    for row in late
                ],
            )

    def preview(self, asked: AskedValue) -> ValueChange:
        """Say what a value would change."""
        try:
            found = values.preview(self._house, self._file(asked, ""), self._managed)
        except ValuesError as error:
            raise _refused(error) from error
        with self._house.database.read() as session:
            names = people.points(session)
            (draft,) = found.drafts
            return _change(draft, names[draft.slot.point].name, self._people(session))

    def enter(self, asked: AskedValue, role: str) -> None:
        """Enter a value as the next version."""
        try:
            values.enter(self._house, self._file(asked, role), self._managed)
        except ValuesError as error:
            raise _refused(error) from error

    def _file(self, asked: AskedValue, role: str) -> Authorised:
        """Return what was typed as a file of one value."""
        if not (asked.point.isascii() and asked.point.isdigit()):
            raise RefusedError("choose the metering point", "point")
        interval = local_interval(asked.day, asked.time, self._house.settings.tz)
        now = Metered(_wh(asked.import_wh, "import_wh"), _wh(asked.export_wh, "export_wh"))
        if not asked.reason.strip():
            raise RefusedError("say who authorised the value, and why", "reason")
        return Authorised("by hand", one_value(asked.point, interval, now), asked.reason, role)

    def _people(self, session: Session) -> dict[str, str]:
        return {who: row.name for who, row in people.participants(session).items()}


def local_interval(day: str, time: str, zone: ZoneInfo) -> Interval:
    """Return the quarter-hour that begins at a local time; 02:15+01:00 tells doubled ones apart.

    Raises:
        RefusedError: no such day or time, one that is skipped, or one that comes twice.
    """
    try:
        date.fromisoformat(day)
    except ValueError as error:
        raise RefusedError("choose the day, such as 2026-06-23", "day") from error
    try:
        moment = datetime.fromisoformat(f"{day}T{time.strip()}")
        if moment.tzinfo is None:
            moment = _local(moment, zone)
        return Interval(moment.astimezone(UTC))
    except (IntervalError, OverflowError) as error:
        raise RefusedError(
            "a quarter-hour begins at minute 0, 15, 30 or 45: write its start, such as 11:15",
            "time",
        ) from error
    except ValueError as error:
        raise RefusedError("write the quarter-hour's start, such as 11:15", "time") from error


def _local(shown: datetime, zone: ZoneInfo) -> datetime:
    early, late = (shown.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if early.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != shown:
        raise RefusedError("that time does not exist: the clock was put forward", "time")
    if early.utcoffset() != late.utcoffset():
        both = " or ".join(f"{each:%H:%M}{each.isoformat()[-6:]}" for each in (early, late))
        raise RefusedError(f"that time comes twice on this day: write {both}", "time")
    return early


def _wh(text: str, field: str) -> int:
    if not INTEGER.fullmatch(text.strip()) or int(text) < 0:
        raise RefusedError("write whole Wh, 0 or more", field)
    return int(text)


def _refused(error: ValuesError) -> RefusedError:
    """Return a refusal in words for the one row that a form is."""
    told = "; ".join(fault.removeprefix("row 2: ") for fault in error.faults)
    return RefusedError(told, "reason" if "reason" in told else "")


def _change(draft: Draft, name: str, names: dict[str, str]) -> ValueChange:
    return ValueChange(
        name=name,
        participant=names[draft.settled.participant],
        key=draft.slot.interval,
        version=draft.version,
        import_wh_before=draft.before.import_wh,
        import_wh=draft.now.import_wh,
        export_wh_before=draft.before.export_wh,
        export_wh=draft.now.export_wh,
        micro=draft.done.amount.micro,
        month=draft.month,
        original=draft.original,
        note=draft.note or "correction",
    )


def _line(row: CorrectionRow, points: dict[str, str], names: dict[str, str]) -> CorrectionLine:
    return CorrectionLine(
        reference=f"{row.interval}/{row.point}/{row.version}",
        name=points[row.point],
        participant=names.get(row.participant or "", ""),
        key=row.interval,
        version=row.version,
        source=row.source or READINGS,
        import_wh=row.import_wh,
        export_wh=row.export_wh,
        micro=row.micro,
        month=row.month,
        original=row.original,
        note=row.note,
        reason=row.reason,
        known_ms=row.known_ms,
    )
