"""The trial balance from the sums per account and month; a year of postings is never read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlmodel import Session

from app.store import months
from web.ports.books import Turnover


class PeriodError(Exception):
    """There is no such period; ``field`` says what to mend."""

    def __init__(self, text: str, field: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True)
class Asked:
    """A local month, or the part of one before a moment (UTC ms)."""

    month: str
    until_ms: int | None = None


def asked(month: str, at: str, now_ms: int, zone: ZoneInfo) -> Asked:
    """Return what a page asks for: the current month unless it names another, or a moment.

    A moment is local (``2026-06-23T14:00``); in the hour that comes twice it is the first one.

    Raises:
        PeriodError: no month, or no moment.
    """
    if not at:
        month = month or months.month_of(now_ms, zone)
        _check(month, zone)
        return Asked(month)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        raise PeriodError(
            "write a day and a time of the wall clock, such as 2026-06-23T14:00", "at"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    if not 1970 < moment.year < 9000:
        raise PeriodError(f"there are no books of the year {moment.year}", "at")
    until_ms = int(moment.timestamp() * 1000)
    return Asked(months.month_of(until_ms, zone), until_ms)


def _check(month: str, zone: ZoneInfo) -> None:
    try:
        months.bounds_ms(month, zone)
    except ValueError as error:
        raise PeriodError(str(error), "month") from error


def turnovers(session: Session, wanted: Asked) -> Mapping[str, Turnover]:
    """Return each account that ever moved by the end of the period, by name."""
    opening = months.before(session, wanted.month)
    if wanted.until_ms is None:
        booked = months.within(session, wanted.month)
    else:
        booked = months.until(session, wanted.month, wanted.until_ms)
    return {
        account: Turnover(opening.get(account, 0), *booked.get(account, (0, 0)))
        for account in sorted(opening.keys() | booked.keys())
    }
