"""Forecast runs as rows, and what was measured as arrays for the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, select

from app.tables import ExpectedPriceRow, ForecastRow, ForecastRunRow
from metering.interval import LENGTH_MS, Interval


def newest_run(session: Session, before_ms: int | None = None) -> ForecastRunRow | None:
    """Return the newest run (of those issued before a moment of the district clock), if any."""
    query = select(ForecastRunRow).order_by(col(ForecastRunRow.issued_ms).desc()).limit(1)
    if before_ms is not None:
        query = query.where(ForecastRunRow.issued_ms < before_ms)
    return session.exec(query).first()


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
