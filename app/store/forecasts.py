"""Forecast runs as rows, and what was measured as arrays for the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sqlmodel import Session, col, select

from app.tables import ExpectedPriceRow, ForecastRow, ForecastRunRow, ForecastScoreRow, SlotRow
from metering.interval import LENGTH_MS, Interval

_ROWS_AT_ONCE: Final = 10_000


def newest_run(session: Session, before_ms: int | None = None) -> ForecastRunRow | None:
    """Return the newest run (of those issued before a moment of the district clock), if any."""
    query = select(ForecastRunRow).order_by(col(ForecastRunRow.issued_ms).desc()).limit(1)
    if before_ms is not None:
        query = query.where(ForecastRunRow.issued_ms < before_ms)
    return session.exec(query).first()


def get(session: Session, number: int) -> ForecastRunRow:
    """Return a run that exists."""
    return session.get_one(ForecastRunRow, number)


def run_for(session: Session, key: str) -> ForecastRunRow | None:
    """Return the newest run that was issued before an interval began and reaches it, if any.

    A run covers only quarter-hours that begin after it, so the answer stays the same from the
    interval's start on.
    """
    interval = Interval.parse(key)
    run = newest_run(session, interval.start_ms)
    return run if run is not None and 0 <= place(run, interval) < run.quarters else None


def place(run: ForecastRunRow, interval: Interval) -> int:
    """Return the place of an interval in a run's lists; outside of them it is no valid index."""
    return (interval.start_ms - Interval.parse(run.first).start_ms) // LENGTH_MS


def keys(run: ForecastRunRow) -> list[str]:
    """Return the keys of a run's quarter-hours."""
    first_ms = Interval.parse(run.first).start_ms
    return [Interval.containing_ms(first_ms + n * LENGTH_MS).key for n in range(run.quarters)]


def read_list(text: str) -> list[int | None]:
    """Return the Wh of each quarter of a run, None where nothing was forecast."""
    found: list[int | None] = json.loads(text)
    return found


def tells_of(run: ForecastRunRow, began: str) -> bool:
    """Return whether a run is made from the time since ``began`` (a key, or '').

    One from before knows only those who were at the point then, and is nothing for who came.
    """
    return Interval.containing_ms(run.issued_ms).next().key >= began


def forecasts_wh(
    session: Session, interval_keys: Sequence[str]
) -> Mapping[str, Mapping[str, tuple[int, int]]]:
    """Return (import, export) in Wh as forecast before each interval began, by key and GSRN.

    A point without a forecast of its import is left out; one that is not known to feed in exports
    0. From an interval's start on the answer never changes. Each run is read once, however many
    intervals and points there are.
    """
    read: dict[int, Mapping[str, tuple[list[int | None], list[int | None]]]] = {}
    found: dict[str, Mapping[str, tuple[int, int]]] = {}
    for key in interval_keys:
        run = run_for(session, key)
        if run is None or run.id is None:
            continue
        if run.id not in read:
            read[run.id] = {
                point: (read_list(row.import_wh), read_list(row.export_wh))
                for point, row in rows(session, run).items()
            }
        at = place(run, Interval.parse(key))
        found[key] = {
            point: (import_wh, exports[at] or 0)
            for point, (imports, exports) in read[run.id].items()
            if (import_wh := imports[at]) is not None
        }
    return found


def write_list(values: Sequence[int | None]) -> str:
    """Return a list as a row holds it."""
    return json.dumps(list(values), separators=(",", ":"))


def rows(session: Session, run: ForecastRunRow) -> Mapping[str, ForecastRow]:
    """Return a run's forecasts by metering point, in GSRN order."""
    query = select(ForecastRow).where(ForecastRow.run == run.id).order_by(ForecastRow.point)
    return {row.point: row for row in session.exec(query)}


def prices(session: Session, run: ForecastRunRow) -> Sequence[ExpectedPriceRow]:
    """Return what a run's forecasts would trade at, in time order."""
    query = select(ExpectedPriceRow).where(ExpectedPriceRow.run == run.id)
    return session.exec(query.order_by(ExpectedPriceRow.interval)).all()


def measured(
    session: Session, first: str, last: str | None = None
) -> Iterator[tuple[str, str, int, int]]:
    """Yield (interval, point, import in Wh, export in Wh) as measured, from ``first`` on.

    Estimates are left out, corrected ones too: a register difference that was split over a gap
    tells nothing of its quarters. ``last`` belongs to it.
    """
    query = select(SlotRow.interval, SlotRow.point, SlotRow.import_wh, SlotRow.export_wh).where(
        SlotRow.interval >= first, col(SlotRow.estimated).is_(False)
    )
    if last is not None:
        query = query.where(SlotRow.interval <= last)
    for row in session.exec(query.execution_options(yield_per=_ROWS_AT_ONCE)):
        interval, point, import_wh, export_wh = row
        yield interval, point, import_wh, export_wh


def oldest_slot(session: Session) -> str | None:
    """Return the key of the first interval that was metered, if any."""
    return session.exec(select(SlotRow.interval).order_by(SlotRow.interval).limit(1)).first()


def last_scored(session: Session) -> str | None:
    """Return the newest local day that has a score (ISO), if any."""
    query = select(ForecastScoreRow.day).order_by(col(ForecastScoreRow.day).desc()).limit(1)
    return session.exec(query).first()


def first_run(session: Session) -> ForecastRunRow | None:
    """Return the oldest run, if any."""
    query = select(ForecastRunRow).order_by(col(ForecastRunRow.issued_ms)).limit(1)
    return session.exec(query).first()
